//! Putting the parts of a role together.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpSocket};
use tonic::{service::Routes, transport::Uri};
use tutti_auth::{Auth, AuthSettings, keys::SigningKeys};
use tutti_common::{
    admin::{self, Readiness},
    clock::{AgreedClock, MonotonicClock, SharedClock, SystemClock, follow_wall_clock},
    config::{Role, Secret, Settings},
    http::{self, ConnectionLimiter, CountBy},
    limits::{Limiter, RedisLimiter, SlidingLog, TokenBuckets},
    redis::{Bus, PREFIX, Redis, TimeKeeper},
    rpc::{self, GuardLayer, Transport},
    shutdown::Shutdown,
    sql::Database,
};
use tutti_gateway::{Gateway, Reach};
use tutti_room::{
    RemotePeople, RoomSettings, Rooms,
    live::{LiveState, LocalLive, RedisLive},
};

use crate::data_folder;

const DATABASE: &str = "the database";
const REDIS: &str = "Redis";
const ROOMS: &str = "rooms";

/// How many connections the admin address takes: supervisors and those who collect metrics are few.
const ADMIN_CONNECTIONS: usize = 64;

/// How often to look whether Redis is there by now.
const LOOK_FOR_REDIS_EVERY: Duration = Duration::from_millis(500);

/// The ports of a role.
pub(crate) struct Bound {
    /// Where it serves what it is for: HTTP or gRPC.
    main: TcpListener,
    admin: Option<TcpListener>,
}

impl Bound {
    /// Binds what the role listens on.
    pub(crate) fn bind(settings: &Settings) -> anyhow::Result<Self> {
        let main = match settings.role {
            Role::Standalone | Role::Gateway => listen("HTTP_ADDR", settings.http_addr)?,
            Role::Auth => listen("AUTH_GRPC_ADDR", settings.auth_grpc_addr)?,
            Role::Room => listen("ROOM_GRPC_ADDR", settings.room_grpc_addr)?,
        };
        let admin = match listen("ADMIN_ADDR", settings.admin_addr) {
            Ok(admin) => Some(admin),
            // Nobody asked for the default one: a second Tutti on the machine is fine without it.
            Err(error) if !settings.admin_addr_is_explicit => {
                tracing::warn!("no admin address: {error:#}");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { main, admin })
    }

    /// Starts the role and says where it is once it can serve.
    pub(crate) async fn start(
        self,
        settings: &Settings,
        files: usize,
        metrics: PrometheusHandle,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Running> {
        let readiness = Readiness::default();
        if let Some(admin) = self.admin {
            let mut router = admin::router(readiness.clone(), metrics);
            if settings.admin_addr.ip().is_loopback() {
                router = admin::for_this_machine(router);
            }
            let connections = ConnectionLimiter::new(ADMIN_CONNECTIONS, ADMIN_CONNECTIONS / 2);
            shutdown.spawn(http::serve(
                admin,
                router,
                connections,
                CountBy::Peer,
                shutdown.clone(),
            ));
        }
        let redis = settings.redis_url.as_ref().map(Redis::new);
        let clock = AgreedClock::new(machine_clock(settings));
        if let Some(redis) = &redis {
            // Accounts do without it.
            if settings.role != Role::Auth {
                readiness.wait_for(REDIS);
            }
            let mut time = TimeKeeper::new(redis.clone(), clock.clone());
            // Nothing is done by a wrong clock, unless Redis is away.
            let _ = time.set().await;
            let kept = keep_time(time, readiness.clone(), shutdown.clone());
            shutdown.spawn(kept);
        } else if settings.role == Role::Standalone {
            shutdown.spawn(follow_wall_clock(clock.clone(), shutdown.clone()));
        }
        let clock: SharedClock = clock;
        let limiter: Arc<dyn Limiter> = match &redis {
            Some(redis) => Arc::new(RedisLimiter::new(redis.clone(), PREFIX)),
            None => Arc::new(SlidingLog::default()),
        };
        let buckets = Arc::new(match &redis {
            Some(redis) => TokenBuckets::shared(redis.clone(), PREFIX),
            None => TokenBuckets::default(),
        });
        shutdown.spawn(buckets.clone().run(clock.clone(), shutdown.clone()));
        let parts = Parts {
            settings,
            files,
            shutdown,
            readiness: &readiness,
            bus: redis.clone().map(Bus::start),
            redis,
            limiter,
            buckets,
            guard: GuardLayer::new(
                settings.service_keys.clone(),
                clock.clone(),
                shutdown.clone(),
            ),
            clock,
        };
        match settings.role {
            Role::Standalone => parts.standalone(self.main).await,
            Role::Gateway => {
                let auth = parts.dial(&settings.auth_url, "gateway")?;
                let room = parts.dial(&settings.room_url, "gateway")?;
                let address = self.main.local_addr()?;
                let gateway = parts.gateway(auth, room, self.main);
                println!("tutti gateway is listening on http://{address}");
                Ok(Running {
                    gateway: Some(gateway),
                    readiness,
                    ..Running::default()
                })
            }
            Role::Auth => {
                let database = parts.open_database().await?;
                let auth = parts.auth(&database).await?;
                let routes = auth.routes();
                shutdown.spawn(auth.run(shutdown.clone()));
                parts
                    .serve("auth", self.main, routes, tutti_auth::SERVICES)
                    .await?;
                Ok(Running {
                    database: Some(database),
                    readiness,
                    ..Running::default()
                })
            }
            Role::Room => {
                let database = parts.open_database().await?;
                let accounts = parts.dial(&settings.auth_url, "room")?;
                let rooms = parts.room(&database, accounts);
                let routes = tutti_room::routes(rooms.clone(), shutdown.clone());
                parts
                    .serve("room", self.main, routes, tutti_room::SERVICES)
                    .await?;
                Ok(Running {
                    database: Some(database),
                    rooms: Some(rooms),
                    readiness,
                    ..Running::default()
                })
            }
        }
    }
}

/// What is put away when all work has ended.
#[derive(Default)]
pub(crate) struct Running {
    database: Option<Database>,
    rooms: Option<Rooms>,
    gateway: Option<Gateway>,
    readiness: Readiness,
}

impl Running {
    /// Is not ready any more, and lets connections go.
    pub(crate) async fn drain(&self) {
        self.readiness.end();
        if let Some(gateway) = &self.gateway {
            gateway.drain().await;
        }
    }

    /// Records where the songs are now, and closes the database.
    pub(crate) async fn close(self) {
        if let Some(rooms) = self.rooms
            && let Err(error) = rooms.record_last_positions().await
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot record the last positions"
            );
        }
        if let Some(database) = self.database {
            database.close().await;
        }
    }
}

/// What a process adds an offset to.
fn machine_clock(settings: &Settings) -> SharedClock {
    if settings.redis_url.is_some() || settings.role == Role::Standalone {
        Arc::new(MonotonicClock::start())
    } else {
        // Parts without Redis share nothing but the machine's wall clock: one that starts after a step could not
        // agree with the others in another way.
        Arc::new(SystemClock)
    }
}

/// How many connections wait at most to be accepted. A crowd that comes at once, after a restart say, is longer than the
/// usual queue, and whoever finds no place in it tries again a second later.
const WAITING: u32 = 4_096;

fn listen(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // As `TcpListener::bind` does: a port whose last connections are not yet forgotten is free.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(WAITING)
    };
    let listening: std::io::Result<_> = listen();
    listening.with_context(|| format!("cannot listen on {name} {address}"))
}

/// Brings the schema up to date.
pub(crate) async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let database = open(&database_url(settings)?).await?;
    database
        .migrate()
        .await
        .context("cannot bring the schema up to date")?;
    database.close().await;
    println!("the schema is up to date");
    Ok(())
}

async fn open(url: &Secret) -> anyhow::Result<Database> {
    Database::open(url)
        .await
        .context("cannot open the database")
}

/// Where the database is: as set, or SQLite in the data folder.
fn database_url(settings: &Settings) -> anyhow::Result<Secret> {
    if let Some(url) = &settings.database_url {
        return Ok(url.clone());
    }
    data_folder::prepare(&settings.data_dir)?;
    let file = settings.data_dir.join("tutti.db");
    let file = file.to_str().context("TUTTI_DATA_DIR is not UTF-8")?;
    // What SQLite's address takes for syntax is escaped.
    let file = file
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    Ok(Secret::new(&format!("sqlite:{file}")))
}

/// Goes by Redis's clock, and is ready for others once it does.
async fn keep_time(mut time: TimeKeeper, readiness: Readiness, shutdown: Shutdown) {
    while !time.has_set()
        && let Err(error) = time.set().await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "waiting for Redis"
        );
        tokio::select! {
            () = tokio::time::sleep(LOOK_FOR_REDIS_EVERY) => {}
            () = shutdown.ending() => return,
        }
    }
    readiness.have(REDIS);
    time.keep(shutdown).await;
}

struct Parts<'a> {
    settings: &'a Settings,
    /// How many it may open.
    files: usize,
    shutdown: &'a Shutdown,
    readiness: &'a Readiness,
    clock: SharedClock,
    /// What processes share, where that is set.
    redis: Option<Redis>,
    /// Where rooms' events are published.
    bus: Option<Bus>,
    limiter: Arc<dyn Limiter>,
    buckets: Arc<TokenBuckets>,
    guard: GuardLayer,
}

impl Parts<'_> {
    async fn open_database(&self) -> anyhow::Result<Database> {
        self.readiness.wait_for(DATABASE);
        let database = open(&database_url(self.settings)?).await?;
        database
            .migrate()
            .await
            .context("cannot bring the schema up to date")?;
        self.readiness.have(DATABASE);
        self.shutdown
            .spawn(database.clone().count_connections(self.shutdown.clone()));
        let watch = database.clone();
        self.shutdown
            .spawn(watch.watch_writes(self.readiness.clone(), self.shutdown.clone()));
        Ok(database)
    }

    async fn auth(&self, database: &Database) -> anyhow::Result<Auth> {
        let keys = match &self.settings.jwt_private_key_file {
            Some(path) => SigningKeys::load(path)?,
            None => SigningKeys::load_or_create(&self.settings.data_dir.join("signing-key.pem"))?,
        };
        let auth = Auth::new(
            database,
            keys,
            self.limiter.clone(),
            self.clock.clone(),
            AuthSettings::from(self.settings),
        );
        auth.publish_keys()
            .await
            .context("cannot publish the signing keys")?;
        Ok(auth)
    }

    /// Live state, in Redis where that is set.
    fn live(&self, settings: &RoomSettings) -> Arc<dyn LiveState> {
        let (grace, empty_grace) = (settings.presence_grace, settings.room_empty_grace);
        let (Some(redis), Some(bus)) = (&self.redis, &self.bus) else {
            return Arc::new(LocalLive::new(grace, empty_grace));
        };
        Arc::new(RedisLive::new(
            redis.clone(),
            bus.clone(),
            PREFIX,
            grace,
            empty_grace,
        ))
    }

    /// The room service, at work.
    fn room(&self, database: &Database, accounts: Transport) -> Rooms {
        let settings = RoomSettings::from(self.settings);
        let rooms = Rooms::new(
            self.live(&settings),
            tutti_room::store::open(database),
            Arc::new(RemotePeople::new(accounts.clone())),
            self.limiter.clone(),
            self.buckets.clone(),
            self.clock.clone(),
            settings,
        );
        self.readiness.wait_for(ROOMS);
        let readiness = self.readiness.clone();
        let ready = move || readiness.have(ROOMS);
        self.shutdown
            .spawn(rooms.clone().run(accounts, self.shutdown.clone(), ready));
        rooms
    }

    fn gateway(&self, auth: Transport, room: Transport, listener: TcpListener) -> Gateway {
        let bus = self.bus.clone();
        let gateway = Gateway::new(
            Reach { auth, room, bus },
            self.limiter.clone(),
            self.buckets.clone(),
            self.clock.clone(),
            self.settings.clone(),
            self.readiness.clone(),
            self.shutdown.clone(),
        );
        let router = gateway.router();
        self.shutdown.spawn(gateway.clone().run());
        let settings = self.settings;
        self.shutdown.spawn(http::serve(
            listener,
            router,
            ConnectionLimiter::for_files(self.files, settings.connections_per_address),
            if settings.trusted_proxies > 0 {
                CountBy::Client
            } else {
                CountBy::Peer
            },
            self.shutdown.clone(),
        ));
        gateway
    }

    /// Everything in one process: the services are each other's transport.
    async fn standalone(&self, listener: TcpListener) -> anyhow::Result<Running> {
        // Its key is there even where the database is not.
        data_folder::prepare(&self.settings.data_dir)?;
        let database = self.open_database().await?;
        let auth = self.auth(&database).await?;
        let to_auth = self.in_process(auth.routes())?;
        let rooms = self.room(&database, to_auth.clone());
        let to_room = self.in_process(tutti_room::routes(rooms.clone(), self.shutdown.clone()))?;
        self.shutdown.spawn(auth.run(self.shutdown.clone()));
        let address = listener.local_addr()?;
        let gateway = self.gateway(to_auth, to_room, listener);
        self.readiness.ready().await;
        println!("Tutti is ready: http://{address}");
        println!(
            "Its data is in {}; Ctrl-C ends it.",
            self.settings.data_dir.display()
        );
        Ok(Running {
            database: Some(database),
            rooms: Some(rooms),
            gateway: Some(gateway),
            readiness: self.readiness.clone(),
        })
    }

    fn in_process(&self, routes: Routes) -> anyhow::Result<Transport> {
        let key = self.key("standalone")?;
        let service = rpc::in_process(routes, &self.guard);
        Ok(rpc::as_caller(service, &key, self.clock.clone()))
    }

    fn dial(&self, targets: &[Uri], name: &str) -> anyhow::Result<Transport> {
        let transport = rpc::dial(
            targets.to_vec(),
            self.settings.grpc_tls.clone(),
            self.shutdown,
        );
        let key = self.key(name)?;
        Ok(rpc::as_caller(transport, &key, self.clock.clone()))
    }

    fn key(&self, name: &str) -> anyhow::Result<Secret> {
        self.settings
            .service_keys
            .of(name)
            .context("there is no service key")
    }

    async fn serve(
        &self,
        name: &str,
        listener: TcpListener,
        routes: Routes,
        services: &[&'static str],
    ) -> anyhow::Result<()> {
        let address = listener.local_addr()?;
        let (routes, _health) = rpc::with_reflection_and_health(routes, services).await?;
        self.shutdown.spawn(rpc::serve(
            listener,
            routes,
            self.guard.clone(),
            self.settings.grpc_tls.clone(),
            self.shutdown.clone(),
        ));
        println!("tutti {name} is listening on {address}");
        Ok(())
    }
}
