//! Real Redis servers of a test's own, on free ports of loopback, which end with what stands for them. Told where
//! `TEST_REDIS_URL` is set: there Redis is installed.

#![allow(dead_code, reason = "each test needs some of it")]
#![allow(unreachable_pub, reason = "this is compiled into several tests")]

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tutti_common::{
    config::Secret,
    redis::{Bus, Redis, RedisUrl},
};

/// Whether Redis is to be tested.
pub fn is_redis_here() -> bool {
    let is_here = std::env::var_os("TEST_REDIS_URL").is_some();
    if !is_here {
        eprintln!("TEST_REDIS_URL is not set: not told on Redis");
    }
    is_here
}

/// Asks until it is so.
pub async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let patience = Duration::from_secs(30);
    let asked = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, asked)
        .await
        .expect("it becomes so");
}

/// A way to Redis, as one process has it.
pub fn redis_at(url: &str) -> Redis {
    Redis::new(&RedisUrl::parse(&Secret::new(url), None).unwrap())
}

/// The same with its ears.
pub fn redis_and_bus_at(url: &str) -> (Redis, Bus) {
    let redis = redis_at(url);
    (redis.clone(), Bus::start(redis))
}

pub fn free_port() -> u16 {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    free.local_addr().unwrap().port()
}

/// A Redis that can be killed.
pub struct Server {
    pub port: u16,
    folder: TempDir,
    is_sentinel: bool,
    args: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// A server with nothing in it; `None` where Redis is not to be tested.
    pub async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The same with further settings.
    pub async fn start_with(args: &[&str]) -> Option<Self> {
        if !is_redis_here() {
            return None;
        }
        let mut server = Self::new(free_port(), args);
        server.run().await;
        Some(server)
    }

    fn new(port: u16, args: &[&str]) -> Self {
        Self {
            port,
            folder: tempfile::tempdir().unwrap(),
            is_sentinel: false,
            args: args.iter().map(ToString::to_string).collect(),
            child: None,
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it, empty, where it was before.
    pub async fn run(&mut self) {
        self.spawn();
        self.answers().await;
    }

    fn spawn(&mut self) {
        let mut command = Command::new("redis-server");
        if !self.is_sentinel {
            command
                .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .args(["--port", &self.port.to_string()])
                .args(["--repl-diskless-sync-delay", "0"]);
        }
        let child = command
            .args(&self.args)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    async fn answers(&self) {
        eventually(async || self.try_say::<redis::Value>(&["PING"]).await.is_ok()).await;
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends a signal that `kill` knows by that name.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id();
        let kill = Command::new("kill")
            .args([&format!("-{name}"), &id.to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn is_replica_without_data(&self) -> bool {
        let replication = self.say::<String>(&["INFO", "replication"]).await;
        replication.contains("master_link_status:down")
    }

    /// Whether it is a replica and has what its master has. Who changes roles may break connections.
    pub async fn is_replica(&self) -> bool {
        let replication = self.try_say::<String>(&["INFO", "replication"]).await;
        replication.is_ok_and(|replication| replication.contains("master_link_status:up"))
    }

    /// Says something to this very server.
    pub async fn say<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_say(words).await.unwrap()
    }

    pub async fn try_say<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query_async(&mut connection).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A master, a replica, and a Sentinel that makes the replica master when the master is gone for half a second.
pub struct Sentinels {
    pub master: Server,
    pub replica: Server,
    pub sentinel: Server,
}

impl Sentinels {
    pub async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The same with further settings of the servers.
    pub async fn start_with(args: &[&str]) -> Option<Self> {
        let master = Server::start_with(args).await?;
        let of_master = format!("127.0.0.1 {}", master.port);
        let follow = ["--replicaof", &of_master];
        let replica = Server::start_with(&[&follow[..], args].concat()).await?;
        let mut sentinel = Server::new(free_port(), &[]);
        sentinel.is_sentinel = true;
        let settings = sentinel.folder().join("sentinel.conf");
        let lines = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor tutti {of_master} 1\n\
             sentinel down-after-milliseconds tutti 500\nsentinel failover-timeout tutti 3000\n",
            sentinel.port
        );
        std::fs::write(&settings, lines).unwrap();
        let settings = settings.to_str().unwrap().to_owned();
        sentinel.args = vec![settings, "--sentinel".to_owned()];
        sentinel.run().await;
        let sentinels = Self {
            master,
            replica,
            sentinel,
        };
        // It must know the replica, and the replica must have all there is.
        eventually(async || {
            let known = sentinels
                .sentinel
                .say::<Vec<redis::Value>>(&["SENTINEL", "REPLICAS", "tutti"])
                .await;
            known.len() == 1 && sentinels.replica.is_replica().await
        })
        .await;
        Some(sentinels)
    }

    pub fn url(&self) -> String {
        self.url_as("")
    }

    pub fn url_as(&self, login: &str) -> String {
        format!(
            "redis+sentinel://{login}127.0.0.1:{}/tutti",
            self.sentinel.port
        )
    }
}

/// A cluster of three masters.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// Without replicas.
    pub async fn start() -> Option<Self> {
        Self::start_with_replicas(0).await
    }

    pub async fn start_with_replicas(replicas: usize) -> Option<Self> {
        if !is_redis_here() {
            return None;
        }
        let mut nodes = Vec::new();
        for _ in 0..3 * (1 + replicas) {
            let port = free_port();
            // Its bus would be at a port of its own, ten thousand up, which need not be free or be one.
            let bus = free_port().to_string();
            let args = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            let timeout = ["--cluster-node-timeout", "1000"];
            let mut node = Server::new(port, &[args.as_slice(), timeout.as_slice()].concat());
            node.run().await;
            nodes.push(node);
        }
        let cluster = Self { nodes };
        let create = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(
                cluster
                    .nodes
                    .iter()
                    .map(|node| format!("127.0.0.1:{}", node.port)),
            )
            .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
            .output()
            .unwrap();
        assert!(create.status.success(), "{create:?}");
        for node in &cluster.nodes {
            eventually(async || {
                let info = node.say::<String>(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_state:ok") && !node.is_replica_without_data().await
            })
            .await;
        }
        Some(cluster)
    }

    pub fn url(&self) -> String {
        // One is enough: it knows the others.
        format!("redis+cluster://127.0.0.1:{}", self.nodes[0].port)
    }
}
