//! Making rooms.

use std::time::Duration;

use tonic::Code;
use tutti_common::{
    ids::UserId,
    sql::Database,
    status::{Reason, retry_after},
};
use tutti_proto::{
    rooms::{CreateRoomRequest, Playback},
    timestamp,
};
use tutti_tests::{START, TestApp, on_both_engines, refused, wrong_fields};

on_both_engines! {
    whoever_makes_a_room_is_its_host_and_alone,
    a_room_is_made_as_wished,
    what_breaks_a_rule_is_named,
    a_name_is_kept_as_it_is_shown,
    a_name_of_an_earlier_version_loses_what_is_not_seen,
    nobody_makes_no_room,
    five_rooms_an_hour,
}

async fn whoever_makes_a_room_is_its_host_and_alone(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create(CreateRoomRequest::default()).await.unwrap();
    assert_eq!(room.host_id, ann.id);
    assert_eq!(app.names_in(&room), ["ann"]);
    assert_eq!(room.members[0].username, "ann");
    assert_eq!((room.member_count, room.max_participants), (1, 1_000));
    assert_eq!((room.name.as_deref(), room.is_friends_only), (None, false));
    assert_eq!(room.current_song_json, None);
    assert_eq!(room.created_at, Some(timestamp(START.0)));
    assert_eq!(room.last_activity, room.created_at);
    let nothing_plays = Playback {
        playing: false,
        position: 0.0,
        current_time: 0.0,
        timestamp_ms: START.as_f64(),
        rate: 1.0,
    };
    assert_eq!(room.playback, Some(nothing_plays));
    assert!(room.version > 0);
    assert_eq!(ann.see(&room.room_id).await.unwrap(), room);
}

async fn a_room_is_made_as_wished(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let name = "♪".repeat(100);
    let terms = CreateRoomRequest {
        name: Some(name.clone()),
        is_friends_only: true,
        max_participants: Some(100_000),
        ..CreateRoomRequest::default()
    };
    let room = ann.create(terms).await.unwrap();
    app.crash_and_restart().await;
    for room in [room.clone(), ann.see(&room.room_id).await.unwrap()] {
        assert_eq!(room.name.as_deref(), Some(&*name));
        assert!(room.is_friends_only);
        assert_eq!(room.max_participants, 100_000);
        assert_eq!(room.created_at, Some(timestamp(START.0)));
    }
}

async fn what_breaks_a_rule_is_named(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let create = |name: Option<&str>, max_participants| {
        ann.create(CreateRoomRequest {
            name: name.map(str::to_owned),
            max_participants,
            ..CreateRoomRequest::default()
        })
    };
    let too_long = "x".repeat(101);
    for name in [
        "",
        "two\nlines",
        "\0",
        &too_long,
        " \u{3000} ",
        "\u{2800}\u{3164}",
        "Ann's \u{202e}room",
        "\u{2067}Ann's room\u{2069}",
        "Ann's\u{200b} room",
    ] {
        assert_eq!(wrong_fields(create(Some(name), None).await), ["name"]);
    }
    for max in [0, -1, 100_001, i64::MIN] {
        let answer = create(None, Some(max)).await;
        assert_eq!(wrong_fields(answer), ["max_participants"]);
    }
    let answer = create(Some(""), Some(0)).await;
    assert_eq!(wrong_fields(answer), ["name", "max_participants"]);
    assert_eq!(app.count("SELECT count(*) FROM music_rooms").await, 0);
}

async fn a_name_is_kept_as_it_is_shown(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    for (given, kept) in [
        (" Ann's room\u{3000}", "Ann's room"),
        ("A\u{308}rger", "Ärger"),
        (
            "می\u{200c}خواهم 👩\u{200d}🚀",
            "می\u{200c}خواهم 👩\u{200d}🚀",
        ),
    ] {
        let terms = CreateRoomRequest {
            name: Some(given.to_owned()),
            ..CreateRoomRequest::default()
        };
        let room = ann.create(terms).await.unwrap();
        app.crash_and_restart().await;
        let again = ann.see(&room.room_id).await.unwrap();
        assert_eq!(
            [room.name, again.name],
            [Some(kept.to_owned()), Some(kept.to_owned())]
        );
    }
}

async fn a_name_of_an_earlier_version_loses_what_is_not_seen(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    for (rename, shown) in [
        (
            "UPDATE music_rooms SET name = 'Ann \u{202e}✓'",
            Some("Ann ✓"),
        ),
        ("UPDATE music_rooms SET name = '\u{3164}'", None),
    ] {
        app.execute(rename).await;
        app.crash_and_restart().await;
        let name = ann.see(&room).await.unwrap().name;
        assert_eq!(name.as_deref(), shown);
    }
}

async fn nobody_makes_no_room(database: Database) {
    let app = TestApp::start(&database).await;
    let mut nobody = app.user("ann").await;
    for id in [UserId::new().to_string(), "ann".to_owned(), String::new()] {
        nobody.id = id;
        let answer = nobody.create(CreateRoomRequest::default()).await;
        refused(answer, Code::NotFound, Reason::NotFound);
    }
    assert_eq!(app.count("SELECT count(*) FROM music_rooms").await, 0);
}

async fn five_rooms_an_hour(database: Database) {
    let app = TestApp::on(&database).room_creations_per_hour(5).start();
    let app = app.await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let good = CreateRoomRequest::default;
    let wrong = || CreateRoomRequest {
        max_participants: Some(0),
        ..good()
    };
    for _ in 0..5 {
        wrong_fields(ann.create(wrong()).await);
        ann.create(good()).await.unwrap();
        app.clock.advance(Duration::from_mins(1));
    }
    let status = refused(
        ann.create(good()).await,
        Code::ResourceExhausted,
        Reason::RateLimited,
    );
    assert_eq!(retry_after(&status), Some(Duration::from_mins(55)));
    // What is wrong is said whatever the limit, and others have limits of their own.
    wrong_fields(ann.create(wrong()).await);
    bob.create(good()).await.unwrap();

    app.clock.advance(Duration::from_mins(55));
    ann.create(good()).await.unwrap();
    refused(
        ann.create(good()).await,
        Code::ResourceExhausted,
        Reason::RateLimited,
    );
}
