//! The database goes away and comes back.

use std::{future, time::Instant};

use futures_util::future::join_all;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
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
    let app = TestApp::start(&server.open(server.port()).await).await;
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

/// A line to a server. Its connections can be made to lead nowhere, without a word to either end; new ones
/// are fine.
struct Line {
    port: u16,
    cuts: watch::Sender<u32>,
    _relay: JoinSet<()>,
}

impl Line {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let cuts = watch::Sender::new(0);
        let told = cuts.clone();
        let mut relay = JoinSet::new();
        relay.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let mut cut = told.subscribe();
                connections.spawn(async move {
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => future::pending().await,
                    }
                });
            }
        });
        Self {
            port: here,
            cuts,
            _relay: relay,
        }
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_lead_nowhere_are_replaced_and_no_call_fails() {
    let Some(mut server) = Postgres::make() else {
        eprintln!("TEST_POSTGRES_URL is not set: not told");
        return;
    };
    server.start();
    let line = Line::to(server.port()).await;
    let app = TestApp::start(&server.open(line.port).await).await;
    let [host, guests @ ..] = &app.crowd(21).await[..] else {
        unreachable!("a crowd");
    };
    let room = host.create_room().await;
    for joined in join_all(guests[..10].iter().map(|guest| guest.join(&room))).await {
        joined.unwrap();
    }
    line.cut();
    for guest in &guests[10..] {
        let begun = Instant::now();
        guest.join(&room).await.unwrap();
        assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
    }
}
