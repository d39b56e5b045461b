//! One at a time, for each key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

type Line = Arc<tokio::sync::Mutex<()>>;

/// Lets those who come with the same key go one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    lines: Arc<Mutex<HashMap<String, Line>>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    key: String,
    line: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a turn. Who stops waiting leaves nothing behind.
    pub(crate) async fn wait(&self, key: &str) -> Turn {
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lines.entry(key.to_owned()).or_default())
        };
        let mut turn = Turn {
            turns: self.clone(),
            key: key.to_owned(),
            line: None,
        };
        turn.line = Some(line.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = self
            .turns
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Given back under the lock: who waits holds the line too, and then it stays.
        drop(self.line.take());
        if lines
            .get(&self.key)
            .is_some_and(|line| Arc::strong_count(line) == 1)
        {
            lines.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, poll};

    use super::Turns;

    #[tokio::test]
    async fn one_key_waits_another_does_not_and_nothing_is_left() {
        let turns = Turns::default();
        let first = turns.wait("a").await;
        assert!(turns.wait("b").now_or_never().is_some());
        let mut second = Box::pin(turns.wait("a"));
        assert!(poll!(second.as_mut()).is_pending());
        drop(first);
        drop(second.await);
        assert!(turns.lines.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_nothing_behind() {
        let turns = Turns::default();
        let first = turns.wait("a").await;
        let mut second = Box::pin(turns.wait("a"));
        assert!(poll!(second.as_mut()).is_pending());
        drop(first);
        drop(second);
        assert!(turns.lines.lock().unwrap().is_empty());
    }
}
