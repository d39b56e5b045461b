//! What listeners measure.

use prost::Message as _;
use tutti_common::{clock::UnixMs, ids::RoomId};
use tutti_proto::rooms::{Measurements, RoomEvent};

use super::RedisLive;
use crate::{
    convert::{decode_measured, encode_measured},
    domain::Measured,
    live::{LiveError, MEASURED_FOR},
};

impl RedisLive {
    /// Each gateway's is kept with the time until which it counts: `1704067200000 …`.
    pub(super) async fn measured_by_all(
        &self,
        room: RoomId,
        gateway: &str,
        measured: &Measured,
        now: UnixMs,
    ) -> Result<Measured, LiveError> {
        let key = self.keys.measured(room);
        let mut entry = format!("{} ", (now + MEASURED_FOR).0).into_bytes();
        encode_measured(measured)
            .encode(&mut entry)
            .map_err(super::record::unreadable)?;
        let mut put = redis::cmd("HSET");
        put.arg(&key).arg(gateway).arg(entry);
        let mut keep = redis::cmd("EXPIRE");
        keep.arg(&key).arg(MEASURED_FOR.as_secs());
        self.redis.ask_all::<i64>("measured", &[put, keep]).await?;
        let mut all = redis::cmd("HVALS");
        all.arg(&key);
        let entries = self.redis.ask::<Vec<Vec<u8>>>("all_measured", &all).await?;
        let mut sum = Measured::default();
        for entry in entries {
            // What cannot be read was written by another version: it counts for nothing.
            if let Some((until, measured)) = read(&entry)
                && until > now
            {
                sum.merge(&measured);
            }
        }
        Ok(sum)
    }

    pub(super) async fn publish(&self, room: RoomId, event: &RoomEvent) -> Result<(), LiveError> {
        let mut publish = redis::cmd(self.redis.publish_command());
        publish
            .arg(self.keys.channel(room))
            .arg(event.encode_to_vec());
        self.redis.ask::<i64>("publish", &publish).await?;
        Ok(())
    }
}

fn read(entry: &[u8]) -> Option<(UnixMs, Measured)> {
    let space = entry.iter().position(|&byte| byte == b' ')?;
    let until = std::str::from_utf8(&entry[..space]).ok()?.parse().ok()?;
    let measurements = Measurements::decode(&entry[space + 1..]).ok()?;
    Some((UnixMs(until), decode_measured(measurements)))
}
