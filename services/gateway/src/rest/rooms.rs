//! Rooms.

use axum::extract::State;
use serde_json::json;
use tutti_common::rpc::about;
use tutti_proto::rooms::{
    CloseRoomRequest, CreateRoomRequest, GetRoomRequest, JoinRoomRequest, LeaveRoomRequest,
    ListMembersRequest, ListRoomsRequest,
};

use super::{
    Answer, created, no_content, ok,
    request::{Caller, JsonObject, PathId, Query},
};
use crate::{Gateway, json};

pub(super) async fn create(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    body: JsonObject,
) -> Answer {
    let mut fields = body.fields();
    let request = CreateRoomRequest {
        user_id,
        name: fields.optional_text("name"),
        is_friends_only: fields.optional_flag("is_friends_only").unwrap_or_default(),
        max_participants: fields.optional_integer("max_participants"),
    };
    fields.finish()?;
    let answer = gateway.rooms().create_room(request).await?.into_inner();
    created(json::room(&answer.room.unwrap_or_default()))
}

pub(super) async fn join(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    body: JsonObject,
) -> Answer {
    let mut fields = body.fields();
    let request = JoinRoomRequest {
        user_id,
        room_id: fields.text("room_id"),
        connection_id: None,
    };
    fields.finish()?;
    let answer = gateway
        .rooms()
        .join_room(about(request, |request| &request.room_id))
        .await?
        .into_inner();
    ok(json::room(&answer.room.unwrap_or_default()))
}

pub(super) async fn leave(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    PathId(room_id): PathId,
) -> Answer {
    let request = LeaveRoomRequest {
        user_id,
        room_id,
        ..LeaveRoomRequest::default()
    };
    gateway
        .rooms()
        .leave_room(about(request, |request| &request.room_id))
        .await?;
    no_content()
}

pub(super) async fn show(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    PathId(room_id): PathId,
) -> Answer {
    let request = GetRoomRequest { user_id, room_id };
    let answer = gateway
        .rooms()
        .get_room(about(request, |request| &request.room_id))
        .await?
        .into_inner();
    ok(json::room(&answer.room.unwrap_or_default()))
}

pub(super) async fn list(State(gateway): State<Gateway>, Caller(user_id): Caller) -> Answer {
    let answer = gateway
        .rooms()
        .list_rooms(ListRoomsRequest { user_id })
        .await?
        .into_inner();
    ok(json!({ "rooms": answer.rooms.iter().map(json::room).collect::<Vec<_>>() }))
}

pub(super) async fn members(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    PathId(room_id): PathId,
    query: Query,
) -> Answer {
    let request = ListMembersRequest {
        user_id,
        room_id,
        query: query.get("q").unwrap_or_default().to_owned(),
        cursor: query.get("cursor").unwrap_or_default().to_owned(),
        limit: query.integer("limit")?,
    };
    let answer = gateway
        .rooms()
        .list_members(about(request, |request| &request.room_id))
        .await?
        .into_inner();
    ok(json::member_page(&answer))
}

pub(super) async fn close(
    State(gateway): State<Gateway>,
    Caller(user_id): Caller,
    PathId(room_id): PathId,
) -> Answer {
    let request = CloseRoomRequest {
        user_id: Some(user_id),
        room_id,
    };
    gateway
        .rooms()
        .close_room(about(request, |request| &request.room_id))
        .await?;
    no_content()
}
