//! Friends and friend requests.

use std::collections::HashMap;

use axum::extract::State;
use serde_json::{Value, json};
use tutti_common::status::Violation;
use tutti_proto::{
    friends::{
        AcceptFriendRequestRequest, ListFriendRequestsRequest, ListFriendsRequest,
        RejectFriendRequestRequest, RemoveFriendRequest, RequestDirection, SearchUsersRequest,
        SendFriendRequestRequest, WithdrawFriendRequestRequest,
        send_friend_request_request::Target,
    },
    rooms::GetPresenceRequest,
};

use super::{
    Answer, created, no_content, ok,
    problem::Problem,
    request::{Caller, ClientAddress, JsonObject, PathId, Query},
};
use crate::{Gateway, json};

/// How many friends' presence the room service tells at once.
const PRESENCES_AT_ONCE: usize = 1_000;

/// How many requests a page has where the caller does not say.
const REQUESTS_PER_PAGE: i32 = 50;

pub(super) async fn search(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    query: Query,
) -> Answer {
    let request = SearchUsersRequest {
        user_id,
        query: query.need("q")?.to_owned(),
        limit: query.integer("limit")?,
    };
    let answer = gateway.friends().search_users(request).await?.into_inner();
    ok(json!({ "users": answer.users.iter().map(json::found_user).collect::<Vec<_>>() }))
}

pub(super) async fn send_request(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    ClientAddress(client_address): ClientAddress,
    body: JsonObject,
) -> Answer {
    let mut fields = body.fields();
    let username = fields.optional_text("username");
    let receiver_id = fields.optional_text("receiver_id");
    fields.finish()?;
    let target = match (username, receiver_id) {
        (Some(username), None) => Target::Username(username),
        (None, Some(receiver_id)) => Target::ReceiverId(receiver_id),
        _ => {
            let rule = "give either username or receiver_id";
            return Err(Problem::broken(vec![Violation::new("username", rule)]));
        }
    };
    let request = SendFriendRequestRequest {
        user_id,
        target: Some(target),
        client_address: Some(client_address),
    };
    let answer = gateway
        .friends()
        .send_friend_request(request)
        .await?
        .into_inner();
    let request = json::friend_request(&answer.request.unwrap_or_default());
    if answer.accepted_theirs {
        ok(request)
    } else {
        created(request)
    }
}

pub(super) async fn accept(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    body: JsonObject,
) -> Answer {
    let mut fields = body.fields();
    let request_id = fields.text("request_id");
    fields.finish()?;
    let request = AcceptFriendRequestRequest {
        user_id,
        request_id,
    };
    let answer = gateway
        .friends()
        .accept_friend_request(request)
        .await?
        .into_inner();
    ok(json::friend_request(&answer.request.unwrap_or_default()))
}

pub(super) async fn reject(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    body: JsonObject,
) -> Answer {
    let mut fields = body.fields();
    let request_id = fields.text("request_id");
    fields.finish()?;
    let request = RejectFriendRequestRequest {
        user_id,
        request_id,
    };
    let answer = gateway
        .friends()
        .reject_friend_request(request)
        .await?
        .into_inner();
    ok(json::friend_request(&answer.request.unwrap_or_default()))
}

pub(super) async fn withdraw(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    PathId(request_id): PathId,
) -> Answer {
    let request = WithdrawFriendRequestRequest {
        user_id,
        request_id,
    };
    gateway.friends().withdraw_friend_request(request).await?;
    no_content()
}

pub(super) async fn list_requests(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    query: Query,
) -> Answer {
    let direction = match query.need("type")? {
        "sent" => RequestDirection::Sent,
        "received" => RequestDirection::Received,
        _ => {
            return Err(Problem::broken(vec![Violation::new(
                "type",
                "sent or received",
            )]));
        }
    };
    let cursor = query.get("cursor").unwrap_or_default();
    let request = ListFriendRequestsRequest {
        user_id,
        direction: direction.into(),
        cursor: cursor.to_owned(),
        // Whoever asks for neither knows of no pages, and gets as many as ever.
        limit: query
            .integer("limit")?
            .or((!cursor.is_empty()).then_some(REQUESTS_PER_PAGE)),
    };
    let answer = gateway
        .friends()
        .list_friend_requests(request)
        .await?
        .into_inner();
    ok(json!({
        "requests": answer.requests.iter().map(json::friend_request).collect::<Vec<_>>(),
        "next_cursor": answer.next_cursor,
    }))
}

/// Who they are is known to one service, where they are to another.
pub(super) async fn list(State(gateway): State<Gateway>, Caller(user_id): Caller) -> Answer {
    let request = ListFriendsRequest {
        user_id: user_id.clone(),
    };
    let friends = gateway
        .friends()
        .list_friends(request)
        .await?
        .into_inner()
        .friends;
    let other_user_ids = friends
        .iter()
        .filter_map(|friend| friend.user.as_ref())
        .map(|user| user.user_id.clone())
        .collect::<Vec<_>>();
    let mut presences = HashMap::new();
    for some in other_user_ids.chunks(PRESENCES_AT_ONCE) {
        let request = GetPresenceRequest {
            user_id: user_id.clone(),
            other_user_ids: some.to_vec(),
        };
        let answer = gateway.rooms().get_presence(request).await?.into_inner();
        presences.extend(
            answer
                .presences
                .into_iter()
                .map(|presence| (presence.user_id.clone(), presence)),
        );
    }
    let friends = friends
        .iter()
        .map(|friend| {
            let id = friend
                .user
                .as_ref()
                .map(|user| user.user_id.as_str())
                .unwrap_or_default();
            json::friend(friend, presences.get(id))
        })
        .collect::<Vec<Value>>();
    ok(json!({ "friends": friends }))
}

pub(super) async fn remove(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    PathId(friend_id): PathId,
) -> Answer {
    let request = RemoveFriendRequest { user_id, friend_id };
    gateway.friends().remove_friend(request).await?;
    no_content()
}
