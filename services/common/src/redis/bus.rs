//! Messages from Redis: one connection a process, or on a cluster one a shard, subscribed to a channel while
//! somebody here listens to it.

mod shard;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use self::shard::Shard;
use super::{AGAIN, DEADLINE, NoAnswer, Place, Redis};

/// Messages a listener may lag behind before it is told of a gap.
const CAPACITY: usize = 256;

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The next message.
    Message(Bytes),
    /// Some messages are missing here.
    Gap,
}

/// Where messages are heard. Its clones share the connections, which end with the last of them.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    redis: Redis,
    orders: mpsc::UnboundedSender<Order>,
    /// Ends with this.
    _task: JoinSet<()>,
}

enum Order {
    /// Somebody wants to hear a channel, which is at that place.
    Listen(Arc<str>, Place, oneshot::Sender<Listener>),
    /// Somebody does no longer.
    Hush(Arc<str>),
    /// A channel is at that place now: it is subscribed to there, whatever was believed before.
    Move(Arc<str>, Place),
}

/// What one listener of a channel hears, and what says that it does not listen any more. Fields are dropped in this
/// order: when the order to hush arrives, the receiver is not counted any more.
struct Listener {
    feed: BroadcastStream<Heard>,
    _until_dropped: UntilDropped,
}

/// The channels that somebody here listens to.
#[derive(Clone, Default)]
struct Feeds(Arc<Mutex<HashMap<Arc<str>, Feed>>>);

struct Feed {
    listeners: broadcast::Sender<Heard>,
    /// Where it is subscribed to.
    place: Place,
}

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Feed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a channel is subscribed to.
    fn place_of(&self, channel: &str) -> Option<Place> {
        self.lock().get(channel).map(|feed| feed.place.clone())
    }
}

/// Says when it is dropped that somebody does not listen any more.
struct UntilDropped {
    channel: Arc<str>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Drop for UntilDropped {
    fn drop(&mut self) {
        // An error means that nothing is heard any more anyway.
        let _ = self.orders.send(Order::Hush(self.channel.clone()));
    }
}

impl Bus {
    /// Connects when it is first needed, and again whenever a connection is lost. Needs a runtime to be there.
    #[must_use]
    pub fn start(redis: Redis) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(hand_out(redis.clone(), orders.downgrade(), inbox));
        Self {
            shared: Arc::new(Shared {
                redis,
                orders,
                _task: task,
            }),
        }
    }

    /// Subscribes to a channel again that somebody here listens to, although it should be subscribed to already. Its
    /// listeners are told of a gap.
    pub async fn mend(&self, channel: &str) -> Result<(), NoAnswer> {
        let place = self
            .shared
            .redis
            .place_of(channel, Instant::now() + DEADLINE)
            .await?;
        self.shared
            .orders
            .send(Order::Move(channel.into(), place))
            .map_err(|_| NoAnswer::Over)
    }

    /// A channel's messages from now on. The stream ends where an empty message was published: nothing comes after that.
    pub async fn listen(&self, channel: &str) -> Result<BoxStream<'static, Heard>, NoAnswer> {
        let until = Instant::now() + DEADLINE;
        let channel = Arc::<str>::from(channel);
        let listener = loop {
            let place = self.shared.redis.place_of(&channel, until).await?;
            let (reply, listener) = oneshot::channel();
            self.shared
                .orders
                .send(Order::Listen(channel.clone(), place, reply))
                .map_err(|_| NoAnswer::Over)?;
            match timeout_at(until, listener).await {
                Ok(Ok(listener)) => break listener,
                // It is somewhere else by now, or the connection was just lost.
                Ok(Err(_)) if Instant::now() + AGAIN < until => sleep(AGAIN).await,
                Ok(Err(_)) | Err(_) => return Err(NoAnswer::Late),
            }
        };
        Ok(stream::unfold(listener, |mut listener| async {
            let heard = match listener.feed.next().await? {
                Ok(heard) => heard,
                Err(BroadcastStreamRecvError::Lagged(_)) => Heard::Gap,
            };
            Some((heard, listener))
        })
        .boxed())
    }
}

/// Gives each order to the shard it concerns, until nobody is there to give orders.
async fn hand_out(
    redis: Redis,
    orders: mpsc::WeakUnboundedSender<Order>,
    mut inbox: mpsc::UnboundedReceiver<Order>,
) {
    let feeds = Feeds::default();
    let mut shards = HashMap::new();
    let mut tasks = JoinSet::new();
    while let Some(order) = inbox.recv().await {
        let (place, order) = match order {
            Order::Listen(channel, place, reply) => (place, shard::Order::Listen(channel, reply)),
            Order::Move(channel, place) => (place, shard::Order::Adopt(channel)),
            // Whether nobody listens any more is for the shard to decide, which knows what is still to be done before
            // this: somebody may want to hear the channel again.
            Order::Hush(channel) => match feeds.place_of(&channel) {
                Some(place) => (place, shard::Order::Hush(channel)),
                None => continue,
            },
        };
        let shard = shards.entry(place.clone()).or_insert_with(|| {
            let (to_shard, inbox) = mpsc::unbounded_channel();
            let shard = Shard::new(redis.clone(), place, feeds.clone(), orders.clone(), inbox);
            tasks.spawn(shard.run());
            to_shard
        });
        // An error means that this ends.
        let _ = shard.send(order);
    }
}
