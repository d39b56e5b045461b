//! Time, as an argument.

use std::{
    fmt,
    ops::{Add, Sub},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};

mod agreed;
mod agreement;
mod lineage;
mod monotonic;
mod wall;

pub use agreed::{AgreedClock, is_far, slewed};
pub use agreement::{Agreement, Answer, Event, Heard, Proposal, STEP_MS};
pub use lineage::Lineage;
pub use monotonic::MonotonicClock;
pub use wall::{follow_wall_clock, report_offset};

/// A moment of server time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// As RFC 3339 in UTC with milliseconds, `2024-01-01T00:00:00.000Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.to_datetime()
            .to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// For SQL. Moments outside of chrono's range, 262 000 years from now, become its beginning.
    #[must_use]
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// From SQL; what is finer than a millisecond is cut off.
    #[must_use]
    pub fn from_datetime(datetime: DateTime<Utc>) -> Self {
        Self(datetime.timestamp_millis())
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As a number of milliseconds that may carry fractions.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact for the next 285 000 years"
    )]
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl Add<Duration> for UnixMs {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl Sub<Duration> for UnixMs {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

/// Reads RFC 3339, in any offset, as Unix milliseconds with fractions.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "exact to the microsecond for the next 285 years"
)]
pub fn parse_rfc3339_ms(text: &str) -> Option<f64> {
    let datetime = DateTime::parse_from_rfc3339(text).ok()?;
    Some(datetime.timestamp_micros() as f64 / 1000.0)
}

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> UnixMs;

    /// The present moment in Unix milliseconds with fractions, as finely as the clock has it.
    fn precise_ms(&self) -> f64 {
        self.now().as_f64()
    }
}

/// A clock that parts share.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's wall clock, which is set now and then while a process runs. What is to go on meanwhile goes by
/// [`MonotonicClock`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's wall clock"
    )]
    fn now(&self) -> UnixMs {
        UnixMs(Utc::now().timestamp_millis())
    }

    #[expect(clippy::disallowed_methods, reason = "as above")]
    #[expect(clippy::cast_precision_loss, reason = "exact for the next 285 years")]
    fn precise_ms(&self) -> f64 {
        Utc::now().timestamp_micros() as f64 / 1000.0
    }
}

/// A clock in a test's hand: it stands still until it is told to move.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that says `now` until told otherwise.
    #[must_use]
    pub fn at(now: UnixMs) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(now.0)))
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::{UnixMs, parse_rfc3339_ms};

    #[test]
    fn times_are_read_in_any_offset_and_nonsense_is_not() {
        assert_eq!(
            parse_rfc3339_ms("2024-01-01T01:00:00.25+01:00"),
            Some(1_704_067_200_250.0)
        );
        for text in [
            "",
            "now",
            "2024-01-01",
            "1704067200000",
            "2024-13-01T00:00:00Z",
        ] {
            assert_eq!(parse_rfc3339_ms(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        assert_eq!(
            UnixMs(1_704_067_200_000).to_rfc3339(),
            "2024-01-01T00:00:00.000Z"
        );
        assert_eq!(UnixMs(1).to_rfc3339(), "1970-01-01T00:00:00.001Z");
    }
}
