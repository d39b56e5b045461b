//! Friends and friend requests.

use std::time::Duration;

use tonic::{Code, Status};
use tutti_common::status::Reason;
use tutti_proto::{
    auth::{FriendshipEnded, watch_accounts_response::Event},
    friends::{
        CheckFriendshipsRequest, FriendRequestStatus, RemoveFriendRequest, RequestDirection,
        WithdrawFriendRequestRequest, send_friend_request_request::Target,
    },
};

use crate::common::{Person, World, assert_refused, on_both_engines, request_of, wrong_fields};

on_both_engines!(
    a_request_is_sent_and_accepted,
    of_two_who_ask_each_other_the_second_accepts,
    a_rejected_sender_waits_a_day_and_the_receiver_does_not,
    only_the_receiver_answers_and_only_once,
    only_the_sender_withdraws_and_only_while_it_waits,
    a_request_needs_somebody_else,
    pending_requests_are_listed_newest_first,
    pending_requests_are_listed_to_the_last_page_by_page,
    a_friendship_ends_for_both_and_may_begin_again,
    friends_are_told_from_others,
);

const NOBODY: &str = "user_00000000000000000000000000";
const NO_REQUEST: &str = "freq_00000000000000000000000000";

async fn a_request_is_sent_and_accepted(world: World) {
    let (ann, bob) = (world.user("Ann").await, world.user("Bob").await);
    let sent = ann.ask_by_name("bOB").await.unwrap();
    assert!(!sent.accepted_theirs);
    let request = request_of(sent);
    assert!(request.request_id.starts_with("freq_"));
    assert_eq!(request.sender.as_ref().unwrap().user_id, ann.id);
    assert_eq!(request.sender.as_ref().unwrap().username, "Ann");
    assert_eq!(request.receiver.as_ref().unwrap().user_id, bob.id);
    assert_eq!(request.receiver.as_ref().unwrap().username, "Bob");
    assert_eq!(request.status(), FriendRequestStatus::Pending);
    assert_eq!(request.created_at, Some(world.now()));
    assert_eq!(request.responded_at, None);
    let received = bob.requests(RequestDirection::Received).await.unwrap();
    assert_eq!(received, std::slice::from_ref(&request));
    assert!(ann.friends().await.is_empty());

    world.clock.advance(Duration::from_secs(1));
    let accepted = bob.accept(&request.request_id).await.unwrap();
    assert_eq!(accepted.status(), FriendRequestStatus::Accepted);
    assert_eq!(accepted.responded_at, Some(world.now()));
    assert_eq!(accepted.created_at, request.created_at);
    assert_eq!(accepted.sender, request.sender);
    assert_eq!(ann.friends().await, ["Bob"]);
    assert_eq!(bob.friends().await, ["Ann"]);
    assert_none_pending(&ann, &bob).await;
    assert_refused(ann.ask(&bob).await, Code::AlreadyExists, Reason::Conflict);
    assert_refused(bob.ask(&ann).await, Code::AlreadyExists, Reason::Conflict);
}

async fn assert_none_pending(ann: &Person, bob: &Person) {
    for person in [ann, bob] {
        for direction in [RequestDirection::Sent, RequestDirection::Received] {
            assert!(person.requests(direction).await.unwrap().is_empty());
        }
    }
}

async fn of_two_who_ask_each_other_the_second_accepts(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let first = request_of(ann.ask(&bob).await.unwrap());
    assert_refused(ann.ask(&bob).await, Code::AlreadyExists, Reason::Conflict);
    let second = bob.ask(&ann).await.unwrap();
    assert!(second.accepted_theirs);
    let second = request_of(second);
    assert_eq!(second.request_id, first.request_id);
    assert_eq!(second.status(), FriendRequestStatus::Accepted);
    assert_eq!(second.responded_at, Some(world.now()));
    assert_eq!(ann.friends().await, ["bob"]);
    assert_none_pending(&ann, &bob).await;
}

async fn a_rejected_sender_waits_a_day_and_the_receiver_does_not(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let request = request_of(ann.ask(&bob).await.unwrap());
    let rejected = bob.reject(&request.request_id).await.unwrap();
    assert_eq!(rejected.status(), FriendRequestStatus::Rejected);
    assert_eq!(rejected.responded_at, Some(world.now()));
    assert_none_pending(&ann, &bob).await;
    let too_soon = || async {
        let answer = ann.ask(&bob).await;
        assert_refused(answer, Code::FailedPrecondition, Reason::Conflict)
    };
    assert!(too_soon().await.message().contains("2024-01-02T00:00:00"));
    world
        .clock
        .advance(Duration::from_millis(24 * 3_600_000 - 1));
    too_soon().await;
    world.clock.advance(Duration::from_millis(1));
    let again = request_of(ann.ask(&bob).await.unwrap());
    assert_ne!(again.request_id, request.request_id);
    world.clock.advance(Duration::from_secs(1));
    bob.reject(&again.request_id).await.unwrap();
    // Who rejected may ask at once.
    let theirs = bob.ask(&ann).await.unwrap();
    assert!(!theirs.accepted_theirs);
    assert!(ann.ask(&bob).await.unwrap().accepted_theirs);
}

async fn only_the_receiver_answers_and_only_once(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let eve = world.user("eve").await;
    let first = request_of(ann.ask(&bob).await.unwrap()).request_id;
    for person in [&ann, &eve] {
        assert_refused(
            person.accept(&first).await,
            Code::NotFound,
            Reason::NotFound,
        );
        assert_refused(
            person.reject(&first).await,
            Code::NotFound,
            Reason::NotFound,
        );
    }
    for id in [NO_REQUEST, NOBODY, "nonsense", "", "\0"] {
        assert_refused(bob.accept(id).await, Code::NotFound, Reason::NotFound);
        assert_refused(bob.reject(id).await, Code::NotFound, Reason::NotFound);
    }
    bob.reject(&first).await.unwrap();
    let second = request_of(bob.ask(&ann).await.unwrap()).request_id;
    ann.accept(&second).await.unwrap();
    for (person, request) in [(&bob, &first), (&ann, &second)] {
        for answer in [person.accept(request).await, person.reject(request).await] {
            assert_refused(answer, Code::FailedPrecondition, Reason::Conflict);
        }
    }
    assert_refused(eve.accept(&first).await, Code::NotFound, Reason::NotFound);
    assert_eq!(ann.friends().await, ["bob"]);
}

async fn only_the_sender_withdraws_and_only_while_it_waits(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let request = request_of(ann.ask(&bob).await.unwrap()).request_id;
    let withdraw = |person: &Person, request_id: &str| {
        let request = WithdrawFriendRequestRequest {
            user_id: person.id.clone(),
            request_id: request_id.to_owned(),
        };
        let mut friends = world.friends.clone();
        async move { friends.withdraw_friend_request(request).await }
    };
    for (person, id) in [(&bob, request.as_str()), (&ann, NO_REQUEST), (&ann, "x")] {
        let answer = withdraw(person, id).await;
        assert_refused(answer, Code::NotFound, Reason::NotFound);
    }
    withdraw(&ann, &request).await.unwrap();
    let again = withdraw(&ann, &request).await;
    assert_refused(again, Code::NotFound, Reason::NotFound);
    assert_refused(bob.accept(&request).await, Code::NotFound, Reason::NotFound);
    assert_none_pending(&ann, &bob).await;
    // Nobody has rejected anything: it may be sent again.
    let request = request_of(ann.ask(&bob).await.unwrap()).request_id;
    bob.accept(&request).await.unwrap();
    let answered = withdraw(&ann, &request).await;
    assert_refused(answered, Code::FailedPrecondition, Reason::Conflict);
    assert_eq!(ann.friends().await, ["bob"]);
}

async fn a_request_needs_somebody_else(world: World) {
    let ann = world.user("ann").await;
    assert_eq!(wrong_fields(ann.ask(&ann).await), ["receiver_id"]);
    assert_eq!(wrong_fields(ann.ask_by_name("Ann").await), ["username"]);
    assert_eq!(wrong_fields(ann.ask_by_name("").await), ["username"]);
    assert_eq!(wrong_fields(ann.ask_for(None).await), ["username"]);
    for target in [
        Target::ReceiverId(NOBODY.to_owned()),
        Target::ReceiverId("nonsense".to_owned()),
        Target::Username("nobody".to_owned()),
        Target::Username("n\0body".to_owned()),
        Target::Username("an%".to_owned()),
    ] {
        let answer = ann.ask_for(Some(target)).await;
        assert_refused(answer, Code::NotFound, Reason::NotFound);
    }
    // Nor does somebody who is not there ask anybody.
    let ghost = Person {
        id: NOBODY.to_owned(),
        ..ann.clone()
    };
    assert_refused(ghost.ask(&ann).await, Code::NotFound, Reason::NotFound);
}

async fn pending_requests_are_listed_newest_first(world: World) {
    let ann = world.user("ann").await;
    for name in ["bob", "cid", "dan"] {
        let other = world.user(name).await;
        world.clock.advance(Duration::from_millis(1));
        ann.ask(&other).await.unwrap();
        world.clock.advance(Duration::from_millis(1));
    }
    for name in ["eve", "fay"] {
        world.clock.advance(Duration::from_secs(1));
        world.user(name).await.ask(&ann).await.unwrap();
    }
    let sent = ann.requests(RequestDirection::Sent).await.unwrap();
    let sent = sent
        .into_iter()
        .map(|request| request.receiver.unwrap().username);
    assert_eq!(sent.collect::<Vec<_>>(), ["dan", "cid", "bob"]);
    let received = ann.requests(RequestDirection::Received).await.unwrap();
    let received = received
        .into_iter()
        .map(|request| request.sender.unwrap().username);
    assert_eq!(received.collect::<Vec<_>>(), ["fay", "eve"]);
    let answer = ann.requests(RequestDirection::Unspecified).await;
    assert_eq!(wrong_fields(answer), ["type"]);
}

async fn pending_requests_are_listed_to_the_last_page_by_page(world: World) {
    let ann = world.user("ann").await;
    let names = ["bob", "cid", "dan", "eve", "fay"];
    for name in names {
        let other = world.user(name).await;
        // Two at the same moment.
        if name != "dan" {
            world.clock.advance(Duration::from_millis(1));
        }
        other.ask(&ann).await.unwrap();
    }
    let received = RequestDirection::Received;
    let all = ann.requests(received).await.unwrap();
    assert_eq!(all.len(), 5);
    let page = async |cursor: &str| {
        let (page, next) = ann
            .page_of_requests(received, cursor, Some(2))
            .await
            .unwrap();
        (page, next.unwrap_or_default())
    };
    let (first, next) = page("").await;
    assert_eq!(first, all[..2]);
    // Whoever comes meanwhile is on the first page, and whoever goes moves nobody to another one.
    world.clock.advance(Duration::from_millis(1));
    world.user("gus").await.ask(&ann).await.unwrap();
    ann.accept(&first[1].request_id).await.unwrap();
    let (second, next) = page(&next).await;
    assert_eq!(second, all[2..4]);
    let (third, next) = page(&next).await;
    assert_eq!((third.as_slice(), next.as_str()), (&all[4..], ""));
    let sent = ann
        .page_of_requests(RequestDirection::Sent, "", Some(1))
        .await;
    assert_eq!(sent.unwrap(), (vec![], None));
    let answer = ann.page_of_requests(received, "nonsense", Some(101)).await;
    assert_eq!(wrong_fields(answer), ["cursor", "limit"]);
}

async fn a_friendship_ends_for_both_and_may_begin_again(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    ann.befriend(&bob).await;
    let mut watch = world.watch().await;
    bob.unfriend(&ann).await.unwrap();
    let ended = Event::FriendshipEnded(FriendshipEnded {
        user_id: bob.id.clone(),
        other_user_id: ann.id.clone(),
    });
    assert_eq!(watch.next().await, Some(ended));
    assert!(ann.friends().await.is_empty() && bob.friends().await.is_empty());
    for person in [&ann, &bob] {
        for id in [&ann.id, &bob.id, NOBODY, "nonsense", ""] {
            let request = RemoveFriendRequest {
                user_id: person.id.clone(),
                friend_id: id.to_owned(),
            };
            let answer = world.friends.clone().remove_friend(request).await;
            assert_refused(answer, Code::NotFound, Reason::NotFound);
        }
    }
    // Both may ask at once.
    let request = request_of(bob.ask(&ann).await.unwrap());
    ann.accept(&request.request_id).await.unwrap();
    ann.unfriend(&bob).await.unwrap();
    ann.befriend(&bob).await;
    assert_eq!(bob.friends().await, ["ann"]);
}

async fn friends_are_told_from_others(world: World) {
    let ann = world.user("ann").await;
    let mut ids = vec![NOBODY.to_owned(), "nonsense".to_owned(), ann.id.clone()];
    for name in ["dan", "Bob", "eve", "Cid", "a.b"] {
        let other = world.user(name).await;
        // From either side: of the two ids now the one is the smaller, now the other.
        match name {
            "eve" => {}
            "dan" => other.befriend(&ann).await,
            _ => ann.befriend(&other).await,
        }
        ids.push(other.id);
    }
    assert_eq!(ann.friends().await, ["a.b", "Bob", "Cid", "dan"]);
    let ask = |other_user_ids: Vec<String>| {
        let request = CheckFriendshipsRequest {
            user_id: ann.id.clone(),
            other_user_ids,
        };
        let mut friends = world.friends.clone();
        async move {
            let answer = friends.check_friendships(request).await?;
            let mut ids = answer.into_inner().friend_ids;
            ids.sort();
            Ok::<_, Status>(ids)
        }
    };
    let mut expected = ids[3..].to_vec();
    expected.remove(2);
    expected.sort();
    assert_eq!(ask(ids.clone()).await.unwrap(), expected);
    assert!(ask(Vec::new()).await.unwrap().is_empty());
    let many = vec![NOBODY.to_owned(); 501];
    assert_eq!(wrong_fields(ask(many).await), ["other_user_ids"]);
}
