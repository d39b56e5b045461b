//! Telling other services what they must act on. The database keeps it in order for a day or longer, so it does not
//! matter by which process it happened, nor who listened at that moment.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::{Mutex, Notify, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::event::{AccountEvent, Place},
    store::{AuthStore, StoreError},
};

/// How often is looked for what happened in other processes, while somebody listens. As often listeners are told that they
/// have heard everything.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long events are kept at least.
const KEPT: Duration = Duration::from_hours(24);

/// How long events are kept where access tokens live that long: a gateway that starts must hear of every session that has
/// ended and still has a token that has not. An hour is for clocks that differ.
pub(crate) fn kept_for(access_token_ttl: Duration) -> Duration {
    KEPT.max(access_token_ttl + Duration::from_hours(1))
}

/// What a listener is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    /// It listens from here on.
    Begins,
    /// This happened.
    Happened(AccountEvent),
    /// Nothing else had happened when the database was asked last.
    CaughtUp,
}

/// Where events are found. Clones share everything.
#[derive(Clone)]
pub(crate) struct Events {
    store: Arc<dyn AuthStore>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The last event that was seen here.
    latest: watch::Sender<Place>,
    /// Of those who wait for a later one, one looks for all.
    looking: Mutex<()>,
    /// Something happened here.
    news: Notify,
}

impl Events {
    pub(crate) fn new(store: Arc<dyn AuthStore>) -> Self {
        Self {
            store,
            shared: Arc::default(),
        }
    }

    /// Something was committed: those who listen here hear of it at once.
    pub(crate) fn happened(&self) {
        self.shared.news.notify_one();
    }

    /// The place `begin`, then all events after it with their places, until the end. In between, and at least every
    /// [`LOOK_EVERY`] while nothing happens and the database answers, that this was everything.
    pub(crate) fn listen(
        &self,
        begin: Place,
        end: CancellationToken,
    ) -> impl Stream<Item = Result<(Place, News), StoreError>> + Send + 'static {
        let events = self.clone();
        let later = stream::try_unfold((begin, false), move |(after, has_caught_up)| {
            let events = events.clone();
            async move {
                let batch = driven(async move {
                    if has_caught_up {
                        events.next_after(after).await
                    } else {
                        events.store.events_after(after).await
                    }
                });
                let batch = batch.await?;
                let last = batch.last().map_or(after, |(place, _)| *place);
                let is_all = batch.is_empty();
                let told = batch
                    .into_iter()
                    .map(|(place, event)| (place, News::Happened(event)))
                    .chain(is_all.then_some((last, News::CaughtUp)));
                let told = stream::iter(told.map(Ok).collect::<Vec<_>>());
                Ok::<_, StoreError>(Some((told, (last, is_all))))
            }
        });
        stream::iter([Ok((begin, News::Begins))])
            .chain(later.try_flatten())
            .take_until(end.cancelled_owned())
    }

    /// The next events after a place; none where the next look, here or of somebody else, finds none.
    async fn next_after(&self, place: Place) -> Result<Vec<(Place, AccountEvent)>, StoreError> {
        let mut latest = self.shared.latest.subscribe();
        if *latest.borrow_and_update() <= place {
            tokio::select! {
                // The sender is here: the channel is open.
                _ = latest.changed() => {}
                looked = self.look() => looked?,
            }
        }
        if *latest.borrow() > place {
            self.store.events_after(place).await
        } else {
            Ok(Vec::new())
        }
    }

    /// Waits until it is time to look, and looks for all who listen.
    async fn look(&self) -> Result<(), StoreError> {
        let _turn = self.shared.looking.lock().await;
        // Whatever comes first.
        let _ = tokio::time::timeout(LOOK_EVERY, self.shared.news.notified()).await;
        let latest = self.store.last_event().await?;
        self.shared.latest.send_replace(latest);
        Ok(())
    }
}

/// Looks for events in a task of its own: a listener who does not read leaves its stream where it is, and would hold a
/// connection to the database in the middle of a question, or the turn of those who look.
async fn driven<T: Send + 'static>(
    look: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    // Dropped with this future, and the task with it.
    let mut task = JoinSet::new();
    task.spawn(look);
    match task.join_next().await {
        Some(Ok(answer)) => answer,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The process ends.
        Some(Err(_)) | None => std::future::pending().await,
    }
}
