//! Dialling a service that several processes serve: behind one name with several addresses, as a headless
//! Service in Kubernetes has, or listed one by one.
//!
//! tonic's own balancing can take a dead process for a ready one and looks at new addresses only while it is
//! called, so each address has a channel of its own here, and a call picks one.

use std::{
    error::Error,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, join_all};
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tonic::{
    Code, ConnectError, Status,
    body::Body,
    transport::{Channel, Endpoint, Uri},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use super::{GrpcTls, Transport};
use crate::{
    shutdown::Shutdown,
    status::{Reason, error},
};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a process may take before an idempotent call is tried with another one; what is left of the
/// deadline is for that. Whoever took longer is asked whether it lives.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);

/// How often names are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// How often a name is looked up that was not found.
const RESOLVE_AGAIN: Duration = Duration::from_millis(500);

/// How often those that do not answer are asked whether they live.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How often every connection is asked whether it lives, and how long it may take to say so: a stream that
/// lives for hours notices the loss of a machine by nothing else.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));

/// Looks up the addresses of a host and port.
pub type Resolver =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// A transport to the processes at `targets`. Host names are looked up again every few seconds, calls are
/// balanced over all addresses, and those that do not answer are left out until they do.
///
/// An idempotent call that a process does not answer is tried once more, with another one; so is any call
/// that did not get as far as being sent. The `.proto` files say which calls are idempotent.
///
/// `tls` says whom to believe at `https://` targets.
#[must_use]
pub fn dial(targets: Vec<Uri>, tls: GrpcTls, shutdown: &Shutdown) -> Transport {
    let system: Resolver = Arc::new(|host, port| {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    });
    dial_by(system, targets, tls, shutdown)
}

/// The same, with addresses from `resolver`.
#[must_use]
pub fn dial_by(
    resolver: Resolver,
    targets: Vec<Uri>,
    tls: GrpcTls,
    shutdown: &Shutdown,
) -> Transport {
    let pool = Arc::new(Pool {
        targets,
        tls,
        resolver,
        nodes: watch::Sender::default(),
        next: AtomicUsize::new(0),
        suspected: Notify::new(),
    });
    let (resolving, probing) = (Arc::downgrade(&pool), Arc::downgrade(&pool));
    let ending = shutdown.clone();
    shutdown.spawn(async move {
        tokio::select! {
            () = keep_resolving(resolving) => {}
            () = keep_probing(probing) => {}
            () = ending.ending() => {}
        }
    });
    BoxCloneSyncService::new(tower::service_fn(move |request| {
        let pool = Arc::clone(&pool);
        async move { pool.call(request).await }
    }))
}

struct Pool {
    targets: Vec<Uri>,
    tls: GrpcTls,
    resolver: Resolver,
    nodes: watch::Sender<Arc<[Arc<Node>]>>,
    /// With whom the search for the least busy one begins.
    next: AtomicUsize,
    /// Somebody does not answer.
    suspected: Notify,
}

/// What a call is about. Calls about the same thing go to the same process while it answers: it remembers how it left
/// that thing, and those who want to change it wait in one line.
#[derive(Clone, Copy, Debug)]
struct About(u64);

/// A request about something, such as a room.
#[must_use]
pub fn about<T>(message: T, what: impl FnOnce(&T) -> &str) -> tonic::Request<T> {
    let mut hasher = DefaultHasher::new();
    what(&message).hash(&mut hasher);
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(About(hasher.finish()));
    request
}

impl About {
    /// How well a process suits it: the highest is chosen, and where that one is gone only what was with it moves
    /// (rendezvous hashing, Thaler and Ravishankar 1998).
    fn weight(self, node: &Node) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0, node.address).hash(&mut hasher);
        hasher.finish()
    }
}

/// A process.
struct Node {
    target: Uri,
    address: SocketAddr,
    channel: Channel,
    /// Calls it has not answered.
    pending: AtomicUsize,
    /// When it answered last: one that is slow with one thing and quick with another is not silent.
    answered_at: Mutex<Option<Instant>>,
    /// Whether it answered lately. Nobody calls one that does not, unless there is no other.
    answers: AtomicBool,
}

/// Why a call has no answer.
enum Failure {
    /// It did not leave this process.
    NotSent,
    /// The line broke, or the answer took too long; the call may have been carried out.
    Unknown,
}

impl Pool {
    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let idempotent = tutti_proto::is_idempotent(request.uri().path());
        let (parts, body) = request.into_parts();
        // Requests are single messages: kept to be sent again.
        let body = body.collect().await?.to_bytes();
        let nodes = self.known().await?;
        let turn = self.next.fetch_add(1, Relaxed);
        let about = parts.extensions.get::<About>().copied();
        let first = choose(&nodes, about, turn, None);
        let second = || choose(&nodes, about, turn, Some(first));
        let alone = !second().answers.load(Relaxed);
        // To wait for somebody else makes sense where there is somebody else.
        let patience = (idempotent && !alone).then_some(TRY_TIMEOUT);
        let again = match self.try_with(first, &parts, &body, patience).await {
            Ok(answer) if !(is_unavailable(&answer) && idempotent && !alone) => return Ok(answer),
            Ok(_) | Err(Failure::NotSent) => true,
            Err(Failure::Unknown) => idempotent,
        };
        let answer = if again {
            self.try_with(second(), &parts, &body, None).await
        } else {
            Err(Failure::Unknown)
        };
        answer.map_err(|_| unreachable())
    }

    async fn try_with(
        &self,
        node: &Arc<Node>,
        parts: &Parts,
        body: &Bytes,
        patience: Option<Duration>,
    ) -> Result<Response<Body>, Failure> {
        let body = Body::new(Full::new(body.clone()));
        let request = Request::from_parts(parts.clone(), body);
        let mut attempt = Attempt::begin(self, node);
        let answer = node.channel.clone().oneshot(request);
        let answer = match patience {
            Some(patience) => timeout(patience, answer).await,
            None => Ok(answer.await),
        };
        match answer {
            Ok(Ok(answer)) => {
                attempt.is_over = true;
                *node.last_answer() = Some(Instant::now());
                Ok(answer)
            }
            Ok(Err(source)) => {
                attempt.is_over = true;
                self.suspect(node, &source);
                Err(if was_not_sent(&source) {
                    Failure::NotSent
                } else {
                    Failure::Unknown
                })
            }
            Err(_) => Err(Failure::Unknown),
        }
    }

    /// All processes, at least one.
    async fn known(&self) -> Result<Arc<[Arc<Node>]>, Status> {
        let mut known = self.nodes.subscribe();
        let nodes = timeout(CONNECT_TIMEOUT, known.wait_for(|nodes| !nodes.is_empty())).await;
        match nodes {
            Ok(Ok(nodes)) => Ok(Arc::clone(&nodes)),
            Ok(Err(_)) | Err(_) => Err(unreachable()),
        }
    }

    fn suspect(&self, node: &Node, why: &(dyn Error + 'static)) {
        if node.answers.swap(false, Relaxed) {
            let (target, address) = (&node.target, node.address);
            tracing::warn!(error = why, %target, %address, "a process does not answer");
        }
        self.suspected.notify_one();
    }

    /// Looks all names up and keeps the channels to addresses that are still there. Whether anything was
    /// found for each of them.
    async fn resolve(&self) -> bool {
        let found = self.targets.iter().map(|target| async move {
            let host = host(target);
            let tls = target.scheme_str() == Some("https");
            let port = target.port_u16().unwrap_or(if tls { 443 } else { 80 });
            (target, (self.resolver)(host.to_owned(), port).await)
        });
        let before = Arc::clone(&self.nodes.borrow());
        let mut after = Vec::new();
        let mut complete = true;
        for (target, found) in join_all(found).await {
            let of_target = before.iter().filter(|node| node.target == *target);
            let mut addresses = match found {
                Ok(addresses) if !addresses.is_empty() => addresses,
                // What was there a moment ago is better than nothing.
                Ok(_) => {
                    complete = false;
                    of_target.map(|node| node.address).collect()
                }
                Err(source) => {
                    tracing::warn!(error = &source as &dyn Error, %target, "a name is not found");
                    complete = false;
                    of_target.map(|node| node.address).collect()
                }
            };
            addresses.sort_unstable();
            addresses.dedup();
            for address in addresses {
                let known = before
                    .iter()
                    .find(|node| node.target == *target && node.address == address);
                match known {
                    Some(node) => after.push(Arc::clone(node)),
                    None => match Node::at(target, address, &self.tls, before.is_empty()) {
                        Ok(node) => after.push(Arc::new(node)),
                        Err(source) => {
                            tracing::error!(error = &source as &dyn Error, %target, "cannot dial");
                        }
                    },
                }
            }
        }
        if !before
            .iter()
            .map(|node| node.address)
            .eq(after.iter().map(|node| node.address))
        {
            self.nodes.send_replace(after.into());
            // The new ones are called once they answer.
            self.suspected.notify_one();
        }
        complete
    }

    /// Asks those that do not answer whether they live.
    async fn probe(&self) {
        let nodes = Arc::clone(&self.nodes.borrow());
        let silent = nodes.iter().filter(|node| !node.answers.load(Relaxed));
        join_all(silent.map(|node| async move {
            let request = HealthCheckRequest::default();
            let mut health = HealthClient::new(node.channel.clone());
            let said = timeout(CONNECT_TIMEOUT, health.check(request)).await;
            // Whatever it says, it speaks; a status with a source is the channel's and not the process's.
            let lives = match said {
                Ok(Ok(_)) => true,
                Ok(Err(status)) => status.source().is_none(),
                Err(_) => false,
            };
            if lives {
                node.answers.store(true, Relaxed);
                tracing::info!(target = %node.target, address = %node.address, "a process answers");
            }
        }))
        .await;
    }
}

impl Node {
    /// Connects when it is first called.
    fn at(
        target: &Uri,
        address: SocketAddr,
        tls: &GrpcTls,
        answers: bool,
    ) -> Result<Self, tonic::transport::Error> {
        let scheme = target.scheme_str().unwrap_or("http");
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?;
        if scheme == "https" {
            endpoint = endpoint.tls_config(tls.client(host(target)))?;
        }
        let channel = endpoint
            .origin(target.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true)
            .connect_lazy();
        Ok(Self {
            target: target.clone(),
            address,
            channel,
            pending: AtomicUsize::new(0),
            answered_at: Mutex::default(),
            answers: AtomicBool::new(answers),
        })
    }
}

impl Node {
    fn last_answer(&self) -> MutexGuard<'_, Option<Instant>> {
        self.answered_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that a process has not answered. It may be given up at any moment, by the deadline too.
struct Attempt<'a> {
    pool: &'a Pool,
    node: &'a Node,
    begun: Instant,
    is_over: bool,
}

impl<'a> Attempt<'a> {
    fn begin(pool: &'a Pool, node: &'a Node) -> Self {
        node.pending.fetch_add(1, Relaxed);
        Self {
            pool,
            node,
            begun: Instant::now(),
            is_over: false,
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.node.pending.fetch_sub(1, Relaxed);
        let was_silent = self.node.last_answer().is_none_or(|at| at < self.begun);
        if !self.is_over && was_silent && self.begun.elapsed() >= TRY_TIMEOUT {
            let late = io::Error::from(io::ErrorKind::TimedOut);
            self.pool.suspect(self.node, &late);
        }
    }
}

/// The least busy of those that answer, `turn` saying with whom to begin, or the one that suits what the call is about; not
/// `not`, if there is another one. There is at least one.
fn choose<'a>(
    nodes: &'a [Arc<Node>],
    about: Option<About>,
    turn: usize,
    not: Option<&Arc<Node>>,
) -> &'a Arc<Node> {
    let (before, after) = nodes.split_at(turn % nodes.len());
    let best = after.iter().chain(before).min_by_key(|node| {
        let is_excluded = not.is_some_and(|not| Arc::ptr_eq(not, node));
        let answers = node.answers.load(Relaxed);
        let preference = match about {
            Some(about) => u64::MAX - about.weight(node),
            None => node.pending.load(Relaxed) as u64,
        };
        (is_excluded, !answers, preference)
    });
    best.unwrap_or(&nodes[0])
}

async fn keep_resolving(pool: Weak<Pool>) {
    while let Some(pool) = pool.upgrade() {
        let complete = pool.resolve().await;
        drop(pool);
        sleep(if complete {
            RESOLVE_EVERY
        } else {
            RESOLVE_AGAIN
        })
        .await;
    }
}

async fn keep_probing(pool: Weak<Pool>) {
    while let Some(pool) = pool.upgrade() {
        pool.probe().await;
        // Whoever waits is woken by the next suspicion; the pool may go meanwhile.
        let _ = timeout(PROBE_EVERY, pool.suspected.notified()).await;
    }
}

/// A target's host, without the brackets of an IPv6 address.
fn host(target: &Uri) -> &str {
    let host = target.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a process says of itself that it cannot answer now.
fn is_unavailable(answer: &Response<Body>) -> bool {
    Status::from_header_map(answer.headers())
        .is_some_and(|status| status.code() == Code::Unavailable)
}

/// Whether a call failed before anything of it was sent.
fn was_not_sent(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<ConnectError>()
            || error
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_canceled)
        {
            return true;
        }
        next = error.source();
    }
    false
}

fn unreachable() -> Status {
    error(
        Code::Unavailable,
        Reason::Unavailable,
        "the service does not answer",
    )
}
