//! A connection that is made again after it was lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, PushInfo, PushKind, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{DEADLINE, NoAnswer, sentinel::Sentinels};

/// What to connect to.
pub(super) enum Target {
    Node(Client),
    Master(Sentinels),
}

impl Target {
    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        match self {
            Self::Node(client) => {
                client
                    .get_multiplexed_async_connection_with_config(config)
                    .await
            }
            Self::Master(sentinels) => sentinels.connect(config).await,
        }
    }
}

/// How connections are made, whatever for.
pub(super) fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(DEADLINE))
        // Each call has its own.
        .set_response_timeout(None)
}

/// A connection that many share.
pub(super) struct Link {
    target: Target,
    current: Mutex<Option<Current>>,
    /// Whether the present one is not to be used any more.
    is_lost: std::sync::Mutex<Arc<AtomicBool>>,
}

#[derive(Clone)]
struct Current {
    connection: MultiplexedConnection,
    is_lost: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            current: Mutex::new(None),
            is_lost: std::sync::Mutex::default(),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The next call makes a new connection.
    pub(super) fn renew(&self) {
        let is_lost = self.is_lost.lock();
        is_lost
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .store(true, Ordering::Relaxed);
    }

    /// The connection there is, or a new one: while one caller makes it the others wait.
    async fn current(&self) -> RedisResult<Current> {
        let mut current = self.current.lock().await;
        if let Some(current) = &*current
            && !current.is_lost.load(Ordering::Relaxed)
        {
            return Ok(current.clone());
        }
        if current.take().is_some() {
            metrics::counter!("tutti_redis_reconnects_total").increment(1);
        }
        let is_lost = Arc::<AtomicBool>::default();
        let lost = is_lost.clone();
        let config = config().set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                lost.store(true, Ordering::Relaxed);
            }
            Ok::<_, ()>(())
        });
        let new = Current {
            connection: self.target.connect(&config).await?,
            is_lost: is_lost.clone(),
        };
        *self
            .is_lost
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = is_lost;
        Ok(current.insert(new).clone())
    }

    async fn with_connection<T>(
        &self,
        until: Instant,
        call: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, NoAnswer> {
        let late = |_| NoAnswer::Late;
        let mut current = timeout_at(until, self.current()).await.map_err(late)??;
        let answer = timeout_at(until, call(&mut current.connection)).await;
        let is_usable = match &answer {
            // The peer may hang, and another one have its place.
            Err(_) => false,
            Ok(Err(error)) => !error.is_unrecoverable_error(),
            Ok(Ok(_)) => true,
        };
        if !is_usable {
            current.is_lost.store(true, Ordering::Relaxed);
        }
        Ok(answer.map_err(late)??)
    }

    pub(super) async fn send(&self, command: &Cmd, until: Instant) -> Result<Value, NoAnswer> {
        self.with_connection(until, async |connection| {
            command.query_async(connection).await
        })
        .await
    }

    /// Sends a command for a slot that is on its way here.
    pub(super) async fn send_asking(
        &self,
        command: &Cmd,
        until: Instant,
    ) -> Result<Value, NoAnswer> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore().add_command(command.clone());
        let (answer,) = self
            .with_connection(until, async |connection| {
                pipeline.query_async::<(Value,)>(connection).await
            })
            .await?;
        Ok(answer)
    }

    /// Sends commands together; an answer may be an error.
    pub(super) async fn send_pipeline(
        &self,
        pipeline: &Pipeline,
        until: Instant,
    ) -> Result<Vec<Value>, NoAnswer> {
        let count = pipeline.len();
        self.with_connection(until, async |connection| {
            connection.send_packed_commands(pipeline, 0, count).await
        })
        .await
    }
}
