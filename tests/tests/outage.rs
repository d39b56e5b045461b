//! The database goes away and comes back.

use std::time::Instant;

use tonic::{Code, Status};
use tutti_proto::rooms::SyncStateRequest;
use tutti_tests::{IN_TIME, Person, Postgres, TestApp, paused, playing};

/// What is asked for is refused within the contract's time, again and again.
async fn is_refused(guest: &Person, host: &Person, room: &str) {
    for _ in 0..2 {
        let begun = Instant::now();
        let joined: Result<_, Status> = guest.join(room).await.map(|_| ());
        assert_eq!(joined.unwrap_err().code(), Code::Unavailable);
        assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
        let begun = Instant::now();
        let stopped = host.sync(room, paused(7.0)).await.map(|_| ());
        assert_eq!(stopped.unwrap_err().code(), Code::Unavailable);
        assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
    }
}

async fn comes_back(guest: &Person, room: &str) {
    while guest.join(room).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_dies_and_freezes_and_nothing_acknowledged_is_lost() {
    let Some(mut server) = Postgres::make() else {
        eprintln!("TEST_POSTGRES_URL is not set: not told");
        return;
    };
    server.start();
    let app = TestApp::start(&server.open().await).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    let room = ann.create_room().await;
    let song = SyncStateRequest {
        song: Some(tutti_proto::rooms::sync_state_request::Song::SongJson(
            r#"{"title":"One"}"#.to_owned(),
        )),
        ..playing(1.0)
    };
    ann.sync(&room, song).await.unwrap();

    server.kill();
    is_refused(&bob, &ann, &room).await;
    // A song that runs needs no database.
    ann.sync(&room, playing(2.0)).await.unwrap();
    server.start();
    comes_back(&bob, &room).await;

    server.freeze();
    is_refused(&cyd, &ann, &room).await;
    ann.sync(&room, playing(3.0)).await.unwrap();
    server.thaw();
    comes_back(&cyd, &room).await;

    let version = ann.sync(&room, paused(4.0)).await.unwrap().version;
    app.crash_and_restart().await;
    let there = app.room(&room).await;
    assert_eq!(app.names_in(&there), ["ann", "bob", "cyd"]);
    assert!(there.version > version);
    assert_eq!(
        there.current_song_json.as_deref(),
        Some(r#"{"title":"One"}"#)
    );
    let playback = there.playback.unwrap();
    assert!(!playback.playing);
    assert!((playback.position - 4.0).abs() < f64::EPSILON);
}
