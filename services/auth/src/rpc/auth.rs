//! `tutti.auth.v1.AuthService`.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tutti_common::{
    clock::UnixMs,
    config::Secret,
    ids::UserId,
    limits,
    status::{Reason, Violation, error, internal, invalid, limited, unavailable},
};
use tutti_proto::{
    auth::{
        self as proto, GetAccountRequest, GetAccountResponse, GetSigningKeysRequest,
        GetSigningKeysResponse, GetUsersRequest, GetUsersResponse, LoginRequest, LoginResponse,
        LogoutRequest, LogoutResponse, RefreshRequest, RefreshResponse, RegisterRequest,
        RegisterResponse, SetUsernameRequest, SetUsernameResponse, WatchAccountsRequest,
        WatchAccountsResponse, auth_service_server::AuthService, watch_accounts_response::Event,
    },
    timestamp, unix_ms,
};

use super::{from_store, user, user_ids};
use crate::{
    accounts::{AccountError, Accounts, Newcomer, OpenSession},
    domain::{
        account::Account,
        event::{AccountEvent, Place},
        network::Network,
    },
    events::News,
    passwords::HashError,
};

pub(super) struct AuthRpc {
    pub(super) accounts: Accounts,
    pub(super) end: CancellationToken,
}

#[tonic::async_trait]
impl AuthService for AuthRpc {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let request = request.into_inner();
        let newcomer = Newcomer {
            email: &request.email,
            username: &request.username,
            password: Secret::new(&request.password),
            name: request.name.as_deref(),
        };
        let network = request.client_address.as_deref().map(Network::of);
        let opened = self.accounts.register(newcomer, network).await?;
        Ok(Response::new(RegisterResponse {
            session: Some(session(opened)),
        }))
    }

    async fn login(
        &self,
        request: Request<LoginRequest>,
    ) -> Result<Response<LoginResponse>, Status> {
        let request = request.into_inner();
        let password = Secret::new(&request.password);
        let network = request.client_address.as_deref().map(Network::of);
        let opened = self
            .accounts
            .login(&request.login, password, network)
            .await?;
        Ok(Response::new(LoginResponse {
            session: Some(session(opened)),
        }))
    }

    async fn refresh(
        &self,
        request: Request<RefreshRequest>,
    ) -> Result<Response<RefreshResponse>, Status> {
        let request = request.into_inner();
        let network = request.client_address.as_deref().map(Network::of);
        let opened = self
            .accounts
            .refresh(&request.refresh_token, network)
            .await?;
        Ok(Response::new(RefreshResponse {
            session: Some(session(opened)),
        }))
    }

    async fn logout(
        &self,
        request: Request<LogoutRequest>,
    ) -> Result<Response<LogoutResponse>, Status> {
        let request = request.into_inner();
        self.accounts.logout(&request.refresh_token).await?;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let id = user_id(&request.into_inner().user_id)?;
        let found = self.accounts.account(id).await?;
        Ok(Response::new(GetAccountResponse {
            account: Some(account(found)),
        }))
    }

    async fn set_username(
        &self,
        request: Request<SetUsernameRequest>,
    ) -> Result<Response<SetUsernameResponse>, Status> {
        let request = request.into_inner();
        let id = user_id(&request.user_id)?;
        let renamed = self.accounts.set_username(id, &request.username).await?;
        Ok(Response::new(SetUsernameResponse {
            account: Some(account(renamed)),
        }))
    }

    async fn get_users(
        &self,
        request: Request<GetUsersRequest>,
    ) -> Result<Response<GetUsersResponse>, Status> {
        let ids = user_ids("user_ids", &request.into_inner().user_ids)?;
        let users = self.accounts.users(&ids).await?;
        Ok(Response::new(GetUsersResponse {
            users: users.into_iter().map(user).collect(),
        }))
    }

    async fn get_signing_keys(
        &self,
        _: Request<GetSigningKeysRequest>,
    ) -> Result<Response<GetSigningKeysResponse>, Status> {
        let (keys, access_token_ttl) = self.accounts.public_keys().await;
        Ok(Response::new(GetSigningKeysResponse {
            keys: keys
                .into_iter()
                .map(|key| proto::SigningKey {
                    key_id: key.key_id,
                    public_key: key.bytes.to_vec(),
                })
                .collect(),
            access_token_ttl_ms: u64::try_from(access_token_ttl.as_millis()).ok(),
        }))
    }

    type WatchAccountsStream = BoxStream<'static, Result<WatchAccountsResponse, Status>>;

    async fn watch_accounts(
        &self,
        request: Request<WatchAccountsRequest>,
    ) -> Result<Response<Self::WatchAccountsStream>, Status> {
        let request = request.into_inner();
        let begin = match (request.after, request.since) {
            (Some(cursor), _) => cursor
                .parse::<Place>()
                .map_err(|_| invalid(&[Violation::new("after", "the cursor of an answer")]))?,
            (None, Some(since)) => self.accounts.place_before(UnixMs(unix_ms(&since))).await?,
            (None, None) => self.accounts.last_place().await?,
        };
        let told = self.accounts.events.listen(begin, self.end.clone());
        let told = told.map_err(|error| from_store(&error));
        Ok(Response::new(told.map_ok(answer).boxed()))
    }
}

fn user_id(text: &str) -> Result<UserId, AccountError> {
    text.parse().map_err(|_| AccountError::NoSuchUser)
}

fn session(opened: OpenSession) -> proto::Session {
    proto::Session {
        account: Some(account(opened.account)),
        access_token: opened.access_token,
        refresh_token: opened.refresh_token.expose().to_owned(),
        expires_in_s: opened.expires_in_s,
        generation: opened.generation,
    }
}

fn account(account: Account) -> proto::Account {
    proto::Account {
        user: Some(user(account.user)),
        email: account.email,
        profile_json: account.profile_json,
        created_at: Some(timestamp(account.created_at.0)),
        last_login: account.last_login.map(|at| timestamp(at.0)),
    }
}

fn answer((place, news): (Place, News)) -> WatchAccountsResponse {
    let cursor = place.to_string();
    let nothing = |caught_up| WatchAccountsResponse {
        event: None,
        cursor: cursor.clone(),
        caught_up: Some(caught_up),
    };
    let event = match news {
        News::Begins => return nothing(false),
        News::CaughtUp => return nothing(true),
        News::Happened(AccountEvent::SessionEnded(session)) => {
            Event::SessionEnded(proto::SessionEnded {
                user_id: session.user_id.to_string(),
                session_id: session.id.to_string(),
            })
        }
        News::Happened(AccountEvent::FriendshipEnded(user, other)) => {
            Event::FriendshipEnded(proto::FriendshipEnded {
                user_id: user.to_string(),
                other_user_id: other.to_string(),
            })
        }
    };
    WatchAccountsResponse {
        event: Some(event),
        cursor,
        caught_up: None,
    }
}

impl From<AccountError> for Status {
    fn from(refusal: AccountError) -> Self {
        let message = refusal.to_string();
        match refusal {
            AccountError::Invalid(violations) => invalid(&violations),
            AccountError::Limited(wait) => limited(wait.0),
            AccountError::WrongLogin | AccountError::DeadToken => {
                error(Code::Unauthenticated, Reason::AuthRequired, message)
            }
            AccountError::NoSuchUser => error(Code::NotFound, Reason::NotFound, message),
            AccountError::UsernameTaken | AccountError::EmailTaken => {
                error(Code::AlreadyExists, Reason::Conflict, message)
            }
            AccountError::Store(source) => from_store(&source),
            AccountError::Hash(source) => from_hash(&source),
            AccountError::Sign(source) => internal(&source),
            AccountError::Random(source) => internal(&source),
        }
    }
}

/// How long a client is asked to wait that has as many passwords to hash as may wait.
const FULL: Duration = Duration::from_secs(1);

fn from_hash(refusal: &HashError) -> Status {
    match refusal {
        HashError::Busy => unavailable("checking passwords", refusal),
        HashError::Full(_) => {
            limits::refused("hashing");
            limited(FULL)
        }
        // Nobody hears it.
        HashError::CallerGone => Status::cancelled(refusal.to_string()),
        HashError::Hash(_) | HashError::Kept(_) | HashError::Read(_) | HashError::Gone(_) => {
            internal(refusal)
        }
    }
}
