//! Where a room's events come from: with Redis from where the room service publishes them, otherwise from the room
//! service itself.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use tonic::{Code, Status};
use tutti_common::{
    clock::SharedClock,
    follow::{Heard, closed_meanwhile, follow},
    redis::{Bus, PREFIX, room_channel},
    rpc::Transport,
};
use tutti_proto::rooms::{
    GetSnapshotRequest, RoomEvent, WatchRoomRequest, room_service_client::RoomServiceClient,
};

/// A room's snapshot and then its events. An error ends it; it is to be opened again.
pub(super) type Feed = BoxStream<'static, Result<Arc<RoomEvent>, Status>>;

/// Where rooms' events come from.
#[derive(Clone)]
pub(crate) struct Feeds {
    rooms: RoomServiceClient<Transport>,
    bus: Option<Bus>,
    clock: SharedClock,
}

impl Feeds {
    /// From the `bus` where there is one: then no death of a room service interrupts them.
    pub(crate) fn new(room: Transport, bus: Option<Bus>, clock: SharedClock) -> Self {
        Self {
            rooms: RoomServiceClient::new(room),
            bus,
            clock,
        }
    }

    /// `NOT_FOUND` if there is no such room.
    pub(super) async fn open(&self, room_id: &str) -> Result<Feed, Status> {
        match &self.bus {
            Some(bus) => self.listen(bus, room_id).await,
            None => self.watch(room_id).await,
        }
    }

    async fn listen(&self, bus: &Bus, room_id: &str) -> Result<Feed, Status> {
        let Ok(id) = room_id.parse() else {
            return Err(Status::not_found("there is no such room"));
        };
        let heard = bus
            .listen(&room_channel(PREFIX, id))
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let first = self.snapshot(room_id).await?;
        let (feeds, room_id) = (self.clone(), room_id.to_owned());
        let events = follow(first, heard.map(Heard::from), move || {
            let (feeds, room_id) = (feeds.clone(), room_id.clone());
            async move {
                match feeds.snapshot(&room_id).await {
                    Err(status) if status.code() == Code::NotFound => {
                        Ok(closed_meanwhile(&room_id, feeds.clock.now()))
                    }
                    answer => answer,
                }
            }
        });
        Ok(events.boxed())
    }

    /// Makes sure of what brings a room's events, which seems to be there and is not.
    pub(super) async fn mend(&self, room_id: &str) {
        if let (Some(bus), Ok(id)) = (&self.bus, room_id.parse())
            && let Err(error) = bus.mend(&room_channel(PREFIX, id)).await
        {
            tracing::debug!(%error, "cannot subscribe to a room again");
        }
    }

    async fn snapshot(&self, room_id: &str) -> Result<RoomEvent, Status> {
        let request = GetSnapshotRequest {
            room_id: room_id.to_owned(),
        };
        let answer = self.rooms.clone().get_snapshot(request).await?;
        Ok(answer.into_inner().event.unwrap_or_default())
    }

    async fn watch(&self, room_id: &str) -> Result<Feed, Status> {
        let request = WatchRoomRequest {
            room_id: room_id.to_owned(),
        };
        let stream = self.rooms.clone().watch_room(request).await?.into_inner();
        let events = stream.map_ok(|heard| Arc::new(heard.event.unwrap_or_default()));
        Ok(events.boxed())
    }
}
