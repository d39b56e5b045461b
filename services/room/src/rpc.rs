//! Rooms over gRPC: decode, call, encode.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt as _, stream::BoxStream};
use tonic::{Request, Response, Status, service::Routes};
use tutti_common::{
    follow::{closed_meanwhile, follow},
    ids::{ConnectionId, RoomId, UserId},
    shutdown::Shutdown,
    status::{self, Violation},
};
use tutti_proto::{
    rooms::{self as pb, room_service_server::RoomServiceServer, sync_state_request},
    timestamp,
};

use crate::{
    convert,
    domain::{MemberSearch, PlaybackUpdate, Refusal, Song, SongUpdate},
    error::RoomError,
    live::Connected,
    service::{Leaving, Rooms},
};

/// The room service's routes. Streams end when the process does.
#[must_use]
pub fn routes(rooms: Rooms, shutdown: Shutdown) -> Routes {
    Routes::new(RoomServiceServer::new(RoomRpc { rooms, shutdown }))
}

/// How many users' presence may be asked for at once.
const PRESENCES_MAX: usize = 1_000;

struct RoomRpc {
    rooms: Rooms,
    shutdown: Shutdown,
}

/// The acting user. Who has an id that is none does not exist.
fn user(id: &str) -> Result<UserId, RoomError> {
    id.parse().map_err(|_| RoomError::NoSuchUser)
}

/// A room to look at. An id that is none is a room that does not exist.
fn room(id: &str) -> Result<RoomId, RoomError> {
    id.parse().map_err(|_| RoomError::NotFound)
}

/// A room one says to be in.
fn own_room(id: &str) -> Result<RoomId, RoomError> {
    id.parse()
        .map_err(|_| RoomError::Refused(Refusal::NotInRoom))
}

fn connection(id: Option<&str>) -> Result<Option<ConnectionId>, Status> {
    id.map(str::parse)
        .transpose()
        .map_err(|_| wrong("connection_id", "must be a connection's id"))
}

fn wrong(field: &str, message: &str) -> Status {
    status::invalid(&[Violation::new(field, message)])
}

fn connected(connections: &[pb::Connection]) -> Result<Vec<Connected>, Status> {
    connections
        .iter()
        .map(|connected| {
            let room = connected.room_id.as_deref().map(room).transpose()?;
            let connection = connection(Some(&connected.connection_id))?;
            Ok(Connected {
                connection: connection.ok_or_else(|| wrong("connection_id", "is missing"))?,
                user: user(&connected.user_id)?,
                room,
            })
        })
        .collect()
}

fn song_update(song: Option<sync_state_request::Song>) -> Result<SongUpdate, RoomError> {
    match song {
        None | Some(sync_state_request::Song::ClearSong(false)) => Ok(SongUpdate::Keep),
        Some(sync_state_request::Song::ClearSong(true)) => Ok(SongUpdate::Clear),
        Some(sync_state_request::Song::SongJson(json)) => Song::parse(&json)
            .map(SongUpdate::Set)
            .map_err(RoomError::Invalid),
    }
}

#[tonic::async_trait]
impl pb::room_service_server::RoomService for RoomRpc {
    async fn create_room(
        &self,
        request: Request<pb::CreateRoomRequest>,
    ) -> Result<Response<pb::CreateRoomResponse>, Status> {
        let ask = request.into_inner();
        let made = self
            .rooms
            .create(
                user(&ask.user_id)?,
                ask.name.as_deref(),
                ask.is_friends_only,
                ask.max_participants,
            )
            .await?;
        Ok(Response::new(pb::CreateRoomResponse {
            room: Some(convert::room(&made)),
        }))
    }

    async fn join_room(
        &self,
        request: Request<pb::JoinRoomRequest>,
    ) -> Result<Response<pb::JoinRoomResponse>, Status> {
        let ask = request.into_inner();
        let room = room(&ask.room_id).map_err(|_| RoomError::NotJoinable)?;
        let connection = connection(ask.connection_id.as_deref())?;
        let joined = self
            .rooms
            .join(user(&ask.user_id)?, room, connection)
            .await?;
        Ok(Response::new(pb::JoinRoomResponse {
            room: Some(convert::room(&joined)),
        }))
    }

    async fn leave_room(
        &self,
        request: Request<pb::LeaveRoomRequest>,
    ) -> Result<Response<pb::LeaveRoomResponse>, Status> {
        let ask = request.into_inner();
        let what = match connection(ask.connection_id.as_deref())? {
            Some(connection) if ask.session_ended => Leaving::EndedConnection(connection),
            Some(connection) => Leaving::Connection(connection),
            None => Leaving::User,
        };
        let left_at = match room(&ask.room_id) {
            Ok(room) => self.rooms.leave(user(&ask.user_id)?, room, what).await?,
            // Who leaves a room that is none has left it.
            Err(_) => self.rooms.clock.now(),
        };
        Ok(Response::new(pb::LeaveRoomResponse {
            left_at: Some(timestamp(left_at.0)),
        }))
    }

    async fn get_room(
        &self,
        request: Request<pb::GetRoomRequest>,
    ) -> Result<Response<pb::GetRoomResponse>, Status> {
        let ask = request.into_inner();
        let found = self
            .rooms
            .get(user(&ask.user_id)?, room(&ask.room_id)?)
            .await?;
        Ok(Response::new(pb::GetRoomResponse {
            room: Some(convert::room(&found)),
        }))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let ask = request.into_inner();
        let search = MemberSearch::parse(&ask.query, &ask.cursor, ask.limit);
        let search = search.map_err(RoomError::Invalid)?;
        let found = self
            .rooms
            .members(user(&ask.user_id)?, room(&ask.room_id)?, &search)
            .await?;
        Ok(Response::new(convert::member_page(&found)))
    }

    async fn get_snapshot(
        &self,
        request: Request<pb::GetSnapshotRequest>,
    ) -> Result<Response<pb::GetSnapshotResponse>, Status> {
        let id = room(&request.into_inner().room_id)?;
        let event = snapshot_event(&self.rooms, id)
            .await?
            .ok_or(RoomError::NotFound)?;
        Ok(Response::new(pb::GetSnapshotResponse {
            event: Some(event),
        }))
    }

    async fn list_rooms(
        &self,
        request: Request<pb::ListRoomsRequest>,
    ) -> Result<Response<pb::ListRoomsResponse>, Status> {
        let rooms = self
            .rooms
            .list(user(&request.into_inner().user_id)?)
            .await?;
        Ok(Response::new(pb::ListRoomsResponse {
            rooms: rooms.iter().map(convert::room).collect(),
        }))
    }

    async fn close_room(
        &self,
        request: Request<pb::CloseRoomRequest>,
    ) -> Result<Response<pb::CloseRoomResponse>, Status> {
        let ask = request.into_inner();
        let by = ask.user_id.as_deref().map(user).transpose()?;
        self.rooms.close(by, room(&ask.room_id)?).await?;
        Ok(Response::new(pb::CloseRoomResponse {}))
    }

    async fn sync_state(
        &self,
        request: Request<pb::SyncStateRequest>,
    ) -> Result<Response<pb::SyncStateResponse>, Status> {
        let ask = request.into_inner();
        let update = PlaybackUpdate {
            playing: ask.playing,
            position: ask.position,
            current_time: ask.current_time,
            timestamp_ms: ask.timestamp_ms,
            rate: ask.rate,
        };
        let room = own_room(&ask.room_id)?;
        let connection = connection(ask.connection_id.as_deref())?;
        let song = song_update(ask.song)?;
        let (version, accepted_at) = self
            .rooms
            .sync(user(&ask.user_id)?, room, connection, &update, song)
            .await?;
        Ok(Response::new(pb::SyncStateResponse {
            version: convert::version(version),
            accepted_at: Some(timestamp(accepted_at.0)),
        }))
    }

    async fn get_state(
        &self,
        request: Request<pb::GetStateRequest>,
    ) -> Result<Response<pb::GetStateResponse>, Status> {
        let ask = request.into_inner();
        let found = self
            .rooms
            .state(user(&ask.user_id)?, own_room(&ask.room_id)?)
            .await?;
        Ok(Response::new(pb::GetStateResponse {
            state: Some(convert::state(&found)),
        }))
    }

    async fn transfer_host(
        &self,
        request: Request<pb::TransferHostRequest>,
    ) -> Result<Response<pb::TransferHostResponse>, Status> {
        let ask = request.into_inner();
        let room = own_room(&ask.room_id)?;
        let to = ask
            .new_host_id
            .parse()
            .map_err(|_| RoomError::Refused(Refusal::NoSuchParticipant))?;
        let (version, accepted_at) = self.rooms.transfer(user(&ask.user_id)?, room, to).await?;
        Ok(Response::new(pb::TransferHostResponse {
            version: convert::version(version),
            accepted_at: Some(timestamp(accepted_at.0)),
        }))
    }

    async fn renew_connections(
        &self,
        request: Request<pb::RenewConnectionsRequest>,
    ) -> Result<Response<pb::RenewConnectionsResponse>, Status> {
        let ask = request.into_inner();
        let connections = connected(&ask.connections)?;
        let (renewed, counts) = if ask.are_new {
            self.rooms.arrive(&connections).await?
        } else {
            (self.rooms.renew(&connections).await?, HashMap::new())
        };
        for measurements in ask.measurements {
            // A room that does not exist has nobody to tell.
            if let Ok(room) = room(&measurements.room_id) {
                let measured = convert::decode_measured(measurements);
                self.rooms.measured(room, &ask.gateway_id, measured).await?;
            }
        }
        Ok(Response::new(pb::RenewConnectionsResponse {
            detached_connection_ids: renewed.detached.iter().map(ToString::to_string).collect(),
            last_events: renewed
                .last_events
                .into_iter()
                .map(|(room, revision)| pb::LastEvent {
                    room_id: room.to_string(),
                    revision: convert::version(revision),
                })
                .collect(),
            connections_of_users: counts
                .into_iter()
                .map(|(user, count)| (user.to_string(), count))
                .collect(),
        }))
    }

    async fn drop_connections(
        &self,
        request: Request<pb::DropConnectionsRequest>,
    ) -> Result<Response<pb::DropConnectionsResponse>, Status> {
        let connections = connected(&request.into_inner().connections)?;
        self.rooms.drop_connections(&connections).await?;
        Ok(Response::new(pb::DropConnectionsResponse {}))
    }

    async fn get_presence(
        &self,
        request: Request<pb::GetPresenceRequest>,
    ) -> Result<Response<pb::GetPresenceResponse>, Status> {
        let ask = request.into_inner();
        if ask.other_user_ids.len() > PRESENCES_MAX {
            return Err(wrong("other_user_ids", "at most 1000"));
        }
        let others = ask
            .other_user_ids
            .iter()
            .map(|id| user(id))
            .collect::<Result<Vec<_>, _>>()?;
        let presences = self.rooms.presence(user(&ask.user_id)?, &others).await?;
        Ok(Response::new(pb::GetPresenceResponse {
            presences: presences
                .iter()
                .map(|presence| pb::Presence {
                    user_id: presence.user.to_string(),
                    online: presence.online,
                    room_id: presence.room.map(|room| room.to_string()),
                })
                .collect(),
        }))
    }

    type WatchRoomStream = BoxStream<'static, Result<pb::WatchRoomResponse, Status>>;

    async fn watch_room(
        &self,
        request: Request<pb::WatchRoomRequest>,
    ) -> Result<Response<Self::WatchRoomStream>, Status> {
        let id = room(&request.into_inner().room_id)?;
        // Nobody subscribes to what is not there: a feed once made waits for its room to end.
        if self.rooms.view(id, &[]).await?.is_none() {
            return Err(RoomError::NotFound.into());
        }
        let feed = self
            .rooms
            .live
            .subscribe(id)
            .await
            .map_err(RoomError::from)?;
        let first = snapshot_event(&self.rooms, id)
            .await?
            .ok_or(RoomError::NotFound)?;
        let rooms = self.rooms.clone();
        let events = follow::<_, Status>(first, feed, move || {
            let rooms = rooms.clone();
            async move {
                let event = snapshot_event(&rooms, id).await?;
                Ok(event.unwrap_or_else(|| closed_meanwhile(&id.to_string(), rooms.clock.now())))
            }
        });
        let shutdown = self.shutdown.clone();
        let stream = events
            .map(|event| {
                event.map(|event| pb::WatchRoomResponse {
                    event: Some(Arc::unwrap_or_clone(event)),
                })
            })
            .take_until(async move { shutdown.ending().await });
        Ok(Response::new(stream.boxed()))
    }
}

/// A room as those who watch it begin with; `None` if it is not there.
async fn snapshot_event(rooms: &Rooms, room: RoomId) -> Result<Option<pb::RoomEvent>, RoomError> {
    match rooms.snapshot(room).await {
        Ok(snapshot) => Ok(Some(convert::snapshot_event(&snapshot, rooms.clock.now()))),
        Err(RoomError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
