//! Where a room's events come from.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use tonic::Status;
use tutti_common::rpc::Transport;
use tutti_proto::rooms::{RoomEvent, WatchRoomRequest, room_service_client::RoomServiceClient};

/// A room's snapshot and then its events. An error ends it; it is to be opened again.
pub(super) type Feed = BoxStream<'static, Result<Arc<RoomEvent>, Status>>;

/// Where rooms' events come from.
#[derive(Clone)]
pub(crate) struct Feeds {
    rooms: RoomServiceClient<Transport>,
}

impl Feeds {
    /// From the room service.
    pub(crate) fn new(room: Transport) -> Self {
        Self {
            rooms: RoomServiceClient::new(room),
        }
    }

    /// `NOT_FOUND` if there is no such room.
    pub(super) async fn open(&self, room_id: &str) -> Result<Feed, Status> {
        let request = WatchRoomRequest {
            room_id: room_id.to_owned(),
        };
        let stream = self.rooms.clone().watch_room(request).await?.into_inner();
        let events = stream.map_ok(|heard| Arc::new(heard.event.unwrap_or_default()));
        Ok(events.boxed())
    }
}
