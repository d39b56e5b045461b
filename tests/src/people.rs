//! Users, and what they do.

use tonic::Status;
use tutti_common::ids::ConnectionId;
use tutti_proto::{
    friends::{RemoveFriendRequest, SendFriendRequestRequest, send_friend_request_request::Target},
    rooms::{
        CloseRoomRequest, Connection, CreateRoomRequest, DropConnectionsRequest,
        GetPresenceRequest, GetRoomRequest, GetStateRequest, JoinRoomRequest, LeaveRoomRequest,
        ListMembersRequest, ListMembersResponse, ListRoomsRequest, Presence, Room, State,
        SyncStateRequest, SyncStateResponse, TransferHostRequest, TransferHostResponse,
    },
};

use crate::TestApp;

/// Somebody with an account. What they do without a device is done as by REST.
#[derive(Clone)]
pub struct Person {
    /// Their id.
    pub id: String,
    /// Their username.
    pub name: String,
    /// Where they are.
    pub app: TestApp,
}

/// A connection of somebody, as a gateway sees it. Reported as alive until it is lost.
pub struct Device {
    /// Its id.
    pub id: String,
    owner: Person,
}

/// What a host says while it plays.
#[must_use]
pub fn playing(position: f64) -> SyncStateRequest {
    SyncStateRequest {
        playing: true,
        position,
        ..SyncStateRequest::default()
    }
}

/// What a host says while it does not.
#[must_use]
pub fn paused(position: f64) -> SyncStateRequest {
    SyncStateRequest {
        playing: false,
        ..playing(position)
    }
}

impl Person {
    /// The same person before another app on the same database.
    #[must_use]
    pub fn at(&self, app: &TestApp) -> Self {
        Self {
            app: app.clone(),
            ..self.clone()
        }
    }

    /// Another device of theirs.
    #[must_use]
    pub fn device(&self) -> Device {
        let id = ConnectionId::new().to_string();
        let device = Device {
            id,
            owner: self.clone(),
        };
        device.reports_itself(None);
        device
    }

    /// Makes a room as it comes: open, nameless. Returns its id.
    pub async fn create_room(&self) -> String {
        let room = self.create(CreateRoomRequest::default()).await;
        room.unwrap().room_id
    }

    /// Makes a room for friends only. Returns its id.
    pub async fn create_friends_only_room(&self) -> String {
        let room = self.create(CreateRoomRequest {
            is_friends_only: true,
            ..CreateRoomRequest::default()
        });
        room.await.unwrap().room_id
    }

    /// Makes a room with room for so many. Returns its id.
    pub async fn create_room_for(&self, max_participants: i64) -> String {
        let room = self.create(CreateRoomRequest {
            max_participants: Some(max_participants),
            ..CreateRoomRequest::default()
        });
        room.await.unwrap().room_id
    }

    /// Makes a room; `terms` need not say who does.
    pub async fn create(&self, terms: CreateRoomRequest) -> Result<Room, Status> {
        let request = CreateRoomRequest {
            user_id: self.id.clone(),
            ..terms
        };
        let answer = self.app.room_service().create_room(request).await?;
        Ok(answer.into_inner().room.unwrap())
    }

    /// Joins, for a minute and the grace.
    pub async fn join(&self, room_id: &str) -> Result<Room, Status> {
        self.join_by(room_id, None).await
    }

    async fn join_by(&self, room_id: &str, connection: Option<&str>) -> Result<Room, Status> {
        let request = JoinRoomRequest {
            user_id: self.id.clone(),
            room_id: room_id.to_owned(),
            connection_id: connection.map(str::to_owned),
        };
        let answer = self.app.room_service().join_room(request).await?;
        Ok(answer.into_inner().room.unwrap())
    }

    /// Leaves with all devices.
    pub async fn leave(&self, room_id: &str) -> Result<(), Status> {
        self.leave_by(room_id, None, false).await
    }

    async fn leave_by(
        &self,
        room_id: &str,
        connection: Option<&str>,
        session_ended: bool,
    ) -> Result<(), Status> {
        let request = LeaveRoomRequest {
            user_id: self.id.clone(),
            room_id: room_id.to_owned(),
            connection_id: connection.map(str::to_owned),
            session_ended,
        };
        let answer = self.app.room_service().leave_room(request).await?;
        answer.into_inner().left_at.unwrap();
        Ok(())
    }

    /// Looks at a room.
    pub async fn see(&self, room_id: &str) -> Result<Room, Status> {
        let request = GetRoomRequest {
            user_id: self.id.clone(),
            room_id: room_id.to_owned(),
        };
        let answer = self.app.room_service().get_room(request).await?;
        Ok(answer.into_inner().room.unwrap())
    }

    /// A page of those in a room who have `query` in their name, and where the next one begins.
    pub async fn members(
        &self,
        room_id: &str,
        query: &str,
        cursor: Option<String>,
    ) -> Result<ListMembersResponse, Status> {
        let request = ListMembersRequest {
            user_id: self.id.clone(),
            room_id: room_id.to_owned(),
            query: query.to_owned(),
            cursor: cursor.unwrap_or_default(),
            limit: None,
        };
        let answer = self.app.room_service().list_members(request).await?;
        Ok(answer.into_inner())
    }

    /// The ids of the rooms they are in.
    pub async fn rooms(&self) -> Vec<String> {
        let request = ListRoomsRequest {
            user_id: self.id.clone(),
        };
        let answer = self.app.room_service().list_rooms(request).await.unwrap();
        let rooms = answer.into_inner().rooms.into_iter();
        rooms.map(|room| room.room_id).collect()
    }

    /// Ends a room.
    pub async fn close(&self, room_id: &str) -> Result<(), Status> {
        let request = CloseRoomRequest {
            user_id: Some(self.id.clone()),
            room_id: room_id.to_owned(),
        };
        self.app.room_service().close_room(request).await?;
        Ok(())
    }

    /// Says what plays where; `update` need not say who and in which room.
    pub async fn sync(
        &self,
        room_id: &str,
        update: SyncStateRequest,
    ) -> Result<SyncStateResponse, Status> {
        let request = SyncStateRequest {
            user_id: self.id.clone(),
            room_id: room_id.to_owned(),
            ..update
        };
        let answer = self.app.room_service().sync_state(request).await?;
        Ok(answer.into_inner())
    }

    /// Asks what plays where.
    pub async fn state(&self, room_id: &str) -> Result<State, Status> {
        let request = GetStateRequest {
            user_id: self.id.clone(),
            room_id: room_id.to_owned(),
        };
        let answer = self.app.room_service().get_state(request).await?;
        Ok(answer.into_inner().state.unwrap())
    }

    /// Makes somebody else host.
    pub async fn hand_over(
        &self,
        room_id: &str,
        to: &Person,
    ) -> Result<TransferHostResponse, Status> {
        let request = TransferHostRequest {
            user_id: self.id.clone(),
            room_id: room_id.to_owned(),
            new_host_id: to.id.clone(),
        };
        let answer = self.app.room_service().transfer_host(request).await?;
        Ok(answer.into_inner())
    }

    /// Whether somebody is online, and in which room one may join them.
    pub async fn presence_of(&self, other: &Person) -> Presence {
        let request = GetPresenceRequest {
            user_id: self.id.clone(),
            other_user_ids: vec![other.id.clone()],
        };
        let answer = self.app.room_service().get_presence(request).await.unwrap();
        let [presence] = answer.into_inner().presences.try_into().unwrap();
        presence
    }

    /// Both become friends.
    pub async fn befriend(&self, other: &Person) {
        self.ask(other).await;
        other.ask(self).await;
    }

    async fn ask(&self, other: &Person) {
        let request = SendFriendRequestRequest {
            user_id: self.id.clone(),
            target: Some(Target::ReceiverId(other.id.clone())),
            client_address: None,
        };
        let mut friends = self.app.friend_service_beside();
        friends.send_friend_request(request).await.unwrap();
    }

    /// They are friends no more. It happens in another auth process than the one the room service asks.
    pub async fn unfriend(&self, other: &Person) {
        let request = RemoveFriendRequest {
            user_id: self.id.clone(),
            friend_id: other.id.clone(),
        };
        let mut friends = self.app.friend_service_beside();
        friends.remove_friend(request).await.unwrap();
    }
}

impl Device {
    fn reports_itself(&self, room_id: Option<&str>) {
        self.owner.app.reports(self.connection(room_id));
    }

    fn connection(&self, room_id: Option<&str>) -> Connection {
        Connection {
            connection_id: self.id.clone(),
            user_id: self.owner.id.clone(),
            room_id: room_id.map(str::to_owned),
        }
    }

    /// Joins, and is attached from now on.
    pub async fn join(&self, room_id: &str) -> Result<Room, Status> {
        let room = self.owner.join_by(room_id, Some(&self.id)).await?;
        self.reports_itself(Some(room_id));
        Ok(room)
    }

    /// Leaves with this device.
    pub async fn leave(&self, room_id: &str) -> Result<(), Status> {
        self.reports_itself(None);
        self.owner.leave_by(room_id, Some(&self.id), false).await
    }

    /// Its session ends, and its gateway says so.
    pub async fn log_out(&self, room_id: &str) -> Result<(), Status> {
        self.vanish();
        self.owner.leave_by(room_id, Some(&self.id), true).await
    }

    /// Says what plays where, by this device.
    pub async fn sync(
        &self,
        room_id: &str,
        update: SyncStateRequest,
    ) -> Result<SyncStateResponse, Status> {
        let update = SyncStateRequest {
            connection_id: Some(self.id.clone()),
            ..update
        };
        self.owner.sync(room_id, update).await
    }

    /// Its line is lost, and its gateway says so.
    pub async fn lose(&self, room_id: &str) {
        self.vanish();
        let request = DropConnectionsRequest {
            connections: vec![self.connection(Some(room_id))],
        };
        let mut rooms = self.owner.app.room_service();
        rooms.drop_connections(request).await.unwrap();
    }

    /// Its gateway is gone, and nobody says so.
    pub fn vanish(&self) {
        self.owner.app.reports_no_more(&self.id);
    }
}
