//! A change is in the record and in live state, or comes to be: whichever step of it fails or is the last one of a process
//! that dies. ARCHITECTURE.md says in which order the two are written, and what repairs what.

use std::time::Duration;

use tonic::{Code, Status};
use tutti_common::{ids::RoomId, sql::Database, status::Reason};
use tutti_proto::rooms::CreateRoomRequest;
use tutti_tests::{Faults, How, Person, Step, TestApp, on_both_engines, paused, playing, refused};

on_both_engines! {
    a_room_that_could_not_be_made_is_gone,
    a_change_that_failed_can_be_made_again,
    a_change_that_failed_leaves_nothing_after_a_crash,
    a_room_that_could_not_be_closed_is_closed_later,
    a_room_that_is_to_end_does_not_come_back,
    a_room_whose_return_failed_comes_back_when_it_is_asked_for,
    a_room_that_the_record_lost_ends,
    a_room_that_only_the_record_has_comes_back,
    a_record_that_is_ahead_is_caught_up_with,
    what_is_written_too_late_changes_nothing,
    who_is_unfriended_while_they_join_is_not_in,
    what_is_due_happens_whatever_fails_beside_it,
    positions_are_recorded_whatever_fails_beside_them,
    rooms_come_back_whatever_cannot_be_read_beside_them,
}

const FAILURES: [How; 2] = [How::NotDone, How::Unanswered];

/// Longer than all that a room or a seat is kept for.
const LATER: Duration = Duration::from_mins(3);

async fn app_with_faults(database: &Database) -> (TestApp, Faults) {
    let faults = Faults::default();
    let app = TestApp::on(database).with_faults(&faults).start().await;
    (app, faults)
}

async fn rooms_in_record(app: &TestApp) -> i64 {
    app.count("SELECT count(*) FROM music_rooms").await
}

/// Whoever tried is told that a part is away: it is no fault of ours, and trying again is right.
#[track_caller]
fn is_away<T: std::fmt::Debug>(answer: Result<T, Status>) {
    refused(answer, Code::Unavailable, Reason::Unavailable);
}

async fn time_passes(app: &TestApp) {
    for _ in 0..4 {
        app.clock.advance(LATER);
        app.keep_up().await;
    }
}

async fn a_room_that_could_not_be_made_is_gone(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let ann = app.user("ann").await;
    for step in [Step::Insert, Step::Restore] {
        for how in FAILURES {
            for or_not in [None, Some(Step::Close)] {
                faults.fail(step, how);
                // What should take it away again may fail as well.
                if let Some(step) = or_not {
                    faults.fail(step, how);
                }
                is_away(ann.create(CreateRoomRequest::default()).await);
                faults.end();
                time_passes(&app).await;
                assert_eq!(
                    rooms_in_record(&app).await,
                    0,
                    "{step:?} {how:?} {or_not:?}"
                );
                assert_eq!(ann.rooms().await, [""; 0], "{step:?} {how:?} {or_not:?}");
            }
        }
    }
}

async fn a_change_that_failed_can_be_made_again(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    for step in [Step::Save, Step::Commit] {
        for how in FAILURES {
            let room = ann.create_room().await;
            let fails = async || {
                faults.fail(step, how);
                app.clock.advance(Duration::from_secs(1));
            };
            fails().await;
            is_away(bob.join(&room).await);
            faults.end();
            bob.join(&room).await.unwrap();
            fails().await;
            is_away(ann.hand_over(&room, &bob).await);
            faults.end();
            // What was done although nobody heard so cannot be done again.
            let _ = ann.hand_over(&room, &bob).await;
            fails().await;
            is_away(bob.sync(&room, paused(4.0)).await);
            faults.end();
            bob.sync(&room, paused(5.0)).await.unwrap();
            fails().await;
            is_away(ann.leave(&room).await);
            faults.end();
            ann.leave(&room).await.unwrap();
            // The record says the same as live state.
            for _ in 0..2 {
                let now = app.room(&room).await;
                assert_eq!(app.names_in(&now), ["bob"], "{step:?} {how:?}");
                assert_eq!(now.host_id, bob.id);
                assert!((now.playback.unwrap().position - 5.0).abs() < f64::EPSILON);
                app.crash_and_restart().await;
            }
        }
    }
}

async fn a_change_that_failed_leaves_nothing_after_a_crash(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    for step in [Step::Save, Step::Commit] {
        for how in FAILURES {
            let room = ann.create_room().await;
            faults.fail(step, how);
            is_away(bob.join(&room).await);
            app.crash().await;
            faults.end();
            app.restart().await;
            // Whether the record had heard of it or not: nobody keeps the seat of one who was never told of it.
            ann.join(&room).await.unwrap();
            app.let_pass(Duration::from_secs(30)).await;
            let now = app.room(&room).await;
            assert_eq!(app.names_in(&now), ["ann"], "{step:?} {how:?}");
        }
    }
}

async fn a_room_that_could_not_be_closed_is_closed_later(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let [ann, bob, cyd] = app.users(["ann", "bob", "cyd"]).await;
    for (step, how, is_begun) in [
        (Step::Close, How::NotDone, false),
        (Step::Close, How::Unanswered, true),
        (Step::Commit, How::NotDone, true),
        (Step::Commit, How::Unanswered, true),
        (Step::Delete, How::NotDone, true),
        (Step::Delete, How::Unanswered, true),
    ] {
        for comes_meanwhile in [false, true] {
            let what = format!("{step:?} {how:?} {comes_meanwhile}");
            let room = ann.create_room().await;
            bob.join(&room).await.unwrap();
            let watch = app.watch(&room).await;
            faults.fail(step, how);
            let closed = ann.close(&room).await;
            if step == Step::Delete {
                closed.unwrap();
            } else {
                is_away(closed);
            }
            faults.end();
            if !is_begun {
                // Nothing has happened.
                app.clock.advance(LATER);
                app.rooms().finish_closing().await.unwrap();
                cyd.join(&room).await.unwrap();
                ann.close(&room).await.unwrap();
            } else if comes_meanwhile {
                // Who finds it half closed ends it.
                refused(cyd.join(&room).await, Code::NotFound, Reason::JoinFailed);
            }
            app.clock.advance(Duration::from_secs(5));
            app.rooms().finish_closing().await.unwrap();
            let told = watch.rest().await;
            assert_eq!(told.last().unwrap(), "closed by its host", "{what}");
            assert_eq!(rooms_in_record(&app).await, 0, "{what}");
            refused(ann.see(&room).await, Code::NotFound, Reason::NotFound);
            assert_eq!(bob.rooms().await, [""; 0], "{what}");
        }
    }
}

async fn a_room_that_is_to_end_does_not_come_back(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let ann = app.user("ann").await;
    for (step, how) in [
        (Step::Close, How::Unanswered),
        (Step::Commit, How::NotDone),
        (Step::Delete, How::NotDone),
    ] {
        let room = ann.create_room().await;
        faults.fail(step, how);
        let _ = ann.close(&room).await;
        app.crash().await;
        faults.end();
        app.restart().await;
        refused(ann.see(&room).await, Code::NotFound, Reason::NotFound);
        refused(ann.join(&room).await, Code::NotFound, Reason::JoinFailed);
        app.clock.advance(Duration::from_secs(5));
        app.keep_up().await;
        assert_eq!(rooms_in_record(&app).await, 0, "{step:?} {how:?}");
    }
}

async fn a_room_whose_return_failed_comes_back_when_it_is_asked_for(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    for how in FAILURES {
        let room = ann.create_room().await;
        app.crash().await;
        // All but this one come back.
        faults.fail_for(&room, Step::Restore, how);
        app.restart_without_rooms().await;
        is_away(bob.join(&room).await);
        faults.end();
        let joined = bob.join(&room).await.unwrap();
        assert_eq!(app.names_in(&joined), ["ann", "bob"], "{how:?}");
        ann.close(&room).await.unwrap();
    }
}

/// As when a process of an earlier version died between the two steps of closing it.
async fn a_room_that_the_record_lost_ends(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    for acts in [0, 1, 2] {
        let room = ann.create_room().await;
        let watch = app.watch(&room).await;
        app.execute("DELETE FROM music_rooms").await;
        // Whoever comes or changes something finds out.
        match acts {
            0 => drop(refused(
                bob.join(&room).await,
                Code::NotFound,
                Reason::JoinFailed,
            )),
            1 => drop(refused(
                ann.sync(&room, paused(1.0)).await,
                Code::FailedPrecondition,
                Reason::NotInRoom,
            )),
            // And otherwise time does.
            _ => {
                app.clock.advance(LATER);
                app.keep_up().await;
            }
        }
        assert_eq!(
            watch.rest().await.last().unwrap(),
            "closed, since nobody was there",
            "{acts}"
        );
        assert_eq!(ann.rooms().await, [""; 0]);
        assert_eq!(rooms_in_record(&app).await, 0);
    }
}

async fn a_room_that_only_the_record_has_comes_back(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    faults.fail(Step::Restore, How::NotDone);
    faults.fail(Step::Close, How::NotDone);
    is_away(ann.create(CreateRoomRequest::default()).await);
    faults.end();
    assert_eq!(rooms_in_record(&app).await, 1);
    app.clock.advance(Duration::from_mins(3));
    app.rooms().sweep().await.unwrap();
    let [room] = &*ann.rooms().await else {
        panic!("her room is back");
    };
    // It is a room like any other: who takes it in time has it.
    bob.join(room).await.unwrap();
    let connection = bob.device();
    connection.join(room).await.unwrap();
    app.rooms().sweep().await.unwrap();
    app.let_pass(LATER).await;
    assert_eq!(app.names_in(&app.room(room).await), ["bob"]);
}

/// As when a process whose clock is ahead has written the record, and then could not tell live state.
async fn a_record_that_is_ahead_is_caught_up_with(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    app.execute("UPDATE music_rooms SET revision = revision + 60000, version = version + 60000")
        .await;
    let ahead = app.count("SELECT revision FROM music_rooms").await;
    bob.join(&room).await.unwrap();
    ann.hand_over(&room, &bob).await.unwrap();
    assert!(app.count("SELECT revision FROM music_rooms").await > ahead);
    app.crash_and_restart().await;
    let after = ann.see(&room).await.unwrap();
    assert_eq!(app.names_in(&after), ["ann", "bob"]);
    assert_eq!(after.host_id, bob.id);
}

/// The lock of a room ends by itself after 5 s, and whoever had it may still be writing.
async fn what_is_written_too_late_changes_nothing(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let id = room.parse::<RoomId>().unwrap();
    bob.join(&room).await.unwrap();
    let store = tutti_room::store::open(&database);
    // Bob's leaving has been decided, and is not in the record yet when something else happens.
    let held = faults.hold(Step::Save);
    let meanwhile = async {
        held.is_reached().await;
        app.clock.advance(Duration::from_secs(6));
        let (mut later, _) = store.load(id).await.unwrap().unwrap();
        later.revision = later
            .revision
            .next(tutti_tests::START + Duration::from_secs(6));
        let saved = store.save(&later, &[], tutti_tests::START).await.unwrap();
        assert_eq!(saved, tutti_room::store::Saved::Done);
        held.release();
        later.revision
    };
    let (left, meanwhile) = tokio::join!(bob.leave(&room), meanwhile);
    left.unwrap();
    // It was decided anew, above what had come first: both stores know it.
    assert_eq!(app.names_in(&app.room(&room).await), ["ann"]);
    let revision = app.count("SELECT revision FROM music_rooms").await;
    assert!(revision > meanwhile.0);
    let active = "SELECT count(*) FROM room_participants WHERE is_active";
    assert_eq!(app.count(active).await, 1);
    // And what nobody decides anew is not written at all.
    let (mut stale, seats) = store.load(id).await.unwrap().unwrap();
    stale.revision.0 -= 1;
    let ann_goes = tutti_room::domain::SeatChange::Give(seats[0].user);
    let saved = store.save(&stale, &[ann_goes], tutti_tests::START).await;
    let recorded = tutti_room::domain::Version(revision);
    assert_eq!(saved.unwrap(), tutti_room::store::Saved::Behind(recorded));
    assert_eq!(app.count(active).await, 1);
}

async fn who_is_unfriended_while_they_join_is_not_in(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    ann.befriend(&bob).await;
    let room = ann.create_friends_only_room().await;
    let held = faults.hold(Step::Commit);
    let meanwhile = async {
        // He was a friend when he was asked about, and is not in the room yet.
        held.is_reached().await;
        ann.unfriend(&bob).await;
        let (one, other) = (ann.id.parse().unwrap(), bob.id.parse().unwrap());
        app.rooms().friendship_ended(one, other).await.unwrap();
        held.release();
    };
    let (joined, ()) = tokio::join!(bob.join(&room), meanwhile);
    refused(joined, Code::NotFound, Reason::JoinFailed);
    assert_eq!(app.names_in(&app.room(&room).await), ["ann"]);
    assert_eq!(bob.rooms().await, [""; 0]);
}

async fn rooms_of<const N: usize>(app: &TestApp, names: [&str; N]) -> [(Person, String); N] {
    let people = app.users(names).await;
    let mut rooms = Vec::new();
    for person in people {
        let room = person.create_room().await;
        rooms.push((person, room));
    }
    rooms.try_into().ok().unwrap()
}

async fn what_is_due_happens_whatever_fails_beside_it(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let rooms = rooms_of(&app, ["ann", "bob", "cyd", "dan", "eve"]).await;
    app.clock.advance(LATER);
    // Whichever of them is looked at first.
    faults.fail_for(&rooms[2].1, Step::Save, How::NotDone);
    let outcome = app.rooms().look_after_what_is_due().await;
    outcome.expect_err("it says that something failed");
    for (number, (person, room)) in rooms.iter().enumerate() {
        let is_left = app.room(room).await.member_count == 0;
        assert_eq!(is_left, number != 2, "{}", person.name);
    }
    faults.end();
    app.clock.advance(Duration::from_secs(3));
    app.rooms().look_after_what_is_due().await.unwrap();
    assert_eq!(app.room(&rooms[2].1).await.member_count, 0);
}

async fn positions_are_recorded_whatever_fails_beside_them(database: Database) {
    let (app, faults) = app_with_faults(&database).await;
    let rooms = rooms_of(&app, ["ann", "bob", "cyd"]).await;
    for (host, room) in &rooms {
        for position in [1.0, 2.0] {
            host.sync(room, playing(position)).await.unwrap();
        }
    }
    faults.fail_for(&rooms[1].1, Step::SavePositions, How::Broken);
    let outcome = app.rooms().record_positions().await;
    outcome.expect_err("it says that something failed");
    let store = tutti_room::store::open(&database);
    let mut recorded = Vec::new();
    for (_, room) in &rooms {
        let (room, _) = store.load(room.parse().unwrap()).await.unwrap().unwrap();
        recorded.push(room.playback.position);
    }
    assert_eq!(recorded, [2.0, 1.0, 2.0]);
}

async fn rooms_come_back_whatever_cannot_be_read_beside_them(database: Database) {
    let app = TestApp::start(&database).await;
    let rooms = rooms_of(&app, ["ann", "bob", "cyd"]).await;
    // The second one in the order of ids.
    app.execute(
        "UPDATE music_rooms SET playback_state = '{}'
         WHERE room_id = (SELECT room_id FROM music_rooms ORDER BY room_id LIMIT 1 OFFSET 1)",
    )
    .await;
    app.crash_and_restart().await;
    let mut back = 0;
    for (person, _) in &rooms {
        back += person.rooms().await.len();
    }
    assert_eq!(back, 2);
}
