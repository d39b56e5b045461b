//! Telling other services what they must act on. The database keeps it in order for a day, so it does not
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

/// How often is looked for what happened in other processes, while somebody listens.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long events are kept.
pub(crate) const KEPT: Duration = Duration::from_hours(24);

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

    /// The place `begin`, then all events after it with their places, until the end.
    pub(crate) fn listen(
        &self,
        begin: Place,
        end: CancellationToken,
    ) -> impl Stream<Item = Result<(Place, Option<AccountEvent>), StoreError>> + Send + 'static
    {
        let events = self.clone();
        let later = stream::try_unfold(begin, move |after| {
            let events = events.clone();
            async move {
                let batch = driven(async move { events.after(after).await }).await?;
                let last = batch.last().map_or(after, |(place, _)| *place);
                Ok::<_, StoreError>(Some((stream::iter(batch.into_iter().map(Ok)), last)))
            }
        });
        let later = later.try_flatten();
        stream::iter([Ok((begin, None))])
            .chain(later.map_ok(|(place, event)| (place, Some(event))))
            .take_until(end.cancelled_owned())
    }

    /// The next events after a place, at least one.
    async fn after(&self, place: Place) -> Result<Vec<(Place, AccountEvent)>, StoreError> {
        loop {
            let events = self.store.events_after(place).await?;
            if !events.is_empty() {
                return Ok(events);
            }
            let mut latest = self.shared.latest.subscribe();
            tokio::select! {
                _ = latest.wait_for(|latest| *latest > place) => {}
                looked = self.look_beyond(place) => looked?,
            }
        }
    }

    async fn look_beyond(&self, place: Place) -> Result<(), StoreError> {
        let _turn = self.shared.looking.lock().await;
        loop {
            let latest = self.store.last_event().await?;
            if latest > place {
                self.shared.latest.send_replace(latest);
                return Ok(());
            }
            // Whatever comes first.
            let _ = tokio::time::timeout(LOOK_EVERY, self.shared.news.notified()).await;
        }
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
