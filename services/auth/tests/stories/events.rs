//! What other services hear of, whichever process it happened in and whoever listened.

use std::time::Duration;

use sqlx::query;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tonic::Code;
use tutti_auth::keys::SigningKeys;
use tutti_common::{sql::Database, status::Reason};
use tutti_proto::auth::{
    FriendshipEnded, LogoutRequest, SessionEnded, WatchAccountsRequest,
    watch_accounts_response::Event,
};

use crate::common::{
    Person, World, assert_refused, id_of, on_both_engines, on_postgres, registration,
};

on_both_engines! {
    what_happens_in_one_process_is_heard_of_in_another,
    a_broken_stream_goes_on_where_it_was,
    what_happened_before_is_told_to_who_asks,
    after_a_day_events_are_forgotten_and_cursors_go_on,
    a_cursor_that_is_none_is_refused,
    those_who_do_not_read_cost_the_others_nothing,
    who_listens_is_told_that_there_was_no_more,
    events_are_kept_as_long_as_tokens_live,
}

const HOUR: Duration = Duration::from_hours(1);

/// Logs a new user of that name in and out; returns what is to be heard of.
async fn come_and_go(world: &World, name: &str) -> Event {
    let session = world.register(registration(name)).await.unwrap();
    let verifier = world.verifier().await;
    let claims = verifier
        .verify(&session.access_token, world.time())
        .unwrap();
    let refresh_token = session.refresh_token.clone();
    let mut auth = world.auth.clone();
    auth.logout(LogoutRequest { refresh_token }).await.unwrap();
    Event::SessionEnded(SessionEnded {
        user_id: id_of(&session),
        session_id: claims.sid.to_string(),
    })
}

async fn what_happens_in_one_process_is_heard_of_in_another(world: World) {
    let beside = world.beside();
    let [ann, bob] = [world.user("ann").await, world.user("bob").await];
    ann.befriend(&bob).await;
    let mut watches = [
        world.watch().await,
        world.watch().await,
        beside.watch().await,
    ];
    let gone = come_and_go(&beside, "cyd").await;
    let ann_there = Person {
        world: beside.clone(),
        ..ann.clone()
    };
    ann_there.unfriend(&bob).await.unwrap();
    let parted = Event::FriendshipEnded(FriendshipEnded {
        user_id: ann.id.clone(),
        other_user_id: bob.id.clone(),
    });
    for watch in &mut watches {
        for expected in [&gone, &parted] {
            let heard = tokio::time::timeout(Duration::from_secs(2), watch.next()).await;
            assert_eq!(heard.expect("within 2 s").as_ref(), Some(expected));
        }
    }
}

async fn a_broken_stream_goes_on_where_it_was(world: World) {
    let mut watch = world.watch().await;
    let first = come_and_go(&world, "ann").await;
    assert_eq!(watch.next().await, Some(first));
    let cursor = watch.cursor.clone();
    drop(watch);
    let second = come_and_go(&world, "bob").await;
    let third = come_and_go(&world, "cyd").await;
    let mut watch = world.watch_from(Some(cursor), None).await;
    assert_eq!(watch.next().await, Some(second));
    assert_eq!(watch.next().await, Some(third));
}

async fn what_happened_before_is_told_to_who_asks(world: World) {
    let nothing_yet = world.watch_from(None, Some(world.now())).await;
    let first = come_and_go(&world, "ann").await;
    world.clock.advance(HOUR);
    let second = come_and_go(&world, "bob").await;
    world.clock.advance(HOUR);
    let since = |hours: i64| {
        world.watch_from(
            None,
            Some(tutti_proto::timestamp(world.time().0 - hours * 3_600_000)),
        )
    };
    let (mut all, mut later, mut last) = (since(2).await, since(1).await, since(0).await);
    let third = come_and_go(&world, "cyd").await;
    for (watch, expected) in [
        (&mut all, vec![&first, &second, &third]),
        (&mut later, vec![&second, &third]),
        (&mut last, vec![&third]),
    ] {
        for expected in expected {
            assert_eq!(watch.next().await.as_ref(), Some(expected));
        }
    }
    let mut nothing_yet = nothing_yet;
    assert_eq!(nothing_yet.next().await, Some(first));
}

async fn those_who_do_not_read_cost_the_others_nothing(world: World) {
    // More than there are connections to the database.
    let mut watches = Vec::new();
    for _ in 0..30 {
        watches.push(world.watch().await);
    }
    let gone = come_and_go(&world, "ann").await;
    for mut watch in watches {
        assert_eq!(watch.next().await.as_ref(), Some(&gone));
    }
}

async fn after_a_day_events_are_forgotten_and_cursors_go_on(world: World) {
    let begin = world.watch().await.cursor;
    come_and_go(&world, "ann").await;
    world.clock.advance(2 * HOUR);
    let kept = come_and_go(&world, "bob").await;
    world.clock.advance(23 * HOUR);
    world
        .shutdown
        .spawn(world.service.clone().run(world.shutdown.clone()));
    let until = async |left| {
        while world.count("SELECT count(*) FROM account_events").await != left {
            tokio::task::yield_now().await;
        }
    };
    until(1).await;
    let mut watch = world.watch_from(Some(begin), None).await;
    assert_eq!(watch.next().await, Some(kept));
    world.clock.advance(2 * HOUR);
    until(0).await;
    let mut anew = world.watch().await;
    let next = come_and_go(&world, "cyd").await;
    assert_eq!(watch.next().await.as_ref(), Some(&next));
    assert_eq!(anew.next().await, Some(next));
    assert!(world.shutdown.finish(Duration::from_secs(5)).await);
}

async fn who_listens_is_told_that_there_was_no_more(world: World) {
    let since = world.now();
    for name in ["ann", "bob"] {
        come_and_go(&world, name).await;
    }
    let mut watch = world.watch_from(None, Some(since)).await;
    let mut events = 0;
    loop {
        let answer = watch.next_answer().await.unwrap();
        if answer.event.is_none() {
            assert_eq!(answer.caught_up, Some(true));
            break;
        }
        events += 1;
    }
    assert_eq!(
        events, 2,
        "all that was before, and only then that it was all"
    );
    // And again and again, while nothing happens.
    for _ in 0..2 {
        let answer = tokio::time::timeout(Duration::from_secs(5), watch.next_answer());
        assert_eq!(answer.await.unwrap().unwrap().caught_up, Some(true));
    }
}

async fn events_are_kept_as_long_as_tokens_live(world: World) {
    const EVENTS: &str = "SELECT count(*) FROM account_events";
    let folder = tempfile::tempdir().unwrap();
    let keys = SigningKeys::load_or_create(&folder.path().join("key.pem")).unwrap();
    let patient = world.beside_with(keys, 48 * HOUR);
    let since = world.now();
    come_and_go(&patient, "ann").await;
    world.clock.advance(3 * HOUR);
    let gone = come_and_go(&patient, "bob").await;
    world.clock.advance(47 * HOUR);
    patient
        .shutdown
        .spawn(patient.service.clone().run(patient.shutdown.clone()));
    // No token of the first one can live any more.
    while world.count(EVENTS).await > 1 {
        tokio::task::yield_now().await;
    }
    let mut watch = patient.watch_from(None, Some(since)).await;
    let heard = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
    assert_eq!(heard.expect("it is there still"), Some(gone));
    assert!(patient.shutdown.finish(Duration::from_secs(5)).await);
}

async fn a_cursor_that_is_none_is_refused(world: World) {
    let request = WatchAccountsRequest {
        after: Some("yesterday".to_owned()),
        since: None,
    };
    let answer = world.auth.clone().watch_accounts(request).await;
    assert_refused(answer, Code::InvalidArgument, Reason::InvalidRequest);
}

/// Two processes commit at once, and the one whose place comes first commits last: who listens must not
/// have gone past it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_commits_late_is_heard_of_all_the_same() {
    on_postgres(late).await;
}

async fn late(world: World) {
    const WAITING: &str =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    let Database::Postgres(pool) = &world.database else {
        unreachable!("told on PostgreSQL");
    };
    let mut watch = world.watch().await;
    let [late, other] = ["late", "other"].map(|_| tutti_common::ids::UserId::new().to_string());
    let mut transaction = pool.begin().await.unwrap();
    query("SELECT pg_advisory_xact_lock(7, 1)")
        .execute(&mut *transaction)
        .await
        .unwrap();
    query(
        "INSERT INTO account_events (kind, user_id, subject_id, created_at)
         VALUES ('friendship_ended', $1, $2, now())",
    )
    .bind(&late)
    .bind(&other)
    .execute(&mut *transaction)
    .await
    .unwrap();
    let mut tasks = JoinSet::new();
    let there = world.clone();
    let (gone, going) = oneshot::channel();
    tasks.spawn(async move { gone.send(come_and_go(&there, "ann").await).unwrap() });
    let (heard, mut events) = mpsc::channel(2);
    tasks.spawn(async move {
        while let Some(event) = watch.next().await {
            heard.send(event).await.unwrap();
        }
    });
    // The other one waits, or it has gone past.
    while world.count(WAITING).await == 0 && events.is_empty() {
        tokio::task::yield_now().await;
    }
    transaction.commit().await.unwrap();
    let first = Event::FriendshipEnded(FriendshipEnded {
        user_id: late,
        other_user_id: other,
    });
    assert_eq!(events.recv().await, Some(first));
    assert_eq!(events.recv().await, Some(going.await.unwrap()));
}
