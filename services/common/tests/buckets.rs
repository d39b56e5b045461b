//! What token buckets promise, in one process and among those that share a Redis.

use std::{sync::Arc, time::Duration};

use tutti_common::{
    clock::UnixMs,
    config::Secret,
    ids::UserId,
    limits::{Rate, TokenBuckets, Wait},
    redis::{Redis, RedisUrl},
};

/// A token a second, ten at once.
const RATE: Rate = Rate::per_minute("test", 60, 10);

/// Somewhere in the middle of time.
const NOW: UnixMs = UnixMs(1_704_067_200_000);

fn after(seconds: u64) -> UnixMs {
    NOW + Duration::from_secs(seconds)
}

/// As many processes as wanted, in the Redis that `TEST_REDIS_URL` names, under keys of their own.
fn processes<const N: usize>() -> Option<[TokenBuckets; N]> {
    let Ok(url) = std::env::var("TEST_REDIS_URL") else {
        eprintln!("TEST_REDIS_URL is not set: not told on Redis");
        return None;
    };
    let url = RedisUrl::parse(&Secret::new(&url), None).unwrap();
    let prefix = format!("test:{}", UserId::new());
    Some([(); N].map(|()| TokenBuckets::shared(Redis::new(&url), &prefix)))
}

/// How many of a hundred get a token at that moment.
fn served(buckets: &TokenBuckets, now: UnixMs) -> usize {
    (0..100)
        .filter(|_| buckets.take("ann", RATE, now).is_ok())
        .count()
}

/// Tells each story of buckets that nobody shares, and of one process that shares them.
macro_rules! on_each_engine {
    ($($story:ident),* $(,)?) => {
        mod here {
            $(#[test]
            fn $story() {
                super::$story(&super::TokenBuckets::default());
            })*
        }

        mod redis {
            $(#[tokio::test]
            async fn $story() {
                if let Some([buckets]) = super::processes() {
                    super::$story(&buckets);
                }
            })*
        }
    };
}

on_each_engine! {
    a_bucket_gives_its_burst_and_then_the_steady_rate_for_ever,
    what_is_refused_takes_nothing_and_is_told_how_long_to_wait,
    a_look_takes_nothing,
    what_was_done_already_is_repaid_first,
    a_reserve_is_for_others,
    zero_means_no_limit,
}

fn a_bucket_gives_its_burst_and_then_the_steady_rate_for_ever(buckets: &TokenBuckets) {
    assert_eq!(served(buckets, NOW), 10);
    for second in 1..=3_600 {
        assert_eq!(served(buckets, after(second)), 1, "second {second}");
    }
    assert_eq!(served(buckets, after(7_200)), 10, "never more than a burst");
    assert_eq!(buckets.take("bob", RATE, after(7_200)), Ok(()));
}

fn what_is_refused_takes_nothing_and_is_told_how_long_to_wait(buckets: &TokenBuckets) {
    assert_eq!(served(buckets, NOW), 10);
    let wait = |ms| Err(Wait(Duration::from_millis(ms)));
    assert_eq!(buckets.take("ann", RATE, NOW), wait(1_000));
    let later = NOW + Duration::from_millis(700);
    assert_eq!(buckets.take("ann", RATE, later), wait(300));
    assert_eq!(buckets.take("ann", RATE, after(1)), Ok(()));
}

fn a_look_takes_nothing(buckets: &TokenBuckets) {
    for _ in 0..20 {
        assert_eq!(buckets.check("ann", RATE, NOW), Ok(()));
    }
    assert_eq!(served(buckets, NOW), 10);
    assert!(buckets.check("ann", RATE, NOW).is_err());
    assert_eq!(buckets.check("ann", RATE, after(1)), Ok(()));
}

fn what_was_done_already_is_repaid_first(buckets: &TokenBuckets) {
    for _ in 0..15 {
        buckets.spend("ann", RATE, NOW);
    }
    assert!(buckets.check("ann", RATE, after(5)).is_err());
    assert_eq!(served(buckets, after(6)), 1);
}

fn a_reserve_is_for_others(buckets: &TokenBuckets) {
    let greedy = |now| {
        (0..100)
            .filter(|_| buckets.take_above(4, "ann", RATE, now).is_ok())
            .count()
    };
    assert_eq!(greedy(NOW), 6);
    assert_eq!(served(buckets, NOW), 4);
    assert_eq!(greedy(after(4)), 0);
    assert_eq!(greedy(after(5)), 1);
}

fn zero_means_no_limit(buckets: &TokenBuckets) {
    let rate = Rate { max: 0, ..RATE };
    for _ in 0..1_000 {
        assert_eq!(buckets.take("ann", rate, NOW), Ok(()));
    }
}

#[tokio::test]
async fn what_one_process_gives_the_others_do_not_give_again() {
    let Some([one, other]) = processes() else {
        return;
    };
    assert_eq!(served(&one, NOW), 10);
    one.share(NOW).await.unwrap();
    // It has not heard of it before it shares itself; that much can be given too much, once.
    assert_eq!(served(&other, NOW), 10);
    other.share(NOW).await.unwrap();
    assert_eq!(served(&other, after(10)), 0, "both bursts are repaid first");
    assert_eq!(served(&other, after(11)), 1);
    other.share(after(11)).await.unwrap();
    one.spend("ann", RATE, after(11));
    // What leaves most of a bucket is told a little later.
    one.share(after(16)).await.unwrap();
    assert_eq!(served(&one, after(16)), 4);
}

#[tokio::test]
async fn whoever_goes_from_process_to_process_gets_no_more_in_the_long_run() {
    let Some(processes) = processes::<3>() else {
        return;
    };
    let mut served_in_all = 0;
    for second in 0..600 {
        for process in &processes {
            served_in_all += served(process, after(second));
            process.share(after(second)).await.unwrap();
        }
    }
    // A token a second, and a burst of each process.
    assert!(
        (600..=630).contains(&served_in_all),
        "{served_in_all} in ten minutes"
    );
}

#[tokio::test]
async fn what_is_taken_rarely_is_shared_rarely() {
    let Some([one, early, late]) = processes() else {
        return;
    };
    // Takes half of a bucket, which is shared at once, and looks how much is left then.
    let left_for = async |process: &TokenBuckets, now| {
        for _ in 0..5 {
            process.take("ann", RATE, now).unwrap();
        }
        process.share(now).await.unwrap();
        served(process, now)
    };
    one.take("ann", RATE, NOW).unwrap();
    one.share(NOW).await.unwrap();
    assert_eq!(left_for(&early, NOW).await, 5, "a token is kept back");
    one.share(after(5)).await.unwrap();
    assert_eq!(left_for(&late, after(5)).await, 4, "and told 5 s later");
}

#[tokio::test]
async fn without_redis_each_process_counts_by_itself() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}", free.local_addr().unwrap());
    drop(free);
    let url = RedisUrl::parse(&Secret::new(&url), None).unwrap();
    let buckets = Arc::new(TokenBuckets::shared(Redis::new(&url), "test"));
    assert_eq!(served(&buckets, NOW), 10);
    assert!(buckets.share(NOW).await.is_err());
    assert_eq!(served(&buckets, after(1)), 1);
}
