//! Token buckets by key, which are asked without waiting and which processes share a moment later.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};

use super::{SWEEP_EVERY, Wait, refused};
use crate::{
    clock::{SharedClock, UnixMs},
    redis::{NoAnswer, Redis, Script},
    shutdown::Shutdown,
};

/// How often something may be done in the long run, and how often at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What is limited, as metrics and keys call it.
    pub name: &'static str,
    /// How many tokens a bucket gets in a window; 0 means no limit.
    pub max: u32,
    /// In how long.
    pub window: Duration,
    /// How many tokens a full bucket has, at least 1.
    pub burst: u32,
}

impl Rate {
    /// So many a minute, and `burst` at once.
    #[must_use]
    pub const fn per_minute(name: &'static str, max: u32, burst: u32) -> Self {
        Self {
            name,
            max,
            window: Duration::from_mins(1),
            burst,
        }
    }

    /// What the bucket is called that `key` has at this rate.
    fn key(self, key: &str) -> String {
        format!("{}:{key}", self.name)
    }

    /// How long a bucket takes to get that many tokens, in µs.
    fn time_for(self, tokens: u32) -> i64 {
        let token = self.window / self.max.max(1);
        i64::try_from((token * tokens).as_micros()).unwrap_or(i64::MAX)
    }
}

/// How often spent tokens are told to the others at most.
const SHARE_EVERY: Duration = Duration::from_millis(500);

/// How long spent tokens are kept back while more than half of a bucket is left: who does something every second costs
/// one call in 5 s.
const SHARE_WITHIN: Duration = Duration::from_secs(5);

/// How many buckets are told at the same time.
const AT_ONCE: usize = 64;

/// A token bucket for each key.
///
/// Each is one number, the moment at which it will be full (the generic cell rate algorithm), and is forgotten once it is full.
/// With Redis, a process asks its own number, and tells Redis within half a second what was taken of a bucket that is half
/// empty, within 5 s of any other, and hears what all have taken. So asking costs no round trip. Of one bucket, each process can give at most a
/// burst more than it holds; that is a debt which is repaid before anything is given again, so the long-run rate is exact.
/// While Redis does not answer, each process counts by itself.
#[derive(Default)]
pub struct TokenBuckets {
    buckets: Mutex<Buckets>,
    shared: Option<Shared>,
}

struct Shared {
    redis: Redis,
    prefix: String,
    script: Script,
}

#[derive(Default)]
struct Buckets {
    /// By [`Rate::key`].
    by_key: HashMap<String, Bucket>,
    swept_at: UnixMs,
}

struct Bucket {
    rate: Rate,
    /// When it will be full, in Unix µs.
    full_at: i64,
    /// How many of its tokens were taken here that the others have not heard of.
    unshared: u32,
    /// Since when there are such.
    unshared_since: UnixMs,
}

/// What to do to a bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// Look whether there is a token.
    Check,
    /// Take one, if there is one.
    Take,
    /// Take one, though there may be none.
    Spend,
}

fn micros(time: UnixMs) -> i64 {
    time.0.saturating_mul(1_000)
}

impl Bucket {
    /// How long until it is full, in µs.
    fn full_in(&self, now: UnixMs) -> i64 {
        self.full_at.saturating_sub(micros(now)).max(0)
    }

    fn is_to_be_shared(&self, now: UnixMs) -> bool {
        self.unshared > 0
            && (self.full_in(now) >= self.rate.time_for(self.rate.burst) / 2
                || now.since(self.unshared_since) >= SHARE_WITHIN)
    }
}

impl TokenBuckets {
    /// Buckets that all processes share which count under keys that begin with `prefix`. Needs [`Self::run`].
    #[must_use]
    pub fn shared(redis: Redis, prefix: &str) -> Self {
        Self {
            buckets: Mutex::default(),
            shared: Some(Shared {
                redis,
                prefix: prefix.to_owned(),
                script: Script::new("bucket", include_str!("bucket.lua")),
            }),
        }
    }

    /// Whether no token is missing.
    pub fn is_full(&self, key: &str, rate: Rate, now: UnixMs) -> bool {
        let mut buckets = self.lock();
        buckets.sweep(now);
        let bucket = buckets.by_key.get(&rate.key(key));
        bucket.is_none_or(|bucket| bucket.full_in(now) == 0)
    }

    /// Whether there is a token.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn check(&self, key: &str, rate: Rate, now: UnixMs) -> Result<(), Wait> {
        self.ask(key, rate, 0, now, Want::Check)
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long until there is one. What is refused takes none.
    pub fn take(&self, key: &str, rate: Rate, now: UnixMs) -> Result<(), Wait> {
        self.ask(key, rate, 0, now, Want::Take)
    }

    /// Takes a token, unless only `reserve` are left, which are for others.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_above(&self, reserve: u32, key: &str, rate: Rate, now: UnixMs) -> Result<(), Wait> {
        self.ask(key, rate, reserve, now, Want::Take)
    }

    /// Takes a token for what was done already, also where there is none: then it is repaid first.
    pub fn spend(&self, key: &str, rate: Rate, now: UnixMs) {
        // It cannot be refused.
        let _ = self.ask(key, rate, 0, now, Want::Spend);
    }

    fn ask(
        &self,
        key: &str,
        rate: Rate,
        reserve: u32,
        now: UnixMs,
        want: Want,
    ) -> Result<(), Wait> {
        if rate.max == 0 {
            return Ok(());
        }
        let mut buckets = self.lock();
        buckets.sweep(now);
        let key = rate.key(key);
        if want == Want::Check && !buckets.by_key.contains_key(&key) {
            return Ok(());
        }
        let bucket = buckets.by_key.entry(key).or_insert(Bucket {
            rate,
            full_at: 0,
            unshared: 0,
            unshared_since: now,
        });
        bucket.rate = rate;
        let left_behind = rate.burst.saturating_sub(reserve.saturating_add(1));
        let missing = bucket.full_in(now) - rate.time_for(left_behind);
        if want != Want::Spend && missing > 0 {
            refused(rate.name);
            return Err(Wait(Duration::from_micros(missing.unsigned_abs())));
        }
        if want != Want::Check {
            bucket.full_at = bucket.full_at.max(micros(now)) + rate.time_for(1);
            if self.shared.is_some() {
                if bucket.unshared == 0 {
                    bucket.unshared_since = now;
                }
                bucket.unshared = bucket.unshared.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Tells the others what was taken here, and hears what they have taken; at the end once more. Returns at once where
    /// nobody shares.
    pub async fn run(self: Arc<Self>, clock: SharedClock, shutdown: Shutdown) {
        if self.shared.is_none() {
            return;
        }
        let mut tick = tokio::time::interval(SHARE_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.ending() => return,
            }
            if let Err(error) = self.share(clock.now()).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "this process counts by itself for now"
                );
            }
        }
    }

    /// One round of what [`Self::run`] does.
    ///
    /// # Errors
    /// When Redis does not answer. What it has not heard is not told again: it may have heard it.
    pub async fn share(&self, now: UnixMs) -> Result<(), NoAnswer> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let due = self.lock().take_unshared(now);
        let mut told = stream::iter(due)
            .map(|(key, rate, spent)| async move {
                let full_at = shared.tell(&key, rate, spent, now).await?;
                Ok::<_, NoAnswer>((key, full_at))
            })
            .buffer_unordered(AT_ONCE);
        while let Some(answer) = told.next().await {
            let (key, full_at) = answer?;
            if let Some(bucket) = self.lock().by_key.get_mut(&key) {
                bucket.full_at = full_at + bucket.rate.time_for(bucket.unshared);
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for TokenBuckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenBuckets")
    }
}

impl Buckets {
    /// Forgets those that are full: one that is not there is full.
    fn sweep(&mut self, now: UnixMs) {
        if now.since(self.swept_at) >= SWEEP_EVERY {
            self.swept_at = now;
            self.by_key
                .retain(|_, bucket| bucket.unshared > 0 || bucket.full_in(now) > 0);
        }
    }

    fn take_unshared(&mut self, now: UnixMs) -> Vec<(String, Rate, u32)> {
        self.by_key
            .iter_mut()
            .filter(|(_, bucket)| bucket.is_to_be_shared(now))
            .map(|(key, bucket)| {
                (
                    key.clone(),
                    bucket.rate,
                    std::mem::take(&mut bucket.unshared),
                )
            })
            .collect()
    }
}

impl Shared {
    /// Tells of spent tokens. Returns when the bucket will be full, in Unix µs.
    async fn tell(&self, key: &str, rate: Rate, spent: u32, now: UnixMs) -> Result<i64, NoAnswer> {
        let keys = [format!("{}:bucket:{{{key}}}", self.prefix)];
        let args = [micros(now), rate.time_for(spent)];
        self.redis.run::<i64>(&self.script, &keys, &args).await
    }
}
