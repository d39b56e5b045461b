//! The auth service and the room service in this process, joined together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::sync::oneshot;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, Routes, interceptor::InterceptedService},
    transport::Uri,
};
use tutti_auth::{Auth, AuthSettings, keys::SigningKeys};
use tutti_common::{
    clock::{Clock as _, ManualClock, UnixMs},
    config::{Rates, Secret},
    ids::UserId,
    limits::SlidingLog,
    redis::{Bus, Redis, RedisUrl},
    rpc::{self, GrpcTls, GuardLayer, ServiceKeys, Transport},
    shutdown::Shutdown,
    spread::Spread,
    sql::Database,
};
use tutti_proto::{
    auth::{RegisterRequest, auth_service_client::AuthServiceClient},
    friends::friend_service_client::FriendServiceClient,
    rooms::{
        CloseRoomRequest, Connection, Measurements, Playback, RenewConnectionsRequest, Room,
        WatchRoomRequest, room_service_client::RoomServiceClient,
    },
};
use tutti_room::{
    RemotePeople, RoomSettings, Rooms,
    live::{LiveState, LocalLive, RedisLive},
};

use crate::{Faults, Person, Watch};

/// Where every story's clock begins.
pub const START: UnixMs = UnixMs(1_704_067_200_000);

/// The shortest time there is.
pub const A_MOMENT: Duration = Duration::from_millis(1);

/// A moment less.
#[must_use]
pub fn almost(time: Duration) -> Duration {
    time.saturating_sub(A_MOMENT)
}

/// How far the clock moves at once: gateways say every 3 s that their connections are alive.
const STEP: Duration = Duration::from_secs(3);

/// How a backend with a service key calls. Unlike between services there is no deadline: a story may be
/// told on a busy machine.
pub type Caller = InterceptedService<Transport, WithKey>;

/// Puts the service key into every call.
#[derive(Clone, Debug)]
pub struct WithKey(MetadataValue<Ascii>);

impl Interceptor for WithKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

fn call_with(transport: Transport, key: &Secret) -> Caller {
    let bearer = format!("Bearer {}", key.expose()).parse().unwrap();
    InterceptedService::new(transport, WithKey(bearer))
}

/// How a [`TestApp`] is to be.
#[derive(Clone)]
pub struct Builder {
    database: Database,
    clock: Arc<ManualClock>,
    settings: RoomSettings,
    is_at_work: bool,
    accounts_at: Option<Uri>,
    faults: Faults,
}

impl Builder {
    /// The record and live state fail where `faults` say so.
    #[must_use]
    pub fn with_faults(mut self, faults: &Faults) -> Self {
        self.faults = faults.clone();
        self
    }

    /// How long a lost connection keeps its place; 15 s if not said.
    #[must_use]
    pub fn presence_grace(mut self, grace: Duration) -> Self {
        self.settings.presence_grace = grace;
        self
    }

    /// How long an empty room is kept; 60 s if not said.
    #[must_use]
    pub fn room_empty_grace(mut self, grace: Duration) -> Self {
        self.settings.room_empty_grace = grace;
        self
    }

    /// How often who may do what.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Rates)) -> Self {
        change(&mut self.settings.rates);
        self
    }

    /// How many rooms a user may make in an hour; any number if not said.
    #[must_use]
    pub fn room_creations_per_hour(mut self, rate: u32) -> Self {
        self.settings.rates.room_creations_per_hour = rate;
        self
    }

    /// The room service hears of ended friendships and keeps its rooms up by itself.
    #[must_use]
    pub fn at_work(mut self) -> Self {
        self.is_at_work = true;
        self
    }

    /// The room service looks for accounts and friends there.
    #[must_use]
    pub fn accounts_at(mut self, uri: &'static str) -> Self {
        self.accounts_at = Some(Uri::from_static(uri));
        self
    }

    /// Starts it, with the rooms that are in the record.
    pub async fn start(self) -> TestApp {
        let running = Running::start(&self).await;
        running.rooms.restore_all().await.unwrap();
        let shutdown = Shutdown::new();
        let keys = ServiceKeys::ephemeral();
        let auth = auth_on(&self);
        let guard = GuardLayer::new(keys.clone(), self.clock.clone(), shutdown);
        let beside = rpc::in_process(auth.routes(), &guard);
        let beside = call_with(beside, &keys.of("test").unwrap());
        TestApp {
            clock: self.clock.clone(),
            shared: Arc::new(Shared {
                running: Mutex::new(running),
                plan: self,
                friends_beside: FriendServiceClient::new(beside),
                devices: Mutex::default(),
                names: Mutex::default(),
            }),
        }
    }
}

/// The services and those who call them. Clones share everything.
#[derive(Clone)]
pub struct TestApp {
    /// The one clock.
    pub clock: Arc<ManualClock>,
    shared: Arc<Shared>,
}

struct Shared {
    plan: Builder,
    friends_beside: FriendServiceClient<Caller>,
    running: Mutex<Running>,
    /// The connections a gateway would report as alive, by id.
    devices: Mutex<HashMap<String, Connection>>,
    /// Users' names by id.
    names: Mutex<HashMap<String, String>>,
}

#[derive(Clone)]
struct Running {
    auth: AuthServiceClient<Caller>,
    friends: FriendServiceClient<Caller>,
    room: RoomServiceClient<Caller>,
    room_beside: Option<RoomServiceClient<Caller>>,
    rooms: Rooms,
    live: Arc<dyn LiveState>,
    shutdown: Shutdown,
}

impl Running {
    async fn start(plan: &Builder) -> Self {
        let shutdown = Shutdown::new();
        let keys = ServiceKeys::ephemeral();
        let key = keys.of("test").unwrap();
        let guard = GuardLayer::new(keys, plan.clock.clone(), shutdown.clone());
        let limiter = Arc::new(SlidingLog::default());
        let auth = auth_on(plan);
        let to_auth = rpc::in_process(auth.routes(), &guard);
        let accounts = match &plan.accounts_at {
            Some(uri) => rpc::dial(vec![uri.clone()], GrpcTls::default(), &shutdown),
            None => to_auth.clone(),
        };
        let accounts = rpc::as_caller(accounts, &key, plan.clock.clone());
        // Whoever starts finds nothing there.
        let prefix = format!("test:{}", UserId::new());
        let live = live_state(plan, &prefix);
        let rooms_on = |live| {
            Rooms::new(
                plan.faults.in_live_state(live),
                plan.faults
                    .in_record(tutti_room::store::open(&plan.database)),
                Arc::new(RemotePeople::new(accounts.clone())),
                limiter.clone(),
                Arc::default(),
                plan.clock.clone(),
                plan.settings,
            )
        };
        let rooms = rooms_on(live.clone());
        let client_of = |rooms| {
            let routes = tutti_room::routes(rooms, shutdown.clone());
            RoomServiceClient::new(call_with(rpc::in_process(routes, &guard), &key))
        };
        let room_beside = redis_url(plan).map(|_| client_of(rooms_on(live_state(plan, &prefix))));
        let room = client_of(rooms.clone());
        if plan.is_at_work {
            let (ready, is_ready) = oneshot::channel();
            let ready = move || ready.send(()).unwrap();
            shutdown.spawn(rooms.clone().run(accounts, shutdown.clone(), ready));
            is_ready.await.unwrap();
        }
        Self {
            auth: AuthServiceClient::new(call_with(to_auth.clone(), &key)),
            friends: FriendServiceClient::new(call_with(to_auth, &key)),
            room,
            room_beside,
            rooms,
            live,
            shutdown,
        }
    }
}

/// The auth service of one process.
fn auth_on(plan: &Builder) -> Auth {
    let folder = tempfile::tempdir().unwrap();
    Auth::new(
        &plan.database,
        SigningKeys::load_or_create(&folder.path().join("key.pem")).unwrap(),
        Arc::new(SlidingLog::default()),
        plan.clock.clone(),
        AuthSettings {
            access_token_ttl: Duration::from_mins(15),
            refresh_token_ttl: Duration::from_hours(30 * 24),
            friend_request_cooldown: Duration::ZERO,
            cleanup_interval: Duration::from_hours(1),
            rates: Rates::UNLIMITED,
        },
    )
}

/// As a deployment has it: in this process beside SQLite, in Redis beside PostgreSQL.
fn live_state(plan: &Builder, prefix: &str) -> Arc<dyn LiveState> {
    let (grace, empty_grace) = (plan.settings.presence_grace, plan.settings.room_empty_grace);
    match redis_url(plan) {
        Some(url) => {
            let redis = Redis::new(&RedisUrl::parse(&url, None).unwrap());
            let bus = Bus::start(redis.clone());
            Arc::new(RedisLive::new(redis, bus, prefix, grace, empty_grace))
        }
        None => Arc::new(LocalLive::new(grace, empty_grace)),
    }
}

fn redis_url(plan: &Builder) -> Option<Secret> {
    match (&plan.database, std::env::var("TEST_REDIS_URL")) {
        (Database::Postgres(_), Ok(url)) => Some(Secret::new(&url)),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestApp {
    /// With the contract's times, without limits; nothing happens by itself.
    pub async fn start(database: &Database) -> Self {
        Self::on(database).start().await
    }

    /// The same, to be changed before it starts.
    #[must_use]
    pub fn on(database: &Database) -> Builder {
        Builder {
            database: database.clone(),
            clock: ManualClock::at(START),
            settings: RoomSettings {
                presence_grace: Duration::from_secs(15),
                room_empty_grace: Duration::from_mins(1),
                cleanup_interval: Duration::from_hours(1),
                rates: Rates::UNLIMITED,
            },
            is_at_work: false,
            accounts_at: None,
            faults: Faults::default(),
        }
    }

    /// Ends as a crash would, and starts again on the same database a second later: nothing is written on
    /// the way out, and nobody reports a connection any more.
    pub async fn crash_and_restart(&self) {
        self.crash().await;
        self.restart().await;
    }

    /// The first half of that.
    pub async fn crash(&self) {
        self.running().shutdown.finish(Duration::ZERO).await;
        lock(&self.shared.devices).clear();
    }

    /// The second half of that.
    pub async fn restart(&self) {
        self.restart_without_rooms().await;
        self.rooms().restore_all().await.unwrap();
    }

    /// The same, and no room has been brought back from the record yet.
    pub async fn restart_without_rooms(&self) {
        self.clock.advance(Duration::from_secs(1));
        let running = Running::start(&self.shared.plan).await;
        *lock(&self.shared.running) = running;
    }

    fn running(&self) -> Running {
        lock(&self.shared.running).clone()
    }

    /// The room service, called as another backend would.
    #[must_use]
    pub fn room_service(&self) -> RoomServiceClient<Caller> {
        self.running().room
    }

    /// The room service of another process on the same record and live state, where several can share them.
    #[must_use]
    pub fn room_service_beside(&self) -> Option<RoomServiceClient<Caller>> {
        self.running().room_beside
    }

    /// Friends, by another auth process on the same database; it stays whatever crashes.
    #[must_use]
    pub fn friend_service_beside(&self) -> FriendServiceClient<Caller> {
        self.shared.friends_beside.clone()
    }

    /// Friends, called as another backend would.
    #[must_use]
    pub fn friend_service(&self) -> FriendServiceClient<Caller> {
        self.running().friends
    }

    /// What the room service would serve over TCP.
    #[must_use]
    pub fn room_routes(&self) -> Routes {
        let running = self.running();
        tutti_room::routes(running.rooms, running.shutdown)
    }

    /// The room service itself, for its upkeep.
    #[must_use]
    pub fn rooms(&self) -> Rooms {
        self.running().rooms
    }

    /// The room service's live state.
    #[must_use]
    pub fn live(&self) -> Arc<dyn LiveState> {
        self.running().live
    }

    /// What the services' tasks end with.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.running().shutdown
    }

    /// A new user of that name.
    pub async fn user(&self, name: &str) -> Person {
        let request = RegisterRequest {
            email: format!("{name}@example.org"),
            username: name.to_owned(),
            password: "correct horse".to_owned(),
            name: None,
            client_address: None,
        };
        let answer = self.running().auth.register(request).await.unwrap();
        let account = answer.into_inner().session.unwrap().account.unwrap();
        self.person(account.user.unwrap().user_id, name)
    }

    /// New users, each of whom one could tell from the others by name.
    pub async fn users<const N: usize>(&self, names: [&str; N]) -> [Person; N] {
        let people = stream::iter(names).then(|name| self.user(name));
        people.collect::<Vec<_>>().await.try_into().ok().unwrap()
    }

    /// So many users, put into the record by hand: to hash a password for each would take a while.
    pub async fn crowd(&self, size: usize) -> Vec<Person> {
        const INSERT: &str = "INSERT INTO users \
            (user_id, email, email_key, username, username_key, password_hash, created_at) \
            VALUES ($1, $2, $2, $2, $2, '', $3)";
        let mut people = Vec::with_capacity(size);
        for number in 1..=size {
            let (id, name) = (UserId::new().to_string(), format!("fan{number}"));
            let now = self.clock.now().to_datetime();
            match &self.shared.plan.database {
                Database::Postgres(pool) => {
                    let insert = sqlx::query(INSERT).bind(&id).bind(&name).bind(now);
                    insert.execute(pool).await.unwrap();
                }
                Database::Sqlite(pool) => {
                    let insert = sqlx::query(INSERT).bind(&id).bind(&name).bind(now);
                    insert.execute(pool).await.unwrap();
                }
            }
            people.push(self.person(id, &name));
        }
        people
    }

    fn person(&self, id: String, name: &str) -> Person {
        lock(&self.shared.names).insert(id.clone(), name.to_owned());
        Person {
            id,
            name: name.to_owned(),
            app: self.clone(),
        }
    }

    /// The name of a user of that id.
    #[must_use]
    pub fn name_of(&self, user_id: &str) -> String {
        lock(&self.shared.names)
            .get(user_id)
            .unwrap_or_else(|| panic!("nobody has the id {user_id}"))
            .clone()
    }

    /// The names of those in a room, in order of joining.
    #[must_use]
    pub fn names_in(&self, room: &Room) -> Vec<String> {
        let members = room.members.iter();
        members
            .map(|member| self.name_of(&member.user_id))
            .collect()
    }

    /// Listens to a room from now on.
    pub async fn watch(&self, room_id: &str) -> Watch {
        self.try_watch(room_id).await.unwrap()
    }

    /// Listens to a room from now on, if that is let be.
    pub async fn try_watch(&self, room_id: &str) -> Result<Watch, Status> {
        let request = WatchRoomRequest {
            room_id: room_id.to_owned(),
        };
        let answer = self.room_service().watch_room(request).await?;
        Watch::begin(answer.into_inner(), self.clone()).await
    }

    /// A room as it is, whoever is in it.
    pub async fn room(&self, room_id: &str) -> Room {
        self.watch(room_id).await.snapshot
    }

    /// An operator ends a room.
    pub async fn close(&self, room_id: &str) -> Result<(), Status> {
        let request = CloseRoomRequest {
            user_id: None,
            room_id: room_id.to_owned(),
        };
        self.room_service().close_room(request).await?;
        Ok(())
    }

    /// Where the song is by now.
    #[must_use]
    pub fn position_now(&self, playback: &Playback) -> f64 {
        let elapsed_s = (self.clock.now().as_f64() - playback.timestamp_ms) / 1000.0;
        if playback.playing {
            playback.position + elapsed_s * playback.rate
        } else {
            playback.position
        }
    }

    /// What the room service does by itself once in a while, all of it.
    pub async fn keep_up(&self) {
        let rooms = self.rooms();
        rooms.look_after_what_is_due().await.unwrap();
        rooms.record_positions().await.unwrap();
        rooms.finish_closing().await.unwrap();
        rooms.sweep().await.unwrap();
    }

    /// Lets time pass: devices are reported as alive, and what is due happens.
    pub async fn let_pass(&self, time: Duration) {
        let mut left = time;
        loop {
            self.rooms().look_after_what_is_due().await.unwrap();
            if left.is_zero() {
                return;
            }
            let step = left.min(STEP);
            self.clock.advance(step);
            left -= step;
            self.report().await;
        }
    }

    /// Says, as a gateway does every few seconds, which connections are alive. Returns those that are no
    /// longer attached to the room they were in.
    pub async fn report(&self) -> Vec<String> {
        let connections = lock(&self.shared.devices).values().cloned().collect();
        let request = RenewConnectionsRequest {
            connections,
            ..RenewConnectionsRequest::default()
        };
        let answer = self.room_service().renew_connections(request).await;
        answer.unwrap().into_inner().detached_connection_ids
    }

    /// Says, as a gateway does, what its listeners in a room have measured: round trips and errors, in milliseconds.
    pub async fn measured(
        &self,
        gateway: &str,
        room_id: &str,
        round_trips: &[f64],
        errors: &[f64],
    ) {
        let buckets = |times: &[f64]| {
            let mut spread = Spread::default();
            for &ms in times {
                spread.add(ms);
            }
            spread.buckets().collect()
        };
        let request = RenewConnectionsRequest {
            measurements: vec![Measurements {
                room_id: room_id.to_owned(),
                round_trips: buckets(round_trips),
                errors: buckets(errors),
            }],
            gateway_id: gateway.to_owned(),
            ..RenewConnectionsRequest::default()
        };
        self.room_service()
            .renew_connections(request)
            .await
            .unwrap();
    }

    pub(crate) fn reports(&self, connection: Connection) {
        lock(&self.shared.devices).insert(connection.connection_id.clone(), connection);
    }

    pub(crate) fn reports_no_more(&self, connection_id: &str) {
        lock(&self.shared.devices).remove(connection_id);
    }

    /// Counts rows: `SELECT count(*) …`.
    pub async fn count(&self, statement: &'static str) -> i64 {
        let counted = match &self.shared.plan.database {
            Database::Postgres(pool) => sqlx::query_scalar(statement).fetch_one(pool).await,
            Database::Sqlite(pool) => sqlx::query_scalar(statement).fetch_one(pool).await,
        };
        counted.unwrap()
    }

    /// Does something to the database behind the services' back.
    pub async fn execute(&self, statement: &'static str) {
        match &self.shared.plan.database {
            Database::Postgres(pool) => {
                sqlx::raw_sql(statement).execute(pool).await.unwrap();
            }
            Database::Sqlite(pool) => {
                sqlx::raw_sql(statement).execute(pool).await.unwrap();
            }
        }
    }
}
