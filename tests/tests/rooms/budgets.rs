//! What those in a room must bear of others.

use std::time::Duration;

use tonic::Code;
use tutti_common::{config::Rates, sql::Database, status::Reason};
use tutti_tests::{TestApp, almost, on_both_engines, playing, refused};

on_both_engines! {
    a_room_hears_only_so_much_of_its_hosts,
    who_is_not_host_uses_up_nothing_of_what_a_host_may_say,
    who_comes_back_again_and_again_keeps_out_nobody_else,
    who_was_lost_may_come_back_with_all_the_others,
    a_user_enters_only_so_many_rooms,
}

async fn app(database: &Database, limit: impl FnOnce(&mut Rates)) -> TestApp {
    TestApp::on(database).limits(limit).start().await
}

fn too_often<T: std::fmt::Debug>(answer: Result<T, tonic::Status>) {
    refused(answer, Code::ResourceExhausted, Reason::RateLimited);
}

async fn a_room_hears_only_so_much_of_its_hosts(database: Database) {
    let app = app(&database, |rates| rates.room_syncs_per_minute = 120).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    bob.join(&room).await.unwrap();
    for position in 0..30 {
        ann.sync(&room, playing(position.into())).await.unwrap();
    }
    ann.hand_over(&room, &bob).await.unwrap();
    for position in 0..9 {
        bob.sync(&room, playing(position.into())).await.unwrap();
    }
    too_often(bob.sync(&room, playing(9.0)).await);
    too_often(bob.hand_over(&room, &ann).await);
    // Another room has a budget of its own, and both go on at the steady rate.
    let other = bob.create_room().await;
    bob.sync(&other, playing(0.0)).await.unwrap();
    for second in 0..10 {
        app.clock.advance(Duration::from_secs(1));
        for half in [0.0, 0.5] {
            let state = playing(f64::from(second) + half);
            bob.sync(&room, state).await.unwrap();
        }
        too_often(bob.sync(&room, playing(0.0)).await);
    }
}

async fn who_is_not_host_uses_up_nothing_of_what_a_host_may_say(database: Database) {
    let app = app(&database, |rates| rates.room_syncs_per_minute = 120).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    bob.join(&room).await.unwrap();
    for _ in 0..50 {
        let answer = bob.sync(&room, playing(1.0)).await;
        refused(answer, Code::PermissionDenied, Reason::UpdateFailed);
    }
    ann.sync(&room, playing(2.0)).await.unwrap();
}

async fn who_comes_back_again_and_again_keeps_out_nobody_else(database: Database) {
    let app = app(&database, |rates| rates.room_returns_per_minute = 1).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    for _ in 0..61 {
        bob.join(&room).await.unwrap();
        bob.leave(&room).await.unwrap();
    }
    too_often(bob.join(&room).await);
    let cyd = app.user("cyd").await;
    cyd.join(&room).await.unwrap();
    // A further device of one who is there is no return.
    cyd.device().join(&room).await.unwrap();
    app.clock.advance(Duration::from_mins(1));
    bob.join(&room).await.unwrap();
}

async fn who_was_lost_may_come_back_with_all_the_others(database: Database) {
    let grace = Duration::from_secs(15);
    let app = app(&database, |rates| rates.room_returns_per_minute = 1).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let phone = ann.device();
    phone.join(&room).await.unwrap();
    let bob = app.user("bob").await;
    let laptop = bob.device();
    for _ in 0..62 {
        laptop.join(&room).await.unwrap();
        laptop.lose(&room).await;
        app.let_pass(almost(grace)).await;
        app.let_pass(Duration::from_millis(2)).await;
        assert_eq!(app.names_in(&app.room(&room).await), ["ann"]);
    }
}

async fn a_user_enters_only_so_many_rooms(database: Database) {
    let app = app(&database, |rates| rates.user_joins_per_minute = 30).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let mut rooms = Vec::new();
    for _ in 0..21 {
        rooms.push(ann.create_room().await);
    }
    for room in &rooms[..20] {
        bob.join(room).await.unwrap();
    }
    too_often(bob.join(&rooms[20]).await);
    bob.join(&rooms[19]).await.expect("it is where they are");
    app.clock.advance(Duration::from_secs(2));
    bob.join(&rooms[20]).await.unwrap();
}
