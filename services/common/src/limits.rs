//! How often somebody may do something.

mod buckets;
mod shared;

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

pub use self::{
    buckets::{Rate, TokenBuckets},
    shared::RedisLimiter,
};
use crate::clock::UnixMs;

/// At most `max` in any `window`; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is limited, as metrics call it.
    pub name: &'static str,
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

/// What a limit by address counts: an IPv4 address itself, and of an IPv6 address its /64, since whoever has one address of
/// a /64 has all of them. An IPv4 address mapped into IPv6 is the IPv4 address.
#[must_use]
pub fn prefix_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64));
            format!("{network}/64")
        }
    }
}

/// Counts in the metrics that a limit has refused somebody.
pub fn refused(limit: &'static str) {
    metrics::counter!("tutti_rate_limited_total", "limit" => limit).increment(1);
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
            refused(rule.name);
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

    use super::{TokenBucket, prefix_of, retry_after_s};
    use crate::clock::UnixMs;

    #[test]
    fn an_ipv6_client_is_its_64_and_a_mapped_address_the_ipv4_one() {
        let prefix = |text: &str| prefix_of(text.parse().unwrap());
        assert_eq!(prefix("192.0.2.7"), "192.0.2.7");
        assert_eq!(prefix("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(prefix("2001:db8:0:7::1"), "2001:db8:0:7::/64");
        assert_eq!(
            prefix("2001:db8:0:7:ffff:ffff:ffff:ffff"),
            prefix("2001:db8:0:7::1")
        );
        assert_ne!(prefix("2001:db8:0:8::1"), prefix("2001:db8:0:7::1"));
        assert_eq!(prefix("::1"), "::/64");
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
