//! Friendships that end.

use tutti_common::sql::Database;
use tutti_tests::{TestApp, on_both_engines};

on_both_engines! {
    a_former_friend_of_the_host_is_taken_out,
    it_does_not_matter_who_ends_the_friendship,
    who_is_not_the_hosts_former_friend_stays,
    what_ended_while_no_room_service_was_there_takes_effect,
}

const OVER: &str = "closed by an operator";

async fn a_former_friend_of_the_host_is_taken_out(database: Database) {
    let app = TestApp::on(&database).at_work().start().await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    ann.befriend(&bob).await;
    ann.befriend(&cyd).await;
    let room = ann.create_friends_only_room().await;
    let (phone, laptop) = (bob.device(), bob.device());
    phone.join(&room).await.unwrap();
    laptop.join(&room).await.unwrap();
    cyd.join(&room).await.unwrap();
    let mut watch = app.watch(&room).await;
    ann.unfriend(&bob).await;
    assert_eq!(watch.hear().await, "bob may stay no longer: 2");
    assert!(bob.see(&room).await.is_err());
    assert_eq!(app.report().await.len(), 2, "both devices are out");
    app.close(&room).await.unwrap();
    assert_eq!(watch.rest().await, [OVER]);
}

async fn it_does_not_matter_who_ends_the_friendship(database: Database) {
    let app = TestApp::on(&database).at_work().start().await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    ann.befriend(&bob).await;
    let room = ann.create_friends_only_room().await;
    bob.join(&room).await.unwrap();
    let mut watch = app.watch(&room).await;
    bob.unfriend(&ann).await;
    assert_eq!(watch.hear().await, "bob may stay no longer: 1");
    // It is the guest who goes, also where the host was a guest before.
    ann.befriend(&bob).await;
    bob.join(&room).await.unwrap();
    ann.hand_over(&room, &bob).await.unwrap();
    ann.unfriend(&bob).await;
    for heard in [
        "bob joined: 2",
        "bob is host as ann wished",
        "ann may stay no longer: 1",
    ] {
        assert_eq!(watch.hear().await, heard);
    }
}

async fn who_is_not_the_hosts_former_friend_stays(database: Database) {
    let app = TestApp::on(&database).at_work().start().await;
    let [ann, bob, cyd, dan] = app.users(["ann", "bob", "cyd", "dan"]).await;
    ann.befriend(&bob).await;
    ann.befriend(&cyd).await;
    bob.befriend(&cyd).await;
    // An open room of hers, a hidden room of somebody else's, and one of hers that says when it is done.
    let open = ann.create_room().await;
    bob.join(&open).await.unwrap();
    let of_cyd = cyd.create_friends_only_room().await;
    ann.join(&of_cyd).await.unwrap();
    bob.join(&of_cyd).await.unwrap();
    let hidden = ann.create_friends_only_room().await;
    bob.join(&hidden).await.unwrap();
    let [in_open, in_cyds] = [&open, &of_cyd].map(|room| app.watch(room));
    let (in_open, in_cyds) = (in_open.await, in_cyds.await);
    let mut in_hidden = app.watch(&hidden).await;
    ann.unfriend(&bob).await;
    assert_eq!(in_hidden.hear().await, "bob may stay no longer: 1");
    // What was begun for Bob is done when the next one's is.
    ann.befriend(&dan).await;
    dan.join(&hidden).await.unwrap();
    ann.unfriend(&dan).await;
    assert_eq!(in_hidden.hear().await, "dan joined: 2");
    assert_eq!(in_hidden.hear().await, "dan may stay no longer: 1");
    for room in [&open, &of_cyd] {
        app.close(room).await.unwrap();
    }
    assert_eq!(in_open.rest().await, [OVER]);
    assert_eq!(in_cyds.rest().await, [OVER]);
}

async fn what_ended_while_no_room_service_was_there_takes_effect(database: Database) {
    let app = TestApp::on(&database).at_work().start().await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    ann.befriend(&bob).await;
    ann.befriend(&cyd).await;
    let room = ann.create_friends_only_room().await;
    bob.join(&room).await.unwrap();
    cyd.join(&room).await.unwrap();
    app.crash().await;
    ann.unfriend(&bob).await;
    // What was mended meanwhile is no news.
    ann.befriend(&bob).await;
    ann.unfriend(&cyd).await;
    app.restart().await;
    while app.room(&room).await.member_count > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(app.names_in(&app.room(&room).await), ["ann", "bob"]);
}
