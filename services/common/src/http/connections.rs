//! How many connections there may be: in this process, and of one client.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    limits::{prefix_of, refused},
    telemetry::LogThrottle,
};

/// From how many connections on it is strange that nearly all come from one address.
const MANY: usize = 100;

/// Files that are not given to connections of clients: databases, Redis and other services need some, and so does
/// whoever is served already.
const RESERVED_FILES: usize = 64;

/// No address may have more connections than this by default, whatever the file limit.
const DEFAULT_PER_ADDRESS: usize = 10_000;

/// Counts connections, and refuses what is too many.
#[derive(Clone, Debug)]
pub struct ConnectionLimiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// 0 means no limit.
    max: usize,
    /// 0 means no limit.
    max_per_address: usize,
    counts: Mutex<Counts>,
    /// A connection has ended.
    ended: Notify,
    one_address: LogThrottle,
    refusals: LogThrottle,
}

#[derive(Debug, Default)]
struct Counts {
    open: usize,
    /// The sum of what follows.
    of_addresses: usize,
    /// By address as [`prefix_of`] writes it; no entry is 0.
    by_address: HashMap<String, usize>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyConnections {
    /// The process has as many as it can.
    #[error("this server has as many connections as it can take; try again")]
    InProcess,
    /// The client's address has as many as one may have.
    #[error("there are too many connections from your address")]
    OfAddress,
}

/// The right to a connection, until the last clone is dropped. Whoever takes a connection over, such as the session
/// of a WebSocket, keeps it.
#[derive(Clone, Debug)]
pub struct ConnectionPermit {
    limiter: ConnectionLimiter,
    /// The file that the connection is, held until it ends; none for a session that outlives its connections.
    _file: Option<Arc<OpenFile>>,
    client: Option<Arc<OfAddress>>,
    /// On whose behalf an answer is being sent that may take a while.
    sending: Arc<Mutex<Option<Arc<OfAddress>>>>,
}

#[derive(Debug)]
struct OpenFile(ConnectionLimiter);

#[derive(Debug)]
struct OfAddress {
    limiter: ConnectionLimiter,
    address: String,
}

impl ConnectionLimiter {
    /// At most `max` connections in all, and `max_per_address` of one IPv4 address or IPv6 /64; 0 means no limit.
    #[must_use]
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self(Arc::new(Shared {
            max,
            max_per_address,
            counts: Mutex::default(),
            ended: Notify::new(),
            one_address: LogThrottle::default(),
            refusals: LogThrottle::default(),
        }))
    }

    /// For a process that may open that many files, which keeps some for itself. Without a limit for one address
    /// (`max_per_address` is none) it may have a quarter of the files: that leaves a school its many pupils, and others
    /// are served while one address takes all it can get.
    #[must_use]
    pub fn for_files(file_limit: usize, max_per_address: Option<usize>) -> Self {
        let reserved = RESERVED_FILES.max(file_limit / 8);
        let max = file_limit.saturating_sub(reserved).max(1);
        let by_default = (file_limit / 4).clamp(1, DEFAULT_PER_ADDRESS);
        Self::new(max, max_per_address.unwrap_or(by_default))
    }

    /// Room for a connection, which counts as one of `client` if that is said.
    ///
    /// # Errors
    /// Where there are too many already.
    pub fn admit(&self, client: Option<IpAddr>) -> Result<ConnectionPermit, TooManyConnections> {
        let file = self.open_file().map_err(|error| self.refuse(error, None))?;
        Ok(ConnectionPermit {
            limiter: self.clone(),
            _file: Some(Arc::new(file)),
            client: client.map(|client| self.take(client)).transpose()?,
            sending: Arc::default(),
        })
    }

    /// Waits until a connection has ended, if there are as many as there may be.
    pub(super) async fn has_room(&self) {
        let is_full = || {
            let max = self.0.max;
            max > 0 && self.counts().open >= max
        };
        while is_full() {
            self.0.ended.notified().await;
        }
    }

    fn open_file(&self) -> Result<OpenFile, TooManyConnections> {
        let mut counts = self.counts();
        if self.0.max > 0 && counts.open >= self.0.max {
            return Err(TooManyConnections::InProcess);
        }
        counts.open += 1;
        Ok(OpenFile(self.clone()))
    }

    fn take(&self, client: IpAddr) -> Result<Arc<OfAddress>, TooManyConnections> {
        let address = prefix_of(client);
        let max = self.0.max_per_address;
        let mut counts = self.counts();
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if max > 0 && here >= max {
            drop(counts);
            return Err(self.refuse(TooManyConnections::OfAddress, Some(&address)));
        }
        counts.by_address.insert(address.clone(), here + 1);
        counts.of_addresses += 1;
        let all = counts.of_addresses;
        drop(counts);
        if is_suspicious(here + 1, all)
            && let Some(_) = self.0.one_address.due()
        {
            tracing::warn!(
                address,
                connections = here + 1,
                of = all,
                "nearly all connections come from one address. If that is a proxy, TRUSTED_PROXIES is wrong: all its \
                 clients share the limits of one"
            );
        }
        Ok(Arc::new(OfAddress {
            limiter: self.clone(),
            address,
        }))
    }

    fn refuse(&self, error: TooManyConnections, address: Option<&str>) -> TooManyConnections {
        refused("connections");
        if let Some(others) = self.0.refusals.due() {
            if let Some(address) = address {
                tracing::warn!(
                    address,
                    others,
                    max = self.0.max_per_address,
                    "refused a connection: its address has as many as CONNECTIONS_PER_ADDRESS allows. If that is a \
                     proxy, TRUSTED_PROXIES is wrong"
                );
            } else {
                tracing::warn!(
                    others,
                    max = self.0.max,
                    "refused a connection: there are as many as the limit of open files allows"
                );
            }
        }
        error
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether so many of all connections come from one address that it is probably a proxy's.
fn is_suspicious(of_one: usize, of_all: usize) -> bool {
    of_all >= MANY && of_one * 10 >= of_all * 9
}

impl ConnectionPermit {
    /// For a request that a proxy's connection brings on behalf of `client`: this connection, and one of the client's.
    /// Whatever was sent over the connection before has been sent.
    ///
    /// # Errors
    /// Where the client has too many already.
    pub fn for_client(&self, client: IpAddr) -> Result<Self, TooManyConnections> {
        self.sending().take();
        Ok(Self {
            client: Some(self.limiter.take(client)?),
            ..self.clone()
        })
    }

    /// For a session of `client` that does not end with the connection that opened it.
    ///
    /// # Errors
    /// Where the client has too many already.
    pub fn for_session(&self, client: IpAddr) -> Result<Self, TooManyConnections> {
        Ok(Self {
            limiter: self.limiter.clone(),
            _file: None,
            client: Some(self.limiter.take(client)?),
            sending: Arc::default(),
        })
    }

    /// Counts as the client's until the connection brings another request or ends: its answer is so large that it may
    /// not be read at once.
    pub fn hold_while_sent(&self) {
        self.sending().clone_from(&self.client);
    }

    fn sending(&self) -> MutexGuard<'_, Option<Arc<OfAddress>>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.0.counts().open -= 1;
        self.0.0.ended.notify_one();
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts();
        counts.of_addresses -= 1;
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionLimiter, ConnectionPermit, TooManyConnections, is_suspicious};

    fn admit(
        limiter: &ConnectionLimiter,
        text: &str,
    ) -> Result<ConnectionPermit, TooManyConnections> {
        limiter.admit(Some(text.parse().unwrap()))
    }

    #[test]
    fn an_address_has_its_share_and_leaves_the_others_theirs() {
        let limiter = ConnectionLimiter::new(5, 2);
        let held = [
            admit(&limiter, "192.0.2.1").unwrap(),
            admit(&limiter, "192.0.2.1").unwrap(),
        ];
        assert_eq!(
            admit(&limiter, "192.0.2.1").unwrap_err(),
            TooManyConnections::OfAddress
        );
        assert_eq!(limiter.counts().open, 2, "what is refused is not counted");
        let _other = admit(&limiter, "192.0.2.2").unwrap();
        let _one = admit(&limiter, "2001:db8::1").unwrap();
        let _same_network = admit(&limiter, "2001:db8::2").unwrap();
        assert_eq!(
            admit(&limiter, "192.0.2.3").unwrap_err(),
            TooManyConnections::InProcess
        );
        let taken_over = held[0].clone();
        drop(held);
        let _again = admit(&limiter, "192.0.2.1").unwrap();
        assert!(
            admit(&limiter, "192.0.2.1").is_err(),
            "a clone keeps its place"
        );
        drop(taken_over);
        assert!(admit(&limiter, "192.0.2.1").is_ok());
    }

    #[test]
    fn a_proxys_connections_count_for_its_clients() {
        let limiter = ConnectionLimiter::new(0, 1);
        let ann = "192.0.2.1".parse().unwrap();
        let connections = [(); 3].map(|()| limiter.admit(None).unwrap());
        let request = connections[0].for_client(ann).unwrap();
        assert!(connections[1].for_client(ann).is_err());
        assert!(
            connections[1]
                .for_client("192.0.2.2".parse().unwrap())
                .is_ok()
        );
        request.hold_while_sent();
        drop(request);
        assert!(
            connections[1].for_client(ann).is_err(),
            "its answer is still being sent"
        );
        let next = connections[0].for_client(ann).unwrap();
        drop(next);
        let session = connections[2].for_session(ann).unwrap();
        drop(connections);
        assert_eq!(limiter.counts().open, 0, "a session needs no connection");
        assert!(admit(&limiter, "192.0.2.1").is_err());
        drop(session);
        assert!(limiter.counts().by_address.is_empty());
    }

    #[test]
    fn the_defaults_leave_something_to_others_and_to_the_process() {
        let limits = |files| {
            let limiter = ConnectionLimiter::for_files(files, None);
            (limiter.0.max, limiter.0.max_per_address)
        };
        assert_eq!(limits(1_024), (896, 256));
        assert_eq!(limits(20_000), (17_500, 5_000));
        assert_eq!(limits(1 << 20), (917_504, 10_000));
        assert_eq!(limits(8), (1, 2));
    }

    #[test]
    fn one_address_is_suspicious_where_it_has_nearly_all() {
        assert!(!is_suspicious(99, 99));
        assert!(is_suspicious(100, 100));
        assert!(is_suspicious(900, 1_000));
        assert!(!is_suspicious(899, 1_000));
    }
}
