//! Sessions: refreshing, reuse, logging out, the sweep.

use std::time::Duration;

use tonic::Code;
use tutti_common::{clock::Clock as _, status::Reason};
use tutti_proto::auth::{
    LoginRequest, LogoutRequest, SessionEnded, watch_accounts_response::Event,
};

use crate::common::{PASSWORD, World, assert_refused, id_of, on_both_engines, registration};

on_both_engines!(
    a_refresh_token_is_traded_for_a_new_pair,
    a_token_used_twice_ends_its_session,
    an_answer_that_was_lost_can_be_asked_for_again,
    whoever_has_a_replaced_token_finds_the_newer_one_in_time_or_ends_the_session,
    a_session_counts_its_tokens,
    a_refresh_token_lives_as_long_as_it_is_used,
    nonsense_is_no_refresh_token,
    logging_out_ends_one_session_and_can_be_repeated,
    dead_tokens_are_swept_until_the_end,
    a_network_is_forgotten_90_days_after_the_last_session_there,
);

/// For how long a lost answer can be asked for again.
const AGAIN: Duration = Duration::from_secs(30);

/// A moment less.
const ALMOST: Duration = Duration::from_millis(29_999);

async fn session_id(world: &World, access_token: &str) -> String {
    let verifier = world.verifier().await;
    let claims = verifier.verify(access_token, world.clock.now()).unwrap();
    claims.sid.to_string()
}

async fn logout(world: &World, refresh_token: &str) {
    let request = LogoutRequest {
        refresh_token: refresh_token.to_owned(),
    };
    world.auth.clone().logout(request).await.unwrap();
}

async fn a_refresh_token_is_traded_for_a_new_pair(world: World) {
    let first = world.register(registration("ann")).await.unwrap();
    let registered = world.now();
    world.clock.advance(Duration::from_mins(10));
    let second = world.refresh(&first.refresh_token).await.unwrap();
    assert_ne!(first.refresh_token, second.refresh_token);
    assert_eq!(id_of(&first), id_of(&second));
    assert_eq!(
        session_id(&world, &first.access_token).await,
        session_id(&world, &second.access_token).await,
    );
    // Refreshing is not logging in.
    assert_eq!(second.account.unwrap().last_login, Some(registered));
    let third = world.refresh(&second.refresh_token).await.unwrap();
    world.clock.advance(Duration::from_secs(14 * 60 + 59));
    session_id(&world, &third.access_token).await;
}

async fn a_token_used_twice_ends_its_session(world: World) {
    let first = world.register(registration("ann")).await.unwrap();
    let elsewhere = world.login("ann", PASSWORD).await.unwrap();
    let ended = Event::SessionEnded(SessionEnded {
        user_id: id_of(&first),
        session_id: session_id(&world, &first.access_token).await,
    });
    let second = world.refresh(&first.refresh_token).await.unwrap();
    let third = world.refresh(&second.refresh_token).await.unwrap();
    let mut watch = world.watch().await;
    for session in [&first, &second, &third] {
        let answer = world.refresh(&session.refresh_token).await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    }
    assert_eq!(watch.next().await, Some(ended));
    world.refresh(&elsewhere.refresh_token).await.unwrap();
    // Whether or not its successor was used, half a minute later it is too late.
    let elsewhere = world.login("ann", PASSWORD).await.unwrap();
    let second = world.refresh(&elsewhere.refresh_token).await.unwrap();
    world.clock.advance(AGAIN);
    for session in [&elsewhere, &second] {
        let answer = world.refresh(&session.refresh_token).await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    }
}

async fn an_answer_that_was_lost_can_be_asked_for_again(world: World) {
    let first = world.register(registration("ann")).await.unwrap();
    let mut latest = world.refresh(&first.refresh_token).await.unwrap();
    for _ in 0..3 {
        world.clock.advance(AGAIN / 4);
        let replaced = latest;
        latest = world.refresh(&first.refresh_token).await.unwrap();
        assert_ne!(replaced.refresh_token, latest.refresh_token);
        assert_eq!(
            session_id(&world, &replaced.access_token).await,
            session_id(&world, &latest.access_token).await,
        );
        // Another tab may still hold it: that costs nobody the session.
        let answer = world.refresh(&replaced.refresh_token).await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    }
    let next = world.refresh(&latest.refresh_token).await.unwrap();
    // Now that it has been used, the first one again is a thief's, however soon.
    let answer = world.refresh(&first.refresh_token).await;
    assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    let answer = world.refresh(&next.refresh_token).await;
    assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
}

async fn whoever_has_a_replaced_token_finds_the_newer_one_in_time_or_ends_the_session(
    world: World,
) {
    world.register(registration("ann")).await.unwrap();
    for (waits, lives) in [(ALMOST, true), (AGAIN, false)] {
        let first = world.login("ann", PASSWORD).await.unwrap();
        let stolen = world.refresh(&first.refresh_token).await.unwrap();
        let latest = world.refresh(&first.refresh_token).await.unwrap();
        world.clock.advance(waits);
        let answer = world.refresh(&stolen.refresh_token).await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
        let answer = world.refresh(&latest.refresh_token).await;
        assert_eq!(answer.is_ok(), lives, "after {waits:?}");
    }
}

async fn a_session_counts_its_tokens(world: World) {
    let first = world.register(registration("ann")).await.unwrap();
    let mut generations = vec![first.generation];
    let mut token = first.refresh_token;
    for _ in 0..2 {
        let replaced = world.refresh(&token).await.unwrap();
        let renewed = world.refresh(&token).await.unwrap();
        generations.extend([replaced.generation, renewed.generation]);
        token = renewed.refresh_token;
    }
    assert_eq!(generations, [1, 2, 3, 4, 5]);
    let elsewhere = world.login("ann", PASSWORD).await.unwrap();
    assert_eq!(elsewhere.generation, 1);
}

async fn a_refresh_token_lives_as_long_as_it_is_used(world: World) {
    let day = Duration::from_hours(24);
    let mut session = world.register(registration("ann")).await.unwrap();
    for _ in 0..3 {
        world.clock.advance(29 * day);
        session = world.refresh(&session.refresh_token).await.unwrap();
    }
    world.clock.advance(30 * day);
    let answer = world.refresh(&session.refresh_token).await;
    assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
}

async fn nonsense_is_no_refresh_token(world: World) {
    let session = world.register(registration("ann")).await.unwrap();
    for token in [
        "",
        "\0",
        "é",
        &session.access_token,
        &session.refresh_token[1..],
        &"a".repeat(43),
    ] {
        let answer = world.refresh(token).await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
        logout(&world, token).await;
    }
    world.refresh(&session.refresh_token).await.unwrap();
}

async fn logging_out_ends_one_session_and_can_be_repeated(world: World) {
    let here = world.register(registration("ann")).await.unwrap();
    let there = world.login("ann", PASSWORD).await.unwrap();
    let ended = |session_id| {
        Some(Event::SessionEnded(SessionEnded {
            user_id: id_of(&here),
            session_id,
        }))
    };
    let here_id = session_id(&world, &here.access_token).await;
    let there_id = session_id(&world, &there.access_token).await;
    assert_ne!(here_id, there_id);
    let mut watch = world.watch().await;
    logout(&world, &here.refresh_token).await;
    logout(&world, &here.refresh_token).await;
    let answer = world.refresh(&here.refresh_token).await;
    assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    let there = world.refresh(&there.refresh_token).await.unwrap();
    logout(&world, &there.refresh_token).await;
    // One event a session: the repetition told nobody anything.
    assert_eq!(watch.next().await, ended(here_id));
    assert_eq!(watch.next().await, ended(there_id));
}

async fn dead_tokens_are_swept_until_the_end(world: World) {
    let tokens = "SELECT count(*) FROM refresh_tokens";
    let session = world.register(registration("ann")).await.unwrap();
    world.clock.advance(Duration::from_hours(24));
    let session = world.refresh(&session.refresh_token).await.unwrap();
    assert_eq!(world.count(tokens).await, 2);
    let mut watch = world.watch().await;
    world
        .shutdown
        .spawn(world.service.clone().run(world.shutdown.clone()));
    world.clock.advance(Duration::from_hours(29 * 24));
    while world.count(tokens).await > 1 {
        tokio::task::yield_now().await;
    }
    world.refresh(&session.refresh_token).await.unwrap();
    world.shutdown.begin();
    assert_eq!(watch.next().await, None);
    assert!(world.shutdown.finish(Duration::from_secs(5)).await);
}

async fn a_network_is_forgotten_90_days_after_the_last_session_there(world: World) {
    world.user("ann").await;
    let days = |days: u64| Duration::from_hours(24 * days);
    let login_at = async |address: &str| {
        let request = LoginRequest {
            login: "ann".to_owned(),
            password: PASSWORD.to_owned(),
            client_address: Some(address.to_owned()),
        };
        world.auth.clone().login(request).await.unwrap();
    };
    let networks = "SELECT count(*) FROM known_networks";
    assert_eq!(world.count(networks).await, 0, "she did not say where");
    for address in ["192.0.2.1", "2001:db8::1", "2001:db8::2"] {
        login_at(address).await;
    }
    assert_eq!(world.count(networks).await, 2);
    world.clock.advance(days(60));
    login_at("192.0.2.1").await;
    world
        .shutdown
        .spawn(world.service.clone().run(world.shutdown.clone()));
    world.clock.advance(days(30));
    while world.count(networks).await > 1 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(days(59));
    login_at("2001:db8::3").await;
    assert_eq!(
        world.count(networks).await,
        2,
        "the other one is still known"
    );
    world.clock.advance(days(1));
    while world.count(networks).await > 1 {
        tokio::task::yield_now().await;
    }
    assert!(world.shutdown.finish(Duration::from_secs(5)).await);
}
