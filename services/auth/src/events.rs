//! What other services must act on at once.

use futures_util::{Stream, StreamExt as _, future};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use tutti_common::ids::UserId;

use crate::domain::session::Session;

/// So many may wait for a slow listener before it is cut off.
const BACKLOG: usize = 1_024;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AccountEvent {
    /// A session is over.
    SessionEnded(Session),
    /// Two users are no longer friends.
    FriendshipEnded(UserId, UserId),
}

/// A place to tell it, and where listeners are found.
pub(crate) fn channel() -> broadcast::Sender<AccountEvent> {
    broadcast::channel(BACKLOG).0
}

/// All that happens from now on, until the end. A listener that cannot keep up is cut off, so that it
/// knows that it missed something.
pub(crate) fn listen(
    events: &broadcast::Sender<AccountEvent>,
    end: CancellationToken,
) -> impl Stream<Item = AccountEvent> + Send + 'static {
    BroadcastStream::new(events.subscribe())
        .take_while(|event| future::ready(event.is_ok()))
        .filter_map(|event| future::ready(event.ok()))
        .take_until(end.cancelled_owned())
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio_util::sync::CancellationToken;
    use tutti_common::ids::UserId;

    use super::{AccountEvent, BACKLOG, channel, listen};

    #[tokio::test]
    async fn who_cannot_keep_up_is_cut_off() {
        let events = channel();
        let mut slow = std::pin::pin!(listen(&events, CancellationToken::new()));
        for _ in 0..=BACKLOG {
            let event = AccountEvent::FriendshipEnded(UserId::new(), UserId::new());
            events.send(event).unwrap();
        }
        assert!(slow.next().await.is_none());
    }

    #[tokio::test]
    async fn at_the_end_all_are_let_go() {
        let (events, end) = (channel(), CancellationToken::new());
        let mut listener = std::pin::pin!(listen(&events, end.clone()));
        end.cancel();
        assert!(listener.next().await.is_none());
    }
}
