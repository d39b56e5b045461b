//! How soon a ping is answered while the gateways are busy with others: clients set their clocks by it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    client::{Client, micros},
    fleet::Fleet,
    program::Program,
    scenario::Waits,
};

/// How often each connection asks.
const EVERY: Duration = Duration::from_millis(100);

/// How soon pings were answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pongs {
    /// From when the gateway had read a ping until it wrote its answer, as it says itself in the answer.
    pub(crate) inside: Waits,
    /// From here to there and back.
    pub(crate) round_trips: Waits,
    /// Milliseconds within which 99 of 100 were written, the write included: an upper bound, from the gateways' metrics.
    pub(crate) written_ms: f64,
}

#[derive(Default)]
struct Tally {
    inside: Vec<u32>,
    round_trips: Vec<u32>,
}

/// Connections that are in no room and only ask.
pub(crate) struct Pingers {
    asking: JoinSet<anyhow::Result<()>>,
    tally: Arc<Mutex<Tally>>,
}

impl Pingers {
    /// `many` connections, of users from `first` on, spread over the gateways, ask for `time` from now on.
    pub(crate) async fn start(
        fleet: &Fleet,
        first: usize,
        many: usize,
        time: Duration,
    ) -> anyhow::Result<Self> {
        let clients = crate::at_once(many, 0..many, |at| async move {
            Client::connect(fleet.address(at), &fleet.people.token(first + at)?).await
        })
        .await?;
        let tally = Arc::<Mutex<Tally>>::default();
        let mut asking = JoinSet::new();
        for (at, mut client) in (0..).zip(clients) {
            let tally = tally.clone();
            // Evenly over the interval: none waits for the others.
            let delay = EVERY * at / u32::try_from(many)?;
            asking.spawn(async move {
                sleep(delay).await;
                let mut ticks = interval(EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for _ in 0..time.as_millis() / EVERY.as_millis() {
                    ticks.tick().await;
                    let begin = Instant::now();
                    let answer = client
                        .ask("ping", &json!({ "client_time_ms": 0.5 }), "pong")
                        .await?;
                    let round_trip = begin.elapsed();
                    let inside = at_ms(&answer, "sent_ms")? - at_ms(&answer, "received_ms")?;
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.inside.push(micros(inside / 1e3));
                    tally.round_trips.push(micros(round_trip.as_secs_f64()));
                }
                Ok(())
            });
        }
        Ok(Self { asking, tally })
    }

    /// Waits until all have asked as often as they were to.
    pub(crate) async fn end(mut self, fleet: &Fleet) -> anyhow::Result<Pongs> {
        while let Some(asked) = self.asking.join_next().await {
            asked?.context("who pinged was cut off")?;
        }
        let tally = std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Pongs {
            inside: Waits::from(tally.inside),
            round_trips: Waits::from(tally.round_trips),
            written_ms: written_ms(&fleet.gateways).await?,
        })
    }
}

fn at_ms(answer: &Value, what: &str) -> anyhow::Result<f64> {
    let at = answer[what].as_f64();
    at.with_context(|| format!("a pong without {what}: {answer}"))
}

/// The bound below which 99 of 100 lie in the gateways' own histogram.
async fn written_ms(gateways: &[Program]) -> anyhow::Result<f64> {
    let mut buckets = Vec::<(f64, f64)>::new();
    for gateway in gateways {
        let metrics = gateway.metrics().await?;
        let found = metrics.lines().filter_map(|line| {
            let (le, count) = line
                .strip_prefix("tutti_gateway_pong_seconds_bucket{le=\"")?
                .split_once("\"} ")?;
            // The last bound is `+Inf`, which is a number too.
            Some((le.parse::<f64>().ok()?, count.parse::<f64>().ok()?))
        });
        for (at, (le, count)) in found.enumerate() {
            match buckets.get_mut(at) {
                Some(bucket) => bucket.1 += count,
                None => buckets.push((le, count)),
            }
        }
    }
    let (_, all) = buckets.last().context("no pongs in the metrics")?;
    let bound = buckets.iter().find(|(_, count)| *count >= all * 0.99);
    Ok(bound.context("no pongs in the metrics")?.0 * 1e3)
}
