//! Leaving, and rooms that were left.

use std::time::Duration;

use futures_util::future::join_all;
use tonic::Code;
use tutti_common::{ids::RoomId, sql::Database, status::Reason};
use tutti_room::domain::{Change, CloseReason};
use tutti_tests::{A_MOMENT, TestApp, almost, on_both_engines, refused};

on_both_engines! {
    leaving_twice_is_leaving_once,
    of_those_racing_to_leave_each_leaves_once,
    an_empty_room_is_kept_for_its_grace_and_then_closed,
    an_empty_room_is_seen_by_those_who_could_before,
    the_first_to_join_an_empty_room_is_its_host,
    a_host_who_comes_back_to_an_empty_room_is_host_again,
    the_host_closes_the_room,
    others_do_not_close_the_room,
    an_operator_closes_any_room,
    what_was_left_in_the_record_is_swept,
}

const EMPTY_GRACE: Duration = Duration::from_mins(1);

async fn leaving_twice_is_leaving_once(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    bob.join(&room).await.unwrap();
    let watch = app.watch(&room).await;
    bob.leave(&room).await.unwrap();
    bob.leave(&room).await.unwrap();
    bob.device().leave(&room).await.unwrap();
    // Nor does it matter whether one was ever there, or whether there is a room.
    app.user("eve").await.leave(&room).await.unwrap();
    bob.leave(&RoomId::new().to_string()).await.unwrap();
    app.close(&room).await.unwrap();
    bob.leave(&room).await.unwrap();
    assert_eq!(watch.rest().await, ["bob left: 1", "closed by an operator"]);
}

async fn of_those_racing_to_leave_each_leaves_once(database: Database) {
    let app = TestApp::start(&database).await;
    let people = app.crowd(5).await;
    for _ in 0..10 {
        let room = people[0].create_room().await;
        for person in &people[1..] {
            app.clock.advance(A_MOMENT);
            person.join(&room).await.unwrap();
        }
        let watch = app.watch(&room).await;
        // Two of them, twice each: the host and the next in line.
        let leaving = [0, 1, 1, 0].map(|at| people[at].leave(&room));
        for left in join_all(leaving).await {
            left.unwrap();
        }
        let seen = app.room(&room).await;
        assert_eq!(app.names_in(&seen), ["fan3", "fan4", "fan5"]);
        assert_eq!(seen.host_id, people[2].id);
        app.close(&room).await.unwrap();
        let rest = watch.rest().await;
        let left = rest.iter().filter(|event| event.contains(" left: "));
        assert_eq!(left.count(), 2, "{rest:?}");
    }
}

async fn an_empty_room_is_kept_for_its_grace_and_then_closed(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let watch = app.watch(&room).await;
    ann.leave(&room).await.unwrap();
    app.let_pass(almost(EMPTY_GRACE)).await;
    let seen = ann.see(&room).await.unwrap();
    assert_eq!((seen.member_count, seen.members.len()), (0, 0));
    assert_eq!(ann.rooms().await, [""; 0]);

    app.let_pass(A_MOMENT).await;
    refused(ann.see(&room).await, Code::NotFound, Reason::NotFound);
    refused(ann.join(&room).await, Code::NotFound, Reason::JoinFailed);
    assert_eq!(
        watch.rest().await,
        ["ann left: 0", "closed, since nobody was there"]
    );
    assert_eq!(app.count("SELECT count(*) FROM music_rooms").await, 0);
    assert_eq!(app.count("SELECT count(*) FROM room_participants").await, 0);
}

async fn an_empty_room_is_seen_by_those_who_could_before(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, eve] = app.users(["ann", "bob", "eve"]).await;
    ann.befriend(&bob).await;
    let room = ann.create_friends_only_room().await;
    ann.leave(&room).await.unwrap();
    ann.see(&room).await.unwrap();
    bob.see(&room).await.unwrap();
    refused(eve.see(&room).await, Code::NotFound, Reason::NotFound);
    refused(eve.join(&room).await, Code::NotFound, Reason::JoinFailed);
    bob.join(&room).await.unwrap();
}

async fn the_first_to_join_an_empty_room_is_its_host(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    ann.leave(&room).await.unwrap();
    let left = app.room(&room).await;
    app.let_pass(almost(EMPTY_GRACE)).await;
    let watch = app.watch(&room).await;
    let joined = bob.join(&room).await.unwrap();
    assert_eq!(
        (joined.host_id.as_str(), joined.member_count),
        (&*bob.id, 1)
    );
    assert!(joined.version > left.version, "another host is news");
    // It is not empty any more, and will be kept.
    app.let_pass(A_MOMENT).await;
    assert_eq!(ann.join(&room).await.unwrap().host_id, bob.id);
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        [
            "bob is host after ann left",
            "bob joined: 1",
            "ann joined: 2",
            "closed by an operator"
        ]
    );
}

async fn a_host_who_comes_back_to_an_empty_room_is_host_again(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    for _ in 0..3 {
        ann.leave(&room).await.unwrap();
        app.let_pass(almost(EMPTY_GRACE)).await;
        assert_eq!(ann.join(&room).await.unwrap().host_id, ann.id);
    }
    // The grace begins anew each time.
    app.let_pass(EMPTY_GRACE).await;
    ann.see(&room).await.unwrap();
}

async fn the_host_closes_the_room(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let phone = bob.device();
    phone.join(&room).await.unwrap();
    let watch = app.watch(&room).await;
    ann.close(&room).await.unwrap();
    assert_eq!(watch.rest().await, ["closed by its host"]);
    assert_eq!(app.count("SELECT count(*) FROM music_rooms").await, 0);
    assert_eq!(app.count("SELECT count(*) FROM room_participants").await, 0);
    assert_eq!(bob.rooms().await, [""; 0]);
    assert_eq!(app.report().await, [phone.id], "it is attached to nothing");
    refused(ann.close(&room).await, Code::NotFound, Reason::NotFound);
    refused(app.close(&room).await, Code::NotFound, Reason::NotFound);
    let answer = app.try_watch(&room).await;
    refused(answer.map(drop), Code::NotFound, Reason::NotFound);
    app.crash_and_restart().await;
    refused(ann.see(&room).await, Code::NotFound, Reason::NotFound);
}

async fn others_do_not_close_the_room(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, eve] = app.users(["ann", "bob", "eve"]).await;
    ann.befriend(&bob).await;
    let (open, hidden) = (
        ann.create_room().await,
        ann.create_friends_only_room().await,
    );
    let forbidden = |answer| refused(answer, Code::PermissionDenied, Reason::Forbidden);
    forbidden(eve.close(&open).await);
    forbidden(bob.close(&open).await);
    forbidden(bob.close(&hidden).await);
    refused(eve.close(&hidden).await, Code::NotFound, Reason::NotFound);
    bob.join(&hidden).await.unwrap();
    forbidden(bob.close(&hidden).await);
    ann.hand_over(&hidden, &bob).await.unwrap();
    forbidden(ann.close(&hidden).await);
    bob.close(&hidden).await.unwrap();
    ann.see(&open).await.unwrap();
}

async fn an_operator_closes_any_room(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let hidden = ann.create_friends_only_room().await;
    let watch = app.watch(&hidden).await;
    app.close(&hidden).await.unwrap();
    assert_eq!(watch.rest().await, ["closed by an operator"]);
    refused(ann.see(&hidden).await, Code::NotFound, Reason::NotFound);
}

async fn what_was_left_in_the_record_is_swept(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let (left, kept) = (ann.create_room().await, ann.create_room().await);
    ann.leave(&left).await.unwrap();
    // Live state ends it, and the process dies before it has told the record.
    let view = app.live().view(left.parse().unwrap(), &[]).await;
    let room = view.unwrap().unwrap().room;
    let revision = room.revision;
    let end = Change {
        room,
        seats: vec![],
        events: vec![],
        durable: true,
        closed: Some(CloseReason::Empty),
    };
    assert!(app.live().commit(revision, end, vec![]).await.unwrap());
    let phone = ann.device();
    phone.join(&kept).await.unwrap();
    // Nothing that is in the record is lost: live state has the room again, and ends it when its time is up.
    for (after, rooms) in [(Duration::from_mins(2), 2), (A_MOMENT, 2), (EMPTY_GRACE, 1)] {
        app.let_pass(after).await;
        app.rooms().sweep().await.unwrap();
        assert_eq!(app.count("SELECT count(*) FROM music_rooms").await, rooms);
    }
    refused(ann.see(&left).await, Code::NotFound, Reason::NotFound);
    ann.see(&kept).await.unwrap();
}
