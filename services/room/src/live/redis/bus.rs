//! Rooms' events from Redis: one connection a process, subscribed to a room while somebody here listens to it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use prost::Message as _;
use redis::{
    Client, Msg, RedisError,
    aio::{PubSubSink, PubSubStream},
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinSet,
    time::{MissedTickBehavior, error::Elapsed, interval, sleep, timeout},
};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};
use tutti_common::ids::RoomId;
use tutti_proto::rooms::RoomEvent;

use super::{DEADLINE, keys::Keys};
use crate::live::{Feed, LiveError};

/// Events a subscriber may lag behind before it has to take a snapshot.
const FEED_CAPACITY: usize = 256;

/// How often the connection is asked whether it lives: one that only listens would never find out.
const PULSE: Duration = Duration::from_secs(1);

/// How long to wait before a lost connection is made again.
const AGAIN: Duration = Duration::from_millis(200);

/// Where rooms' events are heard.
#[derive(Debug)]
pub(super) struct Bus {
    orders: mpsc::UnboundedSender<Order>,
    /// Ends with this.
    _task: JoinSet<()>,
}

#[derive(Debug)]
enum Order {
    /// Somebody wants to hear of a room.
    Listen(RoomId, oneshot::Sender<broadcast::Receiver<Feed>>),
    /// Somebody does no longer.
    Hush(RoomId),
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
}

/// Says when it is dropped that somebody does not listen any more.
struct Hush {
    room: RoomId,
    orders: mpsc::UnboundedSender<Order>,
}

impl Drop for Hush {
    fn drop(&mut self) {
        // An error means that nothing is heard any more anyway.
        let _ = self.orders.send(Order::Hush(self.room));
    }
}

impl Bus {
    /// Connects in the background, again and again.
    pub(super) fn start(client: Client, keys: Keys) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(
            Listener {
                client,
                keys,
                orders: inbox,
                feeds: HashMap::new(),
            }
            .run(),
        );
        Self {
            orders,
            _task: task,
        }
    }

    /// A room's events from now on.
    pub(super) async fn listen(&self, room: RoomId) -> Result<BoxStream<'static, Feed>, LiveError> {
        let (reply, feed) = oneshot::channel();
        let gone = |_| LiveError("the subscription to Redis has ended".to_owned());
        self.orders
            .send(Order::Listen(room, reply))
            .map_err(|_| LiveError("the subscription to Redis has ended".to_owned()))?;
        let feed = timeout(DEADLINE, feed)
            .await
            .map_err(|_| LiveError("Redis does not take a subscription in time".to_owned()))?
            .map_err(gone)?;
        let hush = Hush {
            room,
            orders: self.orders.clone(),
        };
        // What is dropped first comes first: when the order arrives, this one is not counted any more.
        let listening = (BroadcastStream::new(feed), hush);
        Ok(stream::unfold(listening, |(mut feed, hush)| async {
            let heard = match feed.next().await? {
                Ok(heard) => heard,
                Err(BroadcastStreamRecvError::Lagged(_)) => Feed::Gap,
            };
            Some((heard, (feed, hush)))
        })
        .boxed())
    }
}

struct Listener {
    client: Client,
    keys: Keys,
    orders: mpsc::UnboundedReceiver<Order>,
    feeds: HashMap<RoomId, broadcast::Sender<Feed>>,
}

impl Listener {
    async fn run(mut self) {
        loop {
            let Err(lost) = self.serve().await else {
                return;
            };
            metrics::counter!("tutti_redis_reconnects_total").increment(1);
            tracing::warn!(
                error = &lost as &dyn std::error::Error,
                "the subscription to Redis is lost"
            );
            sleep(AGAIN).await;
        }
    }

    /// Listens until the connection is lost, or, without an error, until nobody is there to listen for.
    async fn serve(&mut self) -> Result<(), Lost> {
        let (mut sink, mut messages) = timeout(DEADLINE, self.client.get_async_pubsub())
            .await??
            .split();
        self.subscribe_again(&mut sink).await?;
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = PubSubStream::next(&mut messages) => {
                    let message = message.ok_or(Lost::Closed)?;
                    self.deliver(&mut sink, &message).await?;
                }
                order = self.orders.recv() => match order {
                    Some(Order::Listen(room, reply)) => self.add(&mut sink, room, reply).await?,
                    Some(Order::Hush(room)) => self.remove_unheard(&mut sink, room).await?,
                    None => return Ok(()),
                },
                _ = pulse.tick() => {
                    timeout(DEADLINE, sink.ping::<redis::Value>()).await??;
                }
            }
        }
    }

    /// What was published meanwhile is gone: everybody is told so.
    async fn subscribe_again(&mut self, sink: &mut PubSubSink) -> Result<(), Lost> {
        self.feeds.retain(|_, feed| feed.receiver_count() > 0);
        if self.feeds.is_empty() {
            return Ok(());
        }
        let channels = self
            .feeds
            .keys()
            .map(|&room| self.keys.channel(room))
            .collect::<Vec<_>>();
        timeout(DEADLINE, sink.subscribe(channels)).await??;
        for feed in self.feeds.values() {
            // An error means that nobody is listening any more.
            let _ = feed.send(Feed::Gap);
        }
        Ok(())
    }

    async fn add(
        &mut self,
        sink: &mut PubSubSink,
        room: RoomId,
        reply: oneshot::Sender<broadcast::Receiver<Feed>>,
    ) -> Result<(), Lost> {
        if reply.is_closed() {
            return Ok(());
        }
        if !self.feeds.contains_key(&room) {
            timeout(DEADLINE, sink.subscribe(self.keys.channel(room))).await??;
        }
        let feed = self
            .feeds
            .entry(room)
            .or_insert_with(|| broadcast::channel(FEED_CAPACITY).0)
            .subscribe();
        // Whoever asked may have gone meanwhile.
        if let Err(feed) = reply.send(feed) {
            drop(feed);
            self.remove_unheard(sink, room).await?;
        }
        Ok(())
    }

    async fn remove_unheard(&mut self, sink: &mut PubSubSink, room: RoomId) -> Result<(), Lost> {
        let is_unheard = |feed: &broadcast::Sender<Feed>| feed.receiver_count() == 0;
        if self.feeds.get(&room).is_some_and(is_unheard) {
            self.remove(sink, room).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, sink: &mut PubSubSink, room: RoomId) -> Result<(), Lost> {
        self.feeds.remove(&room);
        timeout(DEADLINE, sink.unsubscribe(self.keys.channel(room))).await??;
        Ok(())
    }

    async fn deliver(&mut self, sink: &mut PubSubSink, message: &Msg) -> Result<(), Lost> {
        let Some(room) = self.keys.room_of_channel(message.get_channel_name()) else {
            return Ok(());
        };
        let Some(feed) = self.feeds.get(&room) else {
            return Ok(());
        };
        let payload = message.get_payload_bytes();
        if payload.is_empty() {
            // The room is over.
            return self.remove(sink, room).await;
        }
        let heard = match RoomEvent::decode(payload) {
            Ok(event) => Feed::Event(Arc::new(event)),
            Err(error) => {
                tracing::error!(%room, %error, "an event cannot be read");
                Feed::Gap
            }
        };
        // An error means that nobody is listening any more.
        let _ = feed.send(heard);
        Ok(())
    }
}
