//! The record and live state, which fail exactly where a story wants it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::sync::Semaphore;
use tutti_common::{
    clock::UnixMs,
    ids::{RoomId, UserId},
};
use tutti_proto::rooms::RoomEvent;
use tutti_room::{
    domain::{Change, CloseReason, Measured, Room, Seat, SeatChange, Version, View},
    live::{Connected, Due, Feed, LiveError, LiveState, Member, Renewed, Snapshot, Turn},
    store::{RoomStore, Saved, StoreError},
};

/// What a room's changes are made of, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A new room goes into the record.
    Insert,
    /// A room or who is in it goes into the record.
    Save,
    /// Running positions go into the record.
    SavePositions,
    /// The record is told that a room is to end.
    Close,
    /// A room is in live state from now on.
    Restore,
    /// A change is made in live state and told.
    Commit,
    /// A room that ended goes out of the record.
    Delete,
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing is done.
    NotDone,
    /// It is done, and nobody hears so: as far as the record is concerned, a death right after it.
    Unanswered,
    /// As the record fails when what it is given is wrong.
    Broken,
}

/// Where the two fail. Clones share it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By step, for one room or for all.
    at: HashMap<(Step, Option<RoomId>), How>,
    held: HashMap<Step, Held>,
}

/// A step that waits.
#[derive(Clone)]
pub struct Held {
    reached: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

impl Held {
    /// Somebody has come as far as this.
    pub async fn is_reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    /// They go on.
    pub fn release(&self) {
        self.released.add_permits(1);
    }
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a step fails.
    pub fn fail(&self, step: Step, how: How) {
        self.state().at.insert((step, None), how);
    }

    /// From now on a step fails for one room.
    pub fn fail_for(&self, room: &str, step: Step, how: How) {
        let room = room.parse().unwrap();
        self.state().at.insert((step, Some(room)), how);
    }

    /// Nothing fails any more.
    pub fn end(&self) {
        self.state().at.clear();
    }

    /// The next time somebody comes to a step, they wait there.
    #[must_use]
    pub fn hold(&self, step: Step) -> Held {
        let held = Held {
            reached: Arc::new(Semaphore::new(0)),
            released: Arc::new(Semaphore::new(0)),
        };
        self.state().held.insert(step, held.clone());
        held
    }

    async fn come_to(&self, step: Step) {
        let held = self.state().held.remove(&step);
        if let Some(held) = held {
            held.reached.add_permits(1);
            held.released.acquire().await.unwrap().forget();
        }
    }

    fn how(&self, step: Step, rooms: &[RoomId]) -> Option<How> {
        let state = self.state();
        let mut keys = std::iter::once(None).chain(rooms.iter().copied().map(Some));
        keys.find_map(|room| state.at.get(&(step, room)).copied())
    }

    async fn store<T>(
        &self,
        step: Step,
        rooms: &[RoomId],
        does: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.come_to(step).await;
        let away = || StoreError::Unavailable(sqlx::Error::PoolTimedOut);
        match self.how(step, rooms) {
            None => does.await,
            Some(How::NotDone) => Err(away()),
            Some(How::Broken) => Err(StoreError::Broken("wrong".into())),
            Some(How::Unanswered) => {
                does.await?;
                Err(away())
            }
        }
    }

    async fn live<T>(
        &self,
        step: Step,
        room: RoomId,
        does: impl Future<Output = Result<T, LiveError>>,
    ) -> Result<T, LiveError> {
        self.come_to(step).await;
        let away = || LiveError::Unavailable("it refuses writes".to_owned());
        match self.how(step, &[room]) {
            None => does.await,
            Some(How::NotDone | How::Broken) => Err(away()),
            Some(How::Unanswered) => {
                does.await?;
                Err(away())
            }
        }
    }

    /// A record that fails so.
    #[must_use]
    pub fn in_record(&self, inner: Arc<dyn RoomStore>) -> Arc<dyn RoomStore> {
        Arc::new(FailingRecord {
            faults: self.clone(),
            inner,
        })
    }

    /// Live state that fails so.
    #[must_use]
    pub fn in_live_state(&self, inner: Arc<dyn LiveState>) -> Arc<dyn LiveState> {
        Arc::new(FailingLive {
            faults: self.clone(),
            inner,
        })
    }
}

struct FailingRecord {
    faults: Faults,
    inner: Arc<dyn RoomStore>,
}

#[async_trait]
impl RoomStore for FailingRecord {
    async fn insert(&self, room: &Room, first: &Seat) -> Result<(), StoreError> {
        let does = self.inner.insert(room, first);
        self.faults.store(Step::Insert, &[room.id], does).await
    }

    async fn save(
        &self,
        room: &Room,
        seats: &[SeatChange],
        now: UnixMs,
    ) -> Result<Saved, StoreError> {
        let does = self.inner.save(room, seats, now);
        self.faults.store(Step::Save, &[room.id], does).await
    }

    async fn save_positions(&self, rooms: &[Room]) -> Result<(), StoreError> {
        let ids = rooms.iter().map(|room| room.id).collect::<Vec<_>>();
        let does = self.inner.save_positions(rooms);
        self.faults.store(Step::SavePositions, &ids, does).await
    }

    async fn close(
        &self,
        room: RoomId,
        reason: CloseReason,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let does = self.inner.close(room, reason, now);
        self.faults.store(Step::Close, &[room], does).await
    }

    async fn closing(
        &self,
        before: UnixMs,
        limit: u32,
    ) -> Result<Vec<(RoomId, CloseReason)>, StoreError> {
        self.inner.closing(before, limit).await
    }

    async fn delete(&self, room: RoomId) -> Result<(), StoreError> {
        let does = self.inner.delete(room);
        self.faults.store(Step::Delete, &[room], does).await
    }

    async fn load(&self, room: RoomId) -> Result<Option<(Room, Vec<Seat>)>, StoreError> {
        self.inner.load(room).await
    }

    async fn list(&self, after: Option<RoomId>, limit: u32) -> Result<Vec<RoomId>, StoreError> {
        self.inner.list(after, limit).await
    }

    async fn quiet(
        &self,
        since: UnixMs,
        after: Option<RoomId>,
        limit: u32,
    ) -> Result<Vec<RoomId>, StoreError> {
        self.inner.quiet(since, after, limit).await
    }
}

struct FailingLive {
    faults: Faults,
    inner: Arc<dyn LiveState>,
}

#[async_trait]
impl LiveState for FailingLive {
    async fn view(&self, room: RoomId, about: &[UserId]) -> Result<Option<View>, LiveError> {
        self.inner.view(room, about).await
    }

    async fn snapshot(&self, room: RoomId) -> Result<Option<Snapshot>, LiveError> {
        self.inner.snapshot(room).await
    }

    async fn restore(&self, room: Room, seats: Vec<Seat>) -> Result<(), LiveError> {
        let id = room.id;
        let does = self.inner.restore(room, seats);
        self.faults.live(Step::Restore, id, does).await
    }

    async fn take_turn(&self, room: RoomId) -> Result<Turn, LiveError> {
        self.inner.take_turn(room).await
    }

    async fn take_turn_and_look(
        &self,
        room: RoomId,
        about: &[UserId],
    ) -> Result<(Turn, Option<View>), LiveError> {
        self.inner.take_turn_and_look(room, about).await
    }

    async fn commit(
        &self,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> Result<bool, LiveError> {
        let id = change.room.id;
        let does = self.inner.commit(expected, change, events);
        self.faults.live(Step::Commit, id, does).await
    }

    async fn commit_and_look(
        &self,
        expected: Version,
        change: Change,
        events: Vec<RoomEvent>,
    ) -> Result<Option<Snapshot>, LiveError> {
        let id = change.room.id;
        let does = self.inner.commit_and_look(expected, change, events);
        self.faults.live(Step::Commit, id, does).await
    }

    async fn is_filled(&self) -> Result<bool, LiveError> {
        self.inner.is_filled().await
    }

    async fn set_filled(&self) -> Result<(), LiveError> {
        self.inner.set_filled().await
    }

    async fn renew(
        &self,
        connections: &[Connected],
        alive_until: UnixMs,
    ) -> Result<Renewed, LiveError> {
        self.inner.renew(connections, alive_until).await
    }

    async fn drop_connections(
        &self,
        connections: &[Connected],
        now: UnixMs,
    ) -> Result<(), LiveError> {
        self.inner.drop_connections(connections, now).await
    }

    async fn connections_of(
        &self,
        users: &[UserId],
        now: UnixMs,
    ) -> Result<HashMap<UserId, u32>, LiveError> {
        self.inner.connections_of(users, now).await
    }

    async fn rooms_of(&self, user: UserId, now: UnixMs) -> Result<Vec<RoomId>, LiveError> {
        self.inner.rooms_of(user, now).await
    }

    async fn members(
        &self,
        room: RoomId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Member>, LiveError> {
        self.inner.members(room, after, limit).await
    }

    async fn due(&self, now: UnixMs, limit: usize) -> Result<Vec<Due>, LiveError> {
        self.inner.due(now, limit).await
    }

    async fn unrecorded(&self, now: UnixMs) -> Result<Vec<Room>, LiveError> {
        self.inner.unrecorded(now).await
    }

    async fn recorded(&self, rooms: &[Room], claimed_at: UnixMs) -> Result<(), LiveError> {
        self.inner.recorded(rooms, claimed_at).await
    }

    async fn measured(
        &self,
        room: RoomId,
        gateway: &str,
        measured: Measured,
        now: UnixMs,
    ) -> Result<Measured, LiveError> {
        self.inner.measured(room, gateway, measured, now).await
    }

    async fn tell(&self, room: RoomId, event: RoomEvent) -> Result<(), LiveError> {
        self.inner.tell(room, event).await
    }

    async fn subscribe(&self, room: RoomId) -> Result<BoxStream<'static, Feed>, LiveError> {
        self.inner.subscribe(room).await
    }
}
