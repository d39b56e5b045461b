//! Time that goes on, whatever happens to the machine's wall clock.

use std::time::Duration;

use super::{Clock, SystemClock, UnixMs};

/// The machine's wall clock as it was when this was made, and the time that has passed since. Setting the wall clock
/// changes nothing here. The time during which a laptop was suspended counts as passed.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    /// What the wall clock said when the machine was started, if it had not been set since. Unix milliseconds.
    boot_ms: f64,
}

impl MonotonicClock {
    /// Takes the time from the wall clock, for the only time.
    #[must_use]
    pub fn start() -> Self {
        Self {
            boot_ms: SystemClock.precise_ms() - since_boot_ms(),
        }
    }
}

impl Clock for MonotonicClock {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "exact for the next 285 000 years"
    )]
    fn now(&self) -> UnixMs {
        UnixMs(self.precise_ms().floor() as i64)
    }

    fn precise_ms(&self) -> f64 {
        self.boot_ms + since_boot_ms()
    }
}

fn since_boot_ms() -> f64 {
    since_boot().as_secs_f64() * 1_000.0
}

/// The time since some moment before this process began.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    // Unlike the clock behind `Instant`, this one goes on while the machine is suspended.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static BEGAN: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    BEGAN.elapsed()
}

#[cfg(test)]
mod tests {
    use super::{MonotonicClock, SystemClock};
    use crate::clock::Clock as _;

    #[test]
    fn it_begins_with_the_wall_clocks_time_and_goes_on() {
        let clock = MonotonicClock::start();
        let apart_ms = (clock.precise_ms() - SystemClock.precise_ms()).abs();
        assert!(apart_ms < 1_000.0, "{apart_ms}");
        let before = clock.precise_ms();
        while clock.precise_ms() <= before {}
        assert!(clock.now().as_f64() <= clock.precise_ms());
    }
}
