//! Redis: one server, the master that Sentinels name, or a cluster. Which of them it is, a caller need not know.
//!
//! Every call has a deadline, is measured and is a span of the trace. A call that was not answered may have been
//! done; only what Redis has refused to do is tried again here.

mod bus;
mod cluster;
mod link;
mod names;
mod script;
mod sentinel;
mod time;
mod url;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs, Value};
use tokio::time::{Instant as Moment, sleep, timeout_at};
use tracing::Instrument as _;

pub use self::{
    bus::{Bus, Heard},
    names::{PREFIX, room_channel},
    script::Script,
    time::TimeKeeper,
    url::{RedisUrl, Unusable},
};
use self::{
    cluster::{Cluster, slot_of},
    link::{Link, Target},
    sentinel::Sentinels,
};

/// How long Redis may take for anything.
pub const DEADLINE: Duration = Duration::from_secs(1);

/// How long to wait before Redis is asked again for what it could not do yet.
const AGAIN: Duration = Duration::from_millis(20);

/// How many commands are sent at once at most.
const BATCH: usize = 1_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It may have been done.
    #[error("Redis does not answer in time")]
    Late,
    /// It refused, cannot be reached, or the connection was lost meanwhile.
    #[error("Redis: {0}")]
    Failed(#[from] redis::RedisError),
    /// The subscription has ended.
    #[error("nobody listens to Redis any more")]
    Over,
}

/// A way to Redis that all its clones share. It is connected to when it is first asked, and again whenever a
/// connection is lost.
#[derive(Clone)]
pub struct Redis {
    engine: Arc<Engine>,
}

enum Engine {
    /// One server, or the one that is master.
    One(Arc<Link>),
    Cluster(Box<Cluster>),
}

/// Where a channel is heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Wherever commands go.
    Master,
    /// At one node of a cluster.
    Node(url::Node),
}

/// What to do about an error.
enum Next {
    /// It was done or is lost: that is for the caller.
    Tell,
    /// It was not done; the place is known better by now.
    AtOnce,
    /// It was not done: ask that node, once.
    Ask(url::Node),
    /// It was not done and will be possible soon.
    Soon,
}

impl Redis {
    /// The Redis at `url`. Connects to nothing yet.
    #[must_use]
    pub fn new(url: &RedisUrl) -> Self {
        let engine = match url.kind() {
            url::Kind::Server(node) => {
                let client = url.access().client(node);
                Engine::One(Arc::new(Link::new(Target::Node(client))))
            }
            url::Kind::Sentinels { sentinels, master } => {
                let sentinels = Sentinels::new(url.access().clone(), sentinels.clone(), master);
                Engine::One(Arc::new(Link::new(Target::Master(sentinels))))
            }
            url::Kind::Cluster(seeds) => {
                Engine::Cluster(Box::new(Cluster::new(url.access().clone(), seeds.clone())))
            }
        };
        Self {
            engine: Arc::new(engine),
        }
    }

    /// What publishes: on a cluster only to those who listen at the channel's slot.
    #[must_use]
    pub fn publish_command(&self) -> &'static str {
        match *self.engine {
            Engine::One(_) => "PUBLISH",
            Engine::Cluster(_) => "SPUBLISH",
        }
    }

    /// Sends one command, whose first argument is its only key. `call` is its name in metrics and traces.
    pub async fn ask<T: FromRedisValue>(
        &self,
        call: &'static str,
        command: &Cmd,
    ) -> Result<T, NoAnswer> {
        measured(call, async |until| {
            let answer = self.send(command, slot_of_command(command), until).await?;
            Ok(redis::from_redis_value(answer).map_err(redis::RedisError::from)?)
        })
        .await
    }

    /// Sends many commands together that need not be done together: each has one key, and some may be done where others
    /// fail. Answers in their order.
    pub async fn ask_all<T: FromRedisValue>(
        &self,
        call: &'static str,
        commands: &[Cmd],
    ) -> Result<Vec<T>, NoAnswer> {
        let mut answers = Vec::with_capacity(commands.len());
        for batch in commands.chunks(BATCH) {
            let found = measured(call, async |until| self.send_all(batch, until).await).await?;
            for answer in found {
                let answer = redis::from_redis_value(answer).map_err(redis::RedisError::from)?;
                answers.push(answer);
            }
        }
        Ok(answers)
    }

    /// Runs a script on keys of one slot.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[impl AsRef<str>],
        args: impl ToRedisArgs,
    ) -> Result<T, NoAnswer> {
        measured(script.name(), async |until| {
            let slot = keys.first().map(|key| slot_of(key.as_ref().as_bytes()));
            let answer = match self.send(&script.by_hash(keys, &args), slot, until).await {
                Err(NoAnswer::Failed(error))
                    if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
                {
                    self.send(&script.in_full(keys, &args), slot, until).await?
                }
                answer => answer?,
            };
            Ok(redis::from_redis_value(answer).map_err(redis::RedisError::from)?)
        })
        .await
    }

    /// Sends a command to where its slot is, again and again while Redis refuses for the moment.
    async fn send(
        &self,
        command: &Cmd,
        slot: Option<u16>,
        until: Moment,
    ) -> Result<Value, NoAnswer> {
        let mut instead = None;
        let mut has_moved = false;
        loop {
            let answer = match instead.take() {
                None => match self.link(slot, until).await {
                    Ok(link) => link.send(command, until).await,
                    Err(error) => Err(error),
                },
                Some(node) => self.link_to(&node).send_asking(command, until).await,
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(NoAnswer::Failed(error)) => error,
                Err(other) => {
                    self.suspect();
                    return Err(other);
                }
            };
            match self.heed(&error) {
                Next::Tell => return Err(error.into()),
                Next::AtOnce if !std::mem::replace(&mut has_moved, true) => {}
                Next::Ask(node) => instead = Some(node),
                // Nodes that do not agree yet send one back and forth.
                Next::AtOnce | Next::Soon => {
                    if until.saturating_duration_since(Moment::now()) <= AGAIN {
                        return Err(error.into());
                    }
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Sends what goes to the same place in one piece.
    async fn send_all(&self, commands: &[Cmd], until: Moment) -> Result<Vec<Value>, NoAnswer> {
        // As many as there are nodes.
        let mut pieces = Vec::<(Arc<Link>, Vec<usize>)>::new();
        for (index, command) in commands.iter().enumerate() {
            let link = self.link(slot_of_command(command), until).await?;
            match pieces
                .iter_mut()
                .find(|(other, _)| Arc::ptr_eq(other, &link))
            {
                Some((_, indexes)) => indexes.push(index),
                None => pieces.push((link, vec![index])),
            }
        }
        let sent = join_all(pieces.into_iter().map(|(link, indexes)| async move {
            let mut pipeline = redis::Pipeline::with_capacity(indexes.len());
            for &index in &indexes {
                pipeline.add_command(commands[index].clone());
            }
            let answers = link.send_pipeline(&pipeline, until).await;
            (indexes, answers)
        }))
        .await;
        let mut found = vec![Value::Nil; commands.len()];
        for (indexes, answers) in sent {
            let answers = answers.inspect_err(|_| self.suspect())?;
            for (index, answer) in indexes.into_iter().zip(answers) {
                found[index] = match answer.extract_error() {
                    Ok(answer) => answer,
                    Err(error) if matches!(self.heed(&error), Next::Tell) => {
                        return Err(error.into());
                    }
                    // This one was not done.
                    Err(_) => {
                        let command = &commands[index];
                        self.send(command, slot_of_command(command), until).await?
                    }
                };
            }
        }
        Ok(found)
    }

    async fn link(&self, slot: Option<u16>, until: Moment) -> Result<Arc<Link>, NoAnswer> {
        match &*self.engine {
            Engine::One(link) => Ok(link.clone()),
            Engine::Cluster(cluster) => cluster.link(slot, until).await,
        }
    }

    fn link_to(&self, node: &url::Node) -> Arc<Link> {
        match &*self.engine {
            Engine::One(link) => link.clone(),
            Engine::Cluster(cluster) => cluster.link_to(node),
        }
    }

    /// Something does not answer: somebody else may be in its place by now.
    fn suspect(&self) {
        if let Engine::Cluster(cluster) = &*self.engine {
            cluster.suspect();
        }
    }

    /// Learns from an error what there is to learn.
    fn heed(&self, error: &redis::RedisError) -> Next {
        let ErrorKind::Server(kind) = error.kind() else {
            self.suspect();
            return Next::Tell;
        };
        match (kind, &*self.engine) {
            (ServerErrorKind::Moved, Engine::Cluster(cluster)) => {
                if let Some((node, slot)) = moved_to(error) {
                    cluster.moved(slot, node);
                    Next::AtOnce
                } else {
                    cluster.suspect();
                    Next::Soon
                }
            }
            (ServerErrorKind::Ask, Engine::Cluster(_)) => {
                moved_to(error).map_or(Next::Soon, |(node, _)| Next::Ask(node))
            }
            // It was master; who is it now?
            (ServerErrorKind::ReadOnly, Engine::One(link)) => {
                link.renew();
                Next::Soon
            }
            (
                ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading,
                _,
            ) => {
                self.suspect();
                Next::Soon
            }
            _ => Next::Tell,
        }
    }

    /// Where a channel is heard.
    async fn place_of(&self, channel: &str, until: Moment) -> Result<Place, NoAnswer> {
        match &*self.engine {
            Engine::One(_) => Ok(Place::Master),
            Engine::Cluster(cluster) => {
                let slot = slot_of(channel.as_bytes());
                Ok(Place::Node(cluster.node(slot, until).await?))
            }
        }
    }

    /// A connection of one's own, for what a shared one cannot do.
    async fn connect(
        &self,
        place: &Place,
        config: &redis::AsyncConnectionConfig,
    ) -> RedisResult<redis::aio::MultiplexedConnection> {
        match (&*self.engine, place) {
            (Engine::Cluster(cluster), Place::Node(node)) => {
                cluster.link_to(node).target().connect(config).await
            }
            (Engine::One(link), _) => link.target().connect(config).await,
            (Engine::Cluster(_), Place::Master) => Err((
                ErrorKind::InvalidClientConfig,
                "a cluster has more than one master",
            )
                .into()),
        }
    }
}

/// The node and the slot that an error names.
fn moved_to(error: &redis::RedisError) -> Option<(url::Node, u16)> {
    let (address, slot) = error.redirect_node()?;
    Some((url::Node::parse(address, 0)?, slot))
}

fn slot_of_command(command: &Cmd) -> Option<u16> {
    match command.args_iter().nth(1) {
        Some(redis::Arg::Simple(key)) => Some(slot_of(key)),
        _ => None,
    }
}

/// Names, measures and limits a call.
async fn measured<T>(
    call: &'static str,
    work: impl AsyncFnOnce(Moment) -> Result<T, NoAnswer>,
) -> Result<T, NoAnswer> {
    let span = tracing::info_span!(
        "redis",
        otel.name = format!("redis {call}"),
        otel.kind = "client",
        db.system.name = "redis"
    );
    let begun = Instant::now();
    let until = Moment::now() + DEADLINE;
    let answer = timeout_at(until, work(until)).instrument(span).await;
    metrics::histogram!("tutti_redis_seconds", "call" => call)
        .record(begun.elapsed().as_secs_f64());
    answer.unwrap_or(Err(NoAnswer::Late))
}
