//! Going by Redis's clock on machines whose own are wrong. Told where `TEST_REDIS_URL` is set, on servers of its own.

mod servers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use servers::{Cluster, Sentinels, Server, eventually, redis_at};
use tokio::net::TcpListener;
use tutti_common::{
    clock::{AgreedClock, Clock, SystemClock, UnixMs},
    redis::TimeKeeper,
    shutdown::Shutdown,
};

/// What two reads of a clock may be apart on a busy machine; clocks here are wrong by much more.
const CLOSE_MS: f64 = 100.0;

/// A clock that goes on like this machine's, which is Redis's, too, and by how many milliseconds it is ahead.
struct Wrong(AtomicI64);

impl Wrong {
    fn by(ms: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(ms)))
    }
}

impl Clock for Wrong {
    fn now(&self) -> UnixMs {
        UnixMs(SystemClock.now().0 + self.0.load(SeqCst))
    }
}

/// How far it is from Redis's.
fn off_ms(clock: &AgreedClock) -> f64 {
    (clock.precise_ms() - SystemClock.precise_ms()).abs()
}

async fn sets_it(url: &str) {
    for wrong_ms in [3_000, -3_000, 3_600_000] {
        let clock = AgreedClock::new(Wrong::by(wrong_ms));
        let mut time = TimeKeeper::new(redis_at(url), clock.clone());
        assert!(!time.has_set());
        assert!(off_ms(&clock) > 2_000.0);
        time.set().await.unwrap();
        assert!(time.has_set());
        assert!(off_ms(&clock) < CLOSE_MS, "{}", off_ms(&clock));
    }
}

#[tokio::test]
async fn a_wrong_clock_is_set_before_anything_is_done_by_it() {
    if let Some(server) = Server::start().await {
        sets_it(&server.url()).await;
    }
    if let Some(sentinels) = Sentinels::start().await {
        sets_it(&sentinels.url()).await;
    }
    if let Some(cluster) = Cluster::start().await {
        sets_it(&cluster.url()).await;
    }
}

/// A process that keeps its clock at that of the Redis at `url`, until `shutdown`. Its machine's clock is `machine`.
async fn process(url: &str, machine: &Arc<Wrong>, shutdown: &Shutdown) -> Arc<AgreedClock> {
    let clock = AgreedClock::new(machine.clone());
    let mut time = TimeKeeper::new(redis_at(url), clock.clone());
    time.set().await.unwrap();
    shutdown.spawn(time.keep(shutdown.clone()));
    clock
}

/// By how many milliseconds is added to Redis's clock.
async fn kept_ms(server: &Server) -> Option<f64> {
    let ahead = server.say::<Option<f64>>(&["HGET", "tutti:{clock}", "ahead"]);
    ahead.await.map(|ahead_us| ahead_us / 1_000.0)
}

/// How often processes have found the time to be right.
async fn confirmations(server: &Server) -> u64 {
    let confirmed = server.say::<Option<u64>>(&["HGET", "tutti:{clock}", "confirmed"]);
    confirmed.await.unwrap_or_default()
}

/// No machine's clock is ever set; so if those of all go ahead of Redis's by as much, it is Redis's that was set back.
#[tokio::test]
async fn the_time_goes_on_when_redis_is_set_and_emptied_and_who_starts_then_agrees() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (machine, shutdown) = (Wrong::by(0), Shutdown::new());
    let one = process(&server.url(), &machine, &shutdown).await;
    let other = process(&server.url(), &machine, &shutdown).await;
    for redis_back_ms in [700_i32, 120_000] {
        machine.0.store(redis_back_ms.into(), SeqCst);
        let redis_back_ms = f64::from(redis_back_ms);
        let is_close = |ms: f64| (ms - redis_back_ms).abs() < CLOSE_MS;
        let ahead_ms = |clock: &AgreedClock| clock.precise_ms() - SystemClock.precise_ms();
        eventually(async || {
            let all = [ahead_ms(&one), ahead_ms(&other)];
            assert!(
                all.into_iter().all(is_close),
                "{all:?}, not {redis_back_ms}"
            );
            kept_ms(&server).await.is_some_and(is_close)
        })
        .await;
        // Neither looks again before a second has passed: what is lost is found missing by then.
        let lost = server.say::<redis::Value>(&["FLUSHALL"]).await;
        assert_eq!(lost, redis::Value::Okay);
        let late = process(&server.url(), &machine, &shutdown).await;
        eventually(async || {
            let all = [ahead_ms(&one), ahead_ms(&other)];
            assert!(
                all.into_iter().all(is_close),
                "{all:?}, not {redis_back_ms}"
            );
            kept_ms(&server).await.is_some_and(is_close) && is_close(ahead_ms(&late))
        })
        .await;
        // Each has looked since, and so knows what was agreed on.
        eventually(async || confirmations(&server).await >= 3).await;
    }
    assert!(shutdown.finish(Duration::from_secs(2)).await);
}

#[tokio::test]
async fn a_machine_that_stood_still_follows_those_that_did_not() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (machine, still, shutdown) = (Wrong::by(0), Wrong::by(0), Shutdown::new());
    let others = process(&server.url(), &machine, &shutdown).await;
    let clock = process(&server.url(), &still, &shutdown).await;
    // Somebody has to vouch for the time first.
    eventually(async || confirmations(&server).await > 0).await;
    still.0.store(-30_000, SeqCst);
    eventually(async || {
        assert!(off_ms(&others) < CLOSE_MS);
        off_ms(&clock) < CLOSE_MS
    })
    .await;
    assert_eq!(kept_ms(&server).await, Some(0.0));
    assert!(shutdown.finish(Duration::from_secs(2)).await);
}

#[tokio::test]
async fn it_goes_on_while_redis_is_away() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let (machine, shutdown) = (Wrong::by(1_300), Shutdown::new());
    let clock = process(&server.url(), &machine, &shutdown).await;
    let began = server
        .say::<String>(&["HGET", "tutti:{clock}", "since"])
        .await;
    server.kill();
    assert!(off_ms(&clock) < CLOSE_MS);
    server.run().await;
    eventually(async || {
        assert!(off_ms(&clock) < CLOSE_MS);
        let since = server.say::<Option<String>>(&["HGET", "tutti:{clock}", "since"]);
        since.await.is_some_and(|since| since == began)
    })
    .await;
    assert!(shutdown.finish(Duration::from_secs(2)).await);
}

#[tokio::test]
async fn whoever_starts_without_redis_does_not_wait_long_and_is_set_when_it_comes() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    // It takes connections and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = format!("redis://{}", mute.local_addr().unwrap());
    server.kill();
    for url in [mute, server.url()] {
        let clock = AgreedClock::new(Wrong::by(3_000));
        let mut time = TimeKeeper::new(redis_at(&url), clock.clone());
        let begun = Instant::now();
        assert!(time.set().await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert!(!time.has_set());
        assert!(off_ms(&clock) > 2_000.0, "nobody can know");
        if url == server.url() {
            let shutdown = Shutdown::new();
            shutdown.spawn(time.keep(shutdown.clone()));
            server.run().await;
            eventually(async || off_ms(&clock) < CLOSE_MS).await;
            assert!(shutdown.finish(Duration::from_secs(2)).await);
        }
    }
}
