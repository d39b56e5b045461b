//! `tutti.friends.v1.FriendService`.

use tonic::{Code, Request, Response, Status};
use tutti_common::{
    ids::{FriendRequestId, UserId},
    status::{Reason, Violation, error, invalid, limited},
};
use tutti_proto::{
    friends::{
        self as proto, AcceptFriendRequestRequest, AcceptFriendRequestResponse,
        CheckFriendshipsRequest, CheckFriendshipsResponse, FriendRequestStatus,
        ListFriendRequestsRequest, ListFriendRequestsResponse, ListFriendsRequest,
        ListFriendsResponse, RejectFriendRequestRequest, RejectFriendRequestResponse,
        RemoveFriendRequest, RemoveFriendResponse, RequestDirection, SearchUsersRequest,
        SearchUsersResponse, SendFriendRequestRequest, SendFriendRequestResponse,
        WithdrawFriendRequestRequest, WithdrawFriendRequestResponse,
        friend_service_server::FriendService, send_friend_request_request as send,
    },
    timestamp,
};

use super::{from_store, user, user_ids};
use crate::{
    domain::{
        friends::{
            Direction, Found, Friend, FriendRequest, Relationship, RequestPage, RequestStatus,
        },
        network::Network,
    },
    friends::{FriendError, Friends, Target},
};

pub(super) struct FriendRpc {
    pub(super) friends: Friends,
}

#[tonic::async_trait]
impl FriendService for FriendRpc {
    async fn search_users(
        &self,
        request: Request<SearchUsersRequest>,
    ) -> Result<Response<SearchUsersResponse>, Status> {
        let request = request.into_inner();
        let by = acting(&request.user_id)?;
        let found = self
            .friends
            .search(by, &request.query, request.limit)
            .await?;
        Ok(Response::new(SearchUsersResponse {
            users: found.into_iter().map(found_user).collect(),
        }))
    }

    async fn send_friend_request(
        &self,
        request: Request<SendFriendRequestRequest>,
    ) -> Result<Response<SendFriendRequestResponse>, Status> {
        let request = request.into_inner();
        let by = acting(&request.user_id)?;
        let target = match &request.target {
            Some(send::Target::Username(username)) => Target::Username(username),
            Some(send::Target::ReceiverId(id)) => Target::Id(id),
            None => return Err(wrong("username", "this or receiver_id is needed")),
        };
        let network = request.client_address.as_deref().map(Network::of);
        let asked = self.friends.ask(by, target, network.as_ref()).await?;
        Ok(Response::new(SendFriendRequestResponse {
            request: Some(friend_request(asked.request)),
            accepted_theirs: asked.accepted_theirs,
        }))
    }

    async fn accept_friend_request(
        &self,
        request: Request<AcceptFriendRequestRequest>,
    ) -> Result<Response<AcceptFriendRequestResponse>, Status> {
        let request = request.into_inner();
        let (by, id) = (acting(&request.user_id)?, request_id(&request.request_id)?);
        let answered = self.friends.answer(by, id, RequestStatus::Accepted).await?;
        Ok(Response::new(AcceptFriendRequestResponse {
            request: Some(friend_request(answered)),
        }))
    }

    async fn reject_friend_request(
        &self,
        request: Request<RejectFriendRequestRequest>,
    ) -> Result<Response<RejectFriendRequestResponse>, Status> {
        let request = request.into_inner();
        let (by, id) = (acting(&request.user_id)?, request_id(&request.request_id)?);
        let answered = self.friends.answer(by, id, RequestStatus::Rejected).await?;
        Ok(Response::new(RejectFriendRequestResponse {
            request: Some(friend_request(answered)),
        }))
    }

    async fn withdraw_friend_request(
        &self,
        request: Request<WithdrawFriendRequestRequest>,
    ) -> Result<Response<WithdrawFriendRequestResponse>, Status> {
        let request = request.into_inner();
        let (by, id) = (acting(&request.user_id)?, request_id(&request.request_id)?);
        self.friends.withdraw(by, id).await?;
        Ok(Response::new(WithdrawFriendRequestResponse {}))
    }

    async fn list_friend_requests(
        &self,
        request: Request<ListFriendRequestsRequest>,
    ) -> Result<Response<ListFriendRequestsResponse>, Status> {
        let request = request.into_inner();
        let by = acting(&request.user_id)?;
        let direction = match request.direction() {
            RequestDirection::Sent => Direction::Sent,
            RequestDirection::Received => Direction::Received,
            RequestDirection::Unspecified => return Err(wrong("type", "sent or received")),
        };
        let page = RequestPage::parse(&request.cursor, request.limit);
        let page = page.map_err(FriendError::Invalid)?;
        let (requests, next_cursor) = self.friends.requests(by, direction, page).await?;
        Ok(Response::new(ListFriendRequestsResponse {
            requests: requests.into_iter().map(friend_request).collect(),
            next_cursor,
        }))
    }

    async fn list_friends(
        &self,
        request: Request<ListFriendsRequest>,
    ) -> Result<Response<ListFriendsResponse>, Status> {
        let by = acting(&request.into_inner().user_id)?;
        let friends = self.friends.list(by).await?;
        Ok(Response::new(ListFriendsResponse {
            friends: friends.into_iter().map(friend).collect(),
        }))
    }

    async fn remove_friend(
        &self,
        request: Request<RemoveFriendRequest>,
    ) -> Result<Response<RemoveFriendResponse>, Status> {
        let request = request.into_inner();
        let by = acting(&request.user_id)?;
        let other = request.friend_id.parse();
        let other = other.map_err(|_| FriendError::NotFriends)?;
        self.friends.remove(by, other).await?;
        Ok(Response::new(RemoveFriendResponse {}))
    }

    async fn check_friendships(
        &self,
        request: Request<CheckFriendshipsRequest>,
    ) -> Result<Response<CheckFriendshipsResponse>, Status> {
        let request = request.into_inner();
        let by = acting(&request.user_id)?;
        let others = user_ids("other_user_ids", &request.other_user_ids)?;
        let friends = self.friends.among(by, &others).await?;
        Ok(Response::new(CheckFriendshipsResponse {
            friend_ids: friends.iter().map(ToString::to_string).collect(),
        }))
    }
}

fn acting(text: &str) -> Result<UserId, FriendError> {
    text.parse().map_err(|_| FriendError::NoSuchUser)
}

fn request_id(text: &str) -> Result<FriendRequestId, FriendError> {
    text.parse().map_err(|_| FriendError::NoSuchRequest)
}

fn wrong(field: &str, message: &str) -> Status {
    invalid(&[Violation::new(field, message)])
}

fn found_user(found: Found) -> proto::FoundUser {
    let relationship = match found.relationship {
        Relationship::None => proto::Relationship::None,
        Relationship::Friend => proto::Relationship::Friend,
        Relationship::RequestSent => proto::Relationship::RequestSent,
        Relationship::RequestReceived => proto::Relationship::RequestReceived,
    };
    proto::FoundUser {
        user: Some(user(found.user)),
        relationship: relationship.into(),
    }
}

fn friend_request(request: FriendRequest) -> proto::FriendRequest {
    let status = match request.status {
        RequestStatus::Pending => FriendRequestStatus::Pending,
        RequestStatus::Accepted => FriendRequestStatus::Accepted,
        RequestStatus::Rejected => FriendRequestStatus::Rejected,
    };
    proto::FriendRequest {
        request_id: request.id.to_string(),
        sender: Some(user(request.sender)),
        receiver: Some(user(request.receiver)),
        status: status.into(),
        created_at: Some(timestamp(request.created_at.0)),
        responded_at: request.responded_at.map(|at| timestamp(at.0)),
    }
}

fn friend(friend: Friend) -> proto::Friend {
    proto::Friend {
        user: Some(user(friend.user)),
        since: Some(timestamp(friend.since.0)),
    }
}

impl From<FriendError> for Status {
    fn from(refusal: FriendError) -> Self {
        let message = refusal.to_string();
        match refusal {
            FriendError::Invalid(violations) => invalid(&violations),
            FriendError::Limited(wait) => limited(wait.0),
            FriendError::NoSuchUser | FriendError::NoSuchRequest | FriendError::NotFriends => {
                error(Code::NotFound, Reason::NotFound, message)
            }
            FriendError::AlreadyFriends | FriendError::AlreadyPending => {
                error(Code::AlreadyExists, Reason::Conflict, message)
            }
            FriendError::TooSoon { .. } | FriendError::AlreadyAnswered => {
                error(Code::FailedPrecondition, Reason::Conflict, message)
            }
            FriendError::Store(source) => from_store(&source),
        }
    }
}
