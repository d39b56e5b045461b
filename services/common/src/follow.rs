//! Following a room: its snapshot, then its events, each once and in order. What carries events may lose, double or
//! reorder them; whoever follows notices, and takes a snapshot again.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tokio::time::timeout;
use tutti_proto::rooms::{RoomCloseReason, RoomClosed, RoomEvent, room_event::Event};

use crate::{clock::UnixMs, redis};

/// What comes from where a room's events are published.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The next event.
    Event(Arc<RoomEvent>),
    /// Some events are missing here.
    Gap,
}

impl From<redis::Heard> for Heard {
    /// What cannot be read counts as missing.
    fn from(heard: redis::Heard) -> Self {
        match heard {
            redis::Heard::Gap => Self::Gap,
            redis::Heard::Message(message) => match RoomEvent::decode(message) {
                Ok(event) => Self::Event(Arc::new(event)),
                Err(error) => {
                    tracing::error!(%error, "an event cannot be read");
                    Self::Gap
                }
            },
        }
    }
}

/// How far somebody has heard of a room.
#[derive(Clone, Copy, Debug)]
struct Place {
    revision: u64,
    /// Events heard of the change that made that revision.
    events: u32,
    /// Whether that change has more of them.
    has_more: bool,
}

/// What an event is to somebody who has come that far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It was heard already, or a snapshot had it.
    Old,
    Next,
    /// Something before it was not heard.
    TooEarly,
}

impl Place {
    /// After a snapshot of that revision.
    fn after_snapshot(revision: u64) -> Self {
        Self {
            revision,
            events: u32::MAX,
            has_more: false,
        }
    }

    fn turn_of(self, event: &RoomEvent) -> Turn {
        let is_same_change = event.revision == self.revision;
        if event.revision < self.revision || is_same_change && event.events_before < self.events {
            Turn::Old
        } else if is_same_change && event.events_before == self.events
            || !is_same_change
                && !self.has_more
                && event.previous_revision <= self.revision
                && event.events_before == 0
        {
            Turn::Next
        } else {
            Turn::TooEarly
        }
    }

    fn after(event: &RoomEvent) -> Self {
        Self {
            revision: event.revision,
            events: event.events_before + 1,
            has_more: !event.is_last,
        }
    }
}

/// How long the word of how a room ended may take to arrive when the room is gone already.
const STILL_COMING: Duration = Duration::from_millis(500);

async fn how_it_ended(mut feed: impl Stream<Item = Heard> + Unpin) -> Option<Arc<RoomEvent>> {
    loop {
        if let Heard::Event(event) = feed.next().await?
            && let Some(Event::RoomClosed(_)) = event.event
        {
            return Some(event);
        }
    }
}

/// What those who were away when a room ended are told.
#[must_use]
pub fn closed_meanwhile(room_id: &str, now: UnixMs) -> RoomEvent {
    RoomEvent {
        room_id: room_id.to_owned(),
        at: Some(tutti_proto::timestamp(now.0)),
        revision: u64::MAX,
        is_last: true,
        event: Some(Event::RoomClosed(RoomClosed {
            reason: RoomCloseReason::Empty.into(),
        })),
        ..RoomEvent::default()
    }
}

/// A room's events after `first`, which is its snapshot and comes before them. `snapshot` fetches another one, or says by
/// [`closed_meanwhile`] that the room is no longer there. Ends with the room, or after an error.
///
/// `feed` must have been listened to before `first` was taken: what happens between the two is heard twice rather than
/// not at all.
pub fn follow<S, E>(
    first: RoomEvent,
    feed: impl Stream<Item = Heard> + Send + 'static,
    snapshot: impl FnMut() -> S + Send + 'static,
) -> impl Stream<Item = Result<Arc<RoomEvent>, E>> + Send
where
    S: Future<Output = Result<RoomEvent, E>> + Send,
    E: Send + 'static,
{
    let place = Place::after_snapshot(first.revision);
    let following = Some((Box::pin(feed), snapshot, place));
    let events = stream::unfold(following, |following| async {
        let (mut feed, mut snapshot, mut place) = following?;
        loop {
            let event = match feed.next().await? {
                Heard::Event(event) => event,
                Heard::Gap => Arc::default(),
            };
            if let Some(Event::RoomTiming(_)) = event.event {
                return Some((Ok(event), Some((feed, snapshot, place))));
            }
            match place.turn_of(&event) {
                _ if event.event.is_none() => {}
                Turn::Old => continue,
                Turn::Next => {
                    place = Place::after(&event);
                    let is_over = matches!(event.event, Some(Event::RoomClosed(_)));
                    return Some((Ok(event), (!is_over).then_some((feed, snapshot, place))));
                }
                Turn::TooEarly => {}
            }
            return Some(match snapshot().await {
                Ok(gone) if matches!(gone.event, Some(Event::RoomClosed(_))) => {
                    let end = timeout(STILL_COMING, how_it_ended(&mut feed)).await;
                    let end = end.ok().flatten();
                    (Ok(end.unwrap_or_else(|| Arc::new(gone))), None)
                }
                Ok(event) => {
                    place = Place::after_snapshot(event.revision);
                    (Ok(Arc::new(event)), Some((feed, snapshot, place)))
                }
                Err(error) => (Err(error), None),
            });
        }
    });
    stream::once(std::future::ready(Ok(Arc::new(first)))).chain(events)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use futures_util::{StreamExt as _, stream};
    use tutti_proto::rooms::{Room, RoomClosed, RoomEvent, StateSynced, room_event::Event};

    use super::{Heard, closed_meanwhile, follow};
    use crate::clock::UnixMs;

    /// The event `before` in its change of `of` events.
    fn event(revision: u64, previous: u64, before: u32, of: u32) -> Heard {
        Heard::Event(Arc::new(RoomEvent {
            revision,
            previous_revision: previous,
            events_before: before,
            is_last: before + 1 == of,
            event: Some(Event::StateSynced(StateSynced::default())),
            ..RoomEvent::default()
        }))
    }

    fn snapshot(revision: u64) -> RoomEvent {
        RoomEvent {
            revision,
            is_last: true,
            event: Some(Event::Snapshot(Room::default())),
            ..RoomEvent::default()
        }
    }

    /// What is told to somebody who begins at revision 10; a snapshot taken on the way is of `later`.
    async fn told(feed: Vec<Heard>, later: Option<u64>) -> Vec<(char, u64, u32)> {
        let first = snapshot(10);
        let heard = follow(first, stream::iter(feed), move || async move {
            Ok::<_, ()>(later.map_or_else(|| closed_meanwhile("room", UnixMs(5)), snapshot))
        });
        heard
            .map(|event| {
                let event = event.unwrap();
                let kind = match event.event.as_ref().unwrap() {
                    Event::Snapshot(_) => 's',
                    Event::RoomClosed(_) => 'c',
                    _ => 'e',
                };
                (kind, event.revision, event.events_before)
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn events_come_once_and_in_order() {
        let feed = vec![
            // Both are in the snapshot already.
            event(9, 8, 0, 1),
            event(10, 9, 0, 1),
            // Revisions 11 and 12 had no events; 13 has two, of which the first comes twice.
            event(13, 10, 0, 2),
            event(13, 10, 0, 2),
            event(13, 10, 1, 2),
            event(14, 13, 0, 1),
        ];
        let expected = [('s', 10, 0), ('e', 13, 0), ('e', 13, 1), ('e', 14, 0)];
        assert_eq!(told(feed, None).await, expected);
    }

    #[tokio::test]
    async fn what_is_missing_is_made_good_by_a_snapshot() {
        // 12 is lost.
        let lost = vec![
            event(11, 10, 0, 1),
            event(13, 12, 0, 1),
            event(14, 13, 0, 1),
        ];
        let expected = [('s', 10, 0), ('e', 11, 0), ('s', 13, 0), ('e', 14, 0)];
        assert_eq!(told(lost, Some(13)).await, expected);
        // The second half of 11 is lost.
        let lost = vec![
            event(11, 10, 0, 2),
            event(12, 11, 0, 1),
            event(13, 12, 0, 1),
        ];
        let expected = [('s', 10, 0), ('e', 11, 0), ('s', 12, 0), ('e', 13, 0)];
        assert_eq!(told(lost, Some(12)).await, expected);
        // 12 overtakes 11.
        let reordered = vec![
            event(12, 11, 0, 1),
            event(11, 10, 0, 1),
            event(13, 12, 0, 1),
        ];
        let expected = [('s', 10, 0), ('s', 12, 0), ('e', 13, 0)];
        assert_eq!(told(reordered, Some(12)).await, expected);
        let gap = vec![event(11, 10, 0, 1), Heard::Gap, event(12, 11, 0, 1)];
        let expected = [('s', 10, 0), ('e', 11, 0), ('s', 12, 0)];
        assert_eq!(told(gap, Some(12)).await, expected);
    }

    #[tokio::test]
    async fn a_room_that_ended_meanwhile_is_told_of_and_that_is_all() {
        let feed = vec![Heard::Gap, event(12, 11, 0, 1)];
        assert_eq!(told(feed, None).await, [('s', 10, 0), ('c', u64::MAX, 0)]);
        let closed = Heard::Event(Arc::new(RoomEvent {
            revision: 11,
            previous_revision: 10,
            is_last: true,
            event: Some(Event::RoomClosed(RoomClosed::default())),
            ..RoomEvent::default()
        }));
        let feed = vec![closed.clone(), event(12, 11, 0, 1)];
        assert_eq!(told(feed, None).await, [('s', 10, 0), ('c', 11, 0)]);
        // How it ended is still on its way.
        let feed = vec![Heard::Gap, event(12, 11, 0, 1), closed];
        assert_eq!(told(feed, None).await, [('s', 10, 0), ('c', 11, 0)]);
    }

    #[tokio::test]
    async fn nothing_comes_after_an_error() {
        let asked = Arc::new(AtomicU64::new(0));
        let counted = asked.clone();
        let feed = stream::iter([Heard::Gap, Heard::Gap, event(11, 10, 0, 1)]);
        let heard = follow(snapshot(10), feed, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Err("gone") }
        });
        let heard = heard.collect::<Vec<_>>().await;
        assert_eq!(heard.len(), 2);
        assert!(heard[0].is_ok());
        assert_eq!(heard[1].as_ref().err(), Some(&"gone"));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
