//! Whose turn it is to change a room's record, among all processes.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tutti_common::{
    ids::{ConnectionId, RoomId},
    redis::{DEADLINE, Redis, Script},
};

use super::keys::Keys;
use crate::live::{LiveError, Turn};

/// How long a turn lasts at most: whoever has it may have died. Writing the record may take longer, 6.5 s where the database is
/// slow. Then two may write at once, and it is the revision that decides: the record takes nothing of a change that is not
/// above what it has.
pub(super) const TURN: Duration = Duration::from_secs(5);

/// How often is asked whether the turn of another process is over.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// The turns of this process.
pub(super) struct Turns {
    redis: Redis,
    keys: Keys,
    over: mpsc::UnboundedSender<Mine>,
    /// Ends with this.
    _task: JoinSet<()>,
}

/// A turn, and the word by which it is known to be ours.
struct Mine {
    key: String,
    word: String,
}

/// Ends a turn when it is dropped.
struct UntilDropped {
    mine: Option<Mine>,
    over: mpsc::UnboundedSender<Mine>,
}

impl Drop for UntilDropped {
    fn drop(&mut self) {
        if let Some(mine) = self.mine.take() {
            // An error means that this process ends; the turn does so by itself.
            let _ = self.over.send(mine);
        }
    }
}

/// Any word that nobody else has.
pub(super) fn new_word() -> String {
    ConnectionId::new().to_string()
}

impl Turns {
    pub(super) fn start(redis: Redis, keys: Keys) -> Self {
        let (over, inbox) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(end_turns(redis.clone(), inbox));
        Self {
            redis,
            keys,
            over,
            _task: task,
        }
    }

    /// Waits for the turn with a room.
    pub(super) async fn take(&self, room: RoomId) -> Result<Turn, LiveError> {
        let word = new_word();
        let mut take = redis::cmd("SET");
        take.arg(self.keys.turn(room)).arg(&word);
        take.arg("NX").arg("PX");
        take.arg(u64::try_from(TURN.as_millis()).unwrap_or(u64::MAX));
        let ask = || {
            let taken = self.redis.ask::<Option<()>>("turn", &take);
            async move { Ok(taken.await?) }
        };
        let (turn, ()) = self.take_with(room, word, ask).await?;
        Ok(turn)
    }

    /// Waits until `ask` has taken the turn under this word, and returns what it brought along.
    pub(super) async fn take_with<T, F: Future<Output = Result<Option<T>, LiveError>>>(
        &self,
        room: RoomId,
        word: String,
        ask: impl Fn() -> F,
    ) -> Result<(Turn, T), LiveError> {
        let key = self.keys.turn(room);
        // Before it is asked for: what is not answered may have been granted.
        let turn = UntilDropped {
            mine: Some(Mine { key, word }),
            over: self.over.clone(),
        };
        let taken = async {
            loop {
                if let Some(found) = ask().await? {
                    return Ok::<_, LiveError>(found);
                }
                // Nobody says when a turn is over, so that it costs two commands and no subscription.
                sleep(ASK_EVERY).await;
            }
        };
        let found = timeout(DEADLINE, taken).await.map_err(|_| {
            LiveError::Unavailable("the room is being changed elsewhere".to_owned())
        })??;
        Ok((Box::new(turn), found))
    }
}

async fn end_turns(redis: Redis, mut over: mpsc::UnboundedReceiver<Mine>) {
    let script = Script::new("turn_over", include_str!("turn_over.lua"));
    while let Some(Mine { key, word }) = over.recv().await {
        let ended = redis.run::<i64>(&script, &[key], word).await;
        if let Err(error) = ended {
            tracing::warn!(%error, "a turn with a room lasts until it runs out");
        }
    }
}
