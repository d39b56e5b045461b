//! What a command makes of a room.

use std::time::Duration;

use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, UserId},
};

use super::{
    Change, CloseReason, Event, HostChangeReason, Lease, LeaveReason, Playback, Refusal, Room,
    Seat, SeatChange, SongUpdate, View,
};

/// What somebody wants of a room. Whether they may see it is known before.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A user comes, or a further connection of one who is there.
    Join {
        /// Who.
        user: UserId,
        /// Their name.
        username: String,
        /// What keeps the seat.
        lease: Lease,
        /// Until when that is known to be alive.
        alive_until: UnixMs,
    },
    /// One connection of a user leaves; with the last attached one the user does.
    Detach {
        /// Who.
        user: UserId,
        /// Which.
        connection: ConnectionId,
        /// For how long others that were lost still count as attached.
        others_return_within: Duration,
    },
    /// A user goes, with all connections.
    Leave {
        /// Who.
        user: UserId,
        /// Why.
        reason: LeaveReason,
    },
    /// The host says what plays where.
    Sync {
        /// Who says it.
        by: UserId,
        /// By which connection.
        connection: Option<ConnectionId>,
        /// Where it is.
        playback: Playback,
        /// What it is.
        song: SongUpdate,
    },
    /// The host hands over.
    Transfer {
        /// Who hands over.
        by: UserId,
        /// To whom.
        to: UserId,
    },
    /// The room is ended.
    Close(CloseReason),
}

/// What `command` makes of a room. `None` where it is so already.
///
/// The view must have asked about every user that the command names.
///
/// # Errors
/// Why it may not be.
pub fn apply(view: &View, command: Command, now: UnixMs) -> Result<Option<Change>, Refusal> {
    let mut change = decide(view, command, now)?;
    if let Some(change) = &mut change
        && !change.events.is_empty()
    {
        change.room.told = change.room.revision;
    }
    Ok(change)
}

fn decide(view: &View, command: Command, now: UnixMs) -> Result<Option<Change>, Refusal> {
    match command {
        Command::Join {
            user,
            username,
            lease,
            alive_until,
        } => join(view, user, username, lease, alive_until, now).map(Some),
        Command::Detach {
            user,
            connection,
            others_return_within,
        } => Ok(detach(
            view,
            user,
            connection,
            now - others_return_within,
            now,
        )),
        Command::Leave { user, reason } => Ok(leave(view, user, reason, now)),
        Command::Sync {
            by,
            connection,
            playback,
            song,
        } => sync(view, by, connection, playback, song, now).map(Some),
        Command::Transfer { by, to } => transfer(view, by, to, now),
        Command::Close(reason) => Ok(Some(Change {
            events: vec![Event::Closed(reason)],
            closed: Some(reason),
            ..changed(&view.room, now)
        })),
    }
}

/// The room, one revision on, with nothing else changed.
fn changed(room: &Room, now: UnixMs) -> Change {
    Change {
        room: Room {
            revision: room.revision.next(now),
            last_activity: now,
            ..room.clone()
        },
        seats: Vec::new(),
        events: Vec::new(),
        durable: true,
        closed: None,
    }
}

fn join(
    view: &View,
    user: UserId,
    username: String,
    lease: Lease,
    alive_until: UnixMs,
    now: UnixMs,
) -> Result<Change, Refusal> {
    let mut change = changed(&view.room, now);
    if let Some(seat) = view.seat(user) {
        // A further connection: nobody else notices, and the record knows the seat already. The revision
        // rises all the same, so that a leave that did not see this connection has to look again.
        change.durable = false;
        match lease {
            // Whoever is there with a connection needs no minute of waiting for one.
            Lease::Visit if seat.has_connection_other_than(None, now) => {}
            Lease::Visit => change
                .seats
                .push(SeatChange::Hold(user, lease, alive_until)),
            Lease::Connection(_) => {
                change
                    .seats
                    .push(SeatChange::Hold(user, lease, alive_until));
                change.seats.push(SeatChange::Release(user, Lease::Visit));
            }
        }
        return Ok(change);
    }
    if view.count >= view.room.terms.max_participants {
        return Err(Refusal::Full);
    }
    if view.count == 0 && view.room.host != user {
        change.room.host = user;
        change.room.version = change.room.revision;
        change.events.push(Event::HostChanged {
            host: user,
            previous: view.room.host,
            reason: HostChangeReason::Left,
        });
    }
    change.room.empty_since = None;
    change.seats.push(SeatChange::Take(Seat {
        user,
        username: username.clone(),
        joined_at: now,
        leases: [(lease, alive_until)].into(),
    }));
    change.events.push(Event::UserJoined {
        user,
        username,
        count: view.count + 1,
    });
    Ok(change)
}

fn detach(
    view: &View,
    user: UserId,
    connection: ConnectionId,
    others_since: UnixMs,
    now: UnixMs,
) -> Option<Change> {
    let seat = view.seat(user)?;
    if !seat.leases.contains_key(&Lease::Connection(connection)) {
        return None;
    }
    if !seat.has_connection_other_than(Some(connection), others_since) {
        return leave(view, user, LeaveReason::Left, now);
    }
    let mut change = changed(&view.room, now);
    change.durable = false;
    change
        .seats
        .push(SeatChange::Release(user, Lease::Connection(connection)));
    Some(change)
}

fn leave(view: &View, user: UserId, reason: LeaveReason, now: UnixMs) -> Option<Change> {
    let seat = view.seat(user)?;
    let mut change = changed(&view.room, now);
    let count = view.count.saturating_sub(1);
    change.seats.push(SeatChange::Give(user));
    change.events.push(Event::UserLeft {
        user,
        username: seat.username.clone(),
        count,
        reason,
    });
    let heir = view.eldest.iter().copied().find(|&other| other != user);
    match heir {
        // The last host stays on record: the room is still seen by those who could before.
        None => change.room.empty_since = Some(now),
        Some(heir) if view.room.host == user => {
            change.room.host = heir;
            change.room.version = change.room.revision;
            change.events.push(Event::HostChanged {
                host: heir,
                previous: user,
                reason: match reason {
                    LeaveReason::Disconnected => HostChangeReason::Disconnected,
                    LeaveReason::Left | LeaveReason::AccessRevoked => HostChangeReason::Left,
                },
            });
        }
        Some(_) => {}
    }
    Some(change)
}

fn require_host(view: &View, user: UserId) -> Result<(), Refusal> {
    if view.seat(user).is_none() {
        return Err(Refusal::NotInRoom);
    }
    if view.room.host != user {
        return Err(Refusal::NotHost);
    }
    Ok(())
}

fn sync(
    view: &View,
    by: UserId,
    connection: Option<ConnectionId>,
    playback: Playback,
    song: SongUpdate,
    now: UnixMs,
) -> Result<Change, Refusal> {
    require_host(view, by)?;
    let mut change = changed(&view.room, now);
    match song {
        SongUpdate::Keep => {}
        SongUpdate::Clear => change.room.song = None,
        SongUpdate::Set(song) => change.room.song = Some(song),
    }
    change.room.playback = playback;
    change.room.version = change.room.revision;
    change.durable = view.room.song != change.room.song || view.room.playback.turns_into(&playback);
    change.events.push(Event::StateSynced { by: connection });
    Ok(change)
}

fn transfer(view: &View, by: UserId, to: UserId, now: UnixMs) -> Result<Option<Change>, Refusal> {
    require_host(view, by)?;
    if view.seat(to).is_none() {
        return Err(Refusal::NoSuchParticipant);
    }
    if by == to {
        return Ok(None);
    }
    let mut change = changed(&view.room, now);
    change.room.host = to;
    change.room.version = change.room.revision;
    change.events.push(Event::HostChanged {
        host: to,
        previous: by,
        reason: HostChangeReason::Transferred,
    });
    Ok(Some(change))
}

#[cfg(test)]
mod tests {
    use tutti_common::{
        clock::UnixMs,
        ids::{ConnectionId, RoomId, UserId},
    };

    use super::super::{RoomTerms, Version};
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);
    const LATER: UnixMs = UnixMs(1_700_000_060_000);

    fn seat(user: UserId, connections: &[ConnectionId]) -> Seat {
        Seat {
            user,
            username: "somebody".to_owned(),
            joined_at: NOW,
            leases: connections
                .iter()
                .map(|&connection| (Lease::Connection(connection), LATER))
                .collect(),
        }
    }

    /// A room of `users` in order of joining, the first of them host.
    fn room_of(users: &[UserId]) -> View {
        View {
            room: Room {
                id: RoomId::new(),
                host: users[0],
                terms: RoomTerms {
                    name: None,
                    is_friends_only: false,
                    max_participants: 3,
                },
                song: None,
                playback: Playback::stopped(NOW),
                version: Version::first(NOW),
                revision: Version::first(NOW),
                told: Version::first(NOW),
                created_at: NOW,
                last_activity: NOW,
                empty_since: None,
            },
            seats: users.iter().map(|&user| seat(user, &[])).collect(),
            count: u32::try_from(users.len()).unwrap(),
            eldest: users.iter().copied().take(2).collect(),
        }
    }

    fn users<const N: usize>() -> [UserId; N] {
        std::array::from_fn(|_| UserId::new())
    }

    fn join(user: UserId) -> Command {
        Command::Join {
            user,
            username: "new".to_owned(),
            lease: Lease::Visit,
            alive_until: LATER,
        }
    }

    fn leave(user: UserId) -> Command {
        Command::Leave {
            user,
            reason: LeaveReason::Left,
        }
    }

    fn sync(by: UserId, playing: bool) -> Command {
        Command::Sync {
            by,
            connection: None,
            playback: Playback {
                playing,
                ..Playback::stopped(NOW)
            },
            song: SongUpdate::Keep,
        }
    }

    #[test]
    fn who_comes_is_announced_once_however_many_connections_follow() {
        let [host, guest] = users();
        let change = apply(&room_of(&[host]), join(guest), NOW).unwrap().unwrap();
        assert!(
            matches!(change.events[..], [Event::UserJoined { user, count: 2, .. }] if user == guest)
        );
        assert!(change.durable);
        let again = apply(&room_of(&[host, guest]), join(guest), NOW)
            .unwrap()
            .unwrap();
        assert!(again.events.is_empty());
        let before = room_of(&[host]).room;
        assert!(again.room.revision > before.revision);
        assert_eq!(again.room.version, before.version);
    }

    #[test]
    fn the_first_connection_takes_the_place_of_the_minute_given_for_it() {
        let [host] = users();
        let connection = ConnectionId::new();
        let attach = Command::Join {
            user: host,
            username: "host".to_owned(),
            lease: Lease::Connection(connection),
            alive_until: LATER,
        };
        let change = apply(&room_of(&[host]), attach, NOW).unwrap().unwrap();
        assert_eq!(
            change.seats,
            [
                SeatChange::Hold(host, Lease::Connection(connection), LATER),
                SeatChange::Release(host, Lease::Visit),
            ]
        );
        let mut attached = room_of(&[host]);
        attached.seats = vec![seat(host, &[connection])];
        assert!(
            apply(&attached, join(host), NOW)
                .unwrap()
                .unwrap()
                .seats
                .is_empty()
        );
    }

    #[test]
    fn a_full_room_takes_nobody_but_those_who_are_there() {
        let [a, b, c, d] = users();
        let full = room_of(&[a, b, c]);
        assert_eq!(apply(&full, join(d), NOW), Err(Refusal::Full));
        assert!(apply(&full, join(c), NOW).is_ok());
    }

    #[test]
    fn the_longest_there_succeeds_a_host_who_goes() {
        let [host, second, third] = users();
        let view = room_of(&[host, second, third]);
        let change = apply(&view, leave(host), NOW).unwrap().unwrap();
        assert_eq!(change.room.host, second);
        assert!(matches!(
            change.events[..],
            [
                Event::UserLeft { count: 2, .. },
                Event::HostChanged { reason: HostChangeReason::Left, previous, .. }
            ] if previous == host
        ));
        let change = apply(&view, leave(second), NOW).unwrap().unwrap();
        assert_eq!(change.room.host, host);
        assert_eq!(change.events.len(), 1);
    }

    #[test]
    fn the_last_to_go_leaves_an_empty_room_whose_first_comer_is_host() {
        let [host, guest] = users();
        let change = apply(&room_of(&[host]), leave(host), NOW).unwrap().unwrap();
        assert_eq!(
            (change.room.host, change.room.empty_since),
            (host, Some(NOW))
        );
        let empty = View {
            room: change.room,
            seats: vec![],
            count: 0,
            eldest: vec![],
        };
        let change = apply(&empty, join(guest), LATER).unwrap().unwrap();
        assert_eq!((change.room.host, change.room.empty_since), (guest, None));
    }

    #[test]
    fn leaving_twice_is_leaving_once() {
        let [host, stranger] = users();
        assert_eq!(apply(&room_of(&[host]), leave(stranger), NOW), Ok(None));
    }

    #[test]
    fn the_last_attached_connection_takes_the_user_along() {
        let [host] = users();
        let (phone, laptop) = (ConnectionId::new(), ConnectionId::new());
        let detach_within = |connection, others_return_within| Command::Detach {
            user: host,
            connection,
            others_return_within,
        };
        let detach = |connection| detach_within(connection, Duration::ZERO);
        let mut view = room_of(&[host]);
        view.seats = vec![seat(host, &[phone, laptop])];
        let change = apply(&view, detach(phone), NOW).unwrap().unwrap();
        assert!(change.events.is_empty());
        assert_eq!(
            change.seats,
            [SeatChange::Release(host, Lease::Connection(phone))]
        );
        // The laptop's line is lost: it is in its grace, and not attached.
        view.seats[0].leases.insert(Lease::Connection(laptop), NOW);
        view.seats[0].leases.insert(Lease::Visit, LATER);
        let change = apply(&view, detach(phone), NOW).unwrap().unwrap();
        assert!(matches!(change.events[0], Event::UserLeft { .. }));
        assert_eq!(apply(&view, detach(ConnectionId::new()), NOW), Ok(None));
        // As long as it may come back, it keeps the place.
        let grace = Duration::from_secs(15);
        for (time, stays) in [(NOW, true), (NOW + grace, false)] {
            let change = apply(&view, detach_within(phone, grace), time);
            assert_eq!(change.unwrap().unwrap().events.is_empty(), stays);
        }
    }

    #[test]
    fn only_a_host_who_is_there_may_sync() {
        let [host, guest, stranger] = users();
        let view = room_of(&[host, guest]);
        assert_eq!(apply(&view, sync(guest, true), NOW), Err(Refusal::NotHost));
        assert_eq!(
            apply(&view, sync(stranger, true), NOW),
            Err(Refusal::NotInRoom)
        );
        let mut empty = view.clone();
        empty.seats.clear();
        assert_eq!(
            apply(&empty, sync(host, true), NOW),
            Err(Refusal::NotInRoom)
        );
        assert!(apply(&view, sync(host, true), NOW).is_ok());
    }

    #[test]
    fn every_sync_raises_the_version_and_only_turns_are_durable() {
        let [host] = users();
        let view = room_of(&[host]);
        let same = apply(&view, sync(host, false), NOW).unwrap().unwrap();
        assert!(same.room.version > view.room.version);
        assert!(!same.durable);
        let elsewhere = Command::Sync {
            by: host,
            connection: None,
            playback: Playback {
                position: 9.0,
                ..Playback::stopped(NOW)
            },
            song: SongUpdate::Keep,
        };
        assert!(apply(&view, elsewhere, NOW).unwrap().unwrap().durable);
        assert!(
            apply(&view, sync(host, true), NOW)
                .unwrap()
                .unwrap()
                .durable
        );
    }

    #[test]
    fn a_host_hands_over_to_somebody_who_is_there() {
        let [host, guest, stranger] = users();
        let view = room_of(&[host, guest]);
        let to = |by, to| apply(&view, Command::Transfer { by, to }, NOW);
        assert_eq!(to(guest, host), Err(Refusal::NotHost));
        assert_eq!(to(host, stranger), Err(Refusal::NoSuchParticipant));
        assert_eq!(to(host, host), Ok(None));
        assert_eq!(to(host, guest).unwrap().unwrap().room.host, guest);
    }

    #[test]
    fn versions_rise_even_if_the_clock_goes_back() {
        let version = Version::first(LATER);
        assert!(version.next(NOW) > version);
        assert_eq!(version.next(UnixMs(LATER.0 + 5)), Version(LATER.0 + 5));
    }
}
