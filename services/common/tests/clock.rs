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

/// This machine's clock, which is Redis's, too, and by how many milliseconds it is taken to be wrong.
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

#[tokio::test]
async fn it_stays_right_when_the_machines_is_set_and_when_redis_is_away() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let (machine, shutdown) = (Wrong::by(0), Shutdown::new());
    let clock = AgreedClock::new(machine.clone());
    let mut time = TimeKeeper::new(redis_at(&server.url()), clock.clone());
    time.set().await.unwrap();
    shutdown.spawn(time.keep(shutdown.clone()));
    // Less than what is put right at once: slowly it would take the better part of an hour.
    machine.0.store(-700, SeqCst);
    assert!(off_ms(&clock) > 500.0);
    eventually(async || off_ms(&clock) < CLOSE_MS).await;

    server.kill();
    machine.0.store(1_300, SeqCst);
    assert!(off_ms(&clock) > 1_500.0, "nobody can know");
    server.run().await;
    eventually(async || off_ms(&clock) < CLOSE_MS).await;
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
