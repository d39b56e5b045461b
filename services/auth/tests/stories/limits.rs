//! How often: calls from one address, wrong passwords, friend requests.

use std::time::Duration;

use futures_util::future::join_all;
use tonic::{Code, Status};
use tutti_common::status::{Reason, retry_after};
use tutti_proto::{
    auth::{LoginRequest, RefreshRequest, RegisterRequest, Session},
    friends::send_friend_request_request::Target,
};

use crate::common::{
    PASSWORD, Person, World, assert_refused, on_both_engines, registration, wrong_fields,
};

on_both_engines!(
    an_address_may_call_30_times_a_minute,
    an_ipv6_network_is_one_address,
    ten_wrong_passwords_close_an_account_to_that_address,
    an_account_that_is_not_there_closes_as_well,
    a_hundred_wrong_passwords_at_once_are_ten,
    guesses_from_everywhere_are_limited_and_delay_nobody_where_they_have_been,
    a_limit_does_not_tell_which_names_are_one_account,
    ten_friend_requests_an_hour_whatever_comes_of_them,
    an_address_asks_only_so_many_strangers_and_anybody_else,
    an_address_registers_only_so_many_accounts,
);

async fn login_from(
    world: &World,
    login: &str,
    password: &str,
    address: &str,
) -> Result<Session, Status> {
    let request = LoginRequest {
        login: login.to_owned(),
        password: password.to_owned(),
        client_address: Some(address.to_owned()),
    };
    let answer = world.auth.clone().login(request).await?;
    Ok(answer.into_inner().session.unwrap())
}

#[track_caller]
fn assert_limited<T: std::fmt::Debug>(answer: Result<T, Status>, wait: Duration) {
    let status = assert_refused(answer, Code::ResourceExhausted, Reason::RateLimited);
    assert_eq!(retry_after(&status), Some(wait));
}

async fn an_address_may_call_30_times_a_minute(world: World) {
    let address = Some("192.0.2.1".to_owned());
    let refresh = || {
        let request = RefreshRequest {
            refresh_token: "nonsense".to_owned(),
            client_address: address.clone(),
        };
        let mut auth = world.auth.clone();
        async move { auth.refresh(request).await }
    };
    let register = |username: &str| RegisterRequest {
        client_address: address.clone(),
        ..registration(username)
    };
    // Whatever comes of it counts.
    world.register(register("ann")).await.unwrap();
    assert_eq!(
        wrong_fields(world.register(register("_")).await),
        ["username"]
    );
    login_from(&world, "ann", PASSWORD, "192.0.2.1")
        .await
        .unwrap();
    for _ in 0..27 {
        assert_refused(refresh().await, Code::Unauthenticated, Reason::AuthRequired);
    }
    world.clock.advance(Duration::from_secs(20));
    let wait = Duration::from_secs(40);
    assert_limited(refresh().await, wait);
    assert_limited(world.register(register("bob")).await, wait);
    assert_limited(login_from(&world, "ann", PASSWORD, "192.0.2.1").await, wait);
    // Another address, and a caller who names none.
    login_from(&world, "ann", PASSWORD, "192.0.2.2")
        .await
        .unwrap();
    world.login("ann", PASSWORD).await.unwrap();
    world.clock.advance(wait);
    login_from(&world, "ann", PASSWORD, "192.0.2.1")
        .await
        .unwrap();
}

async fn an_ipv6_network_is_one_address(world: World) {
    let refresh = |address: String| {
        let request = RefreshRequest {
            refresh_token: "nonsense".to_owned(),
            client_address: Some(address),
        };
        let mut auth = world.auth.clone();
        async move { auth.refresh(request).await }
    };
    for n in 0..30 {
        let answer = refresh(format!("2001:db8:0:7:{n:x}::1")).await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    }
    // Gateways name the network, others an address.
    for address in ["2001:db8:0:7::ffff", "2001:db8:0:7::/64"] {
        assert_limited(refresh(address.to_owned()).await, Duration::from_mins(1));
    }
    let answer = refresh("2001:db8:0:8::1".to_owned()).await;
    assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
}

async fn ten_wrong_passwords_close_an_account_to_that_address(world: World) {
    world.user("ann").await;
    world.user("bob").await;
    for attempt in 0..10 {
        // By whatever name: it is one account.
        let login = ["ann", "ANN", "ann@example.org"][attempt % 3];
        let answer = login_from(&world, login, "correct house", "192.0.2.1").await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    }
    let quarter = Duration::from_mins(15);
    assert_limited(
        login_from(&world, "ann", PASSWORD, "192.0.2.1").await,
        quarter,
    );
    login_from(&world, "bob", PASSWORD, "192.0.2.1")
        .await
        .unwrap();
    login_from(&world, "ann", PASSWORD, "192.0.2.2")
        .await
        .unwrap();
    world.clock.advance(quarter);
    // The right password is not counted.
    for _ in 0..11 {
        login_from(&world, "ann", PASSWORD, "192.0.2.1")
            .await
            .unwrap();
    }
}

async fn an_account_that_is_not_there_closes_as_well(world: World) {
    for attempt in 0..10 {
        let login = ["nobody", "NoBody"][attempt % 2];
        let answer = login_from(&world, login, PASSWORD, "192.0.2.1").await;
        assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    }
    assert_limited(
        login_from(&world, "nobody", PASSWORD, "192.0.2.1").await,
        Duration::from_mins(15),
    );
}

async fn an_address_asks_only_so_many_strangers_and_anybody_else(world: World) {
    let ann = world.user("ann").await;
    let target = |person: &Person| Some(Target::ReceiverId(person.id.clone()));
    let home = Some("2001:db8:0:1::1");
    let (bob, cid, dan) = (
        world.user("bob").await,
        world.user("cid").await,
        world.user("dan").await,
    );
    let (eve, fay, gus) = (
        world.user("eve").await,
        world.user("fay").await,
        world.user("gus").await,
    );
    for sender in [&bob, &cid, &dan] {
        sender.ask_from(home, target(&ann)).await.unwrap();
    }
    let hour = Duration::from_hours(1);
    // One house has one /64.
    let other_room = Some("2001:db8:0:1:ffff::2");
    assert_limited(eve.ask_from(other_room, target(&ann)).await, hour);
    assert_limited(
        eve.ask_from(home, Some(Target::Username("nobody".to_owned())))
            .await,
        hour,
    );
    let next_door = Some("2001:db8:0:2::1");
    eve.ask_from(next_door, target(&ann)).await.unwrap();
    // Somebody who has asked already, and a friend's friend, are no strangers.
    let answer = ann.ask_from(home, target(&eve)).await.unwrap();
    assert!(answer.accepted_theirs);
    eve.befriend(&fay).await;
    fay.ask_from(home, target(&ann)).await.unwrap();
    let again = fay.ask_from(home, target(&eve)).await;
    assert_refused(again, Code::AlreadyExists, Reason::Conflict);
    // A backend that names no address.
    gus.ask(&ann).await.unwrap();
    world.clock.advance(hour);
    let answer = gus.ask_from(home, target(&bob)).await;
    answer.unwrap();
}

async fn an_address_registers_only_so_many_accounts(world: World) {
    let register = |username: &str, address: &str| {
        world.register(RegisterRequest {
            client_address: Some(address.to_owned()),
            ..registration(username)
        })
    };
    for (username, address) in [
        ("ann", "2001:db8::1"),
        ("bob", "2001:db8::2"),
        ("cid", "2001:db8::3"),
    ] {
        register(username, address).await.unwrap();
    }
    // What makes no account does not count.
    assert_refused(
        register("ann", "2001:db8::4").await,
        Code::AlreadyExists,
        Reason::Conflict,
    );
    assert_eq!(
        wrong_fields(register("_", "2001:db8::4").await),
        ["username"]
    );
    register("dan", "2001:db8::4").await.unwrap();
    let hour = Duration::from_hours(1);
    assert_limited(register("eve", "2001:db8::5").await, hour);
    register("eve", "2001:db8:0:1::5").await.unwrap();
    register("fay", "192.0.2.1").await.unwrap();
    world.register(registration("gus")).await.unwrap();
    login_from(&world, "ann", PASSWORD, "2001:db8::1")
        .await
        .unwrap();
    world.clock.advance(hour);
    register("hal", "2001:db8::5").await.unwrap();
}

async fn a_hundred_wrong_passwords_at_once_are_ten(world: World) {
    world.user("ann").await;
    let answers = join_all((0..100).map(|_| world.login("ann", "correct house"))).await;
    let codes = answers
        .into_iter()
        .map(|answer| answer.expect_err("refused").code())
        .collect::<Vec<_>>();
    let count = |code| codes.iter().filter(|&&other| other == code).count();
    assert_eq!(count(Code::Unauthenticated), 10, "{codes:?}");
    assert_eq!(count(Code::ResourceExhausted), 90, "{codes:?}");
}

async fn guesses_from_everywhere_are_limited_and_delay_nobody_where_they_have_been(world: World) {
    let world = world.with_login_failures(2);
    let ann = RegisterRequest {
        client_address: Some("192.0.2.1".to_owned()),
        ..registration("ann")
    };
    let session = world.register(ann).await.unwrap();
    let moved = RefreshRequest {
        refresh_token: session.refresh_token,
        client_address: Some("2001:db8::1".to_owned()),
    };
    world.auth.clone().refresh(moved).await.unwrap();
    let hour = Duration::from_hours(1);
    // An account that is there, and one that is not.
    for login in ["ann", "nobody"] {
        let mut checked = 0;
        for n in 0..200 {
            let address = format!("10.{n}.0.1");
            let status = login_from(&world, login, "correct house", &address)
                .await
                .expect_err("refused");
            if status.code() == Code::Unauthenticated {
                checked += 1;
            } else {
                assert_limited::<()>(Err(status), hour);
            }
        }
        // Twice as many as from one network, from each of eight groups of networks.
        assert_eq!(checked, 2 * 2 * 8, "{login}");
    }
    assert_limited(login_from(&world, "ann", PASSWORD, "10.0.0.2").await, hour);
    for known in ["192.0.2.1", "2001:db8::2"] {
        login_from(&world, "ann", PASSWORD, known).await.unwrap();
    }
    world.clock.advance(hour);
    login_from(&world, "ann", PASSWORD, "10.0.0.2")
        .await
        .unwrap();
}

async fn a_limit_does_not_tell_which_names_are_one_account(world: World) {
    let world = world.with_login_failures(2);
    world.user("ann").await;
    world.user("ben").await;
    world.user("eve").await;
    let quarter = Duration::from_mins(15);
    let other_names = ["ann@example.org", "ben@example.org", "nobody@example.org"];
    for (n, name) in ["ann", "nobody"].into_iter().enumerate() {
        for (k, other) in other_names.into_iter().enumerate() {
            let address = format!("10.{n}.{k}.1");
            for login in [name, other] {
                let answer = login_from(&world, login, "correct house", &address).await;
                assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
            }
            for login in [name, other, "somebody"] {
                let answer = login_from(&world, login, "correct house", &address).await;
                assert_limited(answer, quarter);
            }
            // Who knows the password of another account is let in.
            login_from(&world, "eve", PASSWORD, &address).await.unwrap();
            world.clock.advance(Duration::from_hours(1));
        }
    }
}

async fn ten_friend_requests_an_hour_whatever_comes_of_them(world: World) {
    let ann = world.user("ann").await;
    let bob = world.user("bob").await;
    // What breaks a rule of form does not count.
    for _ in 0..3 {
        wrong_fields(ann.ask(&ann).await);
        wrong_fields(ann.ask_by_name("ANN").await);
        wrong_fields(ann.ask_by_name("").await);
        wrong_fields(ann.ask_for(None).await);
    }
    ann.ask(&bob).await.unwrap();
    for _ in 0..3 {
        assert_refused(ann.ask(&bob).await, Code::AlreadyExists, Reason::Conflict);
        let answer = ann.ask_by_name("nobody").await;
        assert_refused(answer, Code::NotFound, Reason::NotFound);
        let nonsense = Some(Target::ReceiverId("nonsense".to_owned()));
        let answer = ann.ask_for(nonsense).await;
        assert_refused(answer, Code::NotFound, Reason::NotFound);
    }
    let hour = Duration::from_hours(1);
    assert_limited(ann.ask_by_name("nobody").await, hour);
    assert_limited(ann.ask(&bob).await, hour);
    wrong_fields(ann.ask(&ann).await);
    // It is Ann's limit, not everybody's.
    assert!(bob.ask(&ann).await.unwrap().accepted_theirs);
    world.clock.advance(hour);
    assert_refused(ann.ask(&bob).await, Code::AlreadyExists, Reason::Conflict);
}
