//! Sentinels, who know which server is master.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{
    AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};

use super::{
    link::config,
    url::{Access, Node},
};

pub(super) struct Sentinels {
    access: Access,
    nodes: Vec<Node>,
    master: String,
}

impl Sentinels {
    pub(super) fn new(access: Access, nodes: Vec<Node>, master: &str) -> Self {
        Self {
            access,
            nodes,
            master: master.to_owned(),
        }
    }

    /// Connects to the master. All Sentinels are asked at once, and whoever answers first is believed, if the server
    /// it names says of itself that it is master.
    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let mut error = RedisError::from((
            ErrorKind::MasterNameNotFoundBySentinel,
            "no Sentinel knows the master",
        ));
        let asked = self.nodes.iter().map(|sentinel| self.ask(sentinel));
        let mut asked = asked.collect::<FuturesUnordered<_>>();
        let mut tried = HashSet::new();
        while let Some(named) = asked.next().await {
            match named {
                Ok(Some(node)) if tried.insert(node.clone()) => {
                    match self.connect_to(&node, config).await {
                        Ok(connection) => return Ok(connection),
                        Err(other) => error = other,
                    }
                }
                Ok(_) => {}
                Err(other) => error = other,
            }
        }
        Err(error)
    }

    async fn ask(&self, sentinel: &Node) -> RedisResult<Option<Node>> {
        let mut result = Ok(None);
        for client in self.access.sentinel_clients(sentinel) {
            let connected = client
                .get_multiplexed_async_connection_with_config(&config())
                .await;
            let mut connection = match connected {
                Ok(connection) => connection,
                Err(error) => {
                    result = Err(error);
                    continue;
                }
            };
            let named = redis::cmd("SENTINEL")
                .arg("GET-MASTER-ADDR-BY-NAME")
                .arg(&self.master)
                .query_async::<Option<(String, u16)>>(&mut connection)
                .await;
            match named {
                Ok(named) => {
                    return Ok(named.map(|(host, port)| Node {
                        host: host.into(),
                        port,
                    }));
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    async fn connect_to(
        &self,
        node: &Node,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let client = self.access.client(node);
        let mut connection = client
            .get_multiplexed_async_connection_with_config(config)
            .await?;
        let role = redis::cmd("ROLE")
            .query_async::<Vec<Value>>(&mut connection)
            .await?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(connection),
            _ => Err((ErrorKind::Io, "the server is not master any more").into()),
        }
    }
}
