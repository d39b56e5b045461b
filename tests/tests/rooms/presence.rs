//! Who is online, and where.

use std::time::Duration;

use tonic::Code;
use tutti_common::{sql::Database, status::Reason};
use tutti_proto::rooms::{GetPresenceRequest, Presence};
use tutti_tests::{Person, TestApp, on_both_engines, refused};

on_both_engines! {
    online_is_who_has_a_device_that_is_alive,
    a_friend_is_found_in_the_room_they_joined_last,
    a_room_is_told_to_those_who_may_join_it,
    many_are_asked_about_at_once,
}

async fn is_online(viewer: &Person, other: &Person) -> bool {
    viewer.presence_of(other).await.online
}

async fn online_is_who_has_a_device_that_is_alive(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = bob.create_room().await;
    assert!(!is_online(&ann, &bob).await, "a visit is no connection");
    let (phone, laptop) = (bob.device(), bob.device());
    app.report().await;
    assert!(is_online(&ann, &bob).await, "in whatever room, or in none");
    assert!(!is_online(&bob, &ann).await);
    phone.join(&room).await.unwrap();
    phone.leave(&room).await.unwrap();
    phone.lose(&room).await;
    assert!(is_online(&ann, &bob).await);
    // Nothing is heard of the other one any more.
    laptop.vanish();
    app.let_pass(Duration::from_millis(9_999)).await;
    assert!(is_online(&ann, &bob).await);
    app.let_pass(Duration::from_millis(1)).await;
    assert!(!is_online(&ann, &bob).await);
    let tablet = bob.device();
    tablet.join(&room).await.unwrap();
    assert!(
        is_online(&ann, &bob).await,
        "whoever joins is there at once"
    );
    tablet.lose(&room).await;
    assert!(!is_online(&ann, &bob).await, "the grace is for the seat");
}

async fn a_friend_is_found_in_the_room_they_joined_last(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    assert_eq!(ann.presence_of(&bob).await.room_id, None);
    let first = bob.create_room().await;
    app.clock.advance(Duration::from_secs(1));
    let second = bob.create_room().await;
    let found = async || ann.presence_of(&bob).await.room_id;
    assert_eq!(found().await, Some(second.clone()));
    bob.leave(&second).await.unwrap();
    assert_eq!(found().await, Some(first.clone()));
    bob.close(&first).await.unwrap();
    assert_eq!(found().await, None);
}

async fn a_room_is_told_to_those_who_may_join_it(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    bob.befriend(&cyd).await;
    ann.befriend(&bob).await;
    let open = bob.create_room().await;
    app.clock.advance(Duration::from_secs(1));
    let hidden = cyd.create_friends_only_room().await;
    bob.join(&hidden).await.unwrap();
    // Ann is no friend of Cyd's: to her Bob is where she may go as well.
    assert_eq!(ann.presence_of(&bob).await.room_id, Some(open.clone()));
    assert_eq!(ann.presence_of(&cyd).await.room_id, None);
    assert_eq!(cyd.presence_of(&bob).await.room_id, Some(hidden.clone()));
    cyd.hand_over(&hidden, &bob).await.unwrap();
    assert_eq!(ann.presence_of(&cyd).await.room_id, Some(hidden.clone()));
    ann.join(&hidden).await.unwrap();
    bob.hand_over(&hidden, &cyd).await.unwrap();
    // She is in it.
    assert_eq!(ann.presence_of(&bob).await.room_id, Some(hidden.clone()));
    ann.leave(&hidden).await.unwrap();
    assert_eq!(ann.presence_of(&bob).await.room_id, Some(open));
}

async fn many_are_asked_about_at_once(database: Database) {
    let app = TestApp::start(&database).await;
    let people = app.crowd(1_000).await;
    // Each is in a hidden room of somebody else's, so that friendships are asked about.
    let viewer = app.user("viewer").await;
    for person in &people[..600] {
        person.create_friends_only_room().await;
    }
    let ask = |count: usize| GetPresenceRequest {
        user_id: viewer.id.clone(),
        other_user_ids: people
            .iter()
            .cycle()
            .take(count)
            .map(|p| p.id.clone())
            .collect(),
    };
    let answer = app.room_service().get_presence(ask(1_000)).await;
    let presences = answer.unwrap().into_inner().presences;
    assert_eq!(presences.len(), 1_000);
    for (presence, person) in presences.into_iter().zip(&people) {
        let unseen = Presence {
            user_id: person.id.clone(),
            online: false,
            room_id: None,
        };
        assert_eq!(presence, unseen);
    }
    let answer = app.room_service().get_presence(ask(1_001)).await;
    refused(answer, Code::InvalidArgument, Reason::InvalidRequest);
}
