//! Who is host, and who after them.

use std::time::Duration;

use tonic::Code;
use tutti_common::{ids::UserId, sql::Database, status::Reason};
use tutti_tests::{A_MOMENT, Person, TestApp, almost, on_both_engines, playing, refused};

on_both_engines! {
    the_longest_there_succeeds_a_host_who_leaves,
    the_longest_there_succeeds_a_host_who_came_last,
    the_longest_there_succeeds_a_host_whose_line_is_lost,
    when_everybody_is_lost_the_room_is_empty,
    a_host_hands_over,
    only_the_host_hands_over_and_only_to_those_who_are_there,
    handing_over_to_oneself_changes_nothing,
    a_former_host_is_a_guest,
}

const GRACE: Duration = Duration::from_secs(15);

/// Ann's room, with the others joined in order, a second apart.
async fn room_of(app: &TestApp, people: [&Person; 3]) -> String {
    let room = people[0].create_room().await;
    for person in people {
        app.clock.advance(Duration::from_secs(1));
        person.device().join(&room).await.unwrap();
    }
    room
}

async fn the_longest_there_succeeds_a_host_who_leaves(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    // Not by name, not by age of the account.
    let room = room_of(&app, [&cyd, &ann, &bob]).await;
    let watch = app.watch(&room).await;
    let before = app.room(&room).await;
    cyd.leave(&room).await.unwrap();
    let seen = app.room(&room).await;
    assert_eq!(seen.host_id, ann.id);
    assert!(seen.version > before.version);
    // A guest who goes is succeeded by nobody.
    bob.leave(&room).await.unwrap();
    cyd.join(&room).await.unwrap();
    ann.leave(&room).await.unwrap();
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        [
            "cyd left: 2",
            "ann is host after cyd left",
            "bob left: 1",
            "cyd joined: 2",
            "ann left: 1",
            "cyd is host after ann left",
            "closed by an operator",
        ]
    );
}

async fn the_longest_there_succeeds_a_host_who_came_last(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    let room = room_of(&app, [&bob, &ann, &cyd]).await;
    bob.hand_over(&room, &cyd).await.unwrap();
    cyd.leave(&room).await.unwrap();
    assert_eq!(app.room(&room).await.host_id, bob.id);
    // Also if that one has been away and came back within the grace.
    bob.hand_over(&room, &ann).await.unwrap();
    app.crash_and_restart().await;
    bob.device().join(&room).await.unwrap();
    ann.leave(&room).await.unwrap();
    assert_eq!(app.room(&room).await.host_id, bob.id);
}

async fn the_longest_there_succeeds_a_host_whose_line_is_lost(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    let room = ann.create_room().await;
    let phone = ann.device();
    phone.join(&room).await.unwrap();
    for guest in [&cyd, &bob] {
        app.clock.advance(Duration::from_secs(1));
        guest.device().join(&room).await.unwrap();
    }
    let watch = app.watch(&room).await;
    phone.lose(&room).await;
    app.let_pass(almost(GRACE)).await;
    let seen = app.room(&room).await;
    assert_eq!(app.names_in(&seen), ["ann", "cyd", "bob"]);
    assert_eq!(seen.host_id, ann.id);

    app.let_pass(A_MOMENT).await;
    let seen = app.room(&room).await;
    assert_eq!(app.names_in(&seen), ["cyd", "bob"]);
    assert_eq!(seen.host_id, cyd.id);
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        [
            "ann was disconnected: 2",
            "cyd is host after ann was disconnected",
            "closed by an operator",
        ]
    );
}

async fn when_everybody_is_lost_the_room_is_empty(database: Database) {
    let app = TestApp::start(&database).await;
    let people = app.users(["ann", "bob", "cyd"]).await;
    let room = people[0].create_room().await;
    let mut devices = Vec::new();
    for person in &people {
        let device = person.device();
        device.join(&room).await.unwrap();
        devices.push(device);
    }
    let watch = app.watch(&room).await;
    // A gateway dies: it says nothing, and its leases run out 10 s after it last said they were alive.
    devices.iter().for_each(tutti_tests::Device::vanish);
    app.let_pass(almost(Duration::from_secs(10) + GRACE)).await;
    assert_eq!(app.room(&room).await.member_count, 3);
    app.let_pass(A_MOMENT).await;
    assert_eq!(app.room(&room).await.member_count, 0);
    app.let_pass(Duration::from_mins(1)).await;
    let rest = watch.rest().await;
    let of_kind = |what: &str| rest.iter().filter(|event| event.contains(what)).count();
    assert_eq!(of_kind("was disconnected: "), 3, "{rest:?}");
    assert_eq!(of_kind("closed, since nobody was there"), 1, "{rest:?}");
}

async fn a_host_hands_over(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    let room = room_of(&app, [&ann, &bob, &cyd]).await;
    let watch = app.watch(&room).await;
    let answer = ann.hand_over(&room, &cyd).await.unwrap();
    assert!(answer.version > watch.snapshot.version);
    assert!(answer.accepted_at.is_some());
    let seen = app.room(&room).await;
    assert_eq!(
        (seen.host_id, seen.version),
        (cyd.id.clone(), answer.version)
    );
    cyd.sync(&room, playing(1.0)).await.unwrap();
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        [
            "cyd is host as ann wished",
            "plays at 1",
            "closed by an operator"
        ]
    );
}

async fn only_the_host_hands_over_and_only_to_those_who_are_there(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, eve] = app.users(["ann", "bob", "eve"]).await;
    let room = ann.create_room().await;
    bob.join(&room).await.unwrap();
    let answer = bob.hand_over(&room, &bob).await;
    refused(answer, Code::PermissionDenied, Reason::UpdateFailed);
    let answer = eve.hand_over(&room, &eve).await;
    refused(answer, Code::FailedPrecondition, Reason::NotInRoom);
    let mut nobody = eve.clone();
    for id in [eve.id, UserId::new().to_string(), "eve".to_owned()] {
        nobody.id = id;
        let answer = ann.hand_over(&room, &nobody).await;
        refused(answer, Code::NotFound, Reason::NotFound);
    }
    assert_eq!(app.room(&room).await.host_id, ann.id);
}

async fn handing_over_to_oneself_changes_nothing(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let watch = app.watch(&room).await;
    let answer = ann.hand_over(&room, &ann).await.unwrap();
    assert_eq!(answer.version, watch.snapshot.version);
    app.close(&room).await.unwrap();
    assert_eq!(watch.rest().await, ["closed by an operator"]);
}

async fn a_former_host_is_a_guest(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    bob.join(&room).await.unwrap();
    ann.hand_over(&room, &bob).await.unwrap();
    let answer = ann.sync(&room, playing(1.0)).await;
    refused(answer, Code::PermissionDenied, Reason::UpdateFailed);
    let answer = ann.hand_over(&room, &ann).await;
    refused(answer, Code::PermissionDenied, Reason::UpdateFailed);
    // Leaving and coming back does not make her host again.
    ann.leave(&room).await.unwrap();
    assert_eq!(ann.join(&room).await.unwrap().host_id, bob.id);
}
