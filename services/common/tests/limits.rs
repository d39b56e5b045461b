//! What a limiter promises, wherever it counts.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tutti_common::{
    clock::UnixMs,
    config::Secret,
    ids::UserId,
    limits::{Limiter, RedisLimiter, Rule, SlidingLog, Wait},
    redis::{Redis, RedisUrl},
};

const TWO_A_MINUTE: Rule = Rule {
    name: "api",
    max: 2,
    window: Duration::from_mins(1),
};

/// In the Redis that `TEST_REDIS_URL` names, under keys of its own.
fn on_redis() -> Option<RedisLimiter> {
    let Ok(url) = std::env::var("TEST_REDIS_URL") else {
        eprintln!("TEST_REDIS_URL is not set: not told on Redis");
        return None;
    };
    let url = RedisUrl::parse(&Secret::new(&url), None).unwrap();
    let prefix = format!("test:{}", UserId::new());
    Some(RedisLimiter::new(Redis::new(&url), &prefix))
}

/// Tells each story wherever there is a limiter.
macro_rules! on_each_limiter {
    ($($story:ident),* $(,)?) => {
        mod here {
            $(#[tokio::test]
            async fn $story() {
                super::$story(std::sync::Arc::new(super::SlidingLog::default())).await;
            })*
        }

        mod redis {
            $(#[tokio::test]
            async fn $story() {
                if let Some(limiter) = super::on_redis() {
                    super::$story(std::sync::Arc::new(limiter)).await;
                }
            })*
        }

        /// Where nobody answers.
        mod alone {
            $(#[tokio::test]
            async fn $story() {
                super::$story(std::sync::Arc::new(super::without_redis())).await;
            })*
        }
    };
}

on_each_limiter! {
    the_third_in_a_minute_waits_for_the_first_to_be_a_minute_old,
    a_look_does_not_count,
    what_is_refused_does_not_count,
    whoever_lowers_a_limit_waits_for_the_newer_ones,
    zero_means_no_limit,
    of_many_at_once_as_many_as_allowed_pass,
}

fn without_redis() -> RedisLimiter {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}", free.local_addr().unwrap());
    drop(free);
    let url = RedisUrl::parse(&Secret::new(&url), None).unwrap();
    RedisLimiter::new(Redis::new(&url), "test")
}

async fn the_third_in_a_minute_waits_for_the_first_to_be_a_minute_old(log: Arc<dyn Limiter>) {
    log.take("a", TWO_A_MINUTE, UnixMs(0)).await.unwrap();
    log.take("a", TWO_A_MINUTE, UnixMs(20_000)).await.unwrap();
    let wait = log.take("a", TWO_A_MINUTE, UnixMs(30_000)).await;
    assert_eq!(wait, Err(Wait(Duration::from_secs(30))));
    assert_eq!(log.take("b", TWO_A_MINUTE, UnixMs(30_000)).await, Ok(()));
    assert!(log.take("a", TWO_A_MINUTE, UnixMs(59_999)).await.is_err());
    assert_eq!(log.take("a", TWO_A_MINUTE, UnixMs(60_000)).await, Ok(()));
    assert!(log.take("a", TWO_A_MINUTE, UnixMs(79_999)).await.is_err());
    assert_eq!(log.take("a", TWO_A_MINUTE, UnixMs(80_000)).await, Ok(()));
}

async fn a_look_does_not_count(log: Arc<dyn Limiter>) {
    for _ in 0..5 {
        assert_eq!(log.check("a", TWO_A_MINUTE, UnixMs(0)).await, Ok(()));
    }
    log.take("a", TWO_A_MINUTE, UnixMs(0)).await.unwrap();
    log.take("a", TWO_A_MINUTE, UnixMs(0)).await.unwrap();
    let wait = log.check("a", TWO_A_MINUTE, UnixMs(1)).await;
    assert_eq!(wait, Err(Wait(Duration::from_millis(59_999))));
    assert_eq!(log.check("a", TWO_A_MINUTE, UnixMs(60_000)).await, Ok(()));
}

async fn what_is_refused_does_not_count(log: Arc<dyn Limiter>) {
    log.take("a", TWO_A_MINUTE, UnixMs(0)).await.unwrap();
    log.take("a", TWO_A_MINUTE, UnixMs(0)).await.unwrap();
    for at in 1..50 {
        let wait = log.take("a", TWO_A_MINUTE, UnixMs(at * 1_000)).await;
        let left = 60 - u64::try_from(at).unwrap();
        assert_eq!(wait, Err(Wait(Duration::from_secs(left))));
    }
    log.take("a", TWO_A_MINUTE, UnixMs(60_000)).await.unwrap();
}

async fn whoever_lowers_a_limit_waits_for_the_newer_ones(log: Arc<dyn Limiter>) {
    let four = Rule {
        max: 4,
        ..TWO_A_MINUTE
    };
    for at in 0..4 {
        log.take("a", four, UnixMs(at * 10_000)).await.unwrap();
    }
    let wait = log.take("a", TWO_A_MINUTE, UnixMs(30_000)).await;
    assert_eq!(wait, Err(Wait(Duration::from_secs(50))));
}

async fn zero_means_no_limit(log: Arc<dyn Limiter>) {
    let rule = Rule {
        max: 0,
        ..TWO_A_MINUTE
    };
    for _ in 0..1000 {
        log.take("a", rule, UnixMs(0)).await.unwrap();
    }
}

async fn of_many_at_once_as_many_as_allowed_pass(log: Arc<dyn Limiter>) {
    let rule = Rule {
        max: 20,
        ..TWO_A_MINUTE
    };
    let takes = (0..100).map(|_| log.take("a", rule, UnixMs(7)));
    let passed = join_all(takes).await.into_iter().flatten();
    assert_eq!(passed.count(), 20);
}
