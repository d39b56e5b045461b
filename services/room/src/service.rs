//! What can be asked of rooms: facts are fetched, a rule decides, and what it decided goes to the record,
//! to live state and to those who watch.

use std::{
    collections::{HashMap, HashSet},
    future::ready,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tutti_common::{
    clock::{SharedClock, UnixMs},
    ids::{ConnectionId, RoomId, UserId},
    limits::{Limiter, Rule, TokenBuckets},
};

use crate::{
    RoomSettings,
    budgets::Budgets,
    changes::{Made, Recorded, TRYING, Turns, raise},
    convert,
    domain::{
        CloseReason, Command, Lease, LeaveReason, Measured, Playback, PlaybackUpdate, Room,
        RoomTerms, Seat, SongUpdate, Version, View, apply, timing,
    },
    error::RoomError,
    live::{Connected, LiveError, LiveState, Renewed, Snapshot},
    people::People,
    remembered::Remembered,
    store::RoomStore,
    timings::Timings,
};

/// How long a join without a connection keeps its seat.
const VISIT: Duration = Duration::from_mins(1);

/// How long a connection counts as alive after its gateway said so. Gateways say so every 3 s.
const LEASE: Duration = Duration::from_secs(10);

/// How many looks at live state one call takes at the same time.
const LOOKS_AT_ONCE: usize = 64;

/// The room service.
#[derive(Clone)]
pub struct Rooms {
    pub(crate) live: Arc<dyn LiveState>,
    pub(crate) store: Arc<dyn RoomStore>,
    pub(crate) people: Arc<dyn People>,
    pub(crate) clock: SharedClock,
    pub(crate) settings: RoomSettings,
    limiter: Arc<dyn Limiter>,
    budgets: Budgets,
    pub(crate) turns: Arc<Turns>,
    pub(crate) line: Arc<Turns>,
    timings: Arc<Timings>,
    pub(crate) remembered: Arc<Remembered>,
}

/// What of a user leaves a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// This connection, and the user with the last one.
    Connection(ConnectionId),
    /// This connection, whose session has ended. Those of other sessions that were lost a moment ago may come back, and keep
    /// the user's place as long as they do otherwise.
    EndedConnection(ConnectionId),
    /// All connections.
    User,
}

/// By what right a user may see a room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// It is open to all, or they are in it.
    Free,
    /// As a friend of the host.
    Friend,
    /// By none.
    No,
}

/// A user as their friends may see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Who.
    pub user: UserId,
    /// Whether a connection of theirs is alive.
    pub online: bool,
    /// The room they joined last, where the one who asks may join it.
    pub room: Option<RoomId>,
}

impl Rooms {
    /// Rooms on these engines.
    #[must_use]
    pub fn new(
        live: Arc<dyn LiveState>,
        store: Arc<dyn RoomStore>,
        people: Arc<dyn People>,
        limiter: Arc<dyn Limiter>,
        buckets: Arc<TokenBuckets>,
        clock: SharedClock,
        settings: RoomSettings,
    ) -> Self {
        Self {
            live,
            store,
            people,
            clock,
            budgets: Budgets::new(buckets, settings.rates),
            settings,
            limiter,
            turns: Arc::default(),
            line: Arc::default(),
            timings: Arc::default(),
            remembered: Arc::default(),
        }
    }

    /// Makes a room with the caller as host and only participant.
    pub async fn create(
        &self,
        user: UserId,
        name: Option<&str>,
        is_friends_only: bool,
        max_participants: Option<i64>,
    ) -> Result<Snapshot, RoomError> {
        let terms = RoomTerms::parse(name, is_friends_only, max_participants)
            .map_err(RoomError::Invalid)?;
        let now = self.clock.now();
        let rule = Rule {
            name: "room_creations",
            max: self.settings.rates.room_creations_per_hour,
            window: Duration::from_hours(1),
        };
        self.limiter
            .take(&format!("rooms:{user}"), rule, now)
            .await?;
        let username = self
            .people
            .username(user)
            .await?
            .ok_or(RoomError::NoSuchUser)?;
        let room = Room {
            id: RoomId::new(),
            host: user,
            terms,
            song: None,
            playback: Playback::stopped(now),
            version: Version::first(now),
            revision: Version::first(now),
            told: Version::first(now),
            created_at: now,
            last_activity: now,
            empty_since: None,
        };
        let seat = Seat {
            user,
            username,
            joined_at: now,
            leases: [(Lease::Visit, now + VISIT)].into(),
        };
        let made = async {
            self.store.insert(&room, &seat).await?;
            self.live.restore(room.clone(), vec![seat]).await?;
            Ok(())
        };
        if let Err(error) = made.await {
            // Nobody has heard of it, and nobody will. If there is no way to say so, it ends as a room does that nobody is in.
            if let Err(error) = self.store.close(room.id, CloseReason::Empty, now).await {
                tracing::warn!(room = %room.id, error = &error as &dyn std::error::Error, "a room that could not be made may be in the record");
            }
            return Err(error);
        }
        self.snapshot(room.id).await
    }

    /// Joins, or attaches a further connection.
    pub async fn join(
        &self,
        user: UserId,
        room: RoomId,
        connection: Option<ConnectionId>,
    ) -> Result<Snapshot, RoomError> {
        let (turn, mut seen) = self.turn_and_look(room, &[user]).await?;
        let mut username = None;
        let mut is_counted = false;
        let mut floor = Version::default();
        let begun = Instant::now();
        while begun.elapsed() < TRYING {
            let mut view = match seen.take() {
                Some(view) => view,
                None => self
                    .view_in_turn(room, &[user], Some(&turn))
                    .await?
                    .ok_or(RoomError::NotJoinable)?,
            };
            let access = self.access(&view, user).await?;
            if access == Access::No {
                return Err(RoomError::NotJoinable);
            }
            if view.seat(user).is_none() && !std::mem::replace(&mut is_counted, true) {
                self.budgets.enter(user, room, self.clock.now())?;
            }
            let username = match (view.seat(user), &username) {
                (Some(seat), _) => seat.username.clone(),
                (None, Some(known)) => String::clone(known),
                (None, None) => {
                    let name = self
                        .people
                        .username(user)
                        .await?
                        .ok_or(RoomError::NoSuchUser)?;
                    username.insert(name).clone()
                }
            };
            let now = self.clock.now();
            let expected = raise(&mut view, floor);
            let command = Command::Join {
                user,
                username,
                lease: connection.map_or(Lease::Visit, Lease::Connection),
                alive_until: now + connection.map_or(VISIT, |_| LEASE),
            };
            let Some(change) = apply(&view, command, now)? else {
                break;
            };
            let (events, host_changes) = match self.record(&view.room, &change, now).await? {
                Recorded::Done(events, host_changes) => (events, host_changes),
                Recorded::Behind(revision) => {
                    floor = revision;
                    continue;
                }
                Recorded::Gone(reason) => {
                    drop(turn);
                    self.end_leftover(room, reason).await?;
                    return Err(RoomError::NotJoinable);
                }
            };
            if let Some(joined) = self.live.commit_and_look(expected, change, events).await? {
                host_changes.count();
                drop(turn);
                if access == Access::Friend && joined.room.host != user {
                    self.still_friends(&joined.room, user).await?;
                }
                return Ok(joined);
            }
        }
        Err(RoomError::Contended)
    }

    /// Somebody has joined as a friend of the host. Whoever hears that a friendship ended takes out those who are in the room;
    /// if they did so while this one was about to join, nobody else takes this one out.
    async fn still_friends(&self, room: &Room, user: UserId) -> Result<(), RoomError> {
        if self.are_friends(user, room.host).await? {
            return Ok(());
        }
        self.revoke_access(room.id, room.host, user).await?;
        Err(RoomError::NotJoinable)
    }

    /// Leaves, with one connection or altogether. Returns when that took effect.
    pub async fn leave(
        &self,
        user: UserId,
        room: RoomId,
        what: Leaving,
    ) -> Result<UnixMs, RoomError> {
        let command = match what {
            Leaving::Connection(connection) => Command::Detach {
                user,
                connection,
                others_return_within: Duration::ZERO,
            },
            Leaving::EndedConnection(connection) => Command::Detach {
                user,
                connection,
                others_return_within: self.settings.presence_grace,
            },
            Leaving::User => Command::Leave {
                user,
                reason: LeaveReason::Left,
            },
        };
        match self
            .change(room, &[user], |_, _| Some(command.clone()))
            .await
        {
            Ok(Some(after)) => {
                if !matches!(what, Leaving::EndedConnection(_)) {
                    self.budgets.has_left(user, room, after.last_activity);
                }
                Ok(after.last_activity)
            }
            Ok(None) | Err(RoomError::NotFound) => Ok(self.clock.now()),
            Err(error) => Err(error),
        }
    }

    /// A room the user may see.
    pub async fn get(&self, user: UserId, room: RoomId) -> Result<Snapshot, RoomError> {
        self.visible(user, room).await?;
        self.snapshot(room).await
    }

    /// A look at a room that the user may see.
    pub(crate) async fn visible(&self, user: UserId, room: RoomId) -> Result<View, RoomError> {
        let view = self.view(room, &[user]).await?.ok_or(RoomError::NotFound)?;
        if self.access(&view, user).await? == Access::No {
            return Err(RoomError::NotFound);
        }
        Ok(view)
    }

    /// The rooms a user is in, latest joined first.
    pub async fn list(&self, user: UserId) -> Result<Vec<Snapshot>, RoomError> {
        let rooms = self.live.rooms_of(user, self.clock.now()).await?;
        let snapshots = stream::iter(rooms)
            .map(|room| self.live.snapshot(room))
            .buffered(LOOKS_AT_ONCE)
            .try_filter_map(|snapshot| ready(Ok(snapshot)));
        Ok(snapshots.try_collect().await?)
    }

    /// Ends a room: its host does, or, without a user, an operator.
    pub async fn close(&self, user: Option<UserId>, room: RoomId) -> Result<(), RoomError> {
        let mut reason = CloseReason::ByOperator;
        if let Some(user) = user {
            self.visible(user, room).await?;
            reason = CloseReason::ByHost;
        }
        // Asked at each look at the room: somebody else may have become host meanwhile.
        let may = |view: &View| user.is_none_or(|user| view.room.host == user);
        self.change(room, &[], |view, _| {
            may(view).then_some(Command::Close(reason))
        })
        .await?
        .map(drop)
        .ok_or(RoomError::Forbidden)
    }

    /// The host says what plays where. Returns the new version and when it was accepted.
    pub async fn sync(
        &self,
        by: UserId,
        room: RoomId,
        connection: Option<ConnectionId>,
        update: &PlaybackUpdate,
        song: SongUpdate,
    ) -> Result<(Version, UnixMs), RoomError> {
        let received_at = self.clock.now();
        let playback = Playback::accept(update, received_at).map_err(RoomError::Invalid)?;
        self.budgets.may_speak(room, received_at)?;
        let command = Command::Sync {
            by,
            connection,
            playback,
            song,
        };
        let changed = match self.sync_by_memory(room, &command).await? {
            Some(after) => Some(after),
            None => self
                .change(room, &[by], |_, _| Some(command.clone()))
                .await
                .map_err(hide_room)?,
        };
        self.budgets.has_spoken(room, received_at);
        metrics::counter!("tutti_room_syncs_total").increment(1);
        if update.timestamp_ms.is_some() {
            let age_ms = received_at.as_f64() - playback.timestamp_ms;
            metrics::histogram!("tutti_room_sync_age_seconds").record(age_ms.max(0.0) / 1_000.0);
        }
        Ok(changed.map_or((Version::default(), received_at), |after| {
            (after.version, after.last_activity)
        }))
    }

    /// The host's word on a room as it was after the last one: without a look, this costs one round trip. If
    /// anything happened to the room since, or the record is to hear of it, nothing is done.
    async fn sync_by_memory(
        &self,
        room: RoomId,
        command: &Command,
    ) -> Result<Option<Room>, RoomError> {
        let Some(view) = self.remembered.take(room) else {
            return Ok(None);
        };
        let now = self.clock.now();
        // A refusal may be out of date as well.
        let Ok(Some(change)) = apply(&view, command.clone(), now) else {
            return Ok(None);
        };
        if change.durable {
            return Ok(None);
        }
        let expected = view.room.revision;
        Ok(match self.make(view, expected, change, now).await? {
            Made::Done(after) => Some(*after),
            Made::Late | Made::Behind(_) | Made::Gone(_) => None,
        })
    }

    /// What plays where, for a participant.
    pub async fn state(&self, user: UserId, room: RoomId) -> Result<Room, RoomError> {
        let view = self.view(room, &[user]).await?;
        view.filter(|view| view.seat(user).is_some())
            .map(|view| view.room)
            .ok_or(RoomError::Refused(crate::domain::Refusal::NotInRoom))
    }

    /// The host hands over. Returns the room's version and when that took effect.
    pub async fn transfer(
        &self,
        by: UserId,
        room: RoomId,
        to: UserId,
    ) -> Result<(Version, UnixMs), RoomError> {
        self.budgets.may_speak(room, self.clock.now())?;
        let changed = self
            .change(room, &[by, to], |_, _| Some(Command::Transfer { by, to }))
            .await
            .map_err(hide_room)?;
        self.budgets.has_spoken(room, self.clock.now());
        match changed {
            Some(after) => Ok((after.version, after.last_activity)),
            None => Ok((self.state(by, room).await?.version, self.clock.now())),
        }
    }

    /// Connections are alive.
    pub async fn renew(&self, connections: &[Connected]) -> Result<Renewed, RoomError> {
        Ok(self
            .live
            .renew(connections, self.clock.now() + LEASE)
            .await?)
    }

    /// The same of connections that have just come. Tells as well how many their users have by then.
    pub async fn arrive(
        &self,
        connections: &[Connected],
    ) -> Result<(Renewed, HashMap<UserId, u32>), RoomError> {
        let now = self.clock.now();
        let users = connections.iter().map(|connected| connected.user);
        let users = users
            .collect::<HashSet<_>>()
            .into_iter()
            .collect::<Vec<_>>();
        // Sent behind each other on one connection, so that the second sees what the first has written.
        let (renewed, counts) = tokio::join!(
            self.live.renew(connections, now + LEASE),
            self.live.connections_of(&users, now),
        );
        Ok((renewed?, counts?))
    }

    /// The listeners of a gateway have measured something: where that matters, all in the room are told what follows.
    pub async fn measured(
        &self,
        room: RoomId,
        gateway: &str,
        measured: Measured,
    ) -> Result<(), RoomError> {
        let now = self.clock.now();
        let measured = self.live.measured(room, gateway, measured, now).await?;
        if let Some(timing) = timing(&measured)
            && self.timings.is_news(room, timing, now)
        {
            let event = convert::timing_event(room, &timing, now);
            self.live.tell(room, event).await?;
        }
        Ok(())
    }

    /// Connections are gone; their users keep their places for the grace period.
    pub async fn drop_connections(&self, connections: &[Connected]) -> Result<(), RoomError> {
        Ok(self
            .live
            .drop_connections(connections, self.clock.now())
            .await?)
    }

    /// Who is online, and where `viewer` may join them.
    pub async fn presence(
        &self,
        viewer: UserId,
        others: &[UserId],
    ) -> Result<Vec<Presence>, RoomError> {
        let now = self.clock.now();
        let online = self.live.online(others, now).await?;
        // Several at once, and each room once: hundreds of friends may be in one room, and each look may be a way over a network.
        let rooms = stream::iter(others.to_vec())
            .map(|other| self.live.rooms_of(other, now))
            .buffered(LOOKS_AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        let distinct = rooms.iter().flatten().copied().collect::<HashSet<_>>();
        let views = stream::iter(distinct)
            .map(|room| async move {
                Ok::<_, LiveError>((room, self.live.view(room, &[viewer]).await?))
            })
            .buffer_unordered(LOOKS_AT_ONCE)
            .try_filter_map(|(room, view)| ready(Ok(view.map(|view| (room, view)))))
            .try_collect::<HashMap<_, _>>()
            .await?;
        let hosts = views
            .values()
            .filter(|view| hidden_from(view, viewer))
            .map(|view| view.room.host)
            .collect::<HashSet<_>>();
        let hosts = hosts.into_iter().collect::<Vec<_>>();
        let friends = self.people.friends_among(viewer, &hosts).await?;
        let visible =
            |view: &&View| !hidden_from(view, viewer) || friends.contains(&view.room.host);
        Ok(others
            .iter()
            .zip(rooms)
            .map(|(&user, rooms)| Presence {
                user,
                online: online.contains(&user),
                room: rooms
                    .iter()
                    .filter_map(|room| views.get(room))
                    .find(visible)
                    .map(|view| view.room.id),
            })
            .collect())
    }

    /// Two users are no longer friends: where one is host of a friends-only room, the other goes.
    pub async fn friendship_ended(&self, one: UserId, other: UserId) -> Result<(), RoomError> {
        for (host, guest) in [(one, other), (other, one)] {
            for room in self.live.rooms_of(guest, self.clock.now()).await? {
                self.revoke_access(room, host, guest).await?;
            }
        }
        Ok(())
    }

    /// Takes somebody out of a room who is no friend of its host, if it is for friends only and that one is still its host.
    async fn revoke_access(
        &self,
        room: RoomId,
        host: UserId,
        guest: UserId,
    ) -> Result<(), RoomError> {
        let revoke = |view: &View, _| {
            (view.room.terms.is_friends_only && view.room.host == host).then_some(Command::Leave {
                user: guest,
                reason: LeaveReason::AccessRevoked,
            })
        };
        match self.change(room, &[guest], revoke).await {
            Ok(_) | Err(RoomError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A room with its members, from live state or from the record.
    pub async fn snapshot(&self, room: RoomId) -> Result<Snapshot, RoomError> {
        if let Some(snapshot) = self.live.snapshot(room).await? {
            return Ok(snapshot);
        }
        self.restore(room, None).await?;
        self.live.snapshot(room).await?.ok_or(RoomError::NotFound)
    }

    async fn access(&self, view: &View, user: UserId) -> Result<Access, RoomError> {
        if !hidden_from(view, user) {
            return Ok(Access::Free);
        }
        Ok(if self.are_friends(user, view.room.host).await? {
            Access::Friend
        } else {
            Access::No
        })
    }

    /// Whether two users are friends at this moment.
    pub(crate) async fn are_friends(&self, one: UserId, other: UserId) -> Result<bool, RoomError> {
        let friends = self.people.friends_among(one, &[other]).await?;
        Ok(friends.contains(&other))
    }
}

/// Whether only a friend of the host may see the room, as far as `user` goes.
fn hidden_from(view: &View, user: UserId) -> bool {
    view.room.terms.is_friends_only && view.room.host != user && view.seat(user).is_none()
}

/// Who is not in a room is not told whether it exists.
fn hide_room(error: RoomError) -> RoomError {
    match error {
        RoomError::NotFound => RoomError::Refused(crate::domain::Refusal::NotInRoom),
        other => other,
    }
}
