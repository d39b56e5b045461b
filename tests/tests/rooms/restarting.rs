//! What a crash of the room service does to rooms: little.

use std::time::Duration;

use tonic::Code;
use tutti_common::{sql::Database, status::Reason};
use tutti_proto::rooms::{SyncStateRequest, sync_state_request::Song};
use tutti_room::live::CLAIM;
use tutti_tests::{A_MOMENT, START, TestApp, almost, on_both_engines, paused, playing, refused};

on_both_engines! {
    everything_acknowledged_comes_back,
    a_recorded_position_comes_back_and_another_does_not_lower_the_version,
    pausing_and_seeking_while_paused_come_back,
    seats_wait_for_their_users_and_then_lapse,
    an_empty_room_has_its_grace_again,
    a_room_that_was_closed_stays_closed,
    positions_are_recorded_once_the_record_answers_again,
    a_position_recorded_late_undoes_nothing,
}

/// How long after a restart seats are kept before their grace begins.
const RETURN: Duration = Duration::from_secs(8);
const GRACE: Duration = Duration::from_secs(15);

async fn everything_acknowledged_comes_back(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    let room = ann.create_room().await;
    for guest in [&bob, &cyd] {
        app.clock.advance(Duration::from_secs(1));
        guest.join(&room).await.unwrap();
    }
    ann.sync(
        &room,
        SyncStateRequest {
            song: Some(Song::SongJson(r#"{"title":"One"}"#.to_owned())),
            rate: Some(1.25),
            ..playing(12.5)
        },
    )
    .await
    .unwrap();
    ann.hand_over(&room, &cyd).await.unwrap();
    bob.leave(&room).await.unwrap();
    let before = app.room(&room).await;
    for _ in 0..3 {
        app.crash_and_restart().await;
        let after = ann.see(&room).await.unwrap();
        assert_eq!(after.host_id, cyd.id);
        assert_eq!(app.names_in(&after), ["ann", "cyd"]);
        assert_eq!(after.member_count, 2);
        assert_eq!(after.current_song_json, before.current_song_json);
        assert_eq!(after.playback, before.playback);
        assert_eq!(after.created_at, before.created_at);
        assert!(after.version > before.version);
        assert!(after.revision > before.revision);
        assert_eq!(ann.rooms().await, [&*room]);
        assert_eq!(bob.rooms().await, [""; 0]);
    }
    // And goes on from there.
    let version = app.room(&room).await.version;
    assert!(cyd.sync(&room, paused(1.0)).await.unwrap().version > version);
    let answer = ann.sync(&room, paused(1.0)).await;
    refused(answer, Code::PermissionDenied, Reason::UpdateFailed);
}

async fn a_recorded_position_comes_back_and_another_does_not_lower_the_version(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    ann.sync(&room, playing(0.0)).await.unwrap();
    ann.sync(&room, playing(100.0)).await.unwrap();
    app.rooms().record_positions().await.unwrap();
    let recorded = ann.state(&room).await.unwrap();
    let mut last = 0;
    for second in 0..50 {
        app.clock.advance(Duration::from_millis(100));
        let answer = ann.sync(&room, playing(f64::from(second))).await;
        last = answer.unwrap().version;
    }
    app.crash_and_restart().await;
    let after = ann.state(&room).await.unwrap();
    assert_eq!(after.playback, recorded.playback);
    assert!(after.version > last);
    assert!(ann.sync(&room, playing(1.0)).await.unwrap().version > after.version);
}

async fn pausing_and_seeking_while_paused_come_back(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    ann.sync(&room, playing(0.0)).await.unwrap();
    ann.sync(&room, paused(10.0)).await.unwrap();
    app.crash_and_restart().await;
    let playback = ann.state(&room).await.unwrap().playback.unwrap();
    assert_eq!((playback.playing, playback.position), (false, 10.0));
    ann.sync(&room, paused(20.0)).await.unwrap();
    app.crash_and_restart().await;
    let playback = ann.state(&room).await.unwrap().playback.unwrap();
    assert_eq!((playback.playing, playback.position), (false, 20.0));
}

async fn seats_wait_for_their_users_and_then_lapse(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    app.clock.advance(Duration::from_secs(1));
    let phone = bob.device();
    phone.join(&room).await.unwrap();
    app.crash_and_restart().await;
    let watch = app.watch(&room).await;
    app.let_pass(almost(RETURN + GRACE)).await;
    assert_eq!(app.room(&room).await.host_id, ann.id);
    // Bob comes back at the last moment, and nobody noticed that he was away.
    phone.join(&room).await.unwrap();
    app.let_pass(A_MOMENT).await;
    assert_eq!(app.room(&room).await.host_id, bob.id);
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        [
            "ann was disconnected: 1",
            "bob is host after ann was disconnected",
            "closed by an operator"
        ]
    );
}

async fn an_empty_room_has_its_grace_again(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    ann.leave(&room).await.unwrap();
    app.let_pass(Duration::from_secs(59)).await;
    app.crash_and_restart().await;
    app.let_pass(almost(Duration::from_mins(1))).await;
    ann.see(&room).await.unwrap();
    app.let_pass(A_MOMENT).await;
    refused(ann.see(&room).await, Code::NotFound, Reason::NotFound);
    assert_eq!(app.count("SELECT count(*) FROM music_rooms").await, 0);
}

async fn a_room_that_was_closed_stays_closed(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    ann.sync(&room, playing(1.0)).await.unwrap();
    ann.sync(&room, playing(2.0)).await.unwrap();
    ann.close(&room).await.unwrap();
    app.rooms().record_positions().await.unwrap();
    app.crash_and_restart().await;
    refused(ann.see(&room).await, Code::NotFound, Reason::NotFound);
    assert_eq!(ann.rooms().await, [""; 0]);
}

async fn positions_are_recorded_once_the_record_answers_again(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    ann.sync(&room, playing(0.0)).await.unwrap();
    app.execute("ALTER TABLE music_rooms RENAME TO elsewhere")
        .await;
    // A running position does not wait for the record.
    ann.sync(&room, playing(42.0)).await.unwrap();
    app.rooms().record_positions().await.unwrap_err();
    app.execute("ALTER TABLE elsewhere RENAME TO music_rooms")
        .await;
    // What was claimed and not written is free again soon.
    app.clock.advance(CLAIM + A_MOMENT);
    app.rooms().record_positions().await.unwrap();
    app.crash_and_restart().await;
    let playback = ann.state(&room).await.unwrap().playback.unwrap();
    assert!((playback.position - 42.0).abs() < f64::EPSILON);
}

async fn a_position_recorded_late_undoes_nothing(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    ann.sync(&room, playing(0.0)).await.unwrap();
    ann.sync(&room, playing(10.0)).await.unwrap();
    let running = app.live().unrecorded(START).await.unwrap();
    // She pauses while the position she was at is on its way to the record.
    ann.sync(&room, paused(20.0)).await.unwrap();
    let record = tutti_room::store::open(&database);
    record.save_positions(&running).await.unwrap();
    app.crash_and_restart().await;
    let playback = ann.state(&room).await.unwrap().playback.unwrap();
    assert_eq!((playback.playing, playback.position), (false, 20.0));
}
