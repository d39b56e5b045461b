//! When to look at a seat or an empty room again. The agenda is in a slot of its own: who looks finds what is there by then.

use futures_util::future::join_all;
use redis::Cmd;
use tutti_common::clock::UnixMs;

use super::{
    BATCH, RedisLive,
    keys::{decode_due, encode_due},
    positions::claim_until,
};
use crate::live::{Due, LiveError};

/// What a look at something claimed came to.
enum Look {
    /// Its time is up.
    Due,
    /// Not before then.
    Later(UnixMs),
    /// There is nothing to wait for.
    Nothing,
}

impl Look {
    fn at(time: UnixMs, now: UnixMs) -> Self {
        if time <= now {
            Self::Due
        } else {
            Self::Later(time)
        }
    }
}

impl RedisLive {
    /// Puts down when to look at things, if not earlier already.
    pub(super) async fn look_no_later(&self, entries: &[(UnixMs, Due)]) -> Result<(), LiveError> {
        self.put_on_agenda(entries, true).await
    }

    /// Puts down when to look at things, whatever stood there.
    pub(super) async fn look_at(&self, entries: &[(UnixMs, Due)]) -> Result<(), LiveError> {
        self.put_on_agenda(entries, false).await
    }

    async fn put_on_agenda(
        &self,
        entries: &[(UnixMs, Due)],
        only_earlier: bool,
    ) -> Result<(), LiveError> {
        for command in self.agenda_commands(entries, only_earlier) {
            self.redis.ask::<i64>("zadd", &command).await?;
        }
        Ok(())
    }

    /// What puts that down.
    pub(super) fn agenda_commands(
        &self,
        entries: &[(UnixMs, Due)],
        only_earlier: bool,
    ) -> impl Iterator<Item = Cmd> {
        entries.chunks(BATCH).map(move |entries| {
            let mut command = redis::cmd("ZADD");
            command.arg(self.keys.agenda());
            if only_earlier {
                command.arg("LT");
            }
            for &(at, due) in entries {
                command.arg(at.0).arg(encode_due(due));
            }
            command
        })
    }

    async fn look(&self, due: Due, now: UnixMs) -> Result<Look, LiveError> {
        Ok(match due {
            Due::Seat(room, user) => match self.seat(room, user).await? {
                Some(seat) => Look::at(seat.expires_at(self.presence_grace), now),
                None => Look::Nothing,
            },
            Due::Room(room) => match self.room(room).await?.and_then(|room| room.empty_since) {
                Some(since) => Look::at(since + self.room_empty_grace, now),
                None => Look::Nothing,
            },
        })
    }

    /// Claims what is due.
    pub(super) async fn claim(&self, now: UnixMs, limit: usize) -> Result<Vec<Due>, LiveError> {
        let claim = claim_until(now);
        let agenda = [self.keys.agenda()];
        let mut found = Vec::new();
        let mut failed = None;
        while found.len() < limit {
            let args = [
                now.0.to_string(),
                (limit - found.len()).to_string(),
                claim.clone(),
            ];
            let claimed = self
                .redis
                .run::<Vec<String>>(&self.scripts.claim, &agenda, &args)
                .await?;
            if claimed.is_empty() {
                break;
            }
            let looks = claimed.iter().map(|entry| async move {
                // A process of a later version may have put down what is unknown here: it stays for that one.
                let due = decode_due(entry)?;
                Ok::<_, LiveError>((entry, due, self.look(due, now).await?))
            });
            let mut settled = Vec::new();
            for look in join_all(looks).await {
                let (entry, due, look) = match look {
                    Ok(look) => look,
                    Err(error) => {
                        failed = Some(error);
                        continue;
                    }
                };
                let new = match look {
                    Look::Due => {
                        found.push(due);
                        continue;
                    }
                    Look::Later(at) => at.0.to_string(),
                    Look::Nothing => String::new(),
                };
                settled.extend([entry.clone(), claim.clone(), new]);
            }
            self.settle(&agenda, &settled).await?;
        }
        match failed {
            Some(error) if found.is_empty() => Err(error),
            Some(error) => {
                tracing::warn!(%error, "some of what is due cannot be looked at");
                Ok(found)
            }
            None => Ok(found),
        }
    }
}
