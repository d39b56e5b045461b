//! Running positions that are not in SQL yet: a sorted set of rooms by when to write them, in a slot of its own.
//! Who claims one moves it ahead as the agenda does, and takes it out once it is written; if that process dies,
//! another one gets it.

use tutti_common::clock::UnixMs;

use super::{
    BATCH, RedisLive,
    record::{decode_room, unreadable},
};
use crate::{
    domain::Room,
    live::{CLAIM, LiveError},
};

/// What stands there while it is claimed. No other entry has a half: a change meanwhile is told from the claim.
pub(super) fn claim_until(now: UnixMs) -> String {
    format!("{}.5", (now + CLAIM).0)
}

impl RedisLive {
    /// Whatever stood there, also a claim: what is being written is not the last word.
    pub(super) async fn mark_unrecorded(&self, room: &Room) -> Result<(), LiveError> {
        let mut mark = redis::cmd("ZADD");
        mark.arg(self.keys.positions())
            .arg(room.last_activity.0)
            .arg(room.id.to_string());
        self.redis.ask::<i64>("mark", &mark).await?;
        Ok(())
    }

    pub(super) async fn claim_positions(&self, now: UnixMs) -> Result<Vec<Room>, LiveError> {
        let keys = [self.keys.positions()];
        let claim = claim_until(now);
        let args = [now.0.to_string(), BATCH.to_string(), claim.clone()];
        let mut rooms = Vec::new();
        loop {
            let claimed = self
                .redis
                .run::<Vec<String>>(&self.scripts.claim, &keys, &args)
                .await?;
            let ids = claimed
                .iter()
                .map(|room| room.parse().map_err(unreadable))
                .collect::<Result<Vec<_>, _>>()?;
            let looks = ids
                .iter()
                .map(|&id| {
                    let mut look = redis::cmd("HMGET");
                    look.arg(self.keys.room(id)).arg("record").arg("recorded");
                    look
                })
                .collect::<Vec<_>>();
            let found = self
                .redis
                .ask_all::<(Option<Vec<u8>>, Option<u8>)>("look", &looks)
                .await?;
            let mut settled = Vec::new();
            for ((id, entry), found) in ids.into_iter().zip(&claimed).zip(found) {
                match found {
                    (Some(record), Some(0)) => match decode_room(id, &record) {
                        Ok(room) => rooms.push(room),
                        // It stays claimed for a while; the others are recorded.
                        Err(error) => {
                            tracing::error!(room = %id, %error, "a room's position cannot be read");
                        }
                    },
                    // It is gone, or what came last is recorded.
                    _ => settled.extend([entry.clone(), claim.clone(), String::new()]),
                }
            }
            self.settle(&keys, &settled).await?;
            if claimed.len() < BATCH {
                return Ok(rooms);
            }
        }
    }

    pub(super) async fn settle_positions(
        &self,
        rooms: &[Room],
        claimed_at: UnixMs,
    ) -> Result<(), LiveError> {
        let claim = claim_until(claimed_at);
        let settled = rooms
            .iter()
            .flat_map(|room| [room.id.to_string(), claim.clone(), String::new()])
            .collect::<Vec<_>>();
        self.settle(&[self.keys.positions()], &settled).await
    }

    /// Moves or removes what nobody moved since: of each the member, the score that was seen, and the new one.
    pub(super) async fn settle(
        &self,
        keys: &[String],
        settled: &[String],
    ) -> Result<(), LiveError> {
        for batch in settled.chunks(3 * BATCH) {
            self.redis
                .run::<i64>(&self.scripts.settle, keys, batch)
                .await?;
        }
        Ok(())
    }
}
