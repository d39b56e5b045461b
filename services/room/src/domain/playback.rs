//! Where a song is.

use tutti_common::{clock::UnixMs, status::Violation};

/// The farthest position, in seconds: a week.
const POSITION_MAX: f64 = 604_800.0;

/// How far from now, in milliseconds, a host's timestamp is believed.
const TIMESTAMP_TOLERANCE_MS: f64 = 5_000.0;

/// The song is at `position + rate × (now − timestamp)` while it plays, and at `position` while not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Playback {
    /// Whether it plays.
    pub playing: bool,
    /// Seconds.
    pub position: f64,
    /// Seconds; the host's own reading.
    pub current_time: f64,
    /// The moment of server time at which `position` was or will be true, in Unix milliseconds.
    pub timestamp_ms: f64,
    /// Song seconds in a second.
    pub rate: f64,
}

/// What a host says of it, unchecked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlaybackUpdate {
    /// Whether it plays.
    pub playing: bool,
    /// Seconds.
    pub position: f64,
    /// Seconds; `position` if not said.
    pub current_time: Option<f64>,
    /// When `position` is true, in Unix milliseconds of server time.
    pub timestamp_ms: Option<f64>,
    /// Song seconds in a second.
    pub rate: Option<f64>,
}

impl Playback {
    /// Nothing plays.
    #[must_use]
    pub fn stopped(now: UnixMs) -> Self {
        Self {
            playing: false,
            position: 0.0,
            current_time: 0.0,
            timestamp_ms: now.as_f64(),
            rate: 1.0,
        }
    }

    /// What a host's word, received at `now`, makes of it.
    ///
    /// # Errors
    /// All rules it breaks.
    pub fn accept(update: &PlaybackUpdate, now: UnixMs) -> Result<Self, Vec<Violation>> {
        let current_time = update.current_time.unwrap_or(update.position);
        let broken = [
            ("position", update.position),
            ("current_time", current_time),
        ]
        .into_iter()
        // NaN is in no range.
        .filter(|(_, seconds)| !(0.0..=POSITION_MAX).contains(seconds))
        .map(|(field, _)| Violation::new(format!("playback_state.{field}"), "0 to 604800 seconds"))
        .collect::<Vec<_>>();
        if !broken.is_empty() {
            return Err(broken);
        }
        let believable =
            |timestamp_ms: &f64| (timestamp_ms - now.as_f64()).abs() <= TIMESTAMP_TOLERANCE_MS;
        Ok(Self {
            playing: update.playing,
            position: update.position,
            current_time,
            timestamp_ms: update
                .timestamp_ms
                .filter(believable)
                .unwrap_or(now.as_f64()),
            rate: update
                .rate
                .filter(|rate| (0.25..=4.0).contains(rate))
                .unwrap_or(1.0),
        })
    }

    /// Whether `later` is more than this, running on: it starts, stops, changes speed, or rests elsewhere.
    #[must_use]
    pub fn turns_into(&self, later: &Self) -> bool {
        let differs = |one: f64, other: f64| (one - other).abs() > f64::EPSILON;
        self.playing != later.playing
            || differs(self.rate, later.rate)
            || (!later.playing && differs(self.position, later.position))
    }
}

#[cfg(test)]
mod tests {
    use tutti_common::clock::UnixMs;

    use super::{Playback, PlaybackUpdate};

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    fn at(position: f64) -> PlaybackUpdate {
        PlaybackUpdate {
            playing: true,
            position,
            ..PlaybackUpdate::default()
        }
    }

    #[test]
    fn positions_are_0_to_a_week_and_finite() {
        for position in [0.0, 0.001, 604_800.0] {
            assert!(Playback::accept(&at(position), NOW).is_ok(), "{position}");
        }
        for position in [
            -0.001,
            604_800.1,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            let broken = Playback::accept(&at(position), NOW).unwrap_err();
            assert_eq!(broken[0].field, "playback_state.position", "{position}");
        }
    }

    #[test]
    fn a_timestamp_within_five_seconds_is_kept_and_another_becomes_the_time_of_receipt() {
        let accepted = |offset_ms: f64| {
            let update = PlaybackUpdate {
                timestamp_ms: Some(NOW.as_f64() + offset_ms),
                ..at(1.0)
            };
            Playback::accept(&update, NOW).unwrap().timestamp_ms - NOW.as_f64()
        };
        for kept in [-5_000.0, -0.25, 0.0, 1_500.0, 5_000.0] {
            assert!((accepted(kept) - kept).abs() < 1e-3, "{kept}");
        }
        for replaced in [-5_001.0, 5_001.0, 1e12, f64::INFINITY, f64::NAN] {
            assert!(accepted(replaced).abs() < 1e-9, "{replaced}");
        }
    }

    #[test]
    fn a_rate_out_of_range_is_1_and_current_time_is_the_position_if_left_out() {
        let rate = |rate| {
            let update = PlaybackUpdate {
                rate: Some(rate),
                ..at(2.5)
            };
            Playback::accept(&update, NOW).unwrap().rate
        };
        for (given, kept) in [
            (0.25, 0.25),
            (4.0, 4.0),
            (0.2, 1.0),
            (4.1, 1.0),
            (f64::NAN, 1.0),
        ] {
            assert!((rate(given) - kept).abs() < f64::EPSILON, "{given}");
        }
        let playback = Playback::accept(&at(2.5), NOW).unwrap();
        assert!((playback.current_time - 2.5).abs() < f64::EPSILON);
    }
}
