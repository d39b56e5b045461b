//! A cluster: which node has which slot, and a connection to each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{ErrorKind, RedisError, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    NoAnswer,
    link::{Link, Target},
    url::{Access, Node},
};

/// How many slots there are.
const SLOTS: usize = 16_384;

/// How often the nodes are asked at most who has what.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Cluster {
    access: Access,
    seeds: Vec<Node>,
    state: Mutex<State>,
    /// Held by the one who looks.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Empty before the first look.
    slots: Vec<Option<Node>>,
    links: HashMap<Node, Arc<Link>>,
    /// Whether what is known of the slots may be wrong.
    is_doubtful: bool,
    looked_at: Option<Instant>,
}

impl Cluster {
    pub(super) fn new(access: Access, seeds: Vec<Node>) -> Self {
        Self {
            access,
            seeds,
            state: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a slot is, or any node.
    pub(super) async fn link(
        &self,
        slot: Option<u16>,
        until: Instant,
    ) -> Result<Arc<Link>, NoAnswer> {
        let node = self.node(slot.unwrap_or(0), until).await?;
        Ok(self.link_to(&node))
    }

    pub(super) fn link_to(&self, node: &Node) -> Arc<Link> {
        let mut state = self.state();
        let link = state.links.entry(node.clone());
        link.or_insert_with(|| {
            let client = self.access.client(node);
            Arc::new(Link::new(Target::Node(client)))
        })
        .clone()
    }

    /// Who has a slot.
    pub(super) async fn node(&self, slot: u16, until: Instant) -> Result<Node, NoAnswer> {
        if self.is_to_look() {
            let late = |_| NoAnswer::Late;
            let _looking = timeout_at(until, self.looking.lock()).await.map_err(late)?;
            // Somebody else may have looked meanwhile.
            if self.is_to_look() {
                let looked = self.look(until).await;
                if self.state().slots.is_empty() {
                    looked?;
                }
            }
        }
        let state = self.state();
        let node = state.slots.get(usize::from(slot)).cloned().flatten();
        node.ok_or_else(|| {
            let nobody = (ErrorKind::ClusterConnectionNotFound, "nobody has the slot");
            NoAnswer::Failed(RedisError::from(nobody))
        })
    }

    fn is_to_look(&self) -> bool {
        let state = self.state();
        let is_due = state
            .looked_at
            .is_none_or(|looked_at| looked_at.elapsed() >= LOOK_EVERY);
        state.slots.is_empty() || (state.is_doubtful && is_due)
    }

    /// What is known of the slots may be wrong.
    pub(super) fn suspect(&self) {
        self.state().is_doubtful = true;
    }

    /// A node said who has a slot.
    pub(super) fn moved(&self, slot: u16, node: Node) {
        let mut state = self.state();
        state.is_doubtful = true;
        if let Some(known) = state.slots.get_mut(usize::from(slot)) {
            *known = Some(node);
        }
    }

    /// Asks all nodes at once who has what, and believes the first answer.
    async fn look(&self, until: Instant) -> Result<(), NoAnswer> {
        let mut nodes = self.seeds.clone();
        {
            let mut state = self.state();
            state.looked_at = Some(Instant::now());
            nodes.extend(state.links.keys().cloned());
        }
        nodes.sort_unstable();
        nodes.dedup();
        let asked = nodes.into_iter().map(|node| async move {
            let mut command = redis::cmd("CLUSTER");
            command.arg("SLOTS");
            let answer = self.link_to(&node).send(&command, until).await?;
            let nobody = (
                ErrorKind::Parse,
                "the cluster does not say who has which slot",
            );
            read_slots(&answer, &node).ok_or(NoAnswer::Failed(nobody.into()))
        });
        let mut asked = asked.collect::<FuturesUnordered<_>>();
        let mut result = Err(NoAnswer::Late);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(slots) => {
                    let mut state = self.state();
                    state.links.retain(|node, _| {
                        self.seeds.contains(node)
                            || slots.iter().any(|known| known.as_ref() == Some(node))
                    });
                    state.slots = slots;
                    state.is_doubtful = false;
                    return Ok(());
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// Reads what `CLUSTER SLOTS` says: of each range its first and last slot, and the master's host and port first.
fn read_slots(answer: &Value, asked: &Node) -> Option<Vec<Option<Node>>> {
    let Value::Array(ranges) = answer else {
        return None;
    };
    let mut slots = vec![None; SLOTS];
    for range in ranges {
        let Value::Array(range) = range else {
            return None;
        };
        let [
            Value::Int(first),
            Value::Int(last),
            Value::Array(master),
            ..,
        ] = range.as_slice()
        else {
            return None;
        };
        let [host, Value::Int(port), ..] = master.as_slice() else {
            return None;
        };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() => std::str::from_utf8(host).ok()?.into(),
            // It does not know its own name; it is where it was found.
            _ => asked.host.clone(),
        };
        let port = u16::try_from(*port).ok()?;
        let range = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
        slots.get_mut(range)?.fill(Some(Node { host, port }));
    }
    slots.iter().any(Option::is_some).then_some(slots)
}

/// The slot of a key: of what is between the first braces, where that is something.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let inside = &key[open + 1..];
        let close = inside.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &inside[..close])
    });
    // CRC-16/XMODEM, as the specification of Redis Cluster has it.
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    });
    crc % 16_384
}

#[cfg(test)]
mod tests {
    use super::slot_of;

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` says.
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{foo}.bar", 12_182),
            ("tutti:{foo}:events", 12_182),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }
}
