//! What a clock that goes on by itself has to do with the machine's wall clock: it follows small corrections, as NTP
//! makes them, and ignores steps.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{AgreedClock, Clock as _, SystemClock, is_far, slewed};
use crate::shutdown::Shutdown;

/// How often the wall clock is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps the clock of a process that has no Redis near the machine's wall clock, until the end.
pub async fn follow_wall_clock(clock: Arc<AgreedClock>, shutdown: Shutdown) {
    let mut follower = WallFollower::default();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.ending() => return,
        }
        let wall_ms = SystemClock.precise_ms() - clock.machine_ms();
        let (offset_ms, notice) = follower.next(clock.offset_ms(), wall_ms, LOOK_EVERY);
        clock.set_offset_ms(offset_ms);
        match notice {
            Some(Notice::Far(ahead_ms)) => tracing::warn!(
                ahead_s = ahead_ms / 1_000.0,
                "the machine's clock was set and is now {:.1} s {} Tutti's: songs go on; \
                 restart Tutti when nobody listens to take the new time",
                ahead_ms.abs() / 1_000.0,
                if ahead_ms > 0.0 { "ahead of" } else { "behind" },
            ),
            Some(Notice::Near) => {
                tracing::info!("the machine's clock agrees with Tutti's again");
            }
            None => {}
        }
        report_offset(&clock);
    }
}

/// Says in the metrics how far the time that this process goes by is ahead of what the machine's wall clock says now.
pub fn report_offset(clock: &AgreedClock) {
    let ahead_ms = clock.precise_ms() - SystemClock.precise_ms();
    metrics::gauge!("tutti_clock_offset_seconds").set(ahead_ms / 1_000.0);
}

/// What is to be logged.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Notice {
    /// The wall clock is so many milliseconds ahead of this one, and not followed.
    Far(f64),
    /// It is followed again.
    Near,
}

#[derive(Debug, Default)]
struct WallFollower {
    /// How far ahead the wall clock was when that was last logged, in milliseconds.
    logged_ms: Option<f64>,
}

impl WallFollower {
    /// The next offset of a clock that adds `offset_ms` to the monotonic one, where the wall clock would need
    /// `wall_ms`; and what is to be logged, once for each step.
    fn next(&mut self, offset_ms: f64, wall_ms: f64, passed: Duration) -> (f64, Option<Notice>) {
        if !is_far(offset_ms, wall_ms) {
            let notice = self.logged_ms.take().map(|_| Notice::Near);
            return (slewed(offset_ms, wall_ms, passed), notice);
        }
        let ahead_ms = wall_ms - offset_ms;
        let is_new = self.logged_ms.is_none_or(|logged| is_far(logged, ahead_ms));
        if is_new {
            self.logged_ms = Some(ahead_ms);
        }
        (offset_ms, is_new.then_some(Notice::Far(ahead_ms)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Notice, WallFollower};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_small_correction_is_followed_slowly() {
        let mut follower = WallFollower::default();
        let mut offset_ms = 0.0;
        for _ in 0..600 {
            let notice;
            (offset_ms, notice) = follower.next(offset_ms, 100.0, SECOND);
            assert_eq!(notice, None);
        }
        assert!((offset_ms - 100.0).abs() < 1e-6, "{offset_ms}");
    }

    #[test]
    fn a_step_is_ignored_and_logged_once() {
        let mut follower = WallFollower::default();
        let mut all = Vec::new();
        for wall_ms in [
            10_000.0, 10_000.4, 10_000.8, -120_000.0, -120_000.0, 0.3, 0.3,
        ] {
            let (offset_ms, notice) = follower.next(0.0, wall_ms, SECOND);
            assert!(offset_ms.abs() <= 0.2, "{offset_ms} at {wall_ms}");
            all.push(notice);
        }
        let far = |ahead_ms| Some(Notice::Far(ahead_ms));
        let near = Some(Notice::Near);
        let expected = [far(10_000.0), None, None, far(-120_000.0), None, near, None];
        assert_eq!(all, expected);
    }
}
