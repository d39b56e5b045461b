//! What rooms need to know of people, from the services that know it.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use tonic::Status;
use tutti_common::{ids::UserId, rpc::Transport};
use tutti_proto::{
    auth::{GetUsersRequest, auth_service_client::AuthServiceClient},
    friends::{CheckFriendshipsRequest, friend_service_client::FriendServiceClient},
};

use crate::names::{Found, Names};

/// How many friendships the friend service checks at once.
const FRIENDSHIPS_MAX: usize = 500;

/// Those who know people do not answer.
#[derive(Debug, thiserror::Error)]
#[error("accounts and friends do not answer")]
pub struct PeopleError(#[from] pub Status);

/// Who people are and who is whose friend.
#[async_trait]
pub trait People: Send + Sync + 'static {
    /// A user's name; `None` if there is no such user.
    async fn username(&self, user: UserId) -> Result<Option<String>, PeopleError>;

    /// Which of the others are the user's friends.
    async fn friends_among(
        &self,
        user: UserId,
        others: &[UserId],
    ) -> Result<HashSet<UserId>, PeopleError>;
}

/// The auth service, over gRPC.
#[derive(Clone, Debug)]
pub struct RemotePeople {
    auth: AuthServiceClient<Transport>,
    friends: FriendServiceClient<Transport>,
    names: Arc<Names>,
}

impl RemotePeople {
    /// Asks through `transport`.
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        Self {
            auth: AuthServiceClient::new(transport.clone()),
            friends: FriendServiceClient::new(transport),
            names: Arc::default(),
        }
    }

    async fn names_of(&self, users: Vec<UserId>) -> Found {
        let request = GetUsersRequest {
            user_ids: users.iter().map(ToString::to_string).collect(),
        };
        let answer = self.auth.clone().get_users(request).await?.into_inner();
        let users = answer.users.into_iter();
        Ok(users
            .filter_map(|user| Some((user.user_id.parse().ok()?, user.username)))
            .collect())
    }
}

#[async_trait]
impl People for RemotePeople {
    async fn username(&self, user: UserId) -> Result<Option<String>, PeopleError> {
        Ok(self.names.of(user, |users| self.names_of(users)).await?)
    }

    async fn friends_among(
        &self,
        user: UserId,
        others: &[UserId],
    ) -> Result<HashSet<UserId>, PeopleError> {
        let mut found = HashSet::new();
        for others in others.chunks(FRIENDSHIPS_MAX) {
            let request = CheckFriendshipsRequest {
                user_id: user.to_string(),
                other_user_ids: others.iter().map(ToString::to_string).collect(),
            };
            let answer = self.friends.clone().check_friendships(request).await?;
            let friends = answer.into_inner().friend_ids;
            found.extend(friends.iter().filter_map(|id| id.parse::<UserId>().ok()));
        }
        Ok(found)
    }
}
