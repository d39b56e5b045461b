//! What holds whatever happens at once.

use futures_util::future::{join, join_all, join3};
use tonic::Code;
use tutti_common::status::Reason;
use tutti_proto::{
    auth::{LogoutRequest, RegisterRequest},
    friends::RequestDirection,
};

use crate::common::{Person, World, assert_refused, on_both_engines, registration, request_of};

on_both_engines!(
    of_many_who_want_a_name_one_gets_it,
    of_those_who_spend_a_token_at_once_one_goes_on,
    a_renewed_token_does_not_outlive_its_session,
    who_logs_out_while_a_token_is_renewed_is_out,
    however_many_requests_cross_there_is_one_friendship,
    answers_and_requests_leave_one_thing_between_two_users,
);

async fn of_many_who_want_a_name_one_gets_it(world: World) {
    let names = (0..8).map(|at| RegisterRequest {
        email: format!("ann{at}@example.org"),
        ..registration(["ann", "ANN"][at % 2])
    });
    let emails = (0..8).map(|at| RegisterRequest {
        username: format!("bob{at}"),
        ..registration("bob")
    });
    for requests in [names.collect::<Vec<_>>(), emails.collect()] {
        let answers = requests.into_iter().map(|request| world.register(request));
        let (made, refused) = join_all(answers)
            .await
            .into_iter()
            .partition::<Vec<_>, _>(Result::is_ok);
        assert_eq!(made.len(), 1);
        for answer in refused {
            assert_refused(answer, Code::AlreadyExists, Reason::Conflict);
        }
    }
}

async fn of_those_who_spend_a_token_at_once_one_goes_on(world: World) {
    for round in 0..3 {
        let token = world.register(registration(&format!("ann{round}"))).await;
        let token = token.unwrap().refresh_token;
        let answers = join_all((0..10).map(|_| world.refresh(&token))).await;
        let mut given = answers.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        given.sort_by_key(|session| session.generation);
        let generations = given.iter().map(|session| session.generation);
        assert!(generations.eq(2..12));
        // Each but the last was replaced at once.
        let last = given.pop().unwrap();
        for replaced in given {
            let answer = world.refresh(&replaced.refresh_token).await;
            assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
        }
        world.refresh(&last.refresh_token).await.unwrap();
    }
}

async fn a_renewed_token_does_not_outlive_its_session(world: World) {
    let mut left = 0;
    for round in 0..20 {
        let name = format!("ann{round}");
        let used = world.register(registration(&name)).await.unwrap();
        let current = world.refresh(&used.refresh_token).await.unwrap();
        let (renewed, reused) = join(
            world.refresh(&current.refresh_token),
            world.refresh(&used.refresh_token),
        )
        .await;
        match (renewed, reused) {
            // The used one came later, when its successor had been used: the session is over.
            (Ok(renewed), reused) => {
                assert_refused(reused, Code::Unauthenticated, Reason::AuthRequired);
                let answer = world.refresh(&renewed.refresh_token).await;
                assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
            }
            // It came first, and its successor was replaced.
            (renewed, Ok(reused)) => {
                assert_refused(renewed, Code::Unauthenticated, Reason::AuthRequired);
                world.refresh(&reused.refresh_token).await.unwrap();
                left += 1;
            }
            (Err(_), Err(_)) => panic!("one of the two comes first"),
        }
    }
    let sessions = world
        .count("SELECT count(DISTINCT session_id) FROM refresh_tokens")
        .await;
    assert_eq!(sessions, left);
}

async fn who_logs_out_while_a_token_is_renewed_is_out(world: World) {
    for round in 0..10 {
        let session = world.register(registration(&format!("ann{round}"))).await;
        let token = session.unwrap().refresh_token;
        let first = world.refresh(&token).await.unwrap();
        let logout = world.auth.clone();
        let logout = async {
            let request = LogoutRequest {
                refresh_token: first.refresh_token.clone(),
            };
            logout.clone().logout(request).await.unwrap();
        };
        // As a tab does whose answer was lost while another one logs out.
        let (again, ()) = join(world.refresh(&token), logout).await;
        let tokens = again.into_iter().map(|again| again.refresh_token);
        for token in tokens.chain([token, first.refresh_token.clone()]) {
            let answer = world.refresh(&token).await;
            assert_refused(answer, Code::Unauthenticated, Reason::AuthRequired);
        }
    }
    assert_eq!(world.count("SELECT count(*) FROM refresh_tokens").await, 0);
}

async fn however_many_requests_cross_there_is_one_friendship(world: World) {
    let world = world.without_friend_limits();
    for round in 0..5 {
        let ann = world.user(&format!("ann{round}")).await;
        let bob = world.user(&format!("bob{round}")).await;
        let calls = (0..8).map(|at| {
            let (from, to) = if at % 2 == 0 {
                (&ann, &bob)
            } else {
                (&bob, &ann)
            };
            from.ask(to)
        });
        let answers = join_all(calls).await;
        let sent = answers.into_iter().filter_map(Result::ok);
        let accepted = sent.map(|sent| sent.accepted_theirs).collect::<Vec<_>>();
        assert_eq!(accepted.len(), 2, "one asks, one accepts: {accepted:?}");
        assert_eq!(one_thing_between(&ann, &bob).await, Thing::Friendship);
    }
}

async fn answers_and_requests_leave_one_thing_between_two_users(world: World) {
    let world = world.without_friend_limits();
    for round in 0..20 {
        let ann = world.user(&format!("ann{round}")).await;
        let bob = world.user(&format!("bob{round}")).await;
        let request = request_of(ann.ask(&bob).await.unwrap()).request_id;
        match round % 4 {
            0 => {
                let (a, b) = join(bob.accept(&request), bob.reject(&request)).await;
                assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
            }
            1 => {
                let (a, b) = join(bob.accept(&request), bob.accept(&request)).await;
                assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
            }
            2 => {
                join3(bob.accept(&request), bob.ask(&ann), ann.ask(&bob))
                    .await
                    .0
                    .ok();
            }
            _ => {
                let calls = join3(bob.accept(&request), bob.unfriend(&ann), bob.ask(&ann));
                let _ = join(calls, ann.ask(&bob)).await;
            }
        }
        one_thing_between(&ann, &bob).await;
    }
    let twice = "SELECT count(*) FROM friendships JOIN friend_requests \
        ON status = 'pending' AND (sender_id = user1_id OR sender_id = user2_id)";
    assert_eq!(world.count(twice).await, 0);
}

#[derive(Debug, PartialEq, Eq)]
enum Thing {
    Friendship,
    Request,
    Nothing,
}

async fn one_thing_between(ann: &Person, bob: &Person) -> Thing {
    let sent = ann.requests(RequestDirection::Sent).await.unwrap().len();
    let received = ann
        .requests(RequestDirection::Received)
        .await
        .unwrap()
        .len();
    let friends = ann.friends().await.len();
    assert_eq!(friends, bob.friends().await.len());
    match (friends, sent + received) {
        (1, 0) => Thing::Friendship,
        (0, 1) => Thing::Request,
        (0, 0) => Thing::Nothing,
        more => panic!("more than one thing between two users: {more:?}"),
    }
}
