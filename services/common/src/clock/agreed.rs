//! One clock for many machines: each one's own, and how far it is from the one that all go by.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Clock, SharedClock, UnixMs};

/// How many looks count: about the last minute's.
const WINDOW: usize = 64;

/// How much faster or slower than another one a machine's clock may well go: no usual quartz is further off.
const DRIFT: f64 = 50e-6;

/// How much faster or slower the agreed clock goes while it is put right. Listeners reckon with 400 ppm, of which
/// their own clock may need half.
const SLEW: f64 = 200e-6;

/// What would take longer than an hour and a half to put right slowly is put right at once.
const FAR_MS: f64 = 1_000.0;

/// A machine's clock with a correction that is set from outside.
pub struct AgreedClock {
    machine: SharedClock,
    /// The bits of an `f64`: milliseconds to add to what the machine's clock says.
    offset_ms: AtomicU64,
}

impl AgreedClock {
    /// Tells what the machine's clock does, until it is told how far that is off.
    #[must_use]
    pub fn new(machine: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            machine,
            offset_ms: AtomicU64::new(0.0_f64.to_bits()),
        })
    }

    /// What the machine's clock says, in Unix milliseconds.
    #[must_use]
    pub fn machine_ms(&self) -> f64 {
        self.machine.precise_ms()
    }

    /// How many milliseconds this clock is ahead of the machine's.
    #[must_use]
    pub fn offset_ms(&self) -> f64 {
        f64::from_bits(self.offset_ms.load(Ordering::Relaxed))
    }

    /// Puts the clock ahead of the machine's by so many milliseconds.
    pub fn set_offset_ms(&self, offset_ms: f64) {
        self.offset_ms.store(offset_ms.to_bits(), Ordering::Relaxed);
    }
}

impl Clock for AgreedClock {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "exact for the next 285 000 years"
    )]
    fn now(&self) -> UnixMs {
        UnixMs(self.precise_ms().floor() as i64)
    }

    fn precise_ms(&self) -> f64 {
        self.machine_ms() + self.offset_ms()
    }
}

/// One look at the clock that all go by.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "the unit is in the name")]
pub(super) struct Look {
    /// When its answer was there, by the machine's clock, in Unix milliseconds.
    pub(super) at_ms: f64,
    /// How far the clock was ahead of the machine's, if its answer took as long as the question.
    pub(super) offset_ms: f64,
    /// How long question and answer took together.
    pub(super) round_trip_ms: f64,
}

impl Look {
    /// How wrong its offset may be by now: all of the round trip may have been one way, and clocks drift.
    fn doubt_ms(&self, now_ms: f64) -> f64 {
        self.round_trip_ms / 2.0 + (now_ms - self.at_ms).max(0.0) * DRIFT
    }
}

/// The last looks, of which the one with the least doubt is believed: whatever lies on the way only ever makes round
/// trips longer.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(VecDeque<Look>);

impl Looks {
    /// Takes in another one.
    pub(super) fn add(&mut self, look: Look) {
        // Both cannot be true: one of the two clocks was put right in between.
        if self.contradiction_ms(&look, 0.0).is_some() {
            self.0.clear();
        }
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(look);
    }

    /// By how much `look` says that the clock was set forward since the others, if it cannot be true together with
    /// them and is more than `beyond_ms` outside of what they leave open.
    pub(super) fn contradiction_ms(&self, look: &Look, beyond_ms: f64) -> Option<f64> {
        let best = self.best(look.at_ms)?;
        let apart = look.offset_ms - best.offset_ms;
        let doubt = best.doubt_ms(look.at_ms) + look.doubt_ms(look.at_ms);
        (apart.abs() > doubt + beyond_ms).then_some(apart)
    }

    /// Forgets them all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// How far the clock is ahead of the machine's, as well as is known.
    pub(super) fn offset_ms(&self, now_ms: f64) -> Option<f64> {
        self.best(now_ms).map(|look| look.offset_ms)
    }

    /// The look with the least doubt.
    pub(super) fn best(&self, now_ms: f64) -> Option<&Look> {
        let doubt = |look: &&Look| look.doubt_ms(now_ms);
        self.0
            .iter()
            .min_by(|a, b| f64::total_cmp(&doubt(a), &doubt(b)))
    }
}

/// Whether an offset is too far from where it should be to be put right slowly.
#[must_use]
pub fn is_far(offset_ms: f64, from_ms: f64) -> bool {
    (offset_ms - from_ms).abs() > FAR_MS
}

/// Where an offset is when it was `passed` on its way to another one.
#[must_use]
pub fn slewed(offset_ms: f64, to_ms: f64, passed: Duration) -> f64 {
    if is_far(offset_ms, to_ms) {
        return to_ms;
    }
    let most = passed.as_secs_f64() * 1_000.0 * SLEW;
    offset_ms + (to_ms - offset_ms).clamp(-most, most)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AgreedClock, Look, Looks, slewed};
    use crate::clock::{Clock as _, ManualClock, UnixMs};

    /// What is seen of a clock that is ahead by `truth`, when question and answer take that long.
    fn look(at_ms: f64, truth: f64, there_ms: f64, back_ms: f64) -> Look {
        Look {
            at_ms,
            offset_ms: truth + (there_ms - back_ms) / 2.0,
            round_trip_ms: there_ms + back_ms,
        }
    }

    fn close(found: Option<f64>, truth: f64, within: f64) {
        assert!((found.unwrap() - truth).abs() <= within, "{found:?}");
    }

    #[test]
    fn the_clock_is_the_machines_with_what_is_added() {
        let machine = ManualClock::at(UnixMs(10_000));
        let clock = AgreedClock::new(machine.clone());
        assert_eq!(clock.now(), UnixMs(10_000));
        clock.set_offset_ms(-3_000.25);
        assert_eq!(clock.now(), UnixMs(6_999), "the millisecond that has begun");
        assert!((clock.precise_ms() - 6_999.75).abs() < 1e-9);
        machine.advance(Duration::from_millis(1));
        assert_eq!(clock.now(), UnixMs(7_000));
    }

    #[test]
    fn the_fastest_answer_is_believed() {
        let mut looks = Looks::default();
        assert_eq!(looks.offset_ms(0.0), None);
        let mut at_ms = 0.0;
        for back_ms in [9.0, 40.0, 0.3, 25.0, 700.0, 4.0] {
            looks.add(look(at_ms, 3_000.0, 0.2, back_ms));
            at_ms += 1_000.0;
        }
        close(looks.offset_ms(at_ms), 3_000.0, 0.051);
    }

    #[test]
    fn a_drift_is_followed_through_jitter() {
        let mut looks = Looks::default();
        for second in 0..600_u32 {
            let at = f64::from(second) * 1_000.0;
            let truth = f64::from(second) * 0.03;
            // Every tenth is quick; the others are late by up to 13 ms.
            let late = if second % 10 == 3 {
                0.0
            } else {
                f64::from(second * 7 % 13)
            };
            looks.add(look(at, truth, 0.1, 0.1 + late));
            if second > 10 {
                close(looks.offset_ms(at), truth, 0.5);
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let mut looks = Looks::default();
        looks.add(look(0.0, 5.0, 0.1, 0.1));
        let at = 1_000.0;
        // That slow a look says nothing against it.
        looks.add(look(at, 5.0, 0.1, 400.0));
        close(looks.offset_ms(at), 5.0, 0.1);
        looks.add(look(at, 505.0, 10.0, 12.0));
        close(looks.offset_ms(at), 505.0, 1.0);
    }

    #[test]
    fn what_is_off_is_put_right_slowly_and_what_is_far_off_at_once() {
        let second = Duration::from_secs(1);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
        close(slewed(0.0, 100.0, second), 0.2);
        close(slewed(0.0, -100.0, second * 10), -2.0);
        close(slewed(99.9, 100.0, second), 100.0);
        close(slewed(0.0, 1_000.0, second), 0.2);
        close(slewed(0.0, -1_000.1, second), -1_000.1);
    }
}
