//! A whole auth service in this process, with the clock in the test's hand.

use std::{sync::Arc, time::Duration};

use tonic::{Code, Status};
use tutti_auth::{Auth, AuthSettings, keys::SigningKeys};
use tutti_common::{
    clock::{Clock as _, ManualClock, UnixMs},
    config::Rates,
    limits::SlidingLog,
    rpc::{self, GuardLayer, ServiceKeys, Transport},
    shutdown::Shutdown,
    sql::Database,
    status::Reason,
    token::TokenVerifier,
};
use tutti_proto::{
    auth::{
        GetSigningKeysRequest, LoginRequest, RefreshRequest, RegisterRequest, Session,
        WatchAccountsRequest, WatchAccountsResponse, auth_service_client::AuthServiceClient,
        watch_accounts_response::Event,
    },
    friends::{
        AcceptFriendRequestRequest, FriendRequest, ListFriendRequestsRequest, ListFriendsRequest,
        RejectFriendRequestRequest, RemoveFriendRequest, RequestDirection,
        SendFriendRequestRequest, SendFriendRequestResponse,
        friend_service_client::FriendServiceClient, send_friend_request_request::Target,
    },
};

/// Where every story's clock begins.
pub(crate) const START: UnixMs = UnixMs(1_704_067_200_000);

pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) use tutti_tests::{on_both_engines, on_postgres};

/// The service and those who call it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) auth: AuthServiceClient<Transport>,
    pub(crate) friends: FriendServiceClient<Transport>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) database: Database,
    pub(crate) service: Auth,
    pub(crate) shutdown: Shutdown,
}

/// The contract's limits and times.
fn settings() -> AuthSettings {
    AuthSettings {
        access_token_ttl: Duration::from_mins(15),
        refresh_token_ttl: Duration::from_hours(30 * 24),
        friend_request_cooldown: Duration::from_hours(24),
        cleanup_interval: Duration::from_millis(10),
        rates: Rates {
            friend_requests_per_hour: 10,
            stranger_requests_per_hour: 3,
            registrations_per_hour: 4,
            auth_per_minute: 30,
            login_failures_per_15_minutes: 10,
            ..Rates::UNLIMITED
        },
    }
}

impl From<Database> for World {
    fn from(database: Database) -> Self {
        Self::with(database, settings(), ManualClock::at(START))
    }
}

impl World {
    fn with(database: Database, settings: AuthSettings, clock: Arc<ManualClock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = SigningKeys::load_or_create(&folder.path().join("key.pem")).unwrap();
        Self::with_keys(database, keys, settings, clock)
    }

    fn with_keys(
        database: Database,
        keys: SigningKeys,
        settings: AuthSettings,
        clock: Arc<ManualClock>,
    ) -> Self {
        let limiter = Arc::new(SlidingLog::default());
        let service = Auth::new(&database, keys, limiter, clock.clone(), settings);
        let shutdown = Shutdown::new();
        let keys = ServiceKeys::ephemeral();
        let guard = GuardLayer::new(keys.clone(), clock.clone(), shutdown.clone());
        let transport = rpc::in_process(service.routes(), &guard);
        let transport = rpc::as_caller(transport, &keys.of("test").unwrap(), clock.clone());
        Self {
            auth: AuthServiceClient::new(transport.clone()),
            friends: FriendServiceClient::new(transport),
            clock,
            database,
            service,
            shutdown,
        }
    }

    /// The same database behind a service that asks for no patience.
    pub(crate) fn without_friend_limits(&self) -> Self {
        let mut settings = settings();
        settings.rates.friend_requests_per_hour = 0;
        settings.friend_request_cooldown = Duration::ZERO;
        Self::with(self.database.clone(), settings, self.clock.clone())
    }

    /// The same database behind a service with another limit of wrong passwords.
    pub(crate) fn with_login_failures(&self, per_15_minutes: u32) -> Self {
        let mut settings = settings();
        settings.rates.login_failures_per_15_minutes = per_15_minutes;
        Self::with(self.database.clone(), settings, self.clock.clone())
    }

    /// Another process on the same database.
    pub(crate) fn beside(&self) -> Self {
        Self::with(self.database.clone(), settings(), self.clock.clone())
    }

    /// Another process on the same database, with these keys, whose access tokens live that long.
    pub(crate) fn beside_with(&self, keys: SigningKeys, access_token_ttl: Duration) -> Self {
        let settings = AuthSettings {
            access_token_ttl,
            ..settings()
        };
        Self::with_keys(self.database.clone(), keys, settings, self.clock.clone())
    }

    pub(crate) fn time(&self) -> UnixMs {
        self.clock.now()
    }

    pub(crate) fn now(&self) -> prost_types::Timestamp {
        tutti_proto::timestamp(self.time().0)
    }

    pub(crate) async fn register(&self, request: RegisterRequest) -> Result<Session, Status> {
        let answer = self.auth.clone().register(request).await?;
        Ok(answer.into_inner().session.unwrap())
    }

    /// A new user of that name.
    pub(crate) async fn user(&self, username: &str) -> Person {
        let session = self.register(registration(username)).await.unwrap();
        Person {
            id: id_of(&session),
            world: self.clone(),
        }
    }

    pub(crate) async fn login(&self, login: &str, password: &str) -> Result<Session, Status> {
        let request = LoginRequest {
            login: login.to_owned(),
            password: password.to_owned(),
            client_address: None,
        };
        let answer = self.auth.clone().login(request).await?;
        Ok(answer.into_inner().session.unwrap())
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Result<Session, Status> {
        let request = RefreshRequest {
            refresh_token: refresh_token.to_owned(),
            client_address: None,
        };
        let answer = self.auth.clone().refresh(request).await?;
        Ok(answer.into_inner().session.unwrap())
    }

    pub(crate) async fn verifier(&self) -> TokenVerifier {
        let request = GetSigningKeysRequest {};
        let answer = self.auth.clone().get_signing_keys(request).await.unwrap();
        let keys = answer.into_inner().keys.into_iter();
        let keys = keys
            .map(|key| (key.key_id, key.public_key.try_into().unwrap()))
            .collect::<Vec<_>>();
        TokenVerifier::new(&keys)
    }

    /// Listens from now on.
    pub(crate) async fn watch(&self) -> Watch {
        self.watch_from(None, None).await
    }

    /// Listens from a cursor or from a moment on.
    pub(crate) async fn watch_from(
        &self,
        after: Option<String>,
        since: Option<prost_types::Timestamp>,
    ) -> Watch {
        let request = WatchAccountsRequest { after, since };
        let answer = self.auth.clone().watch_accounts(request).await.unwrap();
        let mut stream = answer.into_inner();
        let first = stream.message().await.unwrap().unwrap();
        assert_eq!((first.event, first.caught_up), (None, Some(false)));
        Watch {
            stream,
            cursor: first.cursor,
        }
    }

    /// Counts rows: `SELECT count(*) …`.
    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        let counted = match &self.database {
            Database::Postgres(pool) => sqlx::query_scalar(statement).fetch_one(pool).await,
            Database::Sqlite(pool) => sqlx::query_scalar(statement).fetch_one(pool).await,
        };
        counted.unwrap()
    }

    pub(crate) async fn execute(&self, statement: &'static str) {
        match &self.database {
            Database::Postgres(pool) => {
                sqlx::raw_sql(statement).execute(pool).await.unwrap();
            }
            Database::Sqlite(pool) => {
                sqlx::raw_sql(statement).execute(pool).await.unwrap();
            }
        }
    }
}

/// What happens to accounts.
pub(crate) struct Watch {
    stream: tonic::Streaming<WatchAccountsResponse>,
    pub(crate) cursor: String,
}

impl Watch {
    /// The next event; none where the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let heard = self.next_answer().await?;
            if heard.event.is_some() {
                return heard.event;
            }
        }
    }

    /// The next answer, with an event or without.
    pub(crate) async fn next_answer(&mut self) -> Option<WatchAccountsResponse> {
        let heard = self.stream.message().await.unwrap()?;
        self.cursor.clone_from(&heard.cursor);
        Some(heard)
    }
}

/// A user, and what they do with friends.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) world: World,
}

impl Person {
    pub(crate) async fn ask(&self, other: &Person) -> Result<SendFriendRequestResponse, Status> {
        self.ask_for(Some(Target::ReceiverId(other.id.clone())))
            .await
    }

    pub(crate) async fn ask_by_name(
        &self,
        username: &str,
    ) -> Result<SendFriendRequestResponse, Status> {
        self.ask_for(Some(Target::Username(username.to_owned())))
            .await
    }

    pub(crate) async fn ask_for(
        &self,
        target: Option<Target>,
    ) -> Result<SendFriendRequestResponse, Status> {
        self.ask_from(None, target).await
    }

    pub(crate) async fn ask_from(
        &self,
        address: Option<&str>,
        target: Option<Target>,
    ) -> Result<SendFriendRequestResponse, Status> {
        let request = SendFriendRequestRequest {
            user_id: self.id.clone(),
            target,
            client_address: address.map(str::to_owned),
        };
        let mut friends = self.world.friends.clone();
        let answer = friends.send_friend_request(request).await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn accept(&self, request_id: &str) -> Result<FriendRequest, Status> {
        let request = AcceptFriendRequestRequest {
            user_id: self.id.clone(),
            request_id: request_id.to_owned(),
        };
        let mut friends = self.world.friends.clone();
        let answer = friends.accept_friend_request(request).await?;
        Ok(answer.into_inner().request.unwrap())
    }

    pub(crate) async fn reject(&self, request_id: &str) -> Result<FriendRequest, Status> {
        let request = RejectFriendRequestRequest {
            user_id: self.id.clone(),
            request_id: request_id.to_owned(),
        };
        let mut friends = self.world.friends.clone();
        let answer = friends.reject_friend_request(request).await?;
        Ok(answer.into_inner().request.unwrap())
    }

    pub(crate) async fn befriend(&self, other: &Person) {
        self.ask(other).await.unwrap();
        assert!(other.ask(self).await.unwrap().accepted_theirs);
    }

    pub(crate) async fn unfriend(&self, other: &Person) -> Result<(), Status> {
        let request = RemoveFriendRequest {
            user_id: self.id.clone(),
            friend_id: other.id.clone(),
        };
        self.world.friends.clone().remove_friend(request).await?;
        Ok(())
    }

    /// The usernames of their friends.
    pub(crate) async fn friends(&self) -> Vec<String> {
        let request = ListFriendsRequest {
            user_id: self.id.clone(),
        };
        let answer = self.world.friends.clone().list_friends(request).await;
        let friends = answer.unwrap().into_inner().friends.into_iter();
        friends
            .map(|friend| friend.user.unwrap().username)
            .collect()
    }

    pub(crate) async fn requests(
        &self,
        direction: RequestDirection,
    ) -> Result<Vec<FriendRequest>, Status> {
        Ok(self.page_of_requests(direction, "", None).await?.0)
    }

    /// A page of requests, and the cursor of the next one.
    pub(crate) async fn page_of_requests(
        &self,
        direction: RequestDirection,
        cursor: &str,
        limit: Option<i32>,
    ) -> Result<(Vec<FriendRequest>, Option<String>), Status> {
        let request = ListFriendRequestsRequest {
            user_id: self.id.clone(),
            direction: direction.into(),
            cursor: cursor.to_owned(),
            limit,
        };
        let mut friends = self.world.friends.clone();
        let answer = friends.list_friend_requests(request).await?.into_inner();
        Ok((answer.requests, answer.next_cursor))
    }
}

/// Of a user of that name, from nowhere.
pub(crate) fn registration(username: &str) -> RegisterRequest {
    RegisterRequest {
        email: format!("{username}@example.org"),
        username: username.to_owned(),
        password: PASSWORD.to_owned(),
        name: None,
        client_address: None,
    }
}

pub(crate) fn id_of(session: &Session) -> String {
    let account = session.account.clone().unwrap();
    account.user.unwrap().user_id
}

/// The request of a send.
pub(crate) fn request_of(response: SendFriendRequestResponse) -> FriendRequest {
    response.request.unwrap()
}

/// Asserts that it was refused, how, and with which code of the contract.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    reason: Reason,
) -> Status {
    let status = answer.expect_err("refused");
    assert_eq!((status.code(), Reason::of(&status)), (code, reason));
    status
}

/// The fields that a request was wrong in.
#[track_caller]
pub(crate) fn wrong_fields<T: std::fmt::Debug>(answer: Result<T, Status>) -> Vec<String> {
    let status = assert_refused(answer, Code::InvalidArgument, Reason::InvalidRequest);
    tutti_common::status::violations(&status)
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}
