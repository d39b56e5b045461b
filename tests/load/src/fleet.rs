//! What is put under load: Tutti as parts, Tutti as one process, and Node's socket.io with its Redis
//! adapter. Each measurement has programs of its own, on a database and a Redis database of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, ensure};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tonic::metadata::MetadataValue;
use tutti_proto::rooms::{CreateRoomRequest, room_service_client::RoomServiceClient};

use crate::{
    people::People,
    program::{self, Cpu, Program},
};

/// By which the parts of Tutti know each other here.
const SERVICE_KEY: &str = "only-for-this-run";

/// What everything is started with.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) tutti: PathBuf,
    /// Any database of the server.
    pub(crate) postgres: String,
    /// Without a database number.
    pub(crate) redis: String,
    /// The Node server's script.
    pub(crate) node: Option<PathBuf>,
    /// How many users there are.
    pub(crate) people: usize,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// auth, room and two gateways.
    Parts,
    /// One process with SQLite.
    Standalone,
    /// Two processes of socket.io.
    Node,
}

/// Running programs.
pub(crate) struct Fleet {
    pub(crate) kind: Kind,
    /// What clients connect to.
    pub(crate) gateways: Vec<Program>,
    /// The parts behind them.
    pub(crate) behind: Vec<Program>,
    pub(crate) people: People,
    database: Option<NewDatabase>,
    _folder: TempDir,
}

/// Numbers databases.
static STARTED: AtomicU32 = AtomicU32::new(0);

impl Fleet {
    pub(crate) async fn start(kind: Kind, means: &Means) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = folder.path();
        let key_file = at.join("signing-key.pem");
        let made = Command::new(&means.tutti).arg("keygen").output()?;
        ensure!(made.status.success(), "tutti keygen failed");
        std::fs::write(&key_file, made.stdout)?;
        let people = People::new(&key_file, means.people)?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        // A Redis has 16 databases, more than there are measurements in a run; the first is others'.
        let redis = format!("{}/{}", means.redis, 1 + number % 15);
        let mut database = None;
        let (gateways, behind) = match kind {
            Kind::Parts => {
                let made = NewDatabase::make(&means.postgres, number).await?;
                let url = made.url.clone();
                database = Some(made);
                let tutti = |part: &str| {
                    let mut command = tutti(means, at, &key_file);
                    command
                        .arg(part)
                        .env("DATABASE_URL", &url)
                        .env("REDIS_URL", &redis)
                        .env("SERVICE_KEYS", format!("bench:{SERVICE_KEY}"));
                    command
                };
                let mut auth = tutti("auth");
                auth.env("AUTH_GRPC_ADDR", "127.0.0.1:0");
                let auth = Program::start("auth", auth, at).await?;
                people.register(&url).await?;
                let auth_url = format!("http://{}", auth.address);
                let mut room = tutti("room");
                room.env("ROOM_GRPC_ADDR", "127.0.0.1:0")
                    .env("AUTH_URL", &auth_url);
                let room = Program::start("room", room, at).await?;
                let mut gateways = Vec::new();
                for name in ["gateway-1", "gateway-2"] {
                    let mut gateway = tutti("gateway");
                    gateway
                        .env("HTTP_ADDR", "127.0.0.1:0")
                        .env("AUTH_URL", &auth_url)
                        .env("ROOM_URL", format!("http://{}", room.address));
                    let gateway = Program::start_with_admin(name, gateway, at).await?;
                    gateways.push(gateway.ready().await?);
                }
                (gateways, vec![auth, room])
            }
            Kind::Standalone => {
                let mut standalone = tutti(means, at, &key_file);
                standalone
                    .env("HTTP_ADDR", "127.0.0.1:0")
                    .env("TUTTI_DATA_DIR", at);
                let standalone = Program::start_with_admin("standalone", standalone, at).await?;
                let file = at.join("tutti.db");
                people
                    .register(&format!("sqlite:{}", file.display()))
                    .await?;
                (vec![standalone.ready().await?], Vec::new())
            }
            Kind::Node => {
                let script = means.node.as_ref().context("no Node server")?;
                let key = people.public_key()?.map(|byte| format!("{byte:02x}"));
                let mut gateways = Vec::new();
                for name in ["node-1", "node-2"] {
                    let mut node = Command::new("node");
                    node.arg(script)
                        .env("REDIS_URL", &redis)
                        .env("PUBLIC_KEY", key.concat());
                    gateways.push(Program::start(name, node, at).await?);
                }
                (gateways, Vec::new())
            }
        };
        Ok(Self {
            kind,
            gateways,
            behind,
            people,
            database,
            _folder: folder,
        })
    }

    /// The gateway of the n-th connection.
    pub(crate) fn address(&self, at: usize) -> SocketAddr {
        self.gateways[at % self.gateways.len()].address
    }

    pub(crate) fn gateways_cpu(&self) -> anyhow::Result<Cpu> {
        self.gateways.iter().map(Program::cpu).sum()
    }

    pub(crate) fn behind_cpu(&self) -> anyhow::Result<Cpu> {
        self.behind.iter().map(Program::cpu).sum()
    }

    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        self.gateways.iter().map(Program::memory).sum()
    }

    /// Makes a room whose host is this user, as a client would.
    pub(crate) async fn make_room(&self, host: usize) -> anyhow::Result<String> {
        if self.kind == Kind::Node {
            return Ok(format!("room_{host:026}"));
        }
        let room = program::post(
            self.address(0),
            "/api/v1/rooms/create",
            &self.people.token(host)?,
            &json!({ "max_participants": 100_000 }),
        )
        .await?;
        Ok(room["room_id"].as_str().context("no room_id")?.to_owned())
    }

    /// Makes rooms that nobody here has to do with, many at a time.
    pub(crate) async fn make_other_rooms(&self, count: usize) -> anyhow::Result<()> {
        let room = self.behind.last().context("no room service")?;
        let channel = tonic::transport::Endpoint::try_from(format!("http://{}", room.address))?
            .tcp_nodelay(true)
            .connect()
            .await?;
        let client = RoomServiceClient::new(channel);
        let bearer: MetadataValue<_> = format!("Bearer {SERVICE_KEY}").parse()?;
        crate::at_once(32, 0..count, |at| {
            let (mut client, bearer) = (client.clone(), bearer.clone());
            let user_id = self.people.id(at);
            async move {
                let mut request = tonic::Request::new(CreateRoomRequest {
                    user_id,
                    ..CreateRoomRequest::default()
                });
                request.metadata_mut().insert("authorization", bearer);
                client.create_room(request).await?;
                Ok(())
            }
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn end(self) -> anyhow::Result<()> {
        // What is in front first: nobody calls a part that is gone.
        for program in self.gateways.into_iter().chain(self.behind) {
            program.end().await?;
        }
        match self.database {
            Some(database) => database.drop().await,
            None => Ok(()),
        }
    }
}

/// Tutti with the limits off that a load runs into by design, and all else as it comes.
fn tutti(means: &Means, folder: &Path, key_file: &Path) -> Command {
    let mut command = Command::new(&means.tutti);
    command
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| name == "PATH" || name == "RUST_LOG"))
        .current_dir(folder)
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .env("JWT_PRIVATE_KEY_FILE", key_file)
        // As long as the tokens that are made here: longer ones are refused.
        .env("ACCESS_TOKEN_TTL", "2h")
        .env("CONNECTIONS_PER_ADDRESS", "0")
        .env("RATE_ROOM_CREATIONS_PER_HOUR", "0")
        .env("RATE_SOCKET_EVENTS_PER_MINUTE", "0")
        .env("RATE_SOCKET_PINGS_PER_MINUTE", "0")
        .env("RATE_API_PER_MINUTE", "0")
        // Rooms that were made stay, and listeners of the last measurement do not linger in the next.
        .env("ROOM_EMPTY_GRACE", "1h")
        .env("PRESENCE_GRACE", "3s");
    command
}

/// An empty database beside the given one.
struct NewDatabase {
    server: String,
    name: String,
    url: String,
}

impl NewDatabase {
    async fn make(server: &str, number: u32) -> anyhow::Result<Self> {
        let (host, _) = server
            .rsplit_once('/')
            .context("the PostgreSQL URL names no database")?;
        let name = format!("bench_{}_{number}", std::process::id());
        let made = Self {
            server: server.to_owned(),
            url: format!("{host}/{name}"),
            name,
        };
        made.tell(&format!("CREATE DATABASE {}", made.name)).await?;
        Ok(made)
    }

    async fn drop(self) -> anyhow::Result<()> {
        self.tell(&format!("DROP DATABASE {} WITH (FORCE)", self.name))
            .await
    }

    async fn tell(&self, statement: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.server).await?;
        // The name is made of numbers.
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }
}
