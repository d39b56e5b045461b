//! Redis as it is run: behind TLS, by Sentinels, in a cluster, and while it is away. Told where `TEST_REDIS_URL` is
//! set, on servers of its own.

mod servers;

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::BoxStream};
use servers::{
    Cluster, Sentinels, Server, eventually, free_port, is_redis_here, redis_and_bus_at, redis_at,
};
use tutti_common::{
    clock::UnixMs,
    config::Secret,
    limits::{Limiter as _, RedisLimiter, Rule},
    redis::{Bus, Heard, NoAnswer, Redis, RedisUrl, Script},
};

/// What a call may take: its deadline of a second, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(2);

async fn set(redis: &Redis, key: &str, value: &str) -> bool {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value);
    redis.ask::<()>("set", &command).await.is_ok()
}

async fn get(redis: &Redis, key: &str) -> Option<String> {
    let mut command = redis::cmd("GET");
    command.arg(key);
    redis.ask("get", &command).await.unwrap()
}

async fn ping(redis: &Redis) -> Result<(), NoAnswer> {
    redis.ask::<()>("ping", &redis::cmd("PING")).await
}

/// Publishes from a script, as rooms do.
async fn publish(redis: &Redis, channel: &str, message: &str) -> bool {
    let script = Script::new("publish", "return redis.call(ARGV[1], KEYS[1], ARGV[2])");
    let args = [redis.publish_command(), message];
    redis.run::<i64>(&script, &[channel], &args).await.is_ok()
}

async fn next(feed: &mut BoxStream<'static, Heard>) -> Option<Heard> {
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, feed.next())
        .await
        .expect("something is heard")
}

/// Whoever listens is told that something may be missing, and hears what is said from then on.
async fn hears_again(redis: &Redis, channel: &str, feed: &mut BoxStream<'static, Heard>) {
    while next(feed).await != Some(Heard::Gap) {}
    eventually(async || publish(redis, channel, "again").await).await;
    while next(feed).await != Some(Heard::Message("again".into())) {}
}

/// Channels that are in the slots of each of three nodes.
fn channels() -> [String; 3] {
    // Slots 5061, 5994 and 12182 of 16384.
    ["bar", "tutti", "foo"].map(|tag| format!("t:{{{tag}}}:events"))
}

fn openssl(folder: &Path, args: &str) {
    let made = Command::new("openssl")
        .args(args.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_given_certificates_vouch_for() {
    if !is_redis_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["ca", "other"] {
        openssl(
            folder.path(),
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name}"
            ),
        );
    }
    openssl(
        folder.path(),
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout redis.key -out redis.csr -subj /CN=redis",
    );
    std::fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl(
        folder.path(),
        "x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out redis.pem",
    );
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let port = free_port().to_string();
    let args = [
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &path("redis.pem"),
        "--tls-key-file",
        &path("redis.key"),
        "--tls-ca-cert-file",
        &path("ca.pem"),
    ];
    let Some(_server) = Server::start_with(&args).await else {
        return;
    };
    let at = |ca: Option<&str>| {
        let url = Secret::new(&format!("rediss://127.0.0.1:{port}"));
        let ca = ca.map(|name| folder.path().join(name));
        RedisUrl::parse(&url, ca.as_deref()).map(|url| Redis::new(&url))
    };
    let redis = at(Some("ca.pem")).unwrap();
    assert!(set(&redis, "a", "1").await);
    assert_eq!(get(&redis, "a").await.as_deref(), Some("1"));
    let bus = Bus::start(redis.clone());
    let mut feed = bus.listen("t").await.unwrap();
    assert!(publish(&redis, "t", "hello").await);
    assert_eq!(next(&mut feed).await, Some(Heard::Message("hello".into())));
    for stranger in [Some("other.pem"), None] {
        let error = ping(&at(stranger).unwrap()).await.unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    for unreadable in ["nowhere.pem", "redis.key"] {
        let error = at(Some(unreadable)).map(drop).unwrap_err();
        assert!(error.to_string().contains("certificates"), "{error}");
    }
}

#[tokio::test]
async fn whoever_has_a_password_says_it() {
    let acl = ["--user", "ann", "on", ">p@ss:word", "~*", "&*", "+@all"];
    let args = [
        &acl[..],
        &["--user", "default", "on", "nopass", "~*", "&*", "+ping"],
    ]
    .concat();
    let Some(server) = Server::start_with(&args).await else {
        return;
    };
    let at = |login: &str| redis_at(&format!("redis://{login}127.0.0.1:{}/2", server.port));
    assert!(set(&at("ann:p%40ss%3Aword@"), "a", "1").await);
    for wrong in ["", "ann:hunter2@"] {
        let mut command = redis::cmd("GET");
        command.arg("a");
        let error = at(wrong).ask::<()>("get", &command).await.unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_failover_by_sentinel_is_followed() {
    let Some(mut servers) = Sentinels::start().await else {
        return;
    };
    let (redis, bus) = redis_and_bus_at(&servers.url());
    assert!(set(&redis, "a", "1").await);
    let mut feed = bus.listen("t").await.unwrap();
    assert!(publish(&redis, "t", "hello").await);
    assert_eq!(next(&mut feed).await, Some(Heard::Message("hello".into())));
    // The roles are changed while both live: the old master says that it may only be read.
    eventually(async || {
        let failover = ["SENTINEL", "FAILOVER", "tutti"];
        servers.sentinel.try_say::<()>(&failover).await.is_ok()
    })
    .await;
    eventually(async || servers.master.is_replica().await).await;
    eventually(async || set(&redis, "b", "2").await).await;
    hears_again(&redis, "t", &mut feed).await;
    // The new master dies.
    eventually(async || {
        let have = servers
            .master
            .try_say::<Option<String>>(&["GET", "b"])
            .await;
        have.is_ok_and(|have| have.as_deref() == Some("2"))
    })
    .await;
    servers.replica.kill();
    eventually(async || set(&redis, "c", "3").await).await;
    assert_eq!(get(&redis, "b").await.as_deref(), Some("2"));
    hears_again(&redis, "t", &mut feed).await;
}

#[tokio::test]
async fn whom_the_servers_know_sentinels_need_not_know() {
    let acl = ["--user", "ann", "on", ">secret", "~*", "&*", "+@all"];
    let Some(servers) = Sentinels::start_with(&acl).await else {
        return;
    };
    let mut who = redis::cmd("ACL");
    who.arg("WHOAMI");
    for (login, name) in [("ann:secret@", "ann"), ("", "default")] {
        let redis = redis_at(&servers.url_as(login));
        assert_eq!(redis.ask::<String>("acl", &who).await.unwrap(), name);
    }
    let stranger = redis_at(&servers.url_as("ann:hunter2@"));
    let error = ping(&stranger).await.unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_master_no_more_is_left() {
    let Some(servers) = Sentinels::start().await else {
        return;
    };
    let redis = redis_at(&servers.url());
    assert!(set(&redis, "a", "1").await);
    // By hand, so that nobody breaks connections as a Sentinel would.
    let heir = servers.replica.port.to_string();
    let follow = ["REPLICAOF", "127.0.0.1", &heir];
    servers.replica.say::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    servers.master.say::<()>(&follow).await;
    // The Sentinel has not heard of it: nothing is written, and nothing that may be old is read.
    let begun = Instant::now();
    assert!(!set(&redis, "a", "2").await);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let mut command = redis::cmd("GET");
    command.arg("a");
    let read = redis.ask::<Option<String>>("get", &command).await;
    assert!(read.is_err(), "{read:?}");
    let sentinel = &servers.sentinel;
    sentinel.say::<()>(&["SENTINEL", "REMOVE", "tutti"]).await;
    let monitor = ["SENTINEL", "MONITOR", "tutti", "127.0.0.1", &heir, "1"];
    sentinel.say::<()>(&monitor).await;
    eventually(async || set(&redis, "a", "3").await).await;
    let written = servers.replica.say::<String>(&["GET", "a"]).await;
    assert_eq!(written, "3");
}

#[tokio::test]
async fn many_commands_are_answered_in_order_wherever_their_keys_are() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let redis = redis_at(&cluster.url());
    let commands = (0..5_000).map(|number| {
        let mut command = redis::cmd("INCRBY");
        command.arg(format!("key:{number}")).arg(number);
        command
    });
    let commands = commands.collect::<Vec<_>>();
    let answers = redis.ask_all::<i64>("incr", &commands).await.unwrap();
    assert!(answers.into_iter().eq(0..5_000));
    for node in &cluster.nodes {
        assert!(node.say::<u64>(&["DBSIZE"]).await > 1_000, "all have some");
    }
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let (redis, bus) = redis_and_bus_at(&cluster.url());
    let [_, _, channel] = channels();
    let key = "{foo}:key";
    assert!(set(&redis, key, "1").await);
    let mut feed = bus.listen(&channel).await.unwrap();
    assert!(publish(&redis, &channel, "hello").await);
    assert_eq!(next(&mut feed).await, Some(Heard::Message("hello".into())));
    // By hand, step by step, so that each of them can be looked at.
    let slot = "12182";
    let mut ids = Vec::new();
    for node in &cluster.nodes {
        ids.push(node.say::<String>(&["CLUSTER", "MYID"]).await);
    }
    let mut is_there = Vec::new();
    for node in &cluster.nodes {
        is_there.push(node.try_say::<Option<String>>(&["GET", key]).await.is_ok());
    }
    let from = is_there.iter().position(|is_there| *is_there).unwrap();
    let to = (from + 1) % cluster.nodes.len();
    let (source, target) = (&cluster.nodes[from], &cluster.nodes[to]);
    let setslot = ["CLUSTER", "SETSLOT", slot];
    let say = async |node: &Server, rest: [&str; 2]| {
        node.say::<()>(&[&setslot[..], &rest[..]].concat()).await;
    };
    say(target, ["IMPORTING", &ids[from]]).await;
    say(source, ["MIGRATING", &ids[to]]).await;
    let port = target.port.to_string();
    let migrate = ["MIGRATE", "127.0.0.1", &port, key, "0", "1000"];
    source.say::<()>(&migrate).await;
    // Half way: the key is at one node and the slot at the other.
    assert_eq!(get(&redis, key).await.as_deref(), Some("1"));
    let mut commands = Vec::new();
    for key in [key, "{foo}:none", "{bar}:none"] {
        let mut command = redis::cmd("EXISTS");
        command.arg(key);
        commands.push(command);
    }
    let there = redis.ask_all::<u8>("exists", &commands).await.unwrap();
    assert_eq!(there, [1, 0, 0]);
    for node in [target, source] {
        say(node, ["NODE", &ids[to]]).await;
    }
    assert_eq!(get(&redis, key).await.as_deref(), Some("1"));
    let there = redis.ask_all::<u8>("exists", &commands).await.unwrap();
    assert_eq!(there, [1, 0, 0]);
    hears_again(&redis, &channel, &mut feed).await;
    // Whoever begins to listen now finds it at once.
    let mut late = bus.listen(&channel).await.unwrap();
    assert!(publish(&redis, &channel, "late").await);
    assert_eq!(next(&mut late).await, Some(Heard::Message("late".into())));
}

#[tokio::test]
async fn a_lost_shard_is_replaced_and_the_others_go_on_meanwhile() {
    let Some(mut cluster) = Cluster::start_with_replicas(1).await else {
        return;
    };
    let (redis, bus) = redis_and_bus_at(&cluster.url());
    let channels = channels();
    let mut feeds = Vec::new();
    for channel in &channels {
        feeds.push(bus.listen(channel).await.unwrap());
        assert!(publish(&redis, channel, "hello").await);
    }
    for feed in &mut feeds {
        assert_eq!(next(feed).await, Some(Heard::Message("hello".into())));
    }
    let mut owners = Vec::new();
    for channel in &channels {
        for (index, node) in cluster.nodes.iter().enumerate() {
            if node.say::<Vec<redis::Value>>(&["ROLE"]).await[0]
                == redis::Value::BulkString(b"master".to_vec())
                && node
                    .try_say::<Option<String>>(&["GET", channel])
                    .await
                    .is_ok()
            {
                owners.push(index);
            }
        }
    }
    assert_eq!(owners.len(), 3);
    // The first node is the only one whose address is known from the start.
    let lost = owners.iter().position(|owner| *owner == 0).unwrap();
    cluster.nodes[0].kill();
    for other in (0..3).filter(|other| *other != lost) {
        let begun = Instant::now();
        eventually(async || publish(&redis, &channels[other], "meanwhile").await).await;
        let heard = next(&mut feeds[other]).await;
        assert_eq!(heard, Some(Heard::Message("meanwhile".into())));
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
    eventually(async || set(&redis, &channels[lost], "1").await).await;
    hears_again(&redis, &channels[lost], &mut feeds[lost]).await;
    for other in (0..3).filter(|other| *other != lost) {
        assert!(publish(&redis, &channels[other], "still").await);
        let heard = next(&mut feeds[other]).await;
        assert_eq!(heard, Some(Heard::Message("still".into())), "no gap");
    }
}

#[tokio::test]
async fn what_is_not_answered_is_not_waited_for() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (redis, bus) = redis_and_bus_at(&server.url());
    assert!(set(&redis, "a", "1").await);
    let mut feed = bus.listen("t").await.unwrap();
    server.signal("STOP");
    let begun = Instant::now();
    let (answered, listened) = tokio::join!(set(&redis, "a", "2"), bus.listen("u"));
    assert!(!answered && listened.is_err());
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    server.signal("CONT");
    eventually(async || set(&redis, "a", "3").await).await;
    // Only where the listener had noticed is there a gap; either way everybody hears again.
    eventually(async || publish(&redis, "t", "again").await).await;
    while next(&mut feed).await != Some(Heard::Message("again".into())) {
        assert!(publish(&redis, "t", "again").await);
    }
}

const TWO_A_MINUTE: Rule = Rule {
    name: "api",
    max: 2,
    window: Duration::from_mins(1),
};

#[tokio::test]
async fn processes_share_limits_and_count_by_themselves_while_redis_is_away() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let [one, other] = [(); 2].map(|()| RedisLimiter::new(redis_at(&server.url()), "t"));
    let now = UnixMs(1_704_067_200_000);
    one.take("a", TWO_A_MINUTE, now).await.unwrap();
    other.take("a", TWO_A_MINUTE, now).await.unwrap();
    for limiter in [&one, &other] {
        let wait = limiter.take("a", TWO_A_MINUTE, now).await.unwrap_err();
        assert_eq!(wait.0, TWO_A_MINUTE.window);
    }
    let left = server.say::<i64>(&["PTTL", "t:limit:{a}"]).await;
    assert!((1..=60_000).contains(&left), "{left}");
    server.signal("STOP");
    let begun = Instant::now();
    for limiter in [&one, &other] {
        for _ in 0..2 {
            limiter.take("a", TWO_A_MINUTE, now).await.unwrap();
        }
        limiter.take("a", TWO_A_MINUTE, now).await.unwrap_err();
    }
    // Only the first of each waits for Redis.
    assert!(begun.elapsed() < SOON * 2, "{:?}", begun.elapsed());
    server.kill();
    server.run().await;
    // It is found again by itself, empty.
    eventually(async || {
        let _ = one.take("b", TWO_A_MINUTE, now).await;
        server.say::<bool>(&["EXISTS", "t:limit:{b}"]).await
    })
    .await;
}
