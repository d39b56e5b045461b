//! Many at once.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};
use tonic::Code;
use tutti_common::{sql::Database, status::Reason};
use tutti_tests::{TestApp, on_both_engines, playing, refused, wrong_fields};

on_both_engines! {
    of_a_hundred_sixty_get_into_a_room_of_sixty,
    two_hundred_words_of_a_host_have_two_hundred_versions,
    devices_that_race_make_one_participant,
    hosts_that_race_hand_over_once,
    a_room_is_closed_once,
    everybody_in_a_crowd_is_counted_and_found,
    members_are_for_members,
}

async fn of_a_hundred_sixty_get_into_a_room_of_sixty(database: Database) {
    let app = TestApp::start(&database).await;
    let crowd = app.crowd(101).await;
    let (host, fans) = crowd.split_first().unwrap();
    let room = host.create_room_for(60).await;
    let watch = app.watch(&room).await;
    let answers = join_all(fans.iter().map(|fan| fan.join(&room))).await;
    let mut outside = 0;
    for answer in answers {
        if answer.is_err() {
            refused(answer, Code::FailedPrecondition, Reason::JoinFailed);
            outside += 1;
        }
    }
    assert_eq!(outside, 41);
    let seen = app.room(&room).await;
    assert_eq!((seen.member_count, seen.members.len()), (60, 60));
    assert_eq!(
        app.count("SELECT count(*) FROM room_participants WHERE is_active")
            .await,
        60
    );
    app.close(&room).await.unwrap();
    let rest = watch.rest().await;
    for (event, count) in rest.iter().zip(2..=60) {
        assert!(event.ends_with(&format!(" joined: {count}")), "{event}");
    }
    assert_eq!(rest.len(), 60);
}

async fn two_hundred_words_of_a_host_have_two_hundred_versions(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room = ann.create_room().await;
    let watch = app.watch(&room).await;
    let words = (0..200).map(|second| ann.sync(&room, playing(f64::from(second))));
    let versions = join_all(words).await.into_iter();
    let versions = versions
        .map(|answer| answer.unwrap().version)
        .collect::<BTreeSet<_>>();
    assert_eq!(versions.len(), 200);
    let state = ann.state(&room).await.unwrap();
    assert_eq!(Some(&state.version), versions.last());
    app.close(&room).await.unwrap();
    let mut events = watch.events().await;
    events.pop();
    let heard = events.iter().map(|event| event.version);
    assert!(heard.eq(versions), "each is heard, in order");
}

async fn devices_that_race_make_one_participant(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let watch = app.watch(&room).await;
    let devices = [(); 10].map(|()| bob.device());
    for joined in join_all(devices.iter().map(|device| device.join(&room))).await {
        assert_eq!(joined.unwrap().member_count, 2);
    }
    assert_eq!(app.report().await, [""; 0], "all are attached");
    for left in join_all(devices.iter().map(|device| device.leave(&room))).await {
        left.unwrap();
    }
    assert_eq!(app.room(&room).await.member_count, 1);
    app.close(&room).await.unwrap();
    assert_eq!(
        watch.rest().await,
        ["bob joined: 2", "bob left: 1", "closed by an operator"]
    );
}

async fn hosts_that_race_hand_over_once(database: Database) {
    let app = TestApp::start(&database).await;
    let crowd = app.crowd(11).await;
    let (host, guests) = crowd.split_first().unwrap();
    let room = host.create_room().await;
    for guest in guests {
        guest.join(&room).await.unwrap();
    }
    let watch = app.watch(&room).await;
    let answers = join_all(guests.iter().map(|guest| host.hand_over(&room, guest))).await;
    let (won, lost) = answers.into_iter().partition::<Vec<_>, _>(Result::is_ok);
    assert_eq!(won.len(), 1);
    for answer in lost {
        refused(answer, Code::PermissionDenied, Reason::UpdateFailed);
    }
    app.close(&room).await.unwrap();
    assert_eq!(watch.rest().await.len(), 2);
}

async fn a_room_is_closed_once(database: Database) {
    let app = TestApp::start(&database).await;
    let crowd = app.crowd(11).await;
    let (host, guests) = crowd.split_first().unwrap();
    for _ in 0..5 {
        let room = host.create_room().await;
        let watch = app.watch(&room).await;
        // Some come while it closes: they are in it before, or it is not there.
        let joins = guests.iter().map(|guest| async {
            if let Err(status) = guest.join(&room).await {
                refused(Err::<(), _>(status), Code::NotFound, Reason::JoinFailed);
            }
        });
        let closes = [(); 3].map(|()| host.close(&room));
        let (answers, _) = join(join_all(closes), join_all(joins)).await;
        let (won, lost) = answers.into_iter().partition::<Vec<_>, _>(Result::is_ok);
        assert_eq!(won.len(), 1);
        for answer in lost {
            refused(answer, Code::NotFound, Reason::NotFound);
        }
        let rest = watch.rest().await;
        assert_eq!(rest.last().unwrap(), "closed by its host");
        assert_eq!(
            rest.iter().filter(|event| event.contains("closed")).count(),
            1
        );
        assert_eq!(host.rooms().await, [""; 0]);
    }
    assert_eq!(app.count("SELECT count(*) FROM music_rooms").await, 0);
    assert_eq!(app.count("SELECT count(*) FROM room_participants").await, 0);
}

async fn everybody_in_a_crowd_is_counted_and_found(database: Database) {
    let app = TestApp::start(&database).await;
    let crowd = app.crowd(505).await;
    let (host, fans) = crowd.split_first().unwrap();
    let room = host.create_room().await;
    let watch = app.watch(&room).await;
    let comings_and_goings = async {
        for fan in fans {
            fan.join(&room).await.unwrap();
        }
        let last = fans.last().unwrap();
        let found = last.members(&room, "", None).await.unwrap();
        assert_eq!((found.members.len(), found.member_count), (100, 505));

        // Whoever goes moves nobody to another page, and the next ones move up in what a room names.
        fans[0].leave(&room).await.unwrap();
        fans[200].leave(&room).await.unwrap();
        let mut ids = Vec::new();
        let mut page = found;
        loop {
            ids.extend(page.members.into_iter().map(|member| member.user_id));
            let Some(next) = page.next_cursor else { break };
            page = host.members(&room, "", Some(next)).await.unwrap();
            assert_eq!(page.member_count, 503);
        }
        let expected = crowd.iter().map(|fan| fan.id.clone());
        let expected = expected.filter(|id| *id != fans[200].id);
        assert_eq!(ids, expected.collect::<Vec<_>>());

        let named = host.members(&room, "AN504", None).await.unwrap();
        let named = named.members.iter().map(|member| &member.username);
        assert_eq!(named.collect::<Vec<_>>(), ["fan504"]);
        let nobody = host.members(&room, "fan505%", None).await.unwrap();
        assert_eq!((nobody.members.len(), nobody.next_cursor), (0, None));

        let seen = app.room(&room).await;
        assert_eq!((seen.members.len(), seen.member_count), (500, 503));
        app.close(&room).await.unwrap();
    };
    // Heard meanwhile: who listens too slowly takes a snapshot.
    let (rest, ()) = join(watch.rest(), comings_and_goings).await;
    let counts = (2..=505).map(|count| format!("joined: {count}"));
    let counts = counts.chain([504, 503].map(|count| format!("left: {count}")));
    for (event, count) in rest.iter().zip(counts) {
        assert!(event.ends_with(&count), "{event}, not {count}");
    }
    assert_eq!(rest.len(), 504 + 2 + 1);
}

async fn members_are_for_members(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let open = ann.create_room().await;
    let hidden = ann.create_friends_only_room().await;
    let outside = bob.members(&open, "", None).await;
    refused(outside, Code::PermissionDenied, Reason::Forbidden);
    let outside = bob.members(&hidden, "", None).await;
    refused(outside, Code::NotFound, Reason::NotFound);
    let long = "x".repeat(65);
    let wrong = ann.members(&open, &long, Some("x".to_owned())).await;
    assert_eq!(wrong_fields(wrong), ["q", "cursor"]);
}
