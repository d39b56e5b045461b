//! What was made last of rooms whose hosts say what plays: probably it is still so, and the next word needs no look.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tutti_common::ids::RoomId;

use crate::domain::View;

/// How many rooms are remembered for certain; as many more may be.
const ROOMS: usize = 4_096;

/// Views of rooms, the latest used. A view may be out of date: whoever acts on one compares its revision.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    views: Mutex<Generations>,
}

/// When the young are enough, the old are forgotten and the young are old: nobody has to keep them in order.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<RoomId, View>,
    old: HashMap<RoomId, View>,
}

impl Remembered {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a room was last, once.
    pub(crate) fn take(&self, room: RoomId) -> Option<View> {
        let mut views = self.lock();
        let young = views.young.remove(&room);
        let old = views.old.remove(&room);
        young.or(old)
    }

    /// What a room is now.
    pub(crate) fn keep(&self, view: View) {
        let mut views = self.lock();
        if views.young.len() >= ROOMS {
            views.old = std::mem::take(&mut views.young);
        }
        views.young.insert(view.room.id, view);
    }
}

#[cfg(test)]
mod tests {
    use tutti_common::{
        clock::UnixMs,
        ids::{RoomId, UserId},
    };

    use super::{ROOMS, Remembered};
    use crate::domain::{Playback, Room, RoomTerms, Version, View};

    fn view(id: RoomId) -> View {
        View {
            room: Room {
                id,
                host: UserId::new(),
                terms: RoomTerms {
                    name: None,
                    is_friends_only: false,
                    max_participants: 2,
                },
                song: None,
                playback: Playback::stopped(UnixMs(0)),
                version: Version(1),
                revision: Version(1),
                told: Version(1),
                created_at: UnixMs(0),
                last_activity: UnixMs(0),
                empty_since: None,
            },
            seats: vec![],
            count: 0,
            eldest: vec![],
        }
    }

    #[test]
    fn what_is_used_is_remembered_and_the_rest_forgotten() {
        let remembered = Remembered::default();
        let used = RoomId::new();
        remembered.keep(view(used));
        let others = (0..3 * ROOMS).map(|_| RoomId::new()).collect::<Vec<_>>();
        for other in &others {
            remembered.keep(view(*other));
            let again = remembered.take(used).expect("it is used all the time");
            remembered.keep(again);
        }
        let kept = others.iter().filter_map(|id| remembered.take(*id)).count();
        assert!((ROOMS..=2 * ROOMS).contains(&(kept + 1)), "{kept}");
        assert!(remembered.take(used).is_some());
        assert!(remembered.take(used).is_none());
    }
}
