//! What listeners measure, and what follows for the room.

use std::time::Duration;

use tutti_common::{ids::RoomId, sql::Database};
use tutti_proto::rooms::{RoomTiming, room_event::Event};
use tutti_tests::{TestApp, Watch, on_both_engines};

on_both_engines! {
    what_the_listeners_of_all_gateways_measure_is_put_together,
    what_nobody_measures_any_more_is_forgotten,
    measurements_of_no_room_change_nothing,
}

async fn next(watch: &mut Watch) -> RoomTiming {
    let event = watch.next().await.unwrap();
    assert_eq!(
        (event.revision, event.version),
        (0, 0),
        "no change of the room"
    );
    let Some(Event::RoomTiming(timing)) = event.event else {
        panic!("{event:?}");
    };
    timing
}

fn near(found: f64, expected: f64) -> bool {
    (found / expected - 1.0).abs() < 0.1
}

async fn what_the_listeners_of_all_gateways_measure_is_put_together(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let mut watch = app.watch(&room).await;
    app.measured("one", &room, &[20.0, 40.0], &[1.0]).await;
    let timing = next(&mut watch).await;
    assert_eq!(timing.listeners, 2);
    assert!(near(timing.round_trip_ms, 40.0), "{timing:?}");
    assert!(near(timing.lead_ms, 310.0), "{timing:?}");
    assert!(near(timing.error_ms.unwrap(), 1.0), "{timing:?}");
    app.clock.advance(Duration::from_secs(6));
    app.measured("other", &room, &[200.0], &[5.0]).await;
    let timing = next(&mut watch).await;
    assert_eq!(timing.listeners, 3);
    assert!(near(timing.lead_ms, 550.0), "{timing:?}");
    assert!(near(timing.error_ms.unwrap(), 5.0), "{timing:?}");
    // A gateway's measurements take the place of its earlier ones.
    app.clock.advance(Duration::from_secs(6));
    app.measured("other", &room, &[30.0], &[]).await;
    let timing = next(&mut watch).await;
    assert_eq!(timing.listeners, 3);
    assert!(near(timing.round_trip_ms, 40.0), "{timing:?}");
}

async fn what_nobody_measures_any_more_is_forgotten(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let mut watch = app.watch(&room).await;
    app.measured("dead", &room, &[900.0], &[]).await;
    assert_eq!(next(&mut watch).await.listeners, 1);
    app.clock.advance(Duration::from_secs(31));
    app.measured("alive", &room, &[30.0], &[]).await;
    let timing = next(&mut watch).await;
    assert_eq!(timing.listeners, 1);
    assert!(near(timing.round_trip_ms, 30.0), "{timing:?}");
}

async fn measurements_of_no_room_change_nothing(database: Database) {
    let app = TestApp::start(&database).await;
    for room in ["", "room_x", &RoomId::new().to_string()] {
        app.measured("one", room, &[30.0], &[1.0]).await;
    }
}
