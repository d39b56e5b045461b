//! The gRPC surface: a handler decodes, calls, encodes.

use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes};
use tutti_common::{
    ids::UserId,
    status::{Violation, invalid},
};
use tutti_proto::{
    auth::{self as proto, auth_service_server::AuthServiceServer},
    friends::friend_service_server::FriendServiceServer,
};

use crate::{accounts::Accounts, domain::account::User, friends::Friends, store::StoreError};

mod auth;
mod friends;

pub(crate) fn routes(accounts: &Accounts, friends: &Friends, end: &CancellationToken) -> Routes {
    let auth = auth::AuthRpc {
        accounts: accounts.clone(),
        end: end.clone(),
    };
    let friends = friends::FriendRpc {
        friends: friends.clone(),
    };
    Routes::new(AuthServiceServer::new(auth)).add_service(FriendServiceServer::new(friends))
}

/// Most ids in one question, as the .proto files say.
const MAX_IDS: usize = 500;

/// Those of the ids that can be somebody's; the others are nobody's.
fn user_ids(field: &str, ids: &[String]) -> Result<Vec<UserId>, Status> {
    if ids.len() > MAX_IDS {
        return Err(invalid(&[Violation::new(field, "at most 500")]));
    }
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

fn from_store(error: &StoreError) -> Status {
    match error {
        StoreError::Unavailable(source) => {
            tutti_common::status::unavailable("the database", source)
        }
        StoreError::Internal(source) => tutti_common::status::internal(source),
    }
}

fn user(user: User) -> proto::User {
    proto::User {
        user_id: user.id.to_string(),
        username: user.username,
        name: user.name,
    }
}
