//! Seats, and what keeps them.

use std::time::Duration;

use tonic::Code;
use tutti_common::{sql::Database, status::Reason};
use tutti_proto::rooms::{Connection, DropConnectionsRequest, JoinRoomRequest};
use tutti_tests::{A_MOMENT, TestApp, almost, on_both_engines, refused};

on_both_engines! {
    who_comes_back_within_the_grace_was_never_away,
    a_user_with_many_devices_comes_once_and_goes_once,
    while_one_device_is_alive_the_user_stays,
    leaving_with_the_last_attached_device_is_leaving,
    leaving_with_a_device_that_is_elsewhere_is_nothing,
    a_host_who_logs_out_is_succeeded_at_once,
    who_logs_out_stays_by_a_device_of_another_session,
    a_visit_keeps_its_seat_for_a_minute_and_the_grace,
    a_device_takes_the_place_of_a_visit,
    a_visit_after_a_device_adds_nothing,
    a_grace_is_as_long_as_it_is_set,
    who_was_away_for_too_long_is_told_and_joins_anew,
    a_device_gone_for_good_does_not_come_back_by_itself,
    leaving_without_a_device_detaches_them_all,
    what_is_no_connection_is_refused,
}

const GRACE: Duration = Duration::from_secs(15);
const OVER: &str = "closed by an operator";

async fn who_comes_back_within_the_grace_was_never_away(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    ann.device().join(&room).await.unwrap();
    let watch = app.watch(&room).await;
    let mut phone = bob.device();
    phone.join(&room).await.unwrap();
    for _ in 0..3 {
        phone.lose(&room).await;
        app.let_pass(almost(GRACE)).await;
        phone = bob.device();
        phone.join(&room).await.unwrap();
        app.let_pass(Duration::from_mins(1)).await;
    }
    app.close(&room).await.unwrap();
    assert_eq!(watch.rest().await, ["bob joined: 2", OVER]);
}

async fn a_user_with_many_devices_comes_once_and_goes_once(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    ann.device().join(&room).await.unwrap();
    let watch = app.watch(&room).await;
    for _ in 0..2 {
        let devices = [bob.device(), bob.device(), bob.device()];
        for device in &devices {
            assert_eq!(device.join(&room).await.unwrap().member_count, 2);
            // Twice is once.
            device.join(&room).await.unwrap();
        }
        devices[0].leave(&room).await.unwrap();
        devices[1].lose(&room).await;
        app.let_pass(Duration::from_mins(1)).await;
        assert_eq!(app.room(&room).await.member_count, 2);
        devices[2].leave(&room).await.unwrap();
        devices[2].leave(&room).await.unwrap();
        assert_eq!(app.room(&room).await.member_count, 1);
    }
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        [
            "bob joined: 2",
            "bob left: 1",
            "bob joined: 2",
            "bob left: 1",
            OVER
        ]
    );
}

async fn while_one_device_is_alive_the_user_stays(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let (phone, laptop) = (ann.device(), ann.device());
    phone.join(&room).await.unwrap();
    laptop.join(&room).await.unwrap();
    phone.vanish();
    app.let_pass(Duration::from_mins(5)).await;
    assert_eq!(app.room(&room).await.member_count, 1);
    // The grace counts from when the last one was lost.
    laptop.lose(&room).await;
    app.let_pass(almost(GRACE)).await;
    assert_eq!(app.room(&room).await.member_count, 1);
    app.let_pass(A_MOMENT).await;
    assert_eq!(app.room(&room).await.member_count, 0);
}

async fn leaving_with_the_last_attached_device_is_leaving(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let (phone, laptop) = (bob.device(), bob.device());
    let watch = app.watch(&room).await;
    phone.join(&room).await.unwrap();
    laptop.join(&room).await.unwrap();
    // The laptop is in its grace, and attached no more.
    laptop.lose(&room).await;
    phone.leave(&room).await.unwrap();
    assert_eq!(app.room(&room).await.member_count, 1);
    app.close(&room).await.unwrap();
    assert_eq!(watch.rest().await, ["bob joined: 2", "bob left: 1", OVER]);
}

async fn leaving_with_a_device_that_is_elsewhere_is_nothing(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    ann.device().leave(&room).await.unwrap();
    assert_eq!(app.room(&room).await.member_count, 1, "the visit stays");
    ann.device().join(&room).await.unwrap();
    ann.device().leave(&room).await.unwrap();
    assert_eq!(app.room(&room).await.member_count, 1);
}

async fn a_host_who_logs_out_is_succeeded_at_once(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    for is_lost_before in [false, true] {
        let room = ann.create_room().await;
        let device = ann.device();
        device.join(&room).await.unwrap();
        bob.join(&room).await.unwrap();
        let watch = app.watch(&room).await;
        if is_lost_before {
            device.lose(&room).await;
        }
        device.log_out(&room).await.unwrap();
        // Twice is once.
        device.log_out(&room).await.unwrap();
        app.close(&room).await.unwrap();
        assert_eq!(
            watch.rest().await,
            ["ann left: 1", "bob is host after ann left", OVER]
        );
    }
}

async fn who_logs_out_stays_by_a_device_of_another_session(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let [desk, phone] = [ann.device(), ann.device()];
    desk.join(&room).await.unwrap();
    phone.join(&room).await.unwrap();
    bob.device().join(&room).await.unwrap();
    let watch = app.watch(&room).await;
    // The phone's page is loaded again just now.
    phone.lose(&room).await;
    desk.log_out(&room).await.unwrap();
    app.let_pass(almost(GRACE)).await;
    let phone = ann.device();
    phone.join(&room).await.unwrap();
    app.let_pass(GRACE).await;
    assert_eq!(app.room(&room).await.host_id, ann.id);
    // And then it does not come back.
    phone.lose(&room).await;
    app.let_pass(GRACE).await;
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        [
            "ann was disconnected: 1",
            "bob is host after ann was disconnected",
            OVER
        ]
    );
}

async fn a_visit_keeps_its_seat_for_a_minute_and_the_grace(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let watch = app.watch(&room).await;
    app.let_pass(Duration::from_secs(30)).await;
    bob.join(&room).await.unwrap();
    app.let_pass(almost(Duration::from_secs(30) + GRACE)).await;
    assert_eq!(app.room(&room).await.host_id, ann.id);
    app.let_pass(A_MOMENT).await;
    assert_eq!(app.room(&room).await.host_id, bob.id);
    // Joining again is a sign of life.
    bob.join(&room).await.unwrap();
    app.let_pass(almost(Duration::from_mins(1) + GRACE)).await;
    assert_eq!(app.room(&room).await.member_count, 1);
    app.let_pass(A_MOMENT).await;
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        [
            "bob joined: 2",
            "ann was disconnected: 1",
            "bob is host after ann was disconnected",
            "bob was disconnected: 0",
            OVER
        ]
    );
}

async fn a_device_takes_the_place_of_a_visit(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let phone = ann.device();
    phone.join(&room).await.unwrap();
    phone.lose(&room).await;
    // The rest of the minute does not count.
    app.let_pass(GRACE).await;
    assert_eq!(app.room(&room).await.member_count, 0);
}

async fn a_visit_after_a_device_adds_nothing(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let phone = ann.device();
    phone.join(&room).await.unwrap();
    ann.join(&room).await.unwrap();
    phone.lose(&room).await;
    app.let_pass(GRACE).await;
    assert_eq!(app.room(&room).await.member_count, 0);
}

async fn a_grace_is_as_long_as_it_is_set(database: Database) {
    let app = TestApp::on(&database)
        .presence_grace(Duration::from_secs(2))
        .room_empty_grace(Duration::from_secs(3))
        .start()
        .await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let phone = ann.device();
    phone.join(&room).await.unwrap();
    phone.lose(&room).await;
    app.let_pass(almost(Duration::from_secs(2))).await;
    assert_eq!(app.room(&room).await.member_count, 1);
    app.let_pass(A_MOMENT).await;
    assert_eq!(app.room(&room).await.member_count, 0);
    app.let_pass(almost(Duration::from_secs(3))).await;
    ann.see(&room).await.unwrap();
    app.let_pass(A_MOMENT).await;
    refused(ann.see(&room).await, Code::NotFound, Reason::NotFound);
}

async fn who_was_away_for_too_long_is_told_and_joins_anew(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    ann.device().join(&room).await.unwrap();
    let phone = bob.device();
    phone.join(&room).await.unwrap();
    assert_eq!(app.report().await, [""; 0]);
    let watch = app.watch(&room).await;
    // Nothing was heard of the gateway for half a minute.
    phone.vanish();
    app.let_pass(Duration::from_secs(30)).await;
    let again = Connection {
        connection_id: phone.id.clone(),
        user_id: bob.id.clone(),
        room_id: Some(room.clone()),
    };
    let request = tutti_proto::rooms::RenewConnectionsRequest {
        connections: vec![again],
        ..Default::default()
    };
    let answer = app.room_service().renew_connections(request).await;
    let detached = answer.unwrap().into_inner().detached_connection_ids;
    assert_eq!(detached, [&*phone.id]);
    phone.join(&room).await.unwrap();
    assert_eq!(app.report().await, [""; 0]);
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        ["bob was disconnected: 1", "bob joined: 2", OVER]
    );
}

async fn a_device_gone_for_good_does_not_come_back_by_itself(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let (phone, laptop) = (ann.device(), ann.device());
    phone.join(&room).await.unwrap();
    laptop.join(&room).await.unwrap();
    phone.leave(&room).await.unwrap();
    // Its gateway's report was under way when it left.
    let connections = vec![Connection {
        connection_id: phone.id.clone(),
        user_id: ann.id.clone(),
        room_id: Some(room.clone()),
    }];
    let request = tutti_proto::rooms::RenewConnectionsRequest {
        connections,
        ..Default::default()
    };
    let answer = app.room_service().renew_connections(request).await;
    let detached = answer.unwrap().into_inner().detached_connection_ids;
    assert_eq!(detached, [&*phone.id]);
    laptop.leave(&room).await.unwrap();
    assert_eq!(app.room(&room).await.member_count, 0);
}

async fn leaving_without_a_device_detaches_them_all(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let (phone, laptop) = (ann.device(), ann.device());
    phone.join(&room).await.unwrap();
    laptop.join(&room).await.unwrap();
    ann.leave(&room).await.unwrap();
    assert_eq!(app.room(&room).await.member_count, 0);
    let mut detached = app.report().await;
    detached.sort_unstable();
    let mut both = [phone.id.clone(), laptop.id.clone()];
    both.sort_unstable();
    assert_eq!(detached, both);
}

async fn what_is_no_connection_is_refused(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let request = JoinRoomRequest {
        user_id: ann.id.clone(),
        room_id: room.clone(),
        connection_id: Some("phone".to_owned()),
    };
    let answer = app.room_service().join_room(request).await;
    refused(answer, Code::InvalidArgument, Reason::InvalidRequest);
    let request = DropConnectionsRequest {
        connections: vec![Connection {
            connection_id: String::new(),
            user_id: ann.id.clone(),
            room_id: None,
        }],
    };
    let answer = app.room_service().drop_connections(request).await;
    refused(answer, Code::InvalidArgument, Reason::InvalidRequest);
}
