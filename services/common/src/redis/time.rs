//! Going by Redis's clock. Those of machines differ by what NTP leaves, or by much more where it has failed; what
//! all processes of a cluster share is Redis. What is kept beside its clock makes up for its being set.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{DEADLINE, NoAnswer, Redis, Script};
use crate::{
    clock::{
        AgreedClock, Agreement, Answer, Event, Lineage, Proposal, STEP_MS, is_far, report_offset,
        slewed,
    },
    shutdown::Shutdown,
};

/// What is to be added to Redis's clock. The slot it is in says which node of a cluster is asked for the time.
const KEY: &str = "tutti:{clock}";

/// How many looks at Redis's clock set ours.
const BURST: usize = 8;

/// How often to look from then on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Seconds and microseconds of Redis's clock; since, serial and ahead of the lineage; how often that was confirmed.
type Looked = (i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

/// Keeps a process's clock at Redis's.
pub struct TimeKeeper {
    redis: Redis,
    clock: Arc<AgreedClock>,
    look: Script,
    agree: Script,
    agreement: Agreement,
}

impl TimeKeeper {
    /// Does nothing yet. The clock's machine must be one that nobody sets.
    #[must_use]
    pub fn new(redis: Redis, clock: Arc<AgreedClock>) -> Self {
        Self {
            redis,
            clock,
            look: Script::new("clock", include_str!("look.lua")),
            agree: Script::new("agree_on_clock", include_str!("agree.lua")),
            agreement: Agreement::default(),
        }
    }

    /// Sets the clock, in no more time than a call of Redis has.
    pub async fn set(&mut self) -> Result<(), NoAnswer> {
        let burst = timeout(DEADLINE, self.burst()).await;
        let Some(offset_ms) = self.offset_ms() else {
            return burst.unwrap_or(Err(NoAnswer::Late));
        };
        self.follow(offset_ms);
        Ok(())
    }

    /// Whether the clock was set.
    #[must_use]
    pub fn has_set(&self) -> bool {
        self.offset_ms().is_some()
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
            if !self.has_set() {
                let _ = self.set().await;
                continue;
            }
            // Whoever needs Redis says that it is away.
            let is_other_time = self.look().await.unwrap_or(false);
            let Some(offset_ms) = self.offset_ms() else {
                continue;
            };
            self.follow(if is_other_time {
                offset_ms
            } else {
                // All processes go the same way.
                slewed(self.clock.offset_ms(), offset_ms, LOOK_EVERY)
            });
        }
    }

    fn offset_ms(&self) -> Option<f64> {
        self.agreement.offset_ms(self.clock.machine_ms())
    }

    async fn burst(&mut self) -> Result<(), NoAnswer> {
        for _ in 0..BURST {
            self.look().await?;
        }
        Ok(())
    }

    /// Looks once. Returns whether another time counts from now on, which is to be followed at once.
    async fn look(&mut self) -> Result<bool, NoAnswer> {
        let asked_ms = self.clock.machine_ms();
        let vouched = self.agreement.vouches_for_us(asked_ms);
        let vouched = vouched.map_or_else(String::new, |us| us.to_string());
        let within_us = (STEP_MS * 1_000.0).to_string();
        let (seconds, micros, since, serial, ahead, confirmed) = self
            .redis
            .run::<Looked>(&self.look, &[KEY], &[vouched, within_us])
            .await?;
        let lineage = since.zip(serial).zip(ahead);
        let heard = self.agreement.hear(&Answer {
            asked_ms,
            answered_ms: self.clock.machine_ms(),
            redis_us: seconds * 1_000_000 + micros,
            lineage: lineage.map(|((since_us, serial), ahead_us)| Lineage {
                since_us,
                serial,
                ahead_us,
            }),
            confirmed: confirmed.unwrap_or_default(),
        });
        if let Some(proposal) = &heard.proposal {
            self.propose(proposal).await?;
        }
        match heard.event {
            Some(Event::WasLeftBehind) => tracing::warn!(
                "this machine stood still, and so did its clock: it goes by the others' time again"
            ),
            Some(Event::OthersAgreedOtherwise) => {
                tracing::warn!("the other processes have agreed on another time, which counts now");
            }
            None => {}
        }
        Ok(heard.event.is_some())
    }

    async fn propose(&mut self, proposal: &Proposal) -> Result<(), NoAnswer> {
        let number = |number: Option<i64>| number.map_or_else(String::new, |one| one.to_string());
        let expected = proposal.expected;
        let args = [
            number(expected.map(|lineage| lineage.since_us)),
            number(expected.map(|lineage| lineage.serial)),
            proposal.lineage.since_us.to_string(),
            proposal.lineage.serial.to_string(),
            proposal.lineage.ahead_us.to_string(),
        ];
        let is_written = self.redis.run::<bool>(&self.agree, &[KEY], &args).await?;
        if is_written {
            self.agreement.written(proposal);
            if let Some(set_by_ms) = proposal.set_by_ms {
                tracing::warn!(
                    set_by_s = set_by_ms / 1_000.0,
                    "Redis's clock was set {}, or another server has taken over: songs go on by the time before",
                    if set_by_ms > 0.0 { "forward" } else { "back" },
                );
            }
        }
        Ok(())
    }

    fn follow(&self, offset_ms: f64) {
        if is_far(self.clock.offset_ms(), offset_ms) {
            tracing::warn!(
                offset_ms,
                "this machine's clock is far from the agreed time, which this process goes by"
            );
        }
        self.clock.set_offset_ms(offset_ms);
        report_offset(&self.clock);
        metrics::gauge!("tutti_clock_redis_offset_seconds")
            .set(self.agreement.ahead_ms() / 1_000.0);
    }
}
