//! Limits that processes share.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::{Limiter, Rule, SlidingLog, Wait, refused};
use crate::{
    clock::UnixMs,
    redis::{NoAnswer, Redis, Script},
};

/// How long this process counts by itself before Redis is asked again.
const ALONE: Duration = Duration::from_secs(1);

/// A log of the last window for each key, in Redis: exact among all who share it. While Redis does not answer, each
/// process counts by itself.
pub struct RedisLimiter {
    redis: Redis,
    prefix: String,
    script: Script,
    here: SlidingLog,
    /// When Redis is asked again, while it does not answer.
    alone_until: Mutex<Option<Instant>>,
}

impl RedisLimiter {
    /// Counts under keys that begin with `prefix`.
    #[must_use]
    pub fn new(redis: Redis, prefix: &str) -> Self {
        Self {
            redis,
            prefix: prefix.to_owned(),
            script: Script::new("limit", include_str!("shared.lua")),
            here: SlidingLog::default(),
            alone_until: Mutex::default(),
        }
    }

    async fn ask(&self, key: &str, rule: Rule, now: UnixMs, count: bool) -> Result<(), Wait> {
        if rule.max == 0 {
            return Ok(());
        }
        if self.is_alone() {
            return self.here.ask(key, rule, now, count);
        }
        let keys = [format!("{}:limit:{{{key}}}", self.prefix)];
        let args = [
            now.0,
            i64::try_from(rule.window.as_millis()).unwrap_or(i64::MAX),
            i64::from(rule.max),
            i64::from(count),
        ];
        match self.redis.run::<i64>(&self.script, &keys, &args).await {
            Ok(wait) => {
                self.is_answered();
                let Ok(wait) = u64::try_from(wait) else {
                    return Ok(());
                };
                refused(rule.name);
                Err(Wait(Duration::from_millis(wait)))
            }
            Err(error) => {
                self.is_not_answered(&error);
                self.here.ask(key, rule, now, count)
            }
        }
    }

    /// Whether nobody needs to ask Redis now. Else one asks, and the others go on without it meanwhile.
    fn is_alone(&self) -> bool {
        let mut alone_until = self.alone_until();
        match *alone_until {
            Some(until) if Instant::now() < until => true,
            Some(_) => {
                *alone_until = Some(Instant::now() + ALONE);
                false
            }
            None => false,
        }
    }

    fn is_answered(&self) {
        if self.alone_until().take().is_some() {
            tracing::info!("limits are shared through Redis again");
        }
    }

    fn is_not_answered(&self, error: &NoAnswer) {
        let before = self.alone_until().replace(Instant::now() + ALONE);
        if before.is_none() {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "this process counts limits by itself"
            );
        }
    }

    fn alone_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.alone_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn check(&self, key: &str, rule: Rule, now: UnixMs) -> Result<(), Wait> {
        self.ask(key, rule, now, false).await
    }

    async fn take(&self, key: &str, rule: Rule, now: UnixMs) -> Result<(), Wait> {
        self.ask(key, rule, now, true).await
    }
}
