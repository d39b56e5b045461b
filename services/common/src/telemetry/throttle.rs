//! Saying once a minute what happens a thousand times a second.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How often the same is logged at most.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Keeps a warning that others can provoke from filling the log.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Throttled>);

#[derive(Debug, Default)]
struct Throttled {
    logged_at: Option<Instant>,
    /// Happened since without a word.
    others: u64,
}

impl LogThrottle {
    /// It happened. Whether it is time to log it, and how often it happened without a word since the last time.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut throttled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if throttled.logged_at.is_some_and(|at| now < at + LOG_EVERY) {
            throttled.others += 1;
            return None;
        }
        throttled.logged_at = Some(now);
        Some(std::mem::take(&mut throttled.others))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{LOG_EVERY, LogThrottle};

    #[test]
    fn it_is_logged_once_a_minute() {
        let (log, begun) = (LogThrottle::default(), Instant::now());
        assert_eq!(log.due_at(begun), Some(0));
        for _ in 0..3 {
            assert_eq!(log.due_at(begun + LOG_EVERY / 2), None);
        }
        assert_eq!(log.due_at(begun + LOG_EVERY), Some(3));
    }
}
