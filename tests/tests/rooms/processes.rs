//! Several room processes on one record and one live state.

use std::{collections::HashMap, time::Duration};

use futures_util::future::{join, join_all};
use tutti_common::sql::Database;
use tutti_proto::rooms::{JoinRoomRequest, LeaveRoomRequest, SyncStateRequest, room_event::Event};
use tutti_tests::{TestApp, on_postgres, playing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_as_time_runs_out_is_in_the_record_or_is_not_there() {
    on_postgres(last_moments).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_changes_a_room_all_processes_and_the_record_agree() {
    on_postgres(story).await;
}

async fn story(database: Database) {
    const GUESTS: usize = 8;
    const ROUNDS: usize = 10;
    let app = TestApp::start(&database).await;
    let Some(beside) = app.room_service_beside() else {
        eprintln!("TEST_REDIS_URL is not set: not told");
        return;
    };
    let services = [app.room_service(), beside];
    let people = app.crowd(GUESTS + 1).await;
    let (host, guests) = people.split_first().unwrap();
    let room_id = host.create_room().await;
    let watch = app.watch(&room_id).await;
    let version = watch.snapshot.version;

    // Guests come by one process and go by the other, all at once; in the end every other one stays.
    let come_and_go = guests.iter().enumerate().map(|(number, guest)| {
        let (mut services, room_id) = (services.clone(), room_id.clone());
        async move {
            for round in 0..ROUNDS {
                services[(number + round) % 2]
                    .join_room(JoinRoomRequest {
                        user_id: guest.id.clone(),
                        room_id: room_id.clone(),
                        connection_id: None,
                    })
                    .await
                    .unwrap();
                if number % 2 == 0 && round == ROUNDS - 1 {
                    return;
                }
                services[(number + round + 1) % 2]
                    .leave_room(LeaveRoomRequest {
                        user_id: guest.id.clone(),
                        room_id: room_id.clone(),
                        ..LeaveRoomRequest::default()
                    })
                    .await
                    .unwrap();
            }
        }
    });
    // And the host plays, now by this one and now by that one.
    let play = async {
        let mut last = version;
        for second in 0..50_u8 {
            let request = SyncStateRequest {
                user_id: host.id.clone(),
                room_id: room_id.clone(),
                ..playing(f64::from(second))
            };
            let mut service = services[usize::from(second) % 2].clone();
            let answer = service.sync_state(request).await.unwrap().into_inner();
            assert!(answer.version > last);
            last = answer.version;
        }
    };
    join(join_all(come_and_go), play).await;

    let before = app.room(&room_id).await;
    let mut stayed = app.names_in(&before);
    assert_eq!(before.host_id, host.id);
    assert_eq!(before.member_count as usize, 1 + GUESTS / 2);
    let active = "SELECT count(*) FROM room_participants WHERE is_active";
    assert_eq!(app.count(active).await, i64::from(before.member_count));
    app.close(&room_id).await.unwrap();
    let mut last = 0;
    let mut there = HashMap::new();
    for event in watch.events().await {
        assert!(event.revision > last, "in order, and once");
        last = event.revision;
        match event.event.unwrap() {
            Event::UserJoined(joined) => {
                let was_there = there.insert(joined.member.unwrap().user_id, true);
                assert_ne!(was_there, Some(true));
            }
            Event::UserLeft(left) => {
                let was_there = there.insert(left.member.unwrap().user_id, false);
                assert_eq!(was_there, Some(true));
            }
            _ => {}
        }
    }
    stayed.sort_unstable();
    let mut heard = there
        .into_iter()
        .filter(|(_, is_there)| *is_there)
        .map(|(user, _)| app.name_of(&user))
        .chain([host.name.clone()])
        .collect::<Vec<_>>();
    heard.sort_unstable();
    assert_eq!(heard, stayed);
}

async fn last_moments(database: Database) {
    let app = TestApp::start(&database).await;
    let Some(beside) = app.room_service_beside() else {
        eprintln!("TEST_REDIS_URL is not set: not told");
        return;
    };
    let people = app.crowd(12).await;
    let room_id = people[0].create_room().await;
    let join_again = |number: usize| {
        let mut service = beside.clone();
        let request = JoinRoomRequest {
            user_id: people[number].id.clone(),
            room_id: room_id.clone(),
            connection_id: None,
        };
        async move { service.join_room(request).await.unwrap() }
    };
    for _ in 0..10 {
        join_all((0..people.len()).map(join_again)).await;
        app.clock.advance(Duration::from_mins(2));
        // One process takes out whose time is up while they come back by the other.
        let rooms = app.rooms();
        let (done, _) = join(
            rooms.look_after_what_is_due(),
            join_all((0..people.len()).rev().map(join_again)),
        )
        .await;
        done.unwrap();
        let there = app.room(&room_id).await.member_count;
        let active = "SELECT count(*) FROM room_participants WHERE is_active";
        assert_eq!(app.count(active).await, i64::from(there));
    }
}
