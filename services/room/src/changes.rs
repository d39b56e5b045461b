//! How a room is changed: a look, a rule, the record, live state, those who watch; and what is done about a change that
//! somebody did not finish. ARCHITECTURE.md, "Two stores", says what each step leaves behind.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, MutexGuard};
use tracing::Span;
use tutti_common::{
    clock::UnixMs,
    ids::{RoomId, UserId},
    rpc, telemetry,
};
use tutti_proto::rooms::RoomEvent;

use crate::{
    convert::encode_events,
    domain::{
        Change, CloseReason, Command, Event, HostChangeReason, Lease, Room, Version, View, apply,
    },
    error::RoomError,
    live::Turn,
    service::Rooms,
    store::Saved,
};

/// How long after a restart those who were in a room have to come back before their grace begins: a
/// socket.io client tries again after at most 5 s and half as much jitter.
const RETURN: Duration = Duration::from_secs(8);

/// For how long a change is tried again when others come first. By time and not by number: a process that writes from
/// memory needs one round trip where the loser of a race needs two, and may win many in a row.
pub(crate) const TRYING: Duration = Duration::from_secs(1);

/// Changes of one room follow each other; rooms share this many locks.
const STRIPES: usize = 256;

/// Whose turn it is with a room. Compare-and-publish alone would be right, but a thousand who join at once
/// would write the record a thousand times each.
pub(crate) struct Turns {
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Turns {
    async fn take(&self, room: RoomId) -> MutexGuard<'_, ()> {
        let stripe = usize::try_from(self.hasher.hash_one(room)).unwrap_or(0) % STRIPES;
        self.stripes[stripe].lock().await
    }
}

/// The turn with a room. Fields are dropped in this order: it is over among all processes before another one here has it.
pub(crate) struct RoomTurn<'a> {
    _everywhere: Turn,
    _here: MutexGuard<'a, ()>,
}

/// What became of putting a change into the record.
pub(crate) enum Recorded {
    /// It is there; this is what those who watch are to hear.
    Done(Vec<RoomEvent>, HostChanges),
    /// It is not: see [`Saved::Behind`].
    Behind(Version),
    /// It is not, and the room is over for that reason.
    Gone(CloseReason),
}

/// What became of making a change.
pub(crate) enum Made {
    /// The room is so now.
    Done(Box<Room>),
    /// Another change came first.
    Late,
    /// See [`Recorded::Behind`].
    Behind(Version),
    /// See [`Recorded::Gone`].
    Gone(CloseReason),
}

/// Why others are host once a change is made.
pub(crate) struct HostChanges(Vec<HostChangeReason>);

impl HostChanges {
    pub(crate) fn count(self) {
        for reason in self.0 {
            metrics::counter!("tutti_room_host_changes_total", "reason" => reason.name())
                .increment(1);
        }
    }
}

impl Rooms {
    /// Waits for the turn with a room, first in this process and then among all.
    pub(crate) async fn turn(&self, room: RoomId) -> Result<RoomTurn<'_>, RoomError> {
        let here = self.turns.take(room).await;
        Ok(RoomTurn {
            _everywhere: self.live.take_turn(room).await?,
            _here: here,
        })
    }

    /// The same, and a look at the room as it is then.
    pub(crate) async fn turn_and_look(
        &self,
        room: RoomId,
        about: &[UserId],
    ) -> Result<(RoomTurn<'_>, Option<View>), RoomError> {
        let here = self.turns.take(room).await;
        let (everywhere, view) = self.live.take_turn_and_look(room, about).await?;
        let turn = RoomTurn {
            _everywhere: everywhere,
            _here: here,
        };
        Ok((turn, view))
    }

    /// Makes the change that `decide` wants after a look at the room; tries again when another one came
    /// first. Returns the room afterwards, or `None` where nothing was to be done.
    pub(crate) async fn change(
        &self,
        room: RoomId,
        about: &[UserId],
        decide: impl Fn(&View, UnixMs) -> Option<Command>,
    ) -> Result<Option<Room>, RoomError> {
        // A running position does not wait for the record, nor for those who do.
        let mut turn = None;
        // Who lost a race stands in line with the others here, or a hundred at once would lose to each other.
        let mut place = None;
        let mut floor = Version::default();
        let mut begun = Instant::now();
        while begun.elapsed() < TRYING {
            let mut view = self
                .view_in_turn(room, about, turn.as_ref())
                .await?
                .ok_or(RoomError::NotFound)?;
            let now = self.clock.now();
            let expected = raise(&mut view, floor);
            let Some(command) = decide(&view, now) else {
                return Ok(None);
            };
            let Some(change) = apply(&view, command, now)? else {
                return Ok(None);
            };
            if change.durable && turn.is_none() {
                // Whoever has the turn may wait in line, so nobody in line waits for the turn.
                drop(place.take());
                turn = Some(self.turn(room).await?);
                begun = Instant::now();
                continue;
            }
            match self.make(view, expected, change, now).await? {
                Made::Done(after) => return Ok(Some(*after)),
                Made::Behind(revision) => floor = revision,
                Made::Gone(reason) => {
                    drop(turn);
                    self.end_leftover(room, reason).await?;
                    return Err(RoomError::NotFound);
                }
                Made::Late if place.is_none() => {
                    place = Some(self.line.take(room).await);
                    // Who stood in line has lost to nobody meanwhile.
                    begun = Instant::now();
                }
                Made::Late => {}
            }
        }
        Err(RoomError::Contended)
    }

    /// Makes a change after a look at the room, which was at `expected` then.
    pub(crate) async fn make(
        &self,
        view: View,
        expected: Version,
        change: Change,
        now: UnixMs,
    ) -> Result<Made, RoomError> {
        let before = view.room.clone();
        let after = View {
            room: change.room.clone(),
            ..view
        };
        let is_over = change.closed.is_some();
        // What the host says next is most likely about the room as it is then.
        let is_to_remember = change.seats.is_empty() && !is_over;
        let (events, host_changes) = match self.record(&before, &change, now).await? {
            Recorded::Done(events, host_changes) => (events, host_changes),
            Recorded::Behind(revision) => return Ok(Made::Behind(revision)),
            Recorded::Gone(reason) => return Ok(Made::Gone(reason)),
        };
        if !self.live.commit(expected, change, events).await? {
            return Ok(Made::Late);
        }
        host_changes.count();
        let room = after.room.clone();
        if is_over && let Err(error) = self.store.delete(room.id).await {
            // It is over all the same, and what is left is found.
            tracing::warn!(room = %room.id, error = &error as &dyn std::error::Error, "a closed room is still in the record");
        }
        if is_to_remember && after.seat(room.host).is_some() {
            self.remembered.keep(after);
        }
        Ok(Made::Done(Box::new(room)))
    }

    /// Puts a change into the record, which comes before live state and those who watch: what anybody hears of is not lost.
    pub(crate) async fn record(
        &self,
        before: &Room,
        change: &Change,
        now: UnixMs,
    ) -> Result<Recorded, RoomError> {
        // Somebody who was told that it was not done may have said something else since.
        if rpc::is_too_late() {
            return Err(RoomError::TooLate);
        }
        let saved = if let Some(reason) = change.closed {
            self.store.close(change.room.id, reason, now).await?;
            Saved::Done
        } else if change.durable {
            self.store.save(&change.room, &change.seats, now).await?
        } else {
            Saved::Done
        };
        match saved {
            Saved::Done => {}
            Saved::Behind(revision) => return Ok(Recorded::Behind(revision)),
            Saved::Gone(reason) => {
                return Ok(Recorded::Gone(reason.unwrap_or(CloseReason::Empty)));
            }
        }
        self.remembered.take(change.room.id);
        let host_changes = change.events.iter().filter_map(|event| match event {
            Event::HostChanged { reason, .. } => Some(*reason),
            _ => None,
        });
        Ok(Recorded::Done(
            events_of(before, change, now),
            HostChanges(host_changes.collect()),
        ))
    }

    /// Ends what live state still has of a room that the record does not have, or that is to end, and what the record has.
    pub(crate) async fn end_leftover(
        &self,
        room: RoomId,
        reason: CloseReason,
    ) -> Result<(), RoomError> {
        let _turn = self.turn(room).await?;
        let begun = Instant::now();
        while begun.elapsed() < TRYING {
            let Some(view) = self.live.view(room, &[]).await? else {
                return Ok(self.store.delete(room).await?);
            };
            let now = self.clock.now();
            let Some(change) = apply(&view, Command::Close(reason), now)? else {
                return Ok(());
            };
            self.remembered.take(room);
            let events = events_of(&view.room, &change, now);
            if self.live.commit(view.room.revision, change, events).await? {
                tracing::info!(%room, reason = reason.name(), "ended what was left of a room");
                return Ok(self.store.delete(room).await?);
            }
        }
        Err(RoomError::Contended)
    }

    /// A room as the rules see it, from live state or from the record.
    pub(crate) async fn view(
        &self,
        room: RoomId,
        about: &[UserId],
    ) -> Result<Option<View>, RoomError> {
        self.view_in_turn(room, about, None).await
    }

    /// The same, for one who may have the turn with the room already.
    pub(crate) async fn view_in_turn(
        &self,
        room: RoomId,
        about: &[UserId],
        turn: Option<&RoomTurn<'_>>,
    ) -> Result<Option<View>, RoomError> {
        if let Some(view) = self.live.view(room, about).await? {
            return Ok(Some(view));
        }
        self.restore(room, turn).await?;
        Ok(self.live.view(room, about).await?)
    }

    /// Brings a room back from the record that live state does not have. Its version rises above every one that was published
    /// before. Takes the turn with the room, if the caller has not: a room that is being closed does not come back.
    pub(crate) async fn restore(
        &self,
        room: RoomId,
        turn: Option<&RoomTurn<'_>>,
    ) -> Result<(), RoomError> {
        let _turn = match turn {
            Some(_) => None,
            // Who asks for a room that never was holds up nobody.
            None if self.store.load(room).await?.is_none() => return Ok(()),
            None => Some(self.turn(room).await?),
        };
        let Some((mut room, mut seats)) = self.store.load(room).await? else {
            return Ok(());
        };
        let now = self.clock.now();
        room.version = room.version.next(now);
        room.revision = room.revision.next(now).max(room.version);
        room.told = room.revision;
        room.empty_since = seats.is_empty().then_some(now);
        for seat in &mut seats {
            seat.leases.insert(Lease::Visit, now + RETURN);
        }
        Ok(self.live.restore(room, seats).await?)
    }
}

/// Lets the next revision of a room be above one that the record has. Returns the one that live state has.
pub(crate) fn raise(view: &mut View, floor: Version) -> Version {
    let expected = view.room.revision;
    view.room.revision = expected.max(floor);
    expected
}

/// What those who watch are to hear of a change.
fn events_of(before: &Room, change: &Change, now: UnixMs) -> Vec<RoomEvent> {
    // Who hears of it elsewhere goes on with the trace.
    let trace = telemetry::traceparent_of(&Span::current());
    let mut events = encode_events(&change.room, before.told, &change.events, now);
    for event in &mut events {
        event.traceparent.clone_from(&trace);
    }
    events
}
