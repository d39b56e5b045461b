//! How far ahead something must be said so that everybody can do it at once.

use tutti_common::spread::Spread;

/// What listeners of a room have measured lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Round trips to their gateways.
    pub round_trips: Spread,
    /// How far what each plays is from where it should be.
    pub errors: Spread,
}

impl Measured {
    /// Adds what others have measured.
    pub fn merge(&mut self, other: &Self) {
        self.round_trips.merge(&other.round_trips);
        self.errors.merge(&other.errors);
    }
}

/// What a room's listeners have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// How far ahead of its beginning a change should be said, in milliseconds.
    pub lead_ms: f64,
    /// The slowest round trip that counts, in milliseconds.
    pub round_trip_ms: f64,
    /// How far off the room plays, in milliseconds; `None` where nobody could say.
    pub error_ms: Option<f64>,
    /// How many have measured.
    pub listeners: u32,
}

/// What a message needs besides the way: to be handled here and there, and a player to get ready.
const SPARE_MS: f64 = 250.0;

/// Half a round trip from the host, half to the listener, and half for jitter.
const ROUND_TRIPS: f64 = 1.5;

/// No room waits longer than this for its slowest.
const LONGEST_LEAD_MS: f64 = 1_500.0;

/// Below so many the slowest counts; above, nine in ten.
const FEW: u32 = 10;

/// Who takes longer than that many times the median, and longer than a second, holds up nobody.
const OUTLIER: f64 = 3.0;
const OUTLIER_MS: f64 = 1_000.0;

/// The slowest of a few, or of nine in ten of many.
fn slowest(spread: &Spread) -> Option<f64> {
    spread.quantile(if spread.len() < FEW { 1.0 } else { 0.9 })
}

/// What follows from what was measured; `None` if that was nothing.
#[must_use]
pub fn timing(measured: &Measured) -> Option<Timing> {
    let median = measured.round_trips.quantile(0.5)?;
    let counting = measured
        .round_trips
        .up_to((median * OUTLIER).max(OUTLIER_MS));
    let round_trip_ms = slowest(&counting)?;
    Some(Timing {
        lead_ms: (SPARE_MS + ROUND_TRIPS * round_trip_ms).min(LONGEST_LEAD_MS),
        round_trip_ms,
        error_ms: slowest(&measured.errors),
        listeners: measured.round_trips.len(),
    })
}

#[cfg(test)]
mod tests {
    use tutti_common::spread::Spread;

    use super::{Measured, timing};

    fn measured(round_trips: &[f64]) -> Measured {
        let mut spread = Spread::default();
        for &ms in round_trips {
            spread.add(ms);
        }
        Measured {
            round_trips: spread,
            errors: Spread::default(),
        }
    }

    fn lead_ms(round_trips: &[f64]) -> f64 {
        timing(&measured(round_trips)).unwrap().lead_ms
    }

    #[test]
    fn the_slowest_of_a_few_says_how_far_ahead() {
        assert_eq!(timing(&Measured::default()), None);
        let found = timing(&measured(&[10.0, 20.0, 200.0])).unwrap();
        assert!((found.round_trip_ms - 200.0).abs() < 20.0, "{found:?}");
        assert!((found.lead_ms - 550.0).abs() < 30.0, "{found:?}");
        assert_eq!((found.listeners, found.error_ms), (3, None));
    }

    #[test]
    fn one_slow_listener_does_not_hold_up_the_others() {
        let near = lead_ms(&[30.0, 40.0, 50.0]);
        assert!((lead_ms(&[30.0, 40.0, 50.0, 9_000.0]) - near).abs() < 1.0);
        let mut many = vec![50.0; 99];
        many.push(900.0);
        assert!((lead_ms(&many) - near).abs() < 20.0, "{}", lead_ms(&many));
    }

    #[test]
    fn nobody_waits_for_longer_than_a_second_and_a_half() {
        assert!((lead_ms(&[5_000.0, 5_000.0]) - 1_500.0).abs() < 1e-9);
    }
}
