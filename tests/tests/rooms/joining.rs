//! Joining, and seeing what one may join.

use std::time::Duration;

use futures_util::future::join_all;
use tonic::{Code, Status};
use tutti_common::{
    ids::{RoomId, UserId},
    sql::Database,
    status::Reason,
};
use tutti_tests::{Person, TestApp, on_both_engines, playing, refused};

on_both_engines! {
    joining_twice_is_joining_once,
    members_are_listed_in_order_of_joining,
    a_full_room_is_seen_but_not_joined,
    a_hidden_room_is_told_from_none_by_nothing,
    a_friend_of_the_host_may_join,
    a_friend_of_a_guest_may_not_join,
    a_participant_sees_the_room_whoever_is_host,
    a_member_list_stops_at_500_and_the_count_does_not,
    nobody_joins_nothing,
    rooms_are_listed_latest_joined_first,
}

async fn joining_twice_is_joining_once(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let watch = app.watch(&room).await;
    let once = bob.join(&room).await.unwrap();
    let twice = bob.join(&room).await.unwrap();
    assert_eq!(app.names_in(&twice), ["ann", "bob"]);
    assert_eq!(
        (twice.member_count, twice.version),
        (2, once.version),
        "joining is no news to a player"
    );
    // The host joins as well, and stays it.
    assert_eq!(ann.join(&room).await.unwrap().host_id, ann.id);
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        ["bob joined: 2", "closed by an operator"]
    );
}

async fn members_are_listed_in_order_of_joining(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    let room = cyd.create_room().await;
    for person in [&bob, &ann] {
        app.clock.advance(Duration::from_secs(1));
        person.join(&room).await.unwrap();
    }
    let seen = bob.see(&room).await.unwrap();
    assert_eq!(app.names_in(&seen), ["cyd", "bob", "ann"]);
    // Whoever left and comes back stands at the end.
    bob.leave(&room).await.unwrap();
    app.clock.advance(Duration::from_secs(1));
    let seen = bob.join(&room).await.unwrap();
    assert_eq!(app.names_in(&seen), ["cyd", "ann", "bob"]);
    app.crash_and_restart().await;
    let seen = bob.see(&room).await.unwrap();
    assert_eq!(app.names_in(&seen), ["cyd", "ann", "bob"]);
}

async fn a_full_room_is_seen_but_not_joined(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    let room = ann.create_room_for(2).await;
    bob.join(&room).await.unwrap();
    let answer = cyd.join(&room).await;
    refused(answer, Code::FailedPrecondition, Reason::JoinFailed);
    let answer = cyd.device().join(&room).await;
    refused(answer, Code::FailedPrecondition, Reason::JoinFailed);
    assert_eq!(cyd.see(&room).await.unwrap().member_count, 2);
    // Who is in it may come with another device, and who leaves makes room.
    bob.device().join(&room).await.unwrap();
    bob.leave(&room).await.unwrap();
    assert_eq!(cyd.join(&room).await.unwrap().member_count, 2);
}

/// What somebody who is not in a room is told, whatever they try.
async fn all_answers(person: &Person, other: &Person, room: &str) -> Vec<Result<(), Status>> {
    let device = person.device();
    let presence = person.presence_of(other).await;
    assert_eq!(presence.room_id, None);
    vec![
        person.join(room).await.map(drop),
        device.join(room).await.map(drop),
        person.see(room).await.map(drop),
        person.state(room).await.map(drop),
        person.sync(room, playing(1.0)).await.map(drop),
        person.hand_over(room, other).await.map(drop),
        person.close(room).await,
        person.leave(room).await,
        device.leave(room).await,
    ]
}

async fn a_hidden_room_is_told_from_none_by_nothing(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, eve] = app.users(["ann", "eve"]).await;
    let hidden = ann.create_friends_only_room().await;
    let nothing = RoomId::new().to_string();
    let answers = all_answers(&eve, &ann, &hidden).await;
    for absent in [nothing.as_str(), "room_1", "", "no room"] {
        for (hidden, absent) in answers.iter().zip(all_answers(&eve, &ann, absent).await) {
            match (hidden, absent) {
                (Ok(()), Ok(())) => {}
                (Err(hidden), Err(absent)) => {
                    assert_eq!(
                        (hidden.code(), hidden.message(), hidden.details()),
                        (absent.code(), absent.message(), absent.details())
                    );
                }
                (hidden, absent) => panic!("{hidden:?} is not {absent:?}"),
            }
        }
    }
    refused(eve.join(&hidden).await, Code::NotFound, Reason::JoinFailed);
    refused(eve.see(&hidden).await, Code::NotFound, Reason::NotFound);
    assert_eq!(eve.rooms().await, [""; 0]);
}

async fn a_friend_of_the_host_may_join(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_friends_only_room().await;
    bob.befriend(&ann).await;
    assert_eq!(bob.see(&room).await.unwrap().room_id, room);
    assert_eq!(bob.join(&room).await.unwrap().member_count, 2);
    // Who left may come back as long as the friendship holds.
    bob.leave(&room).await.unwrap();
    bob.unfriend(&ann).await;
    refused(bob.join(&room).await, Code::NotFound, Reason::JoinFailed);
    refused(bob.see(&room).await, Code::NotFound, Reason::NotFound);
}

async fn a_friend_of_a_guest_may_not_join(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    ann.befriend(&bob).await;
    bob.befriend(&cyd).await;
    let room = ann.create_friends_only_room().await;
    bob.join(&room).await.unwrap();
    refused(cyd.join(&room).await, Code::NotFound, Reason::JoinFailed);
    // Once the guest is host, it is the guest's friends who may.
    ann.hand_over(&room, &bob).await.unwrap();
    assert_eq!(cyd.join(&room).await.unwrap().member_count, 3);
}

async fn a_participant_sees_the_room_whoever_is_host(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    ann.befriend(&bob).await;
    ann.befriend(&cyd).await;
    let room = ann.create_friends_only_room().await;
    bob.join(&room).await.unwrap();
    app.clock.advance(Duration::from_secs(1));
    cyd.join(&room).await.unwrap();
    ann.leave(&room).await.unwrap();
    // Bob is host, and no friend of Cyd's.
    let seen = cyd.see(&room).await.unwrap();
    assert_eq!(seen.host_id, bob.id);
    cyd.join(&room).await.unwrap();
    cyd.device().join(&room).await.unwrap();
    cyd.leave(&room).await.unwrap();
    refused(cyd.see(&room).await, Code::NotFound, Reason::NotFound);
}

async fn a_member_list_stops_at_500_and_the_count_does_not(database: Database) {
    let app = TestApp::start(&database).await;
    let people = app.crowd(502).await;
    let (host, guests) = people.split_first().unwrap();
    let room = host.create_room().await;
    // The last two come later: they are those not named.
    let (first, last) = guests.split_at(499);
    let joined = join_all(first.iter().map(|guest| guest.join(&room))).await;
    assert!(joined.iter().all(Result::is_ok));
    for guest in last {
        guest.join(&room).await.unwrap();
    }
    let seen = last[1].see(&room).await.unwrap();
    assert_eq!((seen.members.len(), seen.member_count), (500, 502));
    assert!(
        seen.members
            .iter()
            .all(|m| last.iter().all(|p| p.id != m.user_id))
    );
}

async fn nobody_joins_nothing(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let mut nobody = ann.clone();
    for id in [UserId::new().to_string(), "nobody".to_owned()] {
        nobody.id = id;
        refused(nobody.join(&room).await, Code::NotFound, Reason::NotFound);
    }
    let nothing = RoomId::new().to_string();
    refused(ann.join(&nothing).await, Code::NotFound, Reason::JoinFailed);
    assert_eq!(app.room(&room).await.member_count, 1);
}

async fn rooms_are_listed_latest_joined_first(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let mut rooms = Vec::new();
    for _ in 0..3 {
        rooms.push(ann.create_room().await);
        app.clock.advance(Duration::from_secs(1));
    }
    for at in [1, 2, 0] {
        bob.join(&rooms[at]).await.unwrap();
        app.clock.advance(Duration::from_secs(1));
    }
    let of_bob = [0, 2, 1].map(|at| rooms[at].clone());
    let of_ann = [2, 1, 0].map(|at| rooms[at].clone());
    assert_eq!(bob.rooms().await, of_bob);
    // Another device is not another joining.
    bob.device().join(&rooms[1]).await.unwrap();
    assert_eq!(bob.rooms().await, of_bob);
    app.crash_and_restart().await;
    assert_eq!(bob.rooms().await, of_bob);
    assert_eq!(ann.rooms().await, of_ann);
    bob.leave(&rooms[2]).await.unwrap();
    assert_eq!(bob.rooms().await, [rooms[0].clone(), rooms[1].clone()]);
}
