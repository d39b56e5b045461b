//! How the room service says no where a part of it is missing.

use tonic::Code;
use tutti_common::{sql::Database, status::Reason};
use tutti_proto::rooms::CreateRoomRequest;
use tutti_tests::{TestApp, on_both_engines, playing, refused};

on_both_engines! {
    without_accounts_what_needs_them_is_unavailable,
    without_the_record_music_goes_on,
}

async fn without_accounts_what_needs_them_is_unavailable(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let open = ann.create_room().await;
    let hidden = ann.create_friends_only_room().await;
    // Nobody listens on port 1.
    let cut_off = TestApp::on(&database)
        .accounts_at("http://127.0.0.1:1")
        .start()
        .await;
    let [ann, bob] = [ann, bob].map(|person| person.at(&cut_off));
    let unavailable =
        |status| refused(Err::<(), _>(status), Code::Unavailable, Reason::Unavailable);
    unavailable(bob.join(&open).await.unwrap_err());
    unavailable(bob.join(&hidden).await.unwrap_err());
    unavailable(bob.see(&hidden).await.unwrap_err());
    unavailable(bob.create(CreateRoomRequest::default()).await.unwrap_err());
    // Who is in a room needs no friends for it.
    ann.sync(&hidden, playing(1.0)).await.unwrap();
    ann.see(&hidden).await.unwrap();
    ann.device().join(&hidden).await.unwrap();
    bob.see(&open).await.unwrap();
    ann.leave(&hidden).await.unwrap();
}

async fn without_the_record_music_goes_on(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    let room = ann.create_room().await;
    bob.join(&room).await.unwrap();
    ann.sync(&room, playing(1.0)).await.unwrap();
    let watch = app.watch(&room).await;
    database.close().await;
    let before = ann.state(&room).await.unwrap();
    let answer = ann.sync(&room, playing(2.0)).await.unwrap();
    assert!(answer.version > before.version);
    bob.device().join(&room).await.unwrap();
    bob.see(&room).await.unwrap();
    // What would have to be in the record is refused, and nobody hears of it.
    for answer in [
        cyd.join(&room).await.map(drop),
        bob.leave(&room).await,
        ann.hand_over(&room, &bob).await.map(drop),
        ann.close(&room).await,
    ] {
        refused(answer, Code::Unavailable, Reason::Unavailable);
    }
    ann.sync(&room, playing(3.0)).await.unwrap();
    let mut watch = watch;
    assert_eq!(watch.hear().await, "plays at 2");
    assert_eq!(watch.hear().await, "plays at 3");
}
