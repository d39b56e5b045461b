//! Listening to a room.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::{join, join_all};
use tonic::Code;
use tutti_common::{ids::RoomId, sql::Database, status::Reason};
use tutti_proto::rooms::{RoomEvent, room_event::Event};
use tutti_tests::{TestApp, Watch, on_both_engines, playing, refused};

on_both_engines! {
    a_watch_begins_with_the_room_as_it_is,
    a_watch_of_nothing_is_refused,
    a_watch_ends_with_the_room,
    a_watch_ends_with_the_service,
    nothing_is_lost_or_out_of_order_while_a_crowd_comes_in,
    who_listens_too_slowly_gets_a_snapshot_and_what_comes_after,
    who_listens_too_slowly_hears_how_it_ended,
}

async fn a_watch_begins_with_the_room_as_it_is(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    ann.sync(&room, playing(4.0)).await.unwrap();
    bob.join(&room).await.unwrap();
    let watch = app.watch(&room).await;
    assert_eq!(watch.snapshot, ann.see(&room).await.unwrap());
    assert_eq!(app.names_in(&watch.snapshot), ["ann", "bob"]);
}

async fn a_watch_of_nothing_is_refused(database: Database) {
    let app = TestApp::start(&database).await;
    for id in [RoomId::new().to_string().as_str(), "", "room_x"] {
        let answer = app.try_watch(id).await.map(drop);
        refused(answer, Code::NotFound, Reason::NotFound);
    }
}

async fn a_watch_ends_with_the_room(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let watches = [app.watch(&room).await, app.watch(&room).await];
    ann.close(&room).await.unwrap();
    for watch in watches {
        assert_eq!(watch.rest().await, ["closed by its host"]);
    }
}

async fn a_watch_ends_with_the_service(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let mut watch = app.watch(&room).await;
    app.shutdown().begin();
    assert_eq!(watch.next().await, None);
}

/// Who joined and which versions were published, by what a watch was told.
async fn heard(watch: Watch) -> (BTreeSet<String>, BTreeSet<u64>) {
    let snapshot = watch.snapshot.clone();
    let members = snapshot.members.into_iter();
    let mut joined = members
        .map(|member| member.user_id)
        .collect::<BTreeSet<_>>();
    let mut versions = BTreeSet::new();
    let mut revision = snapshot.revision;
    let mut count = snapshot.member_count;
    for event in watch.events().await {
        assert!(event.revision > revision, "{event:?} after {revision}");
        revision = event.revision;
        match event.event.unwrap() {
            Event::UserJoined(user) => {
                count += 1;
                assert_eq!(user.member_count, count);
                assert!(joined.insert(user.member.unwrap().user_id), "joined once");
            }
            Event::StateSynced(_) => assert!(versions.insert(event.version)),
            Event::RoomClosed(_) => {}
            other => panic!("nothing of that kind happened: {other:?}"),
        }
    }
    (joined, versions)
}

async fn nothing_is_lost_or_out_of_order_while_a_crowd_comes_in(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let crowd = app.crowd(50).await;
    let room = ann.create_room().await;
    let early = app.watch(&room).await;
    let joins = join_all(crowd.iter().map(|fan| fan.join(&room)));
    let syncs = async {
        let mut versions = BTreeSet::new();
        let mut watches = Vec::new();
        for second in 0..50 {
            let answer = ann.sync(&room, playing(f64::from(second))).await;
            versions.insert(answer.unwrap().version);
            if second % 10 == 5 {
                watches.push(app.watch(&room).await);
            }
            tokio::task::yield_now().await;
        }
        (versions, watches)
    };
    let (joined, (versions, watches)) = join(joins, syncs).await;
    assert!(joined.iter().all(Result::is_ok));
    app.close(&room).await.unwrap();
    let everybody = crowd.iter().chain([&ann]).map(|fan| fan.id.clone());
    let everybody = everybody.collect::<BTreeSet<_>>();
    for watch in [early].into_iter().chain(watches) {
        let known = watch.snapshot.version;
        let later = versions.iter().copied().filter(|&version| version > known);
        let expected = (everybody.clone(), later.collect());
        assert!(heard(watch).await == expected);
    }
}

async fn who_listens_too_slowly_gets_a_snapshot_and_what_comes_after(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let mut watch = app.watch(&room).await;
    for second in 0..1_000 {
        ann.sync(&room, playing(f64::from(second))).await.unwrap();
    }
    bob.join(&room).await.unwrap();
    // What was taken in before the gap comes first.
    let mut events = Vec::<RoomEvent>::new();
    let snapshot = loop {
        let event = watch.next().await.unwrap();
        if let Some(Event::Snapshot(snapshot)) = &event.event {
            break snapshot.clone();
        }
        events.push(event);
    };
    assert!(events.is_sorted_by_key(|event| event.revision));
    assert_eq!(snapshot, ann.see(&room).await.unwrap());
    // What was still on its way is made up for, perhaps by one more snapshot.
    ann.sync(&room, playing(2_000.0)).await.unwrap();
    let revision = ann.see(&room).await.unwrap().revision;
    while watch.next().await.unwrap().revision < revision {}
    app.clock.advance(Duration::from_secs(1));
    bob.leave(&room).await.unwrap();
    app.close(&room).await.unwrap();
    assert_eq!(watch.rest().await, ["bob left: 1", "closed by an operator"]);
}

async fn who_listens_too_slowly_hears_how_it_ended(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let watch = app.watch(&room).await;
    for second in 0..1_000 {
        ann.sync(&room, playing(f64::from(second))).await.unwrap();
    }
    ann.close(&room).await.unwrap();
    assert_eq!(watch.rest().await.last().unwrap(), "closed by its host");
}
