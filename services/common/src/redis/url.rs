//! Where Redis is, as a setting says it.

use std::{fmt, path::Path, sync::Arc};

use http::uri::Authority;
use redis::{
    Client, ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo,
    TlsCertificates, io::tcp::TcpSettings,
};

use super::DEADLINE;
use crate::config::Secret;

/// An address that cannot be used. What was given is not repeated: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The address itself.
    #[error(
        "expected redis://host, redis+sentinel://host,host/master or redis+cluster://host,host; rediss… with TLS"
    )]
    Address,
    /// The certificates to trust.
    #[error("the certificates to trust cannot be read")]
    Certificates,
}

/// An address of Redis that can be read:
///
/// - `redis://user:password@host:6379/0`: one server;
/// - `redis+sentinel://user:password@host:26379,host:26379/master/0`: the master that Sentinels name;
/// - `redis+cluster://user:password@host:6379,host:6379`: a cluster, by some of its nodes;
/// - and with `rediss` for `redis`, the same with TLS.
#[derive(Clone)]
pub struct RedisUrl {
    kind: Kind,
    access: Access,
}

#[derive(Clone)]
pub(super) enum Kind {
    Server(Node),
    Sentinels {
        sentinels: Vec<Node>,
        master: String,
    },
    Cluster(Vec<Node>),
}

/// A server's name or address, and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Node {
    /// Reads `host` or `host:port`.
    pub(super) fn parse(text: &str, default_port: u16) -> Option<Self> {
        // Nodes name themselves without the brackets that an IPv6 address has in a URL.
        let text = match text.rsplit_once(':') {
            Some((host, port)) if host.contains(':') && !host.starts_with('[') => {
                format!("[{host}]:{port}")
            }
            _ => text.to_owned(),
        };
        let authority = text.parse::<Authority>().ok()?;
        if text.contains('@') || (text.contains(':') && authority.port().is_none()) {
            return None;
        }
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let node = Self {
            host: bare.unwrap_or(host).into(),
            port: authority.port_u16().unwrap_or(default_port),
        };
        (!node.host.is_empty() && node.port != 0).then_some(node)
    }
}

/// How any of the servers is spoken to.
#[derive(Clone)]
pub(super) struct Access {
    login: RedisConnectionInfo,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    /// The address that carries whom to trust; its host and port do not matter.
    trust: Option<ConnectionAddr>,
}

impl Access {
    pub(super) fn client(&self, node: &Node) -> Client {
        self.client_as(node, self.login.clone())
    }

    /// For a Sentinel: as who one is, or, where Sentinels know no users, as nobody.
    pub(super) fn sentinel_clients(&self, node: &Node) -> Vec<Client> {
        let mut clients = Vec::new();
        if self.login.username().is_some() || self.login.password().is_some() {
            clients.push(self.client_as(node, self.login.clone().set_db(0)));
        }
        clients.push(self.client_as(node, login(&RedisConnectionInfo::default())));
        clients
    }

    fn client_as(&self, node: &Node, login: RedisConnectionInfo) -> Client {
        let (host, port) = (node.host.to_string(), node.port);
        let address = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(tls) => {
                let mut tls_params = None;
                if let Some(ConnectionAddr::TcpTls {
                    tls_params: trust, ..
                }) = &tls.trust
                {
                    tls_params.clone_from(trust);
                }
                ConnectionAddr::TcpTls {
                    host,
                    port,
                    insecure: false,
                    tls_params,
                }
            }
        };
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            // A peer that vanished without a word is given up, and looked for again.
            .set_user_timeout(DEADLINE * 2);
        let info = address
            .into_connection_info()
            .map(|info| info.set_redis_settings(login).set_tcp_settings(tcp));
        Client::open(info.expect("an address is one")).expect("nothing is left to be read")
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

impl RedisUrl {
    /// Reads an address. `ca` names a file of certificates in PEM: with TLS, they are trusted instead of those the
    /// system trusts.
    pub fn parse(url: &Secret, ca: Option<&Path>) -> Result<Self, Unusable> {
        let (scheme, rest) = url.expose().split_once("://").ok_or(Unusable::Address)?;
        let (is_secure, is_sentinel, is_cluster) = match scheme {
            "redis" => (false, false, false),
            "rediss" => (true, false, false),
            "redis+sentinel" => (false, true, false),
            "rediss+sentinel" => (true, true, false),
            "redis+cluster" => (false, false, true),
            "rediss+cluster" => (true, false, true),
            _ => return Err(Unusable::Address),
        };
        let (whose, rest) = match rest.rsplit_once('@') {
            Some((whose, rest)) => (Some(whose), rest),
            None => (None, rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let default_port = if is_sentinel { 26_379 } else { 6_379 };
        let mut nodes = hosts
            .split(',')
            .map(|host| Node::parse(host.trim(), default_port))
            .collect::<Option<Vec<_>>>()
            .ok_or(Unusable::Address)?;
        let (kind, db) = if is_sentinel {
            let (master, db) = path.split_once('/').unwrap_or((path, ""));
            if master.is_empty() {
                return Err(Unusable::Address);
            }
            let master = master.to_owned();
            let sentinels = nodes;
            (Kind::Sentinels { sentinels, master }, db)
        } else if is_cluster {
            // A cluster has one database.
            if !matches!(path, "" | "0") {
                return Err(Unusable::Address);
            }
            (Kind::Cluster(nodes), "")
        } else {
            match (nodes.pop(), nodes.is_empty()) {
                (Some(node), true) => (Kind::Server(node), path),
                _ => return Err(Unusable::Address),
            }
        };
        Ok(Self {
            kind,
            access: Access {
                login: read_login(whose, db)?,
                tls: is_secure.then(|| read_trust(ca)).transpose()?,
            },
        })
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }
}

/// The driver reads user, password and database, escapes included.
fn read_login(whose: Option<&str>, db: &str) -> Result<RedisConnectionInfo, Unusable> {
    let whose = whose.map(|whose| format!("{whose}@")).unwrap_or_default();
    let info = format!("redis://{whose}localhost/{db}")
        .into_connection_info()
        .map_err(|_| Unusable::Address)?;
    Ok(login(info.redis_settings()))
}

fn login(whose: &RedisConnectionInfo) -> RedisConnectionInfo {
    // Only so does it tell subscriptions and answers apart on one connection.
    whose.clone().set_protocol(ProtocolVersion::RESP3)
}

fn read_trust(ca: Option<&Path>) -> Result<Tls, Unusable> {
    let Some(ca) = ca else {
        return Ok(Tls { trust: None });
    };
    let unusable = |_| Unusable::Certificates;
    let pem = std::fs::read_to_string(ca).map_err(|_| Unusable::Certificates)?;
    if !pem.contains("BEGIN CERTIFICATE") {
        // Nobody would be trusted, and each connection fail with a riddle.
        return Err(Unusable::Certificates);
    }
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(pem.into_bytes()),
    };
    let client = Client::build_with_tls("rediss://localhost", certificates).map_err(unusable)?;
    let trust = client.get_connection_info().addr().clone();
    Ok(Tls { trust: Some(trust) })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Node, RedisUrl};
    use crate::config::Secret;

    fn parse(url: &str) -> Option<RedisUrl> {
        RedisUrl::parse(&Secret::new(url), None).ok()
    }

    fn nodes(nodes: &[Node]) -> Vec<String> {
        nodes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_server_is_read() {
        let url = parse("redis://ann:p%40ss@[::1]:7000/3").unwrap();
        let Kind::Server(node) = url.kind() else {
            panic!("a server");
        };
        assert_eq!((&*node.host, node.port), ("::1", 7000));
        let login = &url.access.login;
        assert_eq!(login.username(), Some("ann"));
        assert_eq!(login.password(), Some("p@ss"));
        assert_eq!(login.db(), 3);
    }

    #[test]
    fn sentinels_are_read() {
        let url = parse("redis+sentinel://:p@ss@a,b:26380/the-master/2").unwrap();
        let Kind::Sentinels { sentinels, master } = url.kind() else {
            panic!("sentinels");
        };
        assert_eq!(nodes(sentinels), ["a:26379", "b:26380"]);
        assert_eq!(master, "the-master");
        assert_eq!(url.access.login.db(), 2);
    }

    #[test]
    fn a_cluster_is_read() {
        let url = parse("rediss+cluster://a:7000,b").unwrap();
        let Kind::Cluster(seeds) = url.kind() else {
            panic!("a cluster");
        };
        assert_eq!(nodes(seeds), ["a:7000", "b:6379"]);
        assert!(url.access.tls.is_some());
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_not_repeated() {
        for url in [
            "hunter2",
            "http://:hunter2@host",
            "redis://:hunter2@",
            "redis://:hunter2@host:port",
            "redis://:hunter2@a,b",
            "redis://:hunter2@host/db",
            "redis+sentinel://:hunter2@a,b",
            "redis+sentinel://:hunter2@a,,b/master",
            "redis+cluster://:hunter2@a/1",
        ] {
            let error = RedisUrl::parse(&Secret::new(url), None).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{url}");
            assert!(!format!("{error:?}").contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn nodes_name_themselves_without_brackets() {
        let node = Node::parse("::1:7000", 0).unwrap();
        assert_eq!((&*node.host, node.port), ("::1", 7000));
        assert_eq!(Node::parse(":7000", 0), None);
    }
}
