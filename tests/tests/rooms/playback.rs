//! What plays where.

use std::time::Duration;

use tonic::Code;
use tutti_common::{clock::Clock as _, ids::RoomId, sql::Database, status::Reason};
use tutti_proto::{
    rooms::{Playback, SyncStateRequest, room_event::Event},
    timestamp,
};
use tutti_tests::{START, TestApp, on_both_engines, paused, playing, refused, wrong_fields};

on_both_engines! {
    late_joiner_lands_on_the_current_position,
    only_the_host_says_what_plays,
    every_word_of_the_host_raises_the_version,
    what_was_said_is_what_others_hear,
    a_guest_asks_what_plays,
    what_is_not_said_has_a_value_all_the_same,
    a_time_near_now_is_kept_and_another_is_not,
    positions_out_of_range_are_refused,
    an_empty_room_plays_on,
}

const OVER: &str = "closed by an operator";

async fn late_joiner_lands_on_the_current_position(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    ann.sync(&room, playing(30.0)).await.unwrap();
    app.clock.advance(Duration::from_secs(5));
    let playback = bob.join(&room).await.unwrap().playback.unwrap();
    assert!((app.position_now(&playback) - 35.0).abs() < 1e-6);
}

async fn only_the_host_says_what_plays(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, eve] = app.users(["ann", "bob", "eve"]).await;
    let room = ann.create_room().await;
    let phone = bob.device();
    phone.join(&room).await.unwrap();
    let watch = app.watch(&room).await;
    for answer in [
        bob.sync(&room, playing(1.0)).await,
        phone.sync(&room, paused(2.0)).await,
    ] {
        refused(answer, Code::PermissionDenied, Reason::UpdateFailed);
    }
    for room in [&room, &RoomId::new().to_string(), "none"] {
        let answer = eve.sync(room, playing(3.0)).await;
        refused(answer, Code::FailedPrecondition, Reason::NotInRoom);
    }
    ann.leave(&room).await.unwrap();
    let answer = ann.sync(&room, playing(4.0)).await;
    refused(answer, Code::FailedPrecondition, Reason::NotInRoom);
    bob.sync(&room, playing(5.0)).await.unwrap();
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        [
            "ann left: 1",
            "bob is host after ann left",
            "plays at 5",
            OVER
        ]
    );
}

async fn every_word_of_the_host_raises_the_version(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let mut version = app.room(&room).await.version;
    for update in [playing(1.0), playing(1.0), playing(1.0), paused(1.0)] {
        let answer = ann.sync(&room, update).await.unwrap();
        assert!(answer.version > version);
        version = answer.version;
        // Who comes and goes is no news to a player.
        bob.join(&room).await.unwrap();
        bob.leave(&room).await.unwrap();
        assert_eq!(app.room(&room).await.version, version);
        assert_eq!(ann.state(&room).await.unwrap().version, version);
    }
}

async fn what_was_said_is_what_others_hear(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let phone = ann.device();
    phone.join(&room).await.unwrap();
    let mut watch = app.watch(&room).await;
    app.clock.advance(Duration::from_secs(1));
    let now = app.clock.now().as_f64();
    let said = SyncStateRequest {
        current_time: Some(12.25),
        timestamp_ms: Some(now + 250.5),
        rate: Some(1.5),
        ..playing(12.5)
    };
    let answer = phone.sync(&room, said).await.unwrap();
    assert_eq!(answer.accepted_at, Some(timestamp(START.0 + 1_000)));
    let event = watch.next().await.unwrap();
    assert_eq!(
        (event.at, event.version),
        (answer.accepted_at, answer.version)
    );
    assert_eq!(event.room_id, room);
    let Some(Event::StateSynced(synced)) = event.event else {
        panic!("synced: {event:?}");
    };
    assert_eq!(synced.connection_id, Some(phone.id.clone()));
    let state = synced.state.unwrap();
    assert_eq!(state.version, answer.version);
    let playback = Playback {
        playing: true,
        position: 12.5,
        current_time: 12.25,
        timestamp_ms: now + 250.5,
        rate: 1.5,
    };
    assert_eq!(state.playback, Some(playback));
    assert_eq!(ann.state(&room).await.unwrap(), state);
    assert_eq!(app.room(&room).await.playback, Some(playback));
}

async fn a_guest_asks_what_plays(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, eve] = app.users(["ann", "bob", "eve"]).await;
    let room = ann.create_room().await;
    bob.join(&room).await.unwrap();
    ann.sync(&room, playing(7.0)).await.unwrap();
    let state = bob.state(&room).await.unwrap();
    assert!((state.playback.unwrap().position - 7.0).abs() < f64::EPSILON);
    for room in [&room, &RoomId::new().to_string(), "none"] {
        let answer = eve.state(room).await;
        refused(answer, Code::FailedPrecondition, Reason::NotInRoom);
    }
    bob.leave(&room).await.unwrap();
    let answer = bob.state(&room).await;
    refused(answer, Code::FailedPrecondition, Reason::NotInRoom);
}

async fn what_is_not_said_has_a_value_all_the_same(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let said = |rate| SyncStateRequest {
        rate,
        ..playing(3.0)
    };
    for (given, kept) in [
        (None, 1.0),
        (Some(0.25), 0.25),
        (Some(4.0), 4.0),
        (Some(0.0), 1.0),
        (Some(f64::NAN), 1.0),
        (Some(4.5), 1.0),
    ] {
        ann.sync(&room, said(given)).await.unwrap();
        let playback = Playback {
            playing: true,
            position: 3.0,
            current_time: 3.0,
            timestamp_ms: START.as_f64(),
            rate: kept,
        };
        let state = ann.state(&room).await.unwrap();
        assert_eq!(state.playback, Some(playback), "{given:?}");
    }
}

async fn a_time_near_now_is_kept_and_another_is_not(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let now = START.as_f64();
    for (given, kept) in [
        (now - 5_000.0, now - 5_000.0),
        (now - 0.25, now - 0.25),
        (now + 5_000.0, now + 5_000.0),
        (now - 5_000.5, now),
        (now + 5_000.5, now),
        (0.0, now),
        (f64::NAN, now),
        (f64::INFINITY, now),
    ] {
        let said = SyncStateRequest {
            timestamp_ms: Some(given),
            ..playing(0.0)
        };
        ann.sync(&room, said).await.unwrap();
        let playback = ann.state(&room).await.unwrap().playback.unwrap();
        assert_eq!(playback.timestamp_ms.to_bits(), kept.to_bits(), "{given}");
    }
}

async fn positions_out_of_range_are_refused(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let before = ann.state(&room).await.unwrap();
    for position in [-0.1, 604_800.1, f64::NAN, f64::INFINITY] {
        let answer = ann.sync(&room, playing(position)).await;
        let fields = wrong_fields(answer);
        assert!(fields.contains(&"playback_state.position".to_owned()));
    }
    let said = SyncStateRequest {
        current_time: Some(-1.0),
        ..playing(1.0)
    };
    assert_eq!(
        wrong_fields(ann.sync(&room, said).await),
        ["playback_state.current_time"]
    );
    assert_eq!(ann.state(&room).await.unwrap(), before);
    for position in [0.0, 604_800.0] {
        ann.sync(&room, playing(position)).await.unwrap();
    }
}

async fn an_empty_room_plays_on(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    ann.sync(&room, playing(10.0)).await.unwrap();
    ann.leave(&room).await.unwrap();
    app.clock.advance(Duration::from_secs(20));
    let joined = bob.join(&room).await.unwrap();
    let playback = joined.playback.unwrap();
    assert!((app.position_now(&playback) - 30.0).abs() < 1e-6);
    bob.sync(&room, paused(30.0)).await.unwrap();
}
