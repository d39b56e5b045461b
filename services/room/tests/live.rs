//! What live state promises, whatever engine keeps it.

mod listening;

use std::{sync::Arc, time::Duration};

use self::listening::{next, next_revision};
use futures_util::future::join_all;
use tutti_common::{
    clock::UnixMs,
    config::Secret,
    ids::{ConnectionId, RoomId, UserId},
    redis::{Bus, Redis, RedisUrl},
};
use tutti_proto::rooms::RoomEvent;
use tutti_room::{
    domain::{
        Change, CloseReason, Command, Lease, LeaveReason, Playback, PlaybackUpdate, Room,
        RoomTerms, Seat, SongUpdate, Version, apply,
    },
    live::{CLAIM, Connected, Due, Feed, LiveState, LocalLive, RedisLive},
};

const NOW: UnixMs = UnixMs(1_704_067_200_000);
const GRACE: Duration = Duration::from_secs(15);
const EMPTY_GRACE: Duration = Duration::from_mins(1);
const A_MOMENT: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_mins(1);

type Live = Arc<dyn LiveState>;

/// In the Redis that a variable names, under keys of its own.
fn on_redis(variable: &str) -> Option<RedisLive> {
    let Ok(url) = std::env::var(variable) else {
        eprintln!("{variable} is not set: not told there");
        return None;
    };
    let redis = Redis::new(&RedisUrl::parse(&Secret::new(&url), None).unwrap());
    let bus = Bus::start(redis.clone());
    let prefix = format!("test:{}", RoomId::new());
    Some(RedisLive::new(redis, bus, &prefix, GRACE, EMPTY_GRACE))
}

/// Tells each story once on each engine.
macro_rules! on_each_engine {
    ($($story:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                let live = super::LocalLive::new(super::GRACE, super::EMPTY_GRACE);
                super::$story(std::sync::Arc::new(live)).await;
            })*
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                if let Some(live) = super::on_redis("TEST_REDIS_URL") {
                    super::$story(std::sync::Arc::new(live)).await;
                }
            })*
        }

        mod redis_cluster {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                if let Some(live) = super::on_redis("TEST_REDIS_CLUSTER_URL") {
                    super::$story(std::sync::Arc::new(live)).await;
                }
            })*
        }
    };
}

on_each_engine! {
    a_room_is_there_once_it_was_put_there,
    who_fills_it_says_so,
    a_view_has_what_was_asked_about,
    a_snapshot_names_members_in_order,
    a_stale_change_is_refused_and_nobody_hears_of_it,
    of_changes_at_once_one_wins,
    who_changes_a_room_sees_it_as_it_is_then,
    a_turn_comes_with_a_look,
    everybody_hears_all_events_in_order,
    who_is_too_slow_is_told_of_a_gap,
    nobody_hears_of_another_room,
    a_closed_room_is_gone_and_its_feed_ends,
    a_seat_is_due_when_its_grace_is_over,
    a_renewed_seat_is_not_due,
    a_lost_connection_is_due_after_the_grace,
    a_seat_is_kept_by_its_last_lease,
    a_seat_that_was_given_up_is_not_due,
    an_empty_room_is_due_when_its_grace_is_over,
    what_is_due_is_handed_out_once_at_a_time,
    what_is_due_comes_in_portions,
    connections_without_a_seat_are_named,
    who_renews_learns_which_event_was_the_last,
    who_has_a_connection_is_online,
    who_joins_by_a_connection_is_online,
    rooms_come_latest_joined_first,
    a_running_position_is_claimed_once,
    what_is_recorded_or_gone_needs_no_recording,
    what_was_claimed_and_not_recorded_is_claimed_again,
    what_changed_while_it_was_recorded_is_still_to_be_recorded,
}

fn room(host: UserId) -> Room {
    Room {
        id: RoomId::new(),
        host,
        terms: RoomTerms {
            name: None,
            is_friends_only: false,
            max_participants: 1_000,
        },
        song: None,
        playback: Playback::stopped(NOW),
        version: Version::first(NOW),
        revision: Version::first(NOW),
        told: Version::first(NOW),
        created_at: NOW,
        last_activity: NOW,
        empty_since: None,
    }
}

/// A seat kept by a visit that is over at `NOW`.
fn seat(user: UserId) -> Seat {
    Seat {
        user,
        username: user.to_string(),
        joined_at: NOW,
        leases: [(Lease::Visit, NOW)].into(),
    }
}

/// A room with so many in it, the first of them host.
async fn seated<const N: usize>(live: &Live) -> (RoomId, [UserId; N]) {
    let users = [(); N].map(|()| UserId::new());
    let room = room(users[0]);
    let seats = users.iter().map(|&user| seat(user)).collect();
    live.restore(room.clone(), seats).await.unwrap();
    (room.id, users)
}

fn join(user: UserId, lease: Lease, alive_until: UnixMs) -> Command {
    Command::Join {
        user,
        username: user.to_string(),
        lease,
        alive_until,
    }
}

fn leave(user: UserId) -> Command {
    Command::Leave {
        user,
        reason: LeaveReason::Left,
    }
}

/// Plays at a position; from the second on this is running on, which the record may hear of later.
fn plays(by: UserId, position: f64) -> Command {
    let update = PlaybackUpdate {
        playing: true,
        position,
        ..PlaybackUpdate::default()
    };
    Command::Sync {
        by,
        connection: None,
        playback: Playback::accept(&update, NOW).unwrap(),
        song: SongUpdate::Keep,
    }
}

/// What the rules make of a command now, and the events with which it is told.
async fn decide(
    live: &Live,
    id: RoomId,
    users: &[UserId],
    command: Command,
) -> (Version, Change, Vec<RoomEvent>) {
    let view = live.view(id, users).await.unwrap().unwrap();
    let change = apply(&view, command, NOW).unwrap().unwrap();
    let event = RoomEvent {
        room_id: id.to_string(),
        revision: change.room.revision.0.try_into().unwrap(),
        ..RoomEvent::default()
    };
    let events = change.events.iter().map(|_| event.clone()).collect();
    (view.room.revision, change, events)
}

/// Does it.
async fn act(live: &Live, id: RoomId, user: UserId, command: Command) -> Room {
    let (revision, change, events) = decide(live, id, &[user], command).await;
    let after = change.room.clone();
    assert!(live.commit(revision, change, events).await.unwrap());
    after
}

async fn due(live: &Live, now: UnixMs) -> Vec<Due> {
    let mut due = live.due(now, 1_000).await.unwrap();
    due.sort_unstable();
    due
}

async fn a_room_is_there_once_it_was_put_there(live: Live) {
    let host = UserId::new();
    let mut room = room(host);
    assert!(live.view(room.id, &[host]).await.unwrap().is_none());
    assert!(live.snapshot(room.id).await.unwrap().is_none());
    live.restore(room.clone(), vec![seat(host)]).await.unwrap();
    let view = live.view(room.id, &[host]).await.unwrap().unwrap();
    assert_eq!((&view.room, view.count), (&room, 1));
    // A second time changes nothing.
    room.revision = Version(room.revision.0 + 100);
    live.restore(room.clone(), vec![]).await.unwrap();
    let again = live.view(room.id, &[host]).await.unwrap().unwrap();
    assert_eq!(again, view);
}

async fn who_fills_it_says_so(live: Live) {
    assert!(!live.is_filled().await.unwrap());
    for _ in 0..2 {
        live.set_filled().await.unwrap();
        assert!(live.is_filled().await.unwrap());
    }
}

async fn a_view_has_what_was_asked_about(live: Live) {
    let (id, [host, second, third]) = seated(&live).await;
    let stranger = UserId::new();
    let view = live.view(id, &[third, stranger]).await.unwrap().unwrap();
    assert_eq!(view.seats, [seat(third)]);
    assert_eq!((view.count, view.eldest), (3, vec![host, second]));
    assert!(live.view(id, &[]).await.unwrap().unwrap().seats.is_empty());
    act(&live, id, host, leave(host)).await;
    act(&live, id, stranger, join(stranger, Lease::Visit, NOW)).await;
    let view = live.view(id, &[host]).await.unwrap().unwrap();
    assert!(view.seats.is_empty());
    assert_eq!((view.count, view.eldest), (3, vec![second, third]));
}

async fn a_snapshot_names_members_in_order(live: Live) {
    let host = UserId::new();
    let room = room(host);
    let mut users = (0..600).map(|_| UserId::new()).collect::<Vec<_>>();
    // Order of joining is not order of ids.
    users.reverse();
    let seats = users.iter().map(|&user| seat(user)).collect();
    live.restore(room.clone(), seats).await.unwrap();
    act(&live, room.id, users[0], leave(users[0])).await;
    act(&live, room.id, users[0], join(users[0], Lease::Visit, NOW)).await;
    let snapshot = live.snapshot(room.id).await.unwrap().unwrap();
    let named = users[1..=500].iter().map(|user| (*user, user.to_string()));
    assert!(snapshot.members.into_iter().eq(named));
    assert_eq!(snapshot.count, 600);
}

async fn a_stale_change_is_refused_and_nobody_hears_of_it(live: Live) {
    let (id, [host, guest]) = seated(&live).await;
    let stale = decide(&live, id, &[guest], leave(guest)).await;
    act(&live, id, host, plays(host, 1.0)).await;
    let mut feed = live.subscribe(id).await.unwrap();
    let before = live.view(id, &[host, guest]).await.unwrap();
    let (revision, change, events) = stale;
    assert!(!live.commit(revision, change, events).await.unwrap());
    assert_eq!(live.view(id, &[host, guest]).await.unwrap(), before);
    assert_eq!(live.rooms_of(guest, NOW).await.unwrap(), [id]);
    let after = act(&live, id, host, plays(host, 2.0)).await;
    let heard = next_revision(&mut feed).await;
    assert_eq!(i64::try_from(heard), Ok(after.revision.0));
    // Nor can a room be changed that is not there.
    let nowhere = room(host);
    let change = Change {
        room: nowhere.clone(),
        seats: vec![],
        events: vec![],
        durable: true,
        closed: None,
    };
    let made = live.commit(nowhere.revision, change, vec![]).await;
    assert!(!made.unwrap());
    assert!(live.view(nowhere.id, &[]).await.unwrap().is_none());
}

async fn of_changes_at_once_one_wins(live: Live) {
    let (id, [host]) = seated(&live).await;
    for _ in 0..20 {
        let (revision, change, events) = decide(&live, id, &[host], plays(host, 1.0)).await;
        let commits = (0..10).map(|_| {
            let (live, change, events) = (live.clone(), change.clone(), events.clone());
            async move { live.commit(revision, change, events).await.unwrap() }
        });
        let made = join_all(commits).await;
        assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
    }
}

async fn who_changes_a_room_sees_it_as_it_is_then(live: Live) {
    let (id, [host, second]) = seated(&live).await;
    let guest = UserId::new();
    let lease = Lease::Connection(ConnectionId::new());
    let coming = join(guest, lease, NOW + MINUTE);
    let (revision, change, events) = decide(&live, id, &[guest], coming).await;
    let seen = live.commit_and_look(revision, change.clone(), events.clone());
    let seen = seen.await.unwrap().unwrap();
    assert_eq!((&seen.room, seen.count), (&change.room, 3));
    let named = [host, second, guest].map(|user| (user, user.to_string()));
    assert_eq!(seen.members, named);
    let looked = live.snapshot(id).await.unwrap().unwrap();
    assert_eq!((looked.room, looked.members), (seen.room, seen.members));
    // What is not made is not seen.
    let again = live.commit_and_look(revision, change, events).await;
    assert!(again.unwrap().is_none());
}

async fn a_turn_comes_with_a_look(live: Live) {
    let (id, [host, _, third]) = seated(&live).await;
    for _ in 0..3 {
        let (turn, seen) = live.take_turn_and_look(id, &[third, host]).await.unwrap();
        assert_eq!(seen, live.view(id, &[third, host]).await.unwrap());
        act(&live, id, host, plays(host, 1.0)).await;
        drop(turn);
    }
    let nowhere = live.take_turn_and_look(RoomId::new(), &[host]).await;
    assert!(nowhere.unwrap().1.is_none());
}

async fn everybody_hears_all_events_in_order(live: Live) {
    let (id, [host]) = seated(&live).await;
    let mut feeds = Vec::new();
    for _ in 0..3 {
        feeds.push(live.subscribe(id).await.unwrap());
    }
    // Each tries until its change is made, so that they race for every revision.
    let changes = (0..100).map(|_| async {
        loop {
            let (revision, change, events) = decide(&live, id, &[host], plays(host, 1.0)).await;
            let after = change.room.revision;
            if live.commit(revision, change, events).await.unwrap() {
                return u64::try_from(after.0).unwrap();
            }
        }
    });
    let mut made = join_all(changes).await;
    made.sort_unstable();
    for mut feed in feeds {
        for revision in &made {
            assert_eq!(next_revision(&mut feed).await, *revision);
        }
    }
}

async fn who_is_too_slow_is_told_of_a_gap(live: Live) {
    let (id, [host]) = seated(&live).await;
    let mut feed = live.subscribe(id).await.unwrap();
    let mut last = 0;
    for _ in 0..5_000 {
        let after = act(&live, id, host, plays(host, 1.0)).await;
        last = u64::try_from(after.revision.0).unwrap();
    }
    let mut gaps = 0;
    let mut heard = 0;
    while heard < last {
        match next(&mut feed).await.unwrap() {
            Feed::Gap => gaps += 1,
            Feed::Event(event) => {
                assert!(event.revision > heard);
                assert!(gaps > 0 || heard == 0 || event.revision == heard + 1);
                heard = event.revision;
            }
        }
    }
    assert!(gaps > 0);
}

async fn nobody_hears_of_another_room(live: Live) {
    let (one, [host]) = seated(&live).await;
    let (other, [other_host]) = seated(&live).await;
    let mut feed = live.subscribe(one).await.unwrap();
    act(&live, other, other_host, plays(other_host, 1.0)).await;
    act(&live, one, host, plays(host, 1.0)).await;
    let Some(Feed::Event(event)) = next(&mut feed).await else {
        panic!("an event");
    };
    assert_eq!(event.room_id, one.to_string());
}

async fn a_closed_room_is_gone_and_its_feed_ends(live: Live) {
    let (id, [host, guest]) = seated(&live).await;
    let mut feed = live.subscribe(id).await.unwrap();
    let closed = act(&live, id, host, Command::Close(CloseReason::ByHost)).await;
    let heard = next_revision(&mut feed).await;
    assert_eq!(i64::try_from(heard), Ok(closed.revision.0));
    assert!(next(&mut feed).await.is_none());
    assert!(live.view(id, &[host]).await.unwrap().is_none());
    assert!(live.snapshot(id).await.unwrap().is_none());
    assert!(live.rooms_of(guest, NOW).await.unwrap().is_empty());
    assert!(due(&live, NOW + MINUTE * 60).await.is_empty());
}

async fn a_seat_is_due_when_its_grace_is_over(live: Live) {
    let (id, [host, guest]) = seated(&live).await;
    let until = NOW + MINUTE;
    act(&live, id, guest, leave(guest)).await;
    act(&live, id, guest, join(guest, Lease::Visit, until)).await;
    assert!(due(&live, NOW + GRACE - A_MOMENT).await.is_empty());
    assert_eq!(due(&live, NOW + GRACE).await, [Due::Seat(id, host)]);
    act(&live, id, host, leave(host)).await;
    assert!(due(&live, until + GRACE - A_MOMENT).await.is_empty());
    assert_eq!(due(&live, until + GRACE).await, [Due::Seat(id, guest)]);
}

async fn a_renewed_seat_is_not_due(live: Live) {
    let (id, [host]) = seated(&live).await;
    let connection = ConnectionId::new();
    let lease = Lease::Connection(connection);
    act(&live, id, host, join(host, lease, NOW + A_MOMENT)).await;
    let connected = Connected {
        connection,
        user: host,
        room: Some(id),
    };
    let mut now = NOW;
    for _ in 0..20 {
        now = now + GRACE;
        let detached = live.renew(&[connected], now).await.unwrap().detached;
        assert!(detached.is_empty());
        assert!(due(&live, now).await.is_empty());
    }
    assert!(due(&live, now + GRACE - A_MOMENT).await.is_empty());
    assert_eq!(due(&live, now + GRACE).await, [Due::Seat(id, host)]);
    // It comes back at the last moment, before anybody looked again.
    live.renew(&[connected], now + MINUTE).await.unwrap();
    assert!(due(&live, now + MINUTE).await.is_empty());
    assert_eq!(
        due(&live, now + MINUTE + GRACE).await,
        [Due::Seat(id, host)]
    );
}

async fn a_lost_connection_is_due_after_the_grace(live: Live) {
    let (id, [host]) = seated(&live).await;
    let connection = ConnectionId::new();
    let lease = Lease::Connection(connection);
    act(&live, id, host, join(host, lease, NOW + MINUTE)).await;
    let connected = Connected {
        connection,
        user: host,
        room: Some(id),
    };
    live.drop_connections(&[connected], NOW).await.unwrap();
    let view = live.view(id, &[host]).await.unwrap().unwrap();
    assert_eq!(view.seats[0].leases.get(&lease), Some(&NOW));
    assert!(due(&live, NOW + GRACE - A_MOMENT).await.is_empty());
    assert_eq!(due(&live, NOW + GRACE).await, [Due::Seat(id, host)]);
    // What is not there is lost without a word.
    let elsewhere = Connected {
        room: Some(RoomId::new()),
        ..connected
    };
    live.drop_connections(&[elsewhere], NOW).await.unwrap();
}

async fn a_seat_is_kept_by_its_last_lease(live: Live) {
    let (id, [host]) = seated(&live).await;
    let (phone, laptop) = (ConnectionId::new(), ConnectionId::new());
    let until = NOW + MINUTE;
    for (connection, until) in [(phone, until), (laptop, until + A_MOMENT)] {
        let lease = Lease::Connection(connection);
        act(&live, id, host, join(host, lease, until)).await;
    }
    assert!(due(&live, until + GRACE).await.is_empty());
    // The one that lasts leaves, and what is left is due earlier.
    let detach = Command::Detach {
        user: host,
        connection: laptop,
        others_return_within: Duration::ZERO,
    };
    act(&live, id, host, detach).await;
    assert_eq!(due(&live, until + GRACE).await, [Due::Seat(id, host)]);
}

async fn a_seat_that_was_given_up_is_not_due(live: Live) {
    let (id, [_, guest]) = seated(&live).await;
    act(&live, id, guest, leave(guest)).await;
    let due = due(&live, NOW + MINUTE).await;
    assert!(!due.contains(&Due::Seat(id, guest)), "{due:?}");
}

async fn an_empty_room_is_due_when_its_grace_is_over(live: Live) {
    let (id, [host]) = seated(&live).await;
    act(&live, id, host, leave(host)).await;
    assert!(due(&live, NOW + EMPTY_GRACE - A_MOMENT).await.is_empty());
    assert_eq!(due(&live, NOW + EMPTY_GRACE).await, [Due::Room(id)]);
    act(&live, id, host, join(host, Lease::Visit, NOW + MINUTE * 5)).await;
    assert!(due(&live, NOW + MINUTE * 2).await.is_empty());
    // A room may come back empty.
    let empty = Room {
        empty_since: Some(NOW),
        ..room(host)
    };
    live.restore(empty.clone(), vec![]).await.unwrap();
    assert_eq!(due(&live, NOW + EMPTY_GRACE).await, [Due::Room(empty.id)]);
}

async fn what_is_due_is_handed_out_once_at_a_time(live: Live) {
    let (id, users) = seated::<5>(&live).await;
    let empty = Room {
        empty_since: Some(NOW),
        ..room(users[0])
    };
    live.restore(empty.clone(), vec![]).await.unwrap();
    let late = NOW + MINUTE;
    let claims = (0..10).map(|_| due(&live, late));
    let mut claimed = join_all(claims).await.concat();
    claimed.sort_unstable();
    let mut all = users.map(|user| Due::Seat(id, user)).to_vec();
    all.push(Due::Room(empty.id));
    all.sort_unstable();
    assert_eq!(claimed, all);
    assert!(due(&live, late + A_MOMENT).await.is_empty());
    // Whoever claimed it did nothing about it.
    assert_eq!(due(&live, late + MINUTE).await, all);
}

async fn what_is_due_comes_in_portions(live: Live) {
    seated::<25>(&live).await;
    for size in [10, 10, 5, 0] {
        assert_eq!(live.due(NOW + MINUTE, 10).await.unwrap().len(), size);
    }
}

async fn connections_without_a_seat_are_named(live: Live) {
    let (id, [host, guest]) = seated(&live).await;
    let attached = ConnectionId::new();
    let lease = Lease::Connection(attached);
    act(&live, id, host, join(host, lease, NOW + MINUTE)).await;
    let connected = |connection, user, room| Connected {
        connection,
        user,
        room,
    };
    let [never, elsewhere, nowhere] = [(); 3].map(|()| ConnectionId::new());
    let renewed = live
        .renew(
            &[
                connected(attached, host, Some(id)),
                connected(never, guest, Some(id)),
                connected(elsewhere, host, Some(RoomId::new())),
                connected(nowhere, host, None),
            ],
            NOW + MINUTE,
        )
        .await
        .unwrap();
    assert_eq!(renewed.detached, [never, elsewhere]);
    let view = live.view(id, &[guest]).await.unwrap().unwrap();
    assert_eq!(view.seats, [seat(guest)], "a report attaches nothing");
}

async fn who_renews_learns_which_event_was_the_last(live: Live) {
    let (id, [host, guest]) = seated(&live).await;
    let phone = ConnectionId::new();
    let connected = Connected {
        connection: phone,
        user: host,
        room: Some(id),
    };
    let last_event = async || {
        let renewed = live.renew(&[connected], NOW + MINUTE).await.unwrap();
        let room = live.view(id, &[]).await.unwrap().unwrap().room;
        assert_eq!(renewed.last_events, [(id, room.told)]);
        (room.told, room.revision)
    };
    let first = last_event().await;
    // Nobody hears of a further connection, and of everything else everybody does.
    act(
        &live,
        id,
        host,
        join(host, Lease::Connection(phone), NOW + MINUTE),
    )
    .await;
    let (told, revision) = last_event().await;
    assert_eq!(told, first.0);
    assert!(revision > told);
    let left = Command::Leave {
        user: guest,
        reason: LeaveReason::Left,
    };
    act(&live, id, guest, left).await;
    assert!(last_event().await.0 > revision);
}

async fn who_has_a_connection_is_online(live: Live) {
    let [ann, bob, cyd] = [(); 3].map(|()| UserId::new());
    let connected = |user| Connected {
        connection: ConnectionId::new(),
        user,
        room: None,
    };
    let (phone, laptop, of_bob) = (connected(ann), connected(ann), connected(bob));
    live.renew(&[phone, of_bob], NOW + GRACE).await.unwrap();
    live.renew(&[laptop], NOW + MINUTE).await.unwrap();
    let online = async |now| {
        let online = live.online(&[ann, bob, cyd], now).await.unwrap();
        [ann, bob, cyd].map(|user| online.contains(&user))
    };
    let counted = async |now| {
        let counts = live.connections_of(&[ann, bob, cyd], now).await.unwrap();
        [ann, bob, cyd].map(|user| counts.get(&user).copied())
    };
    assert_eq!(online(NOW).await, [true, true, false]);
    assert_eq!(counted(NOW).await, [Some(2), Some(1), None]);
    assert_eq!(online(NOW + GRACE - A_MOMENT).await, [true, true, false]);
    assert_eq!(online(NOW + GRACE).await, [true, false, false]);
    assert_eq!(counted(NOW + GRACE).await, [Some(1), None, None]);
    live.drop_connections(&[phone], NOW).await.unwrap();
    assert_eq!(online(NOW + GRACE).await, [true, false, false]);
    live.drop_connections(&[laptop], NOW).await.unwrap();
    assert_eq!(online(NOW).await, [false, false, false]);
}

async fn who_joins_by_a_connection_is_online(live: Live) {
    let (id, [host]) = seated(&live).await;
    let guest = UserId::new();
    let connected = |user| Connected {
        connection: ConnectionId::new(),
        user,
        room: Some(id),
    };
    let (of_host, of_guest) = (connected(host), connected(guest));
    for joining in [of_host, of_guest] {
        let Connected {
            connection, user, ..
        } = joining;
        let lease = Lease::Connection(connection);
        act(&live, id, user, join(user, lease, NOW + GRACE)).await;
    }
    let online = async |now| {
        let online = live.online(&[host, guest], now).await.unwrap();
        [host, guest].map(|user| online.contains(&user))
    };
    assert_eq!(online(NOW + GRACE - A_MOMENT).await, [true, true]);
    live.drop_connections(&[of_host], NOW).await.unwrap();
    assert_eq!(online(NOW).await, [false, true]);
    assert_eq!(online(NOW + GRACE).await, [false, false]);
    // A visit is no connection.
    act(&live, id, host, join(host, Lease::Visit, NOW + MINUTE)).await;
    assert_eq!(online(NOW).await, [false, false]);
}

async fn rooms_come_latest_joined_first(live: Live) {
    let user = UserId::new();
    let mut rooms = Vec::new();
    for second in [2, 0, 1] {
        let room = room(user);
        let seat = Seat {
            joined_at: NOW + Duration::from_secs(second),
            ..seat(user)
        };
        live.restore(room.clone(), vec![seat]).await.unwrap();
        rooms.push(room.id);
    }
    assert_eq!(
        live.rooms_of(user, NOW).await.unwrap(),
        [rooms[0], rooms[2], rooms[1]]
    );
    act(&live, rooms[2], user, leave(user)).await;
    assert_eq!(
        live.rooms_of(user, NOW).await.unwrap(),
        [rooms[0], rooms[1]]
    );
    assert!(live.rooms_of(UserId::new(), NOW).await.unwrap().is_empty());
}

async fn a_running_position_is_claimed_once(live: Live) {
    let (id, [host]) = seated(&live).await;
    assert_eq!(live.unrecorded(NOW).await.unwrap(), []);
    act(&live, id, host, plays(host, 1.0)).await;
    act(&live, id, host, plays(host, 2.0)).await;
    let after = act(&live, id, host, plays(host, 3.0)).await;
    assert_eq!(live.unrecorded(NOW).await.unwrap(), [after]);
    assert_eq!(live.unrecorded(NOW).await.unwrap(), []);
    let after = act(&live, id, host, plays(host, 4.0)).await;
    assert_eq!(live.unrecorded(NOW).await.unwrap(), [after]);
}

async fn what_is_recorded_or_gone_needs_no_recording(live: Live) {
    let (id, [host, guest]) = seated(&live).await;
    // To begin to play is durable, and so are comings and goings: the record has them.
    act(&live, id, host, plays(host, 1.0)).await;
    assert_eq!(live.unrecorded(NOW).await.unwrap(), []);
    act(&live, id, host, plays(host, 2.0)).await;
    act(&live, id, guest, leave(guest)).await;
    assert_eq!(live.unrecorded(NOW).await.unwrap(), []);
    act(&live, id, host, plays(host, 3.0)).await;
    let written = live.unrecorded(NOW).await.unwrap();
    live.recorded(&written, NOW).await.unwrap();
    assert_eq!(live.unrecorded(NOW + MINUTE).await.unwrap(), []);
    act(&live, id, host, plays(host, 4.0)).await;
    let written = live.unrecorded(NOW).await.unwrap();
    act(&live, id, host, Command::Close(CloseReason::ByOperator)).await;
    assert_eq!(live.unrecorded(NOW + MINUTE).await.unwrap(), []);
    live.recorded(&written, NOW).await.unwrap();
    assert_eq!(live.unrecorded(NOW + MINUTE).await.unwrap(), []);
}

async fn what_was_claimed_and_not_recorded_is_claimed_again(live: Live) {
    let (id, [host]) = seated(&live).await;
    act(&live, id, host, plays(host, 1.0)).await;
    let after = act(&live, id, host, plays(host, 2.0)).await;
    // Whoever claims it dies.
    let claimed = live.unrecorded(NOW).await.unwrap();
    assert_eq!(claimed.as_slice(), std::slice::from_ref(&after));
    let claimed_until = NOW + CLAIM;
    assert_eq!(live.unrecorded(claimed_until - A_MOMENT).await.unwrap(), []);
    let soon = claimed_until + A_MOMENT;
    assert_eq!(live.unrecorded(soon).await.unwrap(), claimed);
    // The first one lives after all: what it says does not end the claim of the other.
    live.recorded(&claimed, NOW).await.unwrap();
    assert_eq!(live.unrecorded(soon + MINUTE).await.unwrap(), [after]);
}

async fn what_changed_while_it_was_recorded_is_still_to_be_recorded(live: Live) {
    let (id, [host]) = seated(&live).await;
    act(&live, id, host, plays(host, 1.0)).await;
    act(&live, id, host, plays(host, 2.0)).await;
    let written = live.unrecorded(NOW).await.unwrap();
    let after = act(&live, id, host, plays(host, 3.0)).await;
    live.recorded(&written, NOW).await.unwrap();
    assert_eq!(live.unrecorded(NOW).await.unwrap(), [after]);
}
