//! The room service on a Redis that fails, and what a host's word costs it. Told where `TEST_REDIS_URL` is set, on
//! servers of its own.

#[path = "../../common/tests/servers/mod.rs"]
mod servers;

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use servers::{Sentinels, Server, eventually, redis_and_bus_at};
use tempfile::TempDir;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tutti_common::{
    clock::{Clock as _, ManualClock, SharedClock, SystemClock, UnixMs},
    config::{Rates, Secret},
    ids::{RoomId, UserId},
    limits::SlidingLog,
    redis::PREFIX,
    rpc::{self, GuardLayer, ServiceKeys},
    shutdown::Shutdown,
    sql::Database,
    telemetry,
};
use tutti_proto::rooms::{
    WatchRoomRequest, WatchRoomResponse, room_event, room_service_client::RoomServiceClient,
};
use tutti_room::{
    Leaving, People, PeopleError, RoomError, RoomSettings, Rooms,
    domain::{PlaybackUpdate, Refusal, SongUpdate, Version},
    live::{Feed, LiveState as _, RedisLive},
};

const SETTINGS: RoomSettings = RoomSettings {
    presence_grace: Duration::from_secs(15),
    room_empty_grace: Duration::from_mins(1),
    cleanup_interval: Duration::from_hours(1),
    rates: Rates::UNLIMITED,
};

/// Everybody is called ann and has no friends.
struct Anns;

#[async_trait]
impl People for Anns {
    async fn username(&self, _: UserId) -> Result<Option<String>, PeopleError> {
        Ok(Some("ann".to_owned()))
    }

    async fn friends_among(&self, _: UserId, _: &[UserId]) -> Result<HashSet<UserId>, PeopleError> {
        Ok(HashSet::new())
    }
}

/// A record for room services to share.
struct Record {
    database: Database,
    _folder: TempDir,
}

impl Record {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tutti.db");
        let url = Secret::new(&format!("sqlite:{}", file.display()));
        let database = Database::open(&url).await.unwrap();
        database.migrate().await.unwrap();
        Self {
            database,
            _folder: folder,
        }
    }

    /// The record knows all who are in rooms.
    async fn user(&self) -> UserId {
        let Database::Sqlite(pool) = &self.database else {
            panic!("it is on SQLite");
        };
        let user = UserId::new();
        sqlx::query(
            "INSERT INTO users (user_id, email, email_key, username, username_key, password_hash, created_at)
             VALUES ($1, $1, $1, $1, $1, '', '2024-01-01')",
        )
        .bind(user.to_string())
        .execute(pool)
        .await
        .unwrap();
        user
    }

    /// A room that plays.
    async fn playing(&self, rooms: &Rooms) -> (RoomId, UserId) {
        let host = self.user().await;
        let room = rooms.create(host, None, false, None).await.unwrap().room.id;
        sync(rooms, host, room, 0.0).await;
        sync(rooms, host, room, 1.0).await;
        (room, host)
    }

    /// A room service, as one process has it.
    fn rooms(&self, redis_url: &str) -> Rooms {
        self.rooms_by(Arc::new(SystemClock), redis_url)
    }

    fn rooms_by(&self, clock: SharedClock, redis_url: &str) -> Rooms {
        let (redis, bus) = redis_and_bus_at(redis_url);
        let (grace, empty_grace) = (SETTINGS.presence_grace, SETTINGS.room_empty_grace);
        Rooms::new(
            Arc::new(RedisLive::new(redis, bus, PREFIX, grace, empty_grace)),
            tutti_room::store::open(&self.database),
            Arc::new(Anns),
            Arc::new(SlidingLog::default()),
            Arc::default(),
            clock,
            SETTINGS,
        )
    }
}

async fn try_sync(
    rooms: &Rooms,
    by: UserId,
    room: RoomId,
    position: f64,
) -> Result<Version, RoomError> {
    let update = PlaybackUpdate {
        playing: true,
        position,
        ..PlaybackUpdate::default()
    };
    let synced = rooms.sync(by, room, None, &update, SongUpdate::Keep).await;
    synced.map(|(version, _)| version)
}

async fn sync(rooms: &Rooms, by: UserId, room: RoomId, position: f64) -> Version {
    try_sync(rooms, by, room, position).await.unwrap()
}

async fn position(rooms: &Rooms, of: UserId, room: RoomId) -> f64 {
    rooms.state(of, room).await.unwrap().playback.position
}

/// The commands that clients sent while something happened; what scripts do is not among them.
async fn commands_of(server: &Server, happens: impl Future) -> Vec<String> {
    let client = redis::Client::open(server.url()).unwrap();
    let monitor = client.get_async_monitor().await.unwrap();
    let mut seen = monitor.into_on_message::<String>();
    happens.await;
    let end = RoomId::new().to_string();
    server.say::<Option<String>>(&["GET", &end]).await;
    let mut commands = Vec::new();
    while let Some(line) = seen.next().await {
        if line.contains(&end) {
            break;
        }
        // 1700000000.000000 [0 127.0.0.1:40000] "EVALSHA" "…
        let is_scripts = line.contains(" lua] ");
        let command = line.split('"').nth(1).unwrap_or_default().to_uppercase();
        let is_housekeeping = ["PING", "HELLO", "CLIENT"].contains(&&*command);
        if !is_scripts && !is_housekeeping {
            commands.push(command);
        }
    }
    commands
}

#[tokio::test]
async fn a_hosts_word_costs_one_round_trip() {
    let Some(server) = Server::start().await else {
        return;
    };
    let record = Record::new().await;
    let rooms = record.rooms(&server.url());
    let (room, host) = record.playing(&rooms).await;
    let commands = commands_of(&server, async {
        for step in 0..10 {
            sync(&rooms, host, room, f64::from(step)).await;
        }
    })
    .await;
    // The change, and beside it the mark that the record is behind: neither waits for the other.
    let each = commands.chunks(2).map(|pair| {
        let mut pair = pair.to_vec();
        pair.sort_unstable();
        pair
    });
    assert!(
        each.eq(std::iter::repeat_n(vec!["EVALSHA", "ZADD"], 10)),
        "{commands:?}"
    );
}

#[tokio::test]
async fn what_another_process_did_is_seen_at_the_second_look() {
    let Some(server) = Server::start().await else {
        return;
    };
    let record = Record::new().await;
    let [one, other] = [(); 2].map(|()| record.rooms(&server.url()));
    let (room, host) = record.playing(&one).await;
    let mut last = Version::default();
    // Each time the other process has been there meanwhile.
    for step in 0..10 {
        for rooms in [&one, &other] {
            let version = sync(rooms, host, room, f64::from(step)).await;
            assert!(version > last);
            last = version;
        }
    }
    // Another host, by another process.
    let heir = record.user().await;
    other.join(heir, room, None).await.unwrap();
    sync(&one, host, room, 19.0).await;
    other.transfer(host, room, heir).await.unwrap();
    let version = sync(&one, heir, room, 20.0).await;
    assert!(version > last);
    let refused = try_sync(&one, host, room, 1.0).await.unwrap_err();
    assert!(
        matches!(refused, RoomError::Refused(Refusal::NotHost)),
        "{refused}"
    );
    sync(&one, heir, room, 21.0).await;
    // The host goes, by another process.
    other.leave(heir, room, Leaving::User).await.unwrap();
    let refused = try_sync(&one, heir, room, 1.0).await.unwrap_err();
    assert!(
        matches!(refused, RoomError::Refused(Refusal::NotInRoom)),
        "{refused}"
    );
    // All is lost, and comes back from the record.
    let before = sync(&one, host, room, 30.0).await;
    one.record_positions().await.unwrap();
    server.say::<()>(&["FLUSHALL"]).await;
    assert!(sync(&one, host, room, 31.0).await > before);
    assert!((position(&other, host, room).await - 31.0).abs() < f64::EPSILON);
    // The room ends, by another process.
    other.close(Some(host), room).await.unwrap();
    let refused = try_sync(&one, host, room, 1.0).await.unwrap_err();
    assert!(
        matches!(refused, RoomError::Refused(Refusal::NotInRoom)),
        "{refused}"
    );
}

#[tokio::test]
async fn of_many_words_at_once_none_is_lost() {
    let Some(server) = Server::start().await else {
        return;
    };
    let record = Record::new().await;
    let replicas = [(); 3].map(|()| record.rooms(&server.url()));
    let (room, host) = record.playing(&replicas[0]).await;
    let syncs = (0..60_usize).map(|number| {
        let rooms = &replicas[number % 3];
        async move { sync(rooms, host, room, 5.0).await }
    });
    let mut versions = futures_util::future::join_all(syncs).await;
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 60, "each has a version of its own");
}

#[tokio::test]
async fn after_a_failover_hosts_go_on_and_versions_rise() {
    let Some(mut servers) = Sentinels::start().await else {
        return;
    };
    let record = Record::new().await;
    let rooms = record.rooms(&servers.url());
    rooms.refill().await.unwrap();
    let (room, host) = record.playing(&rooms).await;
    let mut last = sync(&rooms, host, room, 10.0).await;
    servers.master.kill();
    let begun = std::time::Instant::now();
    eventually(async || match try_sync(&rooms, host, room, 20.0).await {
        Ok(version) => {
            assert!(version > last);
            last = version;
            true
        }
        Err(_) => false,
    })
    .await;
    eprintln!(
        "the first sync after the master was killed: {:?}",
        begun.elapsed()
    );
    assert!(sync(&rooms, host, room, 21.0).await > last);
    assert!((position(&rooms, host, room).await - 21.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn whoever_takes_a_position_and_dies_does_not_take_it_along() {
    let Some(server) = Server::start().await else {
        return;
    };
    let record = Record::new().await;
    let survivor = record.rooms(&server.url());
    let (room, host) = record.playing(&survivor).await;
    sync(&survivor, host, room, 42.0).await;
    {
        let (redis, bus) = redis_and_bus_at(&server.url());
        let (grace, empty_grace) = (SETTINGS.presence_grace, SETTINGS.room_empty_grace);
        let dying = RedisLive::new(redis, bus, PREFIX, grace, empty_grace);
        assert_eq!(dying.unrecorded(SystemClock.now()).await.unwrap().len(), 1);
    }
    let store = tutti_room::store::open(&record.database);
    let recorded = async || {
        let (room, _) = store.load(room).await.unwrap().unwrap();
        room.playback.position
    };
    survivor.record_positions().await.unwrap();
    assert!(recorded().await < 42.0, "it is claimed");
    let begun = std::time::Instant::now();
    eventually(async || {
        survivor.record_positions().await.unwrap();
        (recorded().await - 42.0).abs() < f64::EPSILON
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_room_that_ended_unheard_is_found_to_be_gone() {
    let Some(server) = Server::start().await else {
        return;
    };
    let record = Record::new().await;
    let [one, other] = [(); 2].map(|()| record.rooms(&server.url()));
    let (room, host) = record.playing(&one).await;
    let shutdown = Shutdown::new();
    let keys = ServiceKeys::ephemeral();
    let key = keys.of("test").unwrap();
    let guard = GuardLayer::new(keys, Arc::new(SystemClock), shutdown.clone());
    let routes = tutti_room::routes(one, shutdown.clone());
    let transport = rpc::as_caller(rpc::in_process(routes, &guard), &key, Arc::new(SystemClock));
    let request = WatchRoomRequest {
        room_id: room.to_string(),
    };
    let watch = RoomServiceClient::new(transport).watch_room(request).await;
    let mut events = watch.unwrap().into_inner();
    events.next().await.unwrap().unwrap();
    // The listener's connection is lost, and the room ends before there is another one.
    server
        .say::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"])
        .await;
    other.close(Some(host), room).await.unwrap();
    let patience = Duration::from_secs(20);
    let rest = tokio::time::timeout(patience, events.collect::<Vec<_>>())
        .await
        .expect("the watch ends");
    let [Ok(WatchRoomResponse { event: Some(end) })] = rest.as_slice() else {
        panic!("{rest:?}");
    };
    assert!(
        matches!(end.event, Some(room_event::Event::RoomClosed(_))),
        "{end:?}"
    );
    assert!(end.at.is_some(), "clients are told when: {end:?}");
}

#[tokio::test]
async fn an_event_names_the_span_in_which_it_was_made() {
    let Some(server) = Server::start().await else {
        return;
    };
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let traces = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer("test"));
    let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let record = Record::new().await;
    let rooms = record.rooms(&server.url());
    let (room, host) = record.playing(&rooms).await;
    let (redis, bus) = redis_and_bus_at(&server.url());
    let elsewhere = RedisLive::new(
        redis,
        bus,
        PREFIX,
        SETTINGS.presence_grace,
        SETTINGS.room_empty_grace,
    );
    let mut feed = elsewhere.subscribe(room).await.unwrap();
    let span = tracing::info_span!("the host's word");
    let word = sync(&rooms, host, room, 10.0);
    word.instrument(span.clone()).await;
    let Some(Feed::Event(event)) = feed.next().await else {
        panic!("an event");
    };
    assert!(event.traceparent.is_some());
    assert_eq!(event.traceparent, telemetry::traceparent_of(&span));
}

#[tokio::test]
async fn what_happens_to_rooms_is_counted() {
    let Some(server) = Server::start().await else {
        return;
    };
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[1.0])
        .unwrap()
        .build_recorder();
    let metrics = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let clock = ManualClock::at(UnixMs(1_704_067_200_000));
    let record = Record::new().await;
    let rooms = record.rooms_by(clock.clone(), &server.url());
    let (room, host) = record.playing(&rooms).await;
    for age_ms in [400.0, 2_000.0] {
        let update = PlaybackUpdate {
            playing: true,
            position: 1.0,
            timestamp_ms: Some(clock.now().as_f64() - age_ms),
            ..PlaybackUpdate::default()
        };
        let synced = rooms.sync(host, room, None, &update, SongUpdate::Keep);
        synced.await.unwrap();
    }
    try_sync(&rooms, record.user().await, room, 1.0)
        .await
        .unwrap_err();
    let heir = record.user().await;
    rooms.join(heir, room, None).await.unwrap();
    rooms.transfer(host, room, heir).await.unwrap();
    rooms.leave(heir, room, Leaving::User).await.unwrap();
    clock.advance(Duration::from_mins(2));
    rooms.look_after_what_is_due().await.unwrap();
    let counted = metrics.render();
    for line in [
        "tutti_room_syncs_total 4",
        "tutti_room_sync_age_seconds_bucket{le=\"1\"} 1",
        "tutti_room_sync_age_seconds_count 2",
        "tutti_room_host_changes_total{reason=\"transferred\"} 1",
        "tutti_room_host_changes_total{reason=\"left\"} 1",
        "tutti_room_leases_expired_total 1",
    ] {
        assert!(counted.contains(line), "{line} is missing from {counted}");
    }
    assert!(counted.contains("tutti_redis_seconds_count{call=\"commit\"}"));
}
