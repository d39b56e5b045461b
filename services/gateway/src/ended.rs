//! The sessions that have ended while tokens of theirs still live: nobody gets in with those any more.

use std::{
    collections::{HashSet, VecDeque},
    sync::{PoisonError, RwLock},
};

use tokio::sync::watch;
use tutti_common::{clock::UnixMs, ids::SessionId};

/// Sessions that have ended, each as long as a token of it may be unexpired.
#[derive(Debug, Default)]
pub(crate) struct EndedSessions {
    ended: RwLock<Ended>,
    /// Whether all is known that ended before this gateway started.
    has_caught_up: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Ended {
    sessions: HashSet<SessionId>,
    /// The same, in the order in which they are forgotten, and when.
    forgotten_at: VecDeque<(UnixMs, SessionId)>,
}

impl EndedSessions {
    /// A session has ended; no token of it lives longer than `until`.
    pub(crate) fn add(&self, session: SessionId, until: UnixMs, now: UnixMs) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(_, old)) = ended
            .forgotten_at
            .front()
            .filter(|(until, _)| *until <= now)
        {
            ended.forgotten_at.pop_front();
            ended.sessions.remove(&old);
        }
        if ended.sessions.insert(session) {
            ended.forgotten_at.push_back((until, session));
        }
    }

    pub(crate) fn contains(&self, session: SessionId) -> bool {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        ended.sessions.contains(&session)
    }

    /// All is known that ended before this gateway started.
    pub(crate) fn set_caught_up(&self) {
        self.has_caught_up
            .send_if_modified(|has| !std::mem::replace(has, true));
    }

    /// Resolves when that is so.
    pub(crate) async fn caught_up(&self) {
        if !*self.has_caught_up.borrow() {
            // The sender is here: the channel is open.
            let _ = self.has_caught_up.subscribe().wait_for(|has| *has).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tutti_common::{clock::UnixMs, ids::SessionId};

    use super::EndedSessions;

    #[test]
    fn a_session_is_remembered_while_its_tokens_live_and_then_forgotten() {
        let ended = EndedSessions::default();
        let [first, second, third] = [(); 3].map(|()| SessionId::new());
        ended.add(first, UnixMs(100), UnixMs(0));
        // Heard of again, after a stream broke.
        ended.add(first, UnixMs(150), UnixMs(50));
        ended.add(second, UnixMs(150), UnixMs(99));
        assert!(ended.contains(first) && ended.contains(second));
        ended.add(third, UnixMs(300), UnixMs(150));
        assert!(!ended.contains(first) && !ended.contains(second) && ended.contains(third));
        let kept = ended.ended.read().unwrap();
        assert_eq!((kept.sessions.len(), kept.forgotten_at.len()), (1, 1));
    }
}
