//! What live state in Redis promises beyond what every engine does: processes share it, and it gets over the loss of
//! Redis. Told where `TEST_REDIS_URL` is set, on Redis servers of its own.

#[path = "../../common/tests/servers/mod.rs"]
mod servers;

mod listening;

use std::time::{Duration, Instant};

use self::listening::{next, next_revision};
use futures_util::future::join_all;
use metrics_exporter_prometheus::PrometheusBuilder;
use servers::{Server, eventually, redis_and_bus_at};
use tutti_common::{
    clock::UnixMs,
    ids::{ConnectionId, RoomId, UserId},
    redis::PREFIX,
};
use tutti_proto::rooms::RoomEvent;
use tutti_room::{
    domain::{
        self, Change, CloseReason, Lease, Playback, PlaybackUpdate, Room, RoomName, RoomTerms,
        Seat, Song, SongUpdate, Version, apply,
    },
    live::{Connected, Due, Feed, LiveState as _, RedisLive},
};

const NOW: UnixMs = UnixMs(1_704_067_200_000);
const GRACE: Duration = Duration::from_secs(15);
const EMPTY_GRACE: Duration = Duration::from_mins(1);
const MINUTE: Duration = Duration::from_mins(1);

/// What a call may take: its deadline of a second, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(2);

/// Live state as one process has it.
fn live_at(url: &str) -> RedisLive {
    let (redis, bus) = redis_and_bus_at(url);
    RedisLive::new(redis, bus, PREFIX, GRACE, EMPTY_GRACE)
}

impl Server {
    fn live(&self) -> RedisLive {
        live_at(&self.url())
    }
}

/// A room in which everything is set.
fn room(host: UserId) -> Room {
    Room {
        id: RoomId::new(),
        host,
        terms: RoomTerms {
            name: Some(RoomName::parse("Évening, 50% \"off\"").unwrap()),
            is_friends_only: true,
            max_participants: 1_000,
        },
        song: Some(Song::parse(r#"{"title":"One","x":[1.50,"\u0000"]}"#).unwrap()),
        playback: Playback {
            playing: true,
            position: 0.1 + 0.2,
            current_time: 1.0 / 3.0,
            timestamp_ms: NOW.as_f64() + 0.123_456,
            rate: 1.1,
        },
        version: Version::first(NOW),
        revision: Version(NOW.0 + 1),
        told: Version(NOW.0),
        created_at: UnixMs(NOW.0 - 5),
        last_activity: NOW,
        empty_since: None,
    }
}

fn seat(user: UserId) -> Seat {
    let connection = Lease::Connection(ConnectionId::new());
    Seat {
        user,
        username: "żółć.1".to_owned(),
        joined_at: NOW,
        leases: [(Lease::Visit, NOW), (connection, NOW)].into(),
    }
}

/// A room with one in it.
async fn seated(live: &RedisLive) -> (RoomId, UserId) {
    let host = UserId::new();
    let room = room(host);
    live.restore(room.clone(), vec![seat(host)]).await.unwrap();
    (room.id, host)
}

fn plays(by: UserId, position: f64) -> domain::Command {
    let update = PlaybackUpdate {
        playing: true,
        position,
        ..PlaybackUpdate::default()
    };
    domain::Command::Sync {
        by,
        connection: None,
        playback: Playback::accept(&update, NOW).unwrap(),
        song: SongUpdate::Keep,
    }
}

/// What the rules make of a command now, and the events with which it is told.
async fn decide(
    live: &RedisLive,
    id: RoomId,
    user: UserId,
    command: domain::Command,
) -> (Version, Change, Vec<RoomEvent>) {
    let view = live.view(id, &[user]).await.unwrap().unwrap();
    let change = apply(&view, command, NOW).unwrap().unwrap();
    let event = RoomEvent {
        room_id: id.to_string(),
        revision: change.room.revision.0.try_into().unwrap(),
        ..RoomEvent::default()
    };
    let events = change.events.iter().map(|_| event.clone()).collect();
    (view.room.revision, change, events)
}

async fn act(live: &RedisLive, id: RoomId, user: UserId, command: domain::Command) -> Room {
    let (revision, change, events) = decide(live, id, user, command).await;
    let after = change.room.clone();
    assert!(live.commit(revision, change, events).await.unwrap());
    after
}

#[tokio::test]
async fn a_room_comes_back_to_the_last_bit() {
    let Some(server) = Server::start().await else {
        return;
    };
    let host = UserId::new();
    let (room, seat) = (room(host), seat(host));
    let [one, other] = [server.live(), server.live()];
    one.restore(room.clone(), vec![seat.clone()]).await.unwrap();
    let view = other.view(room.id, &[host]).await.unwrap().unwrap();
    assert_eq!(view.room, room);
    assert_eq!(view.seats, [seat]);
}

#[tokio::test]
async fn of_two_processes_changes_one_wins_and_both_hear_of_it() {
    let Some(server) = Server::start().await else {
        return;
    };
    let [one, other] = [server.live(), server.live()];
    let (id, host) = seated(&one).await;
    let mut feeds = [
        one.subscribe(id).await.unwrap(),
        other.subscribe(id).await.unwrap(),
    ];
    let mut made = Vec::new();
    for _ in 0..50 {
        let (revision, change, events) = decide(&one, id, host, plays(host, 1.0)).await;
        let commits = [&one, &other, &one, &other]
            .map(|live| live.commit(revision, change.clone(), events.clone()));
        let wins = join_all(commits).await;
        assert_eq!(
            wins.into_iter()
                .filter(|won| *won.as_ref().unwrap())
                .count(),
            1
        );
        made.push(change.room.revision.0);
    }
    for feed in &mut feeds {
        for revision in &made {
            assert_eq!(next_revision(feed).await, revision.cast_unsigned());
        }
    }
}

#[tokio::test]
async fn of_two_processes_one_gets_what_is_due_or_not_recorded() {
    let Some(server) = Server::start().await else {
        return;
    };
    let [one, other] = [server.live(), server.live()];
    let mut seats = Vec::new();
    for _ in 0..50 {
        let (id, host) = seated(&one).await;
        // The first may change the speed, which goes to the record at once.
        act(&other, id, host, plays(host, 1.0)).await;
        act(&other, id, host, plays(host, 2.0)).await;
        seats.push(Due::Seat(id, host));
    }
    seats.sort_unstable();
    let late = NOW + MINUTE;
    let claims = (0..10).flat_map(|_| [&one, &other].map(|live| live.due(late, 7)));
    let mut due = join_all(claims)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .collect::<Vec<_>>();
    due.sort_unstable();
    assert_eq!(due, seats);
    let claims = [&one, &other, &one, &other].map(|live| live.unrecorded(NOW));
    let rooms = join_all(claims).await.into_iter().flat_map(Result::unwrap);
    let mut rooms = rooms.map(|room| room.id).collect::<Vec<_>>();
    rooms.sort_unstable();
    assert_eq!(rooms.len(), 50);
    rooms.dedup();
    assert_eq!(rooms.len(), 50);
}

#[tokio::test]
async fn of_two_processes_one_has_the_turn() {
    let Some(server) = Server::start().await else {
        return;
    };
    let [one, other] = [server.live(), server.live()];
    let [room, next_door] = [RoomId::new(), RoomId::new()];
    let turn = one.take_turn(room).await.unwrap();
    let begun = Instant::now();
    assert!(other.take_turn(room).await.is_err());
    assert!(other.take_turn_and_look(room, &[]).await.is_err());
    assert!(begun.elapsed() < 2 * SOON, "{:?}", begun.elapsed());
    drop(other.take_turn_and_look(next_door, &[]).await.unwrap());
    other.take_turn(next_door).await.unwrap();
    let (taken, ()) = tokio::join!(other.take_turn(room), async {
        tokio::task::yield_now().await;
        drop(turn);
    });
    // Who dies with it keeps it for a while.
    std::mem::forget(taken.unwrap());
    let left = server
        .say::<i64>(&["PTTL", &format!("{PREFIX}:{{{room}}}:turn")])
        .await;
    assert!((1..=5_000).contains(&left), "{left}");
}

#[tokio::test]
async fn what_one_process_seated_another_keeps_and_drops() {
    let Some(server) = Server::start().await else {
        return;
    };
    let [one, other] = [server.live(), server.live()];
    let (id, host) = seated(&one).await;
    let connection = ConnectionId::new();
    let join = domain::Command::Join {
        user: host,
        username: "ann".to_owned(),
        lease: Lease::Connection(connection),
        alive_until: NOW,
    };
    act(&one, id, host, join).await;
    let connected = Connected {
        connection,
        user: host,
        room: Some(id),
    };
    let late = NOW + MINUTE * 10;
    assert_eq!(other.renew(&[connected], late).await.unwrap().detached, []);
    assert!(one.online(&[host], NOW).await.unwrap().contains(&host));
    assert_eq!(one.due(late, 10).await.unwrap(), []);
    one.drop_connections(&[connected], NOW).await.unwrap();
    assert!(other.online(&[host], NOW).await.unwrap().is_empty());
    let due = other.due(NOW + GRACE, 10).await.unwrap();
    assert_eq!(due, [Due::Seat(id, host)]);
}

#[tokio::test]
async fn a_killed_redis_is_missed_soon_and_found_again() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let live = server.live();
    let (id, host) = seated(&live).await;
    let mut feed = live.subscribe(id).await.unwrap();
    act(&live, id, host, plays(host, 1.0)).await;
    next_revision(&mut feed).await;
    server.kill();
    let begun = Instant::now();
    live.view(id, &[host]).await.unwrap_err();
    live.renew(&[], NOW).await.unwrap();
    live.due(NOW, 10).await.unwrap_err();
    assert!(begun.elapsed() < SOON * 2, "{:?}", begun.elapsed());
    server.run().await;
    // It comes back empty.
    let begun = Instant::now();
    eventually(async || matches!(live.view(id, &[host]).await, Ok(None))).await;
    assert!(matches!(next(&mut feed).await, Some(Feed::Gap)));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // Those who listened before hear what happens from now on.
    let again = Room { id, ..room(host) };
    live.restore(again, vec![seat(host)]).await.unwrap();
    let after = act(&live, id, host, plays(host, 2.0)).await;
    assert_eq!(
        next_revision(&mut feed).await,
        after.revision.0.cast_unsigned()
    );
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_not_waited_for() {
    let Some(server) = Server::start().await else {
        return;
    };
    let live = server.live();
    let (id, host) = seated(&live).await;
    let mut feed = live.subscribe(id).await.unwrap();
    let (revision, change, events) = decide(&live, id, host, plays(host, 1.0)).await;
    let connected = Connected {
        connection: ConnectionId::new(),
        user: host,
        room: Some(id),
    };
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    server.signal("STOP");
    let begun = Instant::now();
    let (about, connections) = ([host], [connected]);
    let (view, commit, subscribe, renew) = tokio::join!(
        live.view(id, &about),
        live.commit(revision, change.clone(), events.clone()),
        live.subscribe(RoomId::new()),
        live.renew(&connections, NOW),
    );
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(view.is_err() && commit.is_err() && subscribe.is_err() && renew.is_err());
    // The listener finds out by itself.
    eventually(async || metrics.render().contains("tutti_redis_reconnects_total 1")).await;
    server.signal("CONT");
    eventually(async || live.view(id, &[host]).await.is_ok()).await;
    // What was not answered may have been done: a change of then is not done twice.
    let done = live.view(id, &[]).await.unwrap().unwrap().room.revision == change.room.revision;
    assert_eq!(live.commit(revision, change, events).await.unwrap(), !done);
    loop {
        if let Some(Feed::Gap) = next(&mut feed).await {
            break;
        }
    }
    let after = act(&live, id, host, plays(host, 2.0)).await;
    while next_revision(&mut feed).await != after.revision.0.cast_unsigned() {}
}

#[tokio::test]
async fn an_emptied_redis_is_filled_once() {
    let Some(server) = Server::start().await else {
        return;
    };
    let [one, other] = [server.live(), server.live()];
    let (id, host) = seated(&one).await;
    let mut feed = other.subscribe(id).await.unwrap();
    one.set_filled().await.unwrap();
    server.say::<()>(&["FLUSHALL"]).await;
    assert!(!other.is_filled().await.unwrap());
    assert!(one.view(id, &[host]).await.unwrap().is_none());
    assert_eq!(one.rooms_of(host, NOW).await.unwrap(), []);
    // Each brings back what it read, with a version of its own; whose comes first stays, whole.
    let found = (0..10)
        .map(|number| {
            let room = Room {
                id,
                revision: Version(NOW.0 + 100 + number),
                ..room(host)
            };
            let seats = (0..=number).map(|_| seat(UserId::new()));
            let seats = std::iter::once(seat(host)).chain(seats);
            (room, seats.collect::<Vec<_>>())
        })
        .collect::<Vec<_>>();
    let restores = found.iter().zip([&one, &other].into_iter().cycle());
    for done in
        join_all(restores.map(|((room, seats), live)| live.restore(room.clone(), seats.clone())))
            .await
    {
        done.unwrap();
    }
    let view = one.view(id, &[host]).await.unwrap().unwrap();
    let (_, seats) = found.iter().find(|(room, _)| *room == view.room).unwrap();
    assert_eq!(view.seats, [seats[0].clone()]);
    assert_eq!(view.count as usize, seats.len());
    assert_eq!(view.eldest, [host, seats[1].user]);
    assert_eq!(other.rooms_of(host, NOW).await.unwrap(), [id]);
    let due = one.due(NOW + MINUTE, 100).await.unwrap();
    assert_eq!(due.len(), seats.len());
    // The subscription is no data.
    let after = act(&one, id, host, plays(host, 2.0)).await;
    assert_eq!(
        next_revision(&mut feed).await,
        after.revision.0.cast_unsigned()
    );
}

#[tokio::test]
async fn a_room_is_listened_to_while_somebody_does() {
    let Some(server) = Server::start().await else {
        return;
    };
    let live = server.live();
    let (id, host) = seated(&live).await;
    let channel = format!("{PREFIX}:{{{id}}}:events");
    let listeners = async || {
        let (_, count) = server
            .say::<(String, u64)>(&["PUBSUB", "NUMSUB", &channel])
            .await;
        count
    };
    assert_eq!(listeners().await, 0);
    let first = live.subscribe(id).await.unwrap();
    let mut second = live.subscribe(id).await.unwrap();
    assert_eq!(listeners().await, 1, "one subscription a process");
    drop(first);
    act(&live, id, host, plays(host, 1.0)).await;
    next_revision(&mut second).await;
    assert_eq!(listeners().await, 1);
    drop(second);
    eventually(async || listeners().await == 0).await;
    let mut third = live.subscribe(id).await.unwrap();
    act(&live, id, host, domain::Command::Close(CloseReason::ByHost)).await;
    next_revision(&mut third).await;
    assert!(next(&mut third).await.is_none());
    eventually(async || listeners().await == 0).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_room_for_ever() {
    let Some(server) = Server::start().await else {
        return;
    };
    let live = server.live();
    let (id, host) = seated(&live).await;
    act(&live, id, host, plays(host, 1.0)).await;
    let connected = Connected {
        connection: ConnectionId::new(),
        user: host,
        room: Some(id),
    };
    live.renew(&[connected], NOW + MINUTE).await.unwrap();
    let keys = server.say::<Vec<String>>(&["KEYS", "*"]).await;
    let shared = [format!("{PREFIX}:agenda"), format!("{PREFIX}:positions")];
    let of_rooms_and_users = keys.iter().filter(|key| !shared.contains(key));
    let mut count = 0;
    for key in of_rooms_and_users {
        assert!(key.contains(&format!("{{{id}}}")) || key.contains(&format!("{{{host}}}")));
        let seconds = server.say::<i64>(&["TTL", key]).await;
        assert!((1..=24 * 3600).contains(&seconds), "{key}: {seconds}");
        count += 1;
    }
    assert_eq!(count, 6);
    act(&live, id, host, domain::Command::Close(CloseReason::ByHost)).await;
    // Whoever looks finds nothing, and it is forgotten.
    assert_eq!(live.rooms_of(host, NOW + MINUTE).await.unwrap(), []);
    assert_eq!(live.due(NOW + MINUTE, 10).await.unwrap(), []);
    assert_eq!(live.unrecorded(NOW).await.unwrap(), []);
    live.drop_connections(&[connected], NOW).await.unwrap();
    assert_eq!(server.say::<Vec<String>>(&["KEYS", "*"]).await, [""; 0]);
}

#[tokio::test]
async fn what_says_where_somebody_is_waits_for_the_seat() {
    let Some(server) = Server::start().await else {
        return;
    };
    let live = server.live();
    let (id, _) = seated(&live).await;
    let user = UserId::new();
    let key = format!("{PREFIX}:{{{user}}}:rooms");
    let (joined_at, room) = (NOW.0.to_string(), id.to_string());
    // This comes first, and then whoever joins stops for a while.
    server.say::<i64>(&["ZADD", &key, &joined_at, &room]).await;
    let is_there = async || {
        server
            .say::<Option<f64>>(&["ZSCORE", &key, &room])
            .await
            .is_some()
    };
    for (passed, stays) in [(0, true), (29, true), (31, false)] {
        let now = NOW + Duration::from_secs(passed);
        assert_eq!(live.rooms_of(user, now).await.unwrap(), []);
        assert_eq!(is_there().await, stays, "after {passed} s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_while_they_are_looked_for_is_found_afterwards() {
    const JOINS: usize = 300;
    let Some(server) = Server::start().await else {
        return;
    };
    let (live, other) = (server.live(), server.live());
    let user = UserId::new();
    let mut rooms = Vec::new();
    for _ in 0..JOINS {
        rooms.push(seated(&live).await.0);
    }
    let look = async {
        loop {
            other.rooms_of(user, NOW).await.unwrap();
        }
    };
    let joins = async {
        for &room in &rooms {
            let command = domain::Command::Join {
                user,
                username: "ann".to_owned(),
                lease: Lease::Visit,
                alive_until: NOW + MINUTE,
            };
            act(&live, room, user, command).await;
        }
    };
    tokio::select! {
        never = look => never,
        () = joins => {}
    }
    let found = live.rooms_of(user, NOW).await.unwrap().len();
    assert_eq!(found, JOINS, "the others are missing for good");
}

#[tokio::test]
async fn what_a_later_version_put_on_the_agenda_is_left_to_it() {
    let Some(server) = Server::start().await else {
        return;
    };
    let live = server.live();
    let (id, host) = seated(&live).await;
    let agenda = format!("{PREFIX}:agenda");
    let unknown = ["knock/room_1", "room_?/user_1", ""];
    for entry in unknown {
        server.say::<i64>(&["ZADD", &agenda, "1", entry]).await;
    }
    for limit in [1, 100] {
        let due = live.due(NOW + MINUTE, limit).await.unwrap();
        assert_eq!(due, [Due::Seat(id, host)], "at most {limit}");
        // What was claimed is due again later.
        server
            .say::<i64>(&["ZADD", &agenda, "1", &format!("{id}/{host}")])
            .await;
    }
    for entry in unknown {
        let score = server.say::<Option<f64>>(&["ZSCORE", &agenda, entry]).await;
        assert!(score.is_some(), "{entry:?} is still there");
    }
}
