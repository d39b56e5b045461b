//! What was said last of rooms' timing, so that nothing is said again and again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tutti_common::{clock::UnixMs, ids::RoomId};

use crate::domain::Timing;

/// At most so often a room is told.
const LEAST_APART: Duration = Duration::from_secs(5);

/// So often it is told where nothing changes, for gateways that came later.
const MOST_APART: Duration = Duration::from_secs(15);

/// How much longer or shorter is another timing: a fifth.
const NOTICEABLE: f64 = 1.2;

/// How many rooms are remembered; more are told a little too often.
const ROOMS: usize = 16_384;

/// What was said last of rooms' timing by this process.
#[derive(Debug, Default)]
pub(crate) struct Timings(Mutex<HashMap<RoomId, (Timing, UnixMs)>>);

impl Timings {
    /// Whether a room is to be told; if so, that is remembered.
    pub(crate) fn is_news(&self, room: RoomId, timing: Timing, now: UnixMs) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.get(&room).is_none_or(|(before, at)| {
            let apart = now.since(*at);
            apart >= MOST_APART || apart >= LEAST_APART && differ(before, &timing)
        });
        if is_news {
            if told.len() >= ROOMS {
                told.clear();
            }
            told.insert(room, (timing, now));
        }
        is_news
    }
}

fn differ(before: &Timing, after: &Timing) -> bool {
    let moved = |before: f64, after: f64| {
        let (least, most) = (before.min(after), before.max(after));
        most > least.max(0.1) * NOTICEABLE
    };
    before.listeners != after.listeners
        || moved(before.lead_ms, after.lead_ms)
        || match (before.error_ms, after.error_ms) {
            (Some(before), Some(after)) => moved(before, after),
            (before, after) => before.is_some() != after.is_some(),
        }
}

#[cfg(test)]
mod tests {
    use tutti_common::{clock::UnixMs, ids::RoomId};

    use super::Timings;
    use crate::domain::Timing;

    #[test]
    fn a_room_is_told_what_changed_and_now_and_then_what_did_not() {
        let (timings, room) = (Timings::default(), RoomId::new());
        let timing = Timing {
            lead_ms: 300.0,
            round_trip_ms: 33.0,
            error_ms: Some(1.0),
            listeners: 2,
        };
        let is_news = |timing, second: i64| timings.is_news(room, timing, UnixMs(second * 1_000));
        assert!(is_news(timing, 0));
        assert!(!is_news(timing, 14));
        assert!(is_news(timing, 15));
        let slower = Timing {
            lead_ms: 400.0,
            ..timing
        };
        assert!(!is_news(slower, 19), "too soon");
        assert!(is_news(slower, 20));
        let barely = Timing {
            lead_ms: 410.0,
            ..timing
        };
        assert!(!is_news(barely, 30));
        let nobody_plays = Timing {
            error_ms: None,
            ..slower
        };
        assert!(is_news(nobody_plays, 31));
        assert!(timings.is_news(RoomId::new(), timing, UnixMs(0)));
    }
}
