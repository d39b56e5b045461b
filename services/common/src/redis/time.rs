//! Going by Redis's clock. Those of machines differ by what NTP leaves, or by much more where it has failed; what
//! all processes of a cluster share is Redis.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{DEADLINE, NoAnswer, Redis, Script};
use crate::{
    clock::{AgreedClock, Look, Looks, is_far, slewed},
    shutdown::Shutdown,
};

/// Nothing is there: the slot it is in says which node of a cluster is asked.
const KEY: &str = "tutti:{clock}";

/// How many looks at Redis's clock set ours.
const BURST: usize = 8;

/// How often to look from then on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How much a machine's clock goes ahead of the time that has passed, within [`LOOK_EVERY`], when it is set. What is
/// less may be this process, waiting for its turn between the two.
const SET_MS: f64 = 50.0;

/// Keeps a process's clock at Redis's.
pub struct TimeKeeper {
    redis: Redis,
    clock: Arc<AgreedClock>,
    script: Script,
    begun: Instant,
    /// How far the machine's clock was ahead of the time that had passed since, when last seen.
    machine_ahead_ms: f64,
    looks: Looks,
}

impl TimeKeeper {
    /// Does nothing yet.
    #[must_use]
    pub fn new(redis: Redis, clock: Arc<AgreedClock>) -> Self {
        Self {
            redis,
            begun: Instant::now(),
            machine_ahead_ms: clock.machine_ms(),
            clock,
            // A script has a key, and so goes where that is now.
            script: Script::new("clock", "return redis.call('TIME')"),
            looks: Looks::default(),
        }
    }

    /// Sets the clock, in no more time than a call of Redis has.
    pub async fn set(&mut self) -> Result<(), NoAnswer> {
        let burst = timeout(DEADLINE, self.burst()).await;
        let Some(offset_ms) = self.looks.offset_ms(Instant::now()) else {
            return burst.unwrap_or(Err(NoAnswer::Late));
        };
        self.follow(offset_ms);
        Ok(())
    }

    /// Whether the clock was set.
    #[must_use]
    pub fn has_set(&self) -> bool {
        self.looks.offset_ms(Instant::now()).is_some()
    }

    /// Keeps it there. While Redis is away it goes on as it went before.
    pub async fn keep(mut self, shutdown: Shutdown) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.ending() => return,
            }
            // Whoever needs Redis says that it is away.
            if self.has_set() {
                let _ = self.look().await;
            }
            if self.machine_was_set() {
                tracing::warn!("this machine's clock was set");
                self.looks.clear();
            }
            let Some(offset_ms) = self.looks.offset_ms(Instant::now()) else {
                let _ = self.set().await;
                continue;
            };
            // All processes go the same way.
            let next_ms = slewed(self.clock.offset_ms(), offset_ms, LOOK_EVERY);
            self.follow(next_ms);
        }
    }

    async fn burst(&mut self) -> Result<(), NoAnswer> {
        for _ in 0..BURST {
            self.look().await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), NoAnswer> {
        let (asked, asked_ms) = (Instant::now(), self.clock.machine_ms());
        let (seconds, micros) = self
            .redis
            .run::<(f64, f64)>(&self.script, &[KEY], None::<&str>)
            .await?;
        let at = Instant::now();
        let round_trip_ms = at.duration_since(asked).as_secs_f64() * 1_000.0;
        self.looks.add(Look {
            at,
            offset_ms: seconds * 1_000.0 + micros / 1_000.0 - asked_ms - round_trip_ms / 2.0,
            round_trip_ms,
        });
        Ok(())
    }

    /// Whether the machine's clock was set since this was last asked, or the machine has slept.
    fn machine_was_set(&mut self) -> bool {
        let passed_ms = self.begun.elapsed().as_secs_f64() * 1_000.0;
        let ahead_ms = self.clock.machine_ms() - passed_ms;
        let before_ms = std::mem::replace(&mut self.machine_ahead_ms, ahead_ms);
        (ahead_ms - before_ms).abs() > SET_MS
    }

    fn follow(&self, offset_ms: f64) {
        if is_far(self.clock.offset_ms(), offset_ms) {
            tracing::warn!(
                offset_ms,
                "the clocks of this machine and of Redis are far apart: from now on it is Redis's"
            );
        }
        self.clock.set_offset_ms(offset_ms);
        metrics::gauge!("tutti_clock_offset_seconds").set(offset_ms / 1_000.0);
    }
}
