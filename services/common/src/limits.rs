//! How often somebody may do something.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use crate::clock::UnixMs;

/// At most `max` in any `window`; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How many; 0 means no limit.
    pub max: u32,
    /// In how long.
    pub window: Duration,
}

/// Too many: how long until the next one is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; try again in {} s", retry_after_s(*.0))]
pub struct Wait(pub Duration);

/// A wait in whole seconds, rounded up, at least one: what `Retry-After` says.
#[must_use]
pub fn retry_after_s(wait: Duration) -> u64 {
    wait.as_millis()
        .div_ceil(1000)
        .max(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

/// Counts what somebody does, for all who share it.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Whether `key` may do it once more; does not count.
    async fn check(&self, key: &str, rule: Rule, now: UnixMs) -> Result<(), Wait>;

    /// Counts one where it is allowed. What is refused is not counted, so that `Wait` is the truth.
    async fn take(&self, key: &str, rule: Rule, now: UnixMs) -> Result<(), Wait>;
}

/// A log of the last window for each key, in this process. Exact: never more than `max` in any
/// window, wherever it begins.
#[derive(Debug, Default)]
pub struct SlidingLog {
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    logs: HashMap<String, Log>,
    swept_at: UnixMs,
}

#[derive(Debug)]
struct Log {
    times: VecDeque<UnixMs>,
    window: Duration,
}

/// How often forgotten keys are looked for.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

impl Log {
    fn forget(&mut self, now: UnixMs) {
        while self
            .times
            .front()
            .is_some_and(|&time| time + self.window <= now)
        {
            self.times.pop_front();
        }
    }
}

impl SlidingLog {
    fn ask(&self, key: &str, rule: Rule, now: UnixMs, count: bool) -> Result<(), Wait> {
        if rule.max == 0 {
            return Ok(());
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(keys.swept_at) >= SWEEP_EVERY {
            keys.swept_at = now;
            keys.logs.retain(|_, log| {
                log.forget(now);
                !log.times.is_empty()
            });
        }
        if !count && !keys.logs.contains_key(key) {
            return Ok(());
        }
        let log = keys.logs.entry(key.to_owned()).or_insert_with(|| Log {
            times: VecDeque::new(),
            window: rule.window,
        });
        log.forget(now);
        // The place is free again when the oldest of the last `max` falls out of the window.
        let allowed_at = log
            .times
            .len()
            .checked_sub(rule.max as usize)
            .and_then(|index| log.times.get(index))
            .map(|&oldest| oldest + rule.window);
        if let Some(allowed_at) = allowed_at {
            return Err(Wait(allowed_at.since(now)));
        }
        if count {
            log.times.push_back(now);
        }
        Ok(())
    }
}

#[async_trait]
impl Limiter for SlidingLog {
    async fn check(&self, key: &str, rule: Rule, now: UnixMs) -> Result<(), Wait> {
        self.ask(key, rule, now, false)
    }

    async fn take(&self, key: &str, rule: Rule, now: UnixMs) -> Result<(), Wait> {
        self.ask(key, rule, now, true)
    }
}

/// A bucket of tokens that fills steadily: for one connection, without sharing.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    per_minute: u32,
    burst: f64,
    tokens: f64,
    filled_at: UnixMs,
}

impl TokenBucket {
    /// `per_minute` in the long run, 0 for no limit; at most `burst` at once.
    #[must_use]
    pub fn new(per_minute: u32, burst: u32, now: UnixMs) -> Self {
        Self {
            per_minute,
            burst: f64::from(burst),
            tokens: f64::from(burst),
            filled_at: now,
        }
    }

    /// Takes a token; false where there is none.
    pub fn take(&mut self, now: UnixMs) -> bool {
        if self.per_minute == 0 {
            return true;
        }
        let filled = now.since(self.filled_at).as_secs_f64() * f64::from(self.per_minute) / 60.0;
        self.tokens = (self.tokens + filled).min(self.burst);
        self.filled_at = now.max(self.filled_at);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Limiter, Rule, SlidingLog, TokenBucket, Wait, retry_after_s};
    use crate::clock::UnixMs;

    const TWO_A_MINUTE: Rule = Rule {
        max: 2,
        window: Duration::from_mins(1),
    };

    #[tokio::test]
    async fn the_third_in_a_minute_waits_for_the_first_to_be_a_minute_old() {
        let log = SlidingLog::default();
        log.take("a", TWO_A_MINUTE, UnixMs(0)).await.unwrap();
        log.take("a", TWO_A_MINUTE, UnixMs(20_000)).await.unwrap();
        let wait = log.take("a", TWO_A_MINUTE, UnixMs(30_000)).await;
        assert_eq!(wait, Err(Wait(Duration::from_secs(30))));
        assert_eq!(log.take("b", TWO_A_MINUTE, UnixMs(30_000)).await, Ok(()));
        assert_eq!(log.take("a", TWO_A_MINUTE, UnixMs(60_000)).await, Ok(()));
        assert!(log.check("a", TWO_A_MINUTE, UnixMs(79_999)).await.is_err());
        assert!(log.check("a", TWO_A_MINUTE, UnixMs(80_000)).await.is_ok());
        assert!(log.check("a", TWO_A_MINUTE, UnixMs(80_000)).await.is_ok());
    }

    #[tokio::test]
    async fn zero_means_no_limit() {
        let log = SlidingLog::default();
        let rule = Rule {
            max: 0,
            ..TWO_A_MINUTE
        };
        for _ in 0..1000 {
            log.take("a", rule, UnixMs(0)).await.unwrap();
        }
    }

    #[test]
    fn retry_after_rounds_up() {
        assert_eq!(retry_after_s(Duration::ZERO), 1);
        assert_eq!(retry_after_s(Duration::from_millis(1_001)), 2);
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_the_steady_rate_for_ever() {
        let mut bucket = TokenBucket::new(60, 20, UnixMs(0));
        assert_eq!((0..100).filter(|_| bucket.take(UnixMs(0))).count(), 20);
        assert!(!bucket.take(UnixMs(999)));
        for second in 1..=3600 {
            assert!(bucket.take(UnixMs(second * 1000)), "second {second}");
        }
    }
}
