//! How fast a client may talk, whatever it says: what is no event costs work as well.

use std::time::Duration;

use tokio::time::Instant;

/// Frames a second in the long run, several times what the limits on events and pings allow.
const PER_SECOND: f64 = 100.0;

/// Frames at once.
const BURST: f64 = 1_000.0;

/// How often in a row a client may be made to wait, a second or more each time.
const WAITS: u32 = 5;

/// What is to be done before more is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    GoOn,
    /// To wait so long. The network holds back what the client sends meanwhile.
    Wait(Duration),
    /// To close: it goes on as before, however often it had to wait.
    Close,
}

/// A budget of frames, or of packets in a POST.
#[derive(Debug)]
pub(super) struct Pace {
    left: f64,
    at: Instant,
    waits: u32,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
            waits: 0,
        }
    }

    /// Counts frames that have come.
    pub(super) fn count(&mut self, frames: u32, now: Instant) -> Verdict {
        let filled = now.duration_since(self.at).as_secs_f64() * PER_SECOND;
        self.at = now;
        self.left = (self.left + filled).min(BURST);
        // One that has been quiet long enough is no offender any more.
        if self.left >= BURST {
            self.waits = 0;
        }
        self.left -= f64::from(frames);
        if self.left >= 0.0 {
            return Verdict::GoOn;
        }
        self.waits += 1;
        if self.waits > WAITS {
            return Verdict::Close;
        }
        Verdict::Wait(Duration::from_secs_f64(1.0 - self.left / PER_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Pace, Verdict};

    #[test]
    fn who_talks_as_fast_as_the_limits_allow_never_waits() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        for second in 0..3_600 {
            let now = begin + Duration::from_secs(second);
            assert_eq!(pace.count(20, now), Verdict::GoOn);
        }
    }

    #[test]
    fn who_floods_waits_and_is_closed_if_it_goes_on() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let (mut now, mut waits, mut frames) = (begin, 0, 0);
        loop {
            frames += 1;
            match pace.count(1, now) {
                Verdict::GoOn => {}
                Verdict::Wait(wait) => {
                    waits += 1;
                    now += wait;
                }
                Verdict::Close => break,
            }
        }
        assert_eq!(waits, 5);
        let seconds = (now - begin).as_secs();
        assert!((5..=7).contains(&seconds), "{seconds} s");
        assert!(frames < 2_000, "{frames} frames");
    }

    #[test]
    fn who_was_quiet_since_begins_anew() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        for minute in 0..100 {
            let now = begin + Duration::from_mins(minute);
            assert!(matches!(pace.count(1_500, now), Verdict::Wait(_)));
        }
    }
}
