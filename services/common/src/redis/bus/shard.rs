//! One connection that listens.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{Pipeline, PushInfo, PushKind, RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, error::Elapsed, interval, sleep, timeout},
};
use tokio_stream::wrappers::BroadcastStream;

use super::{CAPACITY, Feed, Feeds, Heard, Listener, UntilDropped};
use crate::redis::{BATCH, DEADLINE, NoAnswer, Place, Redis, link::config};

/// How often the connection is asked whether it lives: one that only listens would never find out.
const PULSE: Duration = Duration::from_secs(1);

/// How long to wait before a lost connection is made again.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) enum Order {
    Listen(Arc<str>, oneshot::Sender<Listener>),
    Hush(Arc<str>),
    /// A channel that was somewhere else, or is to be subscribed to anew.
    Adopt(Arc<str>),
}

/// Why the connection is to be made again.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("no answer in time")]
    Late(#[from] Elapsed),
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("the connection was closed")]
    Closed,
    #[error("a channel is somewhere else by now")]
    Moved,
}

pub(super) struct Shard {
    redis: Redis,
    place: Place,
    feeds: Feeds,
    /// Where a channel goes that is somewhere else, and where listeners say that they do not listen any more.
    elsewhere: mpsc::WeakUnboundedSender<super::Order>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// What is subscribed to here, or will be.
    channels: HashSet<Arc<str>>,
    /// What was unsubscribed from here, and Redis has not said so yet.
    leaving: HashSet<Arc<str>>,
}

/// The commands of this kind of Redis.
struct Words {
    subscribe: &'static str,
    unsubscribe: &'static str,
}

impl Shard {
    pub(super) fn new(
        redis: Redis,
        place: Place,
        feeds: Feeds,
        elsewhere: mpsc::WeakUnboundedSender<super::Order>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            redis,
            place,
            feeds,
            elsewhere,
            orders,
            channels: HashSet::new(),
            leaving: HashSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let Err(lost) = self.serve().await else {
                return;
            };
            metrics::counter!("tutti_redis_reconnects_total").increment(1);
            tracing::warn!(
                error = &lost as &dyn std::error::Error,
                "a subscription to Redis is lost"
            );
            sleep(AGAIN).await;
            self.redis.suspect();
            self.move_out().await;
            // Where all channels are somewhere else, the server may be gone for good.
            while self.channels.is_empty() {
                match self.orders.recv().await {
                    Some(Order::Listen(_, reply)) => {
                        // Whoever asked asks again, and may find another place.
                        drop(reply);
                        break;
                    }
                    Some(Order::Adopt(channel)) => drop(self.channels.insert(channel)),
                    Some(Order::Hush(channel)) => drop(self.forget_unheard(&channel)),
                    None => return,
                }
            }
        }
    }

    /// Gives away what is somewhere else by now.
    async fn move_out(&mut self) {
        let mut gone = Vec::new();
        for channel in &self.channels {
            let until = Instant::now() + DEADLINE;
            match self.redis.place_of(channel, until).await {
                Ok(place) if place == self.place => {}
                Ok(place) => gone.push((channel.clone(), place)),
                // It is as good to try here.
                Err(NoAnswer::Late | NoAnswer::Failed(_) | NoAnswer::Over) => return,
            }
        }
        for (channel, place) in gone {
            self.channels.remove(&channel);
            if let Some(elsewhere) = self.elsewhere.upgrade() {
                // An error means that this ends.
                let _ = elsewhere.send(super::Order::Move(channel, place));
            }
        }
    }

    /// Listens until the connection is lost, or, without an error, until nobody is there to listen for.
    async fn serve(&mut self) -> Result<(), Lost> {
        let (sender, mut pushed) = mpsc::unbounded_channel();
        let config = config().set_push_sender(sender);
        let connected = self.redis.connect(&self.place, &config);
        let mut connection = timeout(DEADLINE, connected).await??;
        self.leaving.clear();
        self.subscribe_again(&mut connection).await?;
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                push = pushed.recv() => {
                    self.deliver(&mut connection, push.ok_or(Lost::Closed)?).await?;
                }
                order = self.orders.recv() => match order {
                    Some(Order::Listen(channel, reply)) => {
                        self.add(&mut connection, channel, reply).await?;
                    }
                    Some(Order::Adopt(channel)) => self.adopt(&mut connection, channel).await?,
                    Some(Order::Hush(channel)) => self.hush(&mut connection, &channel).await?,
                    None => return Ok(()),
                },
                _ = pulse.tick() => {
                    let ping = redis::cmd("PING");
                    timeout(DEADLINE, ping.query_async::<Value>(&mut connection)).await??;
                }
            }
        }
    }

    fn words(&self) -> Words {
        match self.place {
            Place::Master => Words {
                subscribe: "SUBSCRIBE",
                unsubscribe: "UNSUBSCRIBE",
            },
            Place::Node(_) => Words {
                subscribe: "SSUBSCRIBE",
                unsubscribe: "SUNSUBSCRIBE",
            },
        }
    }

    /// What was published meanwhile is gone: everybody is told so.
    async fn subscribe_again(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), Lost> {
        {
            let mut feeds = self.feeds.lock();
            feeds.retain(|_, feed| feed.place != self.place || feed.listeners.receiver_count() > 0);
            self.channels.retain(|channel| feeds.contains_key(channel));
        }
        let channels = self.channels.iter().cloned().collect::<Vec<_>>();
        for batch in channels.chunks(BATCH) {
            self.subscribe(connection, batch).await?;
        }
        self.tell_of_gap(&channels);
        Ok(())
    }

    /// Subscribes to channels one by one, since their slots may differ, but in one go.
    async fn subscribe(
        &self,
        connection: &mut MultiplexedConnection,
        channels: &[Arc<str>],
    ) -> Result<(), Lost> {
        let mut pipeline = Pipeline::with_capacity(channels.len());
        for channel in channels {
            pipeline.cmd(self.words().subscribe).arg(&**channel);
        }
        let sent = connection.send_packed_commands(&pipeline, 0, channels.len());
        for answer in timeout(DEADLINE, sent).await?? {
            if let Err(error) = answer.extract_error() {
                self.redis.heed(&error);
                return Err(match error.redirect_node() {
                    Some(_) => Lost::Moved,
                    None => error.into(),
                });
            }
        }
        Ok(())
    }

    fn tell_of_gap(&self, channels: &[Arc<str>]) {
        let mut feeds = self.feeds.lock();
        for channel in channels {
            if let Some(feed) = feeds.get_mut(channel) {
                feed.place = self.place.clone();
                // An error means that nobody is listening any more.
                let _ = feed.listeners.send(Heard::Gap);
            }
        }
    }

    async fn add(
        &mut self,
        connection: &mut MultiplexedConnection,
        channel: Arc<str>,
        reply: oneshot::Sender<Listener>,
    ) -> Result<(), Lost> {
        let Some(orders) = self.elsewhere.upgrade() else {
            // This ends.
            return Ok(());
        };
        if reply.is_closed() {
            return Ok(());
        }
        if !self.channels.contains(&channel) {
            self.subscribe(connection, std::slice::from_ref(&channel))
                .await?;
            self.channels.insert(channel.clone());
        }
        let feed = {
            let mut feeds = self.feeds.lock();
            let feed = feeds.entry(channel.clone()).or_insert_with(|| Feed {
                listeners: broadcast::channel(CAPACITY).0,
                place: self.place.clone(),
            });
            feed.place = self.place.clone();
            feed.listeners.subscribe()
        };
        // Whoever asked may have gone meanwhile: then it is dropped here, and that says so.
        let _ = reply.send(Listener {
            feed: BroadcastStream::new(feed),
            _until_dropped: UntilDropped { channel, orders },
        });
        Ok(())
    }

    /// A listener has gone. Others may be there, or have come while this order waited.
    async fn hush(
        &mut self,
        connection: &mut MultiplexedConnection,
        channel: &Arc<str>,
    ) -> Result<(), Lost> {
        if self.forget_unheard(channel) {
            self.drop_channel(connection, channel).await?;
        }
        Ok(())
    }

    /// Forgets a channel that is here and that nobody listens to; whether it is such a one.
    fn forget_unheard(&self, channel: &Arc<str>) -> bool {
        let mut feeds = self.feeds.lock();
        let Some(feed) = feeds.get(channel) else {
            return false;
        };
        if feed.listeners.receiver_count() > 0 {
            return false;
        }
        if feed.place == self.place {
            feeds.remove(channel);
            return true;
        }
        // It has moved while this order waited.
        if let Some(elsewhere) = self.elsewhere.upgrade() {
            let _ = elsewhere.send(super::Order::Hush(channel.clone()));
        }
        false
    }

    async fn adopt(
        &mut self,
        connection: &mut MultiplexedConnection,
        channel: Arc<str>,
    ) -> Result<(), Lost> {
        if !self.feeds.lock().contains_key(&channel) {
            return Ok(());
        }
        // Before it is tried: if it fails, it is tried again, here or elsewhere.
        self.channels.insert(channel.clone());
        let channels = [channel];
        self.subscribe(connection, &channels).await?;
        self.tell_of_gap(&channels);
        Ok(())
    }

    async fn drop_channel(
        &mut self,
        connection: &mut MultiplexedConnection,
        channel: &str,
    ) -> Result<(), Lost> {
        if let Some(channel) = self.channels.take(channel) {
            let mut command = redis::cmd(self.words().unsubscribe);
            command.arg(&*channel);
            self.leaving.insert(channel);
            timeout(DEADLINE, command.query_async::<Value>(connection)).await??;
        }
        Ok(())
    }

    async fn deliver(
        &mut self,
        connection: &mut MultiplexedConnection,
        push: PushInfo,
    ) -> Result<(), Lost> {
        let mut data = push.data.into_iter();
        let (Some(Value::BulkString(channel)), payload) = (data.next(), data.next()) else {
            return match push.kind {
                PushKind::Disconnection => Err(Lost::Closed),
                _ => Ok(()),
            };
        };
        let Ok(channel) = String::from_utf8(channel) else {
            return Ok(());
        };
        match (push.kind, payload) {
            (PushKind::Message | PushKind::SMessage, Some(Value::BulkString(payload))) => {
                if payload.is_empty() {
                    // This is its end.
                    self.feeds.lock().remove(&*channel);
                    return self.drop_channel(connection, &channel).await;
                }
                if let Some(feed) = self.feeds.lock().get(&*channel) {
                    // An error means that nobody is listening any more.
                    let _ = feed.listeners.send(Heard::Message(Bytes::from(payload)));
                }
            }
            (PushKind::Unsubscribe | PushKind::SUnsubscribe, _)
                if !self.leaving.remove(&*channel) =>
            {
                // Nobody asked for that: the channel's slot is somewhere else.
                return Err(Lost::Moved);
            }
            _ => {}
        }
        Ok(())
    }
}
