//! What Redis keeps beside its own clock, so that the agreed time goes on when that clock is set: how much is to be
//! added to it.

/// What is added to Redis's clock, by all who have ever been told the agreed time by each other. It is kept in Redis
/// and by every process, so that it survives the loss of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// When it began, in microseconds of agreed time; this tells it from another one.
    pub since_us: i64,
    /// How often [`ahead_us`](Self::ahead_us) was changed.
    pub serial: i64,
    /// What is added to Redis's clock to have the agreed time, in microseconds.
    pub ahead_us: i64,
}

/// What is to be done when what a process knows is compared with what Redis has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reconciled {
    /// Both are the same.
    Same,
    /// Redis is right: the process takes this.
    Adopt(Lineage),
    /// The process is right: Redis is to have this, again or for the first time.
    Write(Lineage),
}

impl Lineage {
    /// The first one: Redis's clock, which says `redis_us`, is the agreed time.
    #[must_use]
    pub fn begun(redis_us: i64) -> Self {
        Self {
            since_us: redis_us,
            serial: 0,
            ahead_us: 0,
        }
    }

    /// The same after Redis's clock was set forward by `set_us`.
    #[must_use]
    pub(super) fn after_step(self, set_us: i64) -> Self {
        Self {
            serial: self.serial + 1,
            ahead_us: self.ahead_us - set_us,
            ..self
        }
    }
}

/// What a process does that knows `mine`, whose own clock says `agreed_us`, and finds that Redis has `seen` when its
/// clock says `redis_us`.
///
/// An emptied Redis gets back what was lost, and so does a replica that took over without the last change. Where
/// somebody began anew meanwhile, the older lineage wins: all who follow the younger one began after it was lost.
pub(super) fn reconcile(
    mine: Option<Lineage>,
    agreed_us: i64,
    seen: Option<Lineage>,
    redis_us: i64,
) -> Reconciled {
    let (mine, seen) = match (mine, seen) {
        (None, None) => return Reconciled::Write(Lineage::begun(redis_us)),
        (Some(mine), None) => return Reconciled::Write(mine),
        (None, Some(seen)) => return Reconciled::Adopt(seen),
        (Some(mine), Some(seen)) => (mine, seen),
    };
    if mine == seen {
        return Reconciled::Same;
    }
    let is_mine_right = if mine.since_us == seen.since_us {
        mine.serial > seen.serial
    } else {
        // Each by its own time: the two may be hours apart.
        let age_of_mine = agreed_us - mine.since_us;
        let age_of_seen = redis_us + seen.ahead_us - seen.since_us;
        age_of_mine > age_of_seen
    };
    if is_mine_right {
        Reconciled::Write(mine)
    } else {
        Reconciled::Adopt(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lineage, Reconciled, reconcile};

    const NOW: i64 = 1_700_000_000_000_000;
    const SECOND: i64 = 1_000_000;

    #[test]
    fn whoever_comes_first_begins_and_the_others_follow() {
        let first = Lineage::begun(NOW);
        let of_first = reconcile(None, NOW, None, NOW);
        assert_eq!(of_first, Reconciled::Write(first));
        let of_next = reconcile(None, NOW, Some(first), NOW + SECOND);
        assert_eq!(of_next, Reconciled::Adopt(first));
        let of_both = reconcile(Some(first), NOW + SECOND, Some(first), NOW + SECOND);
        assert_eq!(of_both, Reconciled::Same);
    }

    #[test]
    fn an_emptied_redis_and_a_replica_that_missed_the_change_get_it_back() {
        let before = Lineage::begun(NOW - 60 * SECOND);
        let mine = before.after_step(45 * SECOND);
        assert_eq!(mine.ahead_us, -45 * SECOND);
        for seen in [None, Some(before)] {
            let done = reconcile(Some(mine), NOW, seen, NOW + 45 * SECOND);
            assert_eq!(done, Reconciled::Write(mine), "{seen:?}");
        }
        // Another one was quicker: what Redis has is right.
        let theirs = before.after_step(45 * SECOND + 3);
        let done = reconcile(Some(mine), NOW, Some(theirs), NOW + 45 * SECOND);
        assert_eq!(done, Reconciled::Adopt(theirs));
    }

    #[test]
    fn the_older_lineage_wins_whichever_way_redis_was_set_and_nobody_flaps() {
        for set_by in [-7_200, -120, -1, 0, 1, 120, 7_200] {
            // For half a minute in agreed time, and for two seconds.
            let old = Lineage::begun(NOW - 30 * SECOND).after_step(set_by * SECOND);
            let redis_us = NOW + set_by * SECOND;
            let young = Lineage::begun(redis_us - 2 * SECOND);
            let of_old = reconcile(Some(old), NOW, Some(young), redis_us);
            assert_eq!(of_old, Reconciled::Write(old), "{set_by}");
            let of_young = reconcile(Some(young), redis_us, Some(old), redis_us);
            assert_eq!(of_young, Reconciled::Adopt(old), "{set_by}");
        }
    }
}
