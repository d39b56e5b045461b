//! Calls to a service of several processes, some of which die, freeze, come and go. Each process is a
//! runtime of its own on one thread, so that it can be killed and frozen.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::{Duration, Instant},
};

use axum::{Router, routing::post};
use futures_util::{future::join_all, poll};
use http::{Response, header::CONTENT_TYPE};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::oneshot,
};
use tonic::{Code, Status, body::Body, service::Routes, transport::Uri};
use tutti_common::{
    clock::SystemClock,
    rpc::{self, GrpcTls, GuardLayer, Resolver, ServiceKeys, Transport},
    shutdown::Shutdown,
};
use tutti_proto::rooms::{
    GetRoomRequest, SyncStateRequest, room_service_client::RoomServiceClient,
};

/// One story at a time: they measure time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const KEY: &str = "test:a-key-of-tests";

/// A process that serves rooms: what it answers is empty.
struct Process {
    runtime: Option<Runtime>,
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    is_unavailable: Arc<AtomicBool>,
}

impl Process {
    async fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let is_unavailable = Arc::new(AtomicBool::new(false));
        let (counted, refuses) = (calls.clone(), is_unavailable.clone());
        let answer = post(move || {
            counted.fetch_add(1, SeqCst);
            let refuses = refuses.load(SeqCst);
            async move {
                if refuses {
                    return Status::unavailable("not now").into_http::<Body>();
                }
                // An empty message, without compression.
                let body = axum::body::Body::from(&[0, 0, 0, 0, 0][..]);
                let answer = Response::builder()
                    .header(CONTENT_TYPE, "application/grpc")
                    .header("grpc-status", "0");
                answer.body(Body::new(body)).unwrap()
            }
        });
        let rooms = Router::new()
            .route("/tutti.rooms.v1.RoomService/GetRoom", answer.clone())
            .route("/tutti.rooms.v1.RoomService/SyncState", answer);
        let serving = runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let shutdown = Shutdown::new();
            let guard = GuardLayer::new(
                ServiceKeys::parse(KEY).unwrap(),
                Arc::new(SystemClock),
                shutdown.clone(),
            );
            let routes = rpc::with_reflection_and_health(Routes::from(rooms), &[]);
            let (routes, _health) = routes.await.unwrap();
            shutdown.spawn(rpc::serve(
                listener,
                routes,
                guard,
                GrpcTls::default(),
                shutdown.clone(),
            ));
            address
        });
        Self {
            address: serving.await.unwrap(),
            runtime: Some(runtime),
            calls,
            is_unavailable,
        }
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// Ends it as `kill -9` would.
    async fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Stops it as SIGSTOP would, until the sender is dropped.
    async fn freeze(&self) -> mpsc::Sender<()> {
        let (goes_on, frozen) = mpsc::channel::<()>();
        let (stops, stopped) = oneshot::channel();
        self.runtime.as_ref().unwrap().spawn(async move {
            stops.send(()).unwrap();
            frozen.recv().unwrap_err()
        });
        stopped.await.unwrap();
        goes_on
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A name with these addresses, which may change.
#[derive(Clone, Default)]
struct Name(Arc<Mutex<Vec<SocketAddr>>>);

impl Name {
    fn of(processes: &[&Process]) -> Self {
        let name = Self::default();
        name.set(processes);
        name
    }

    fn set(&self, processes: &[&Process]) {
        *self.0.lock().unwrap() = processes.iter().map(|process| process.address).collect();
    }

    fn dial(&self, shutdown: &Shutdown) -> RoomServiceClient<Transport> {
        let addresses = self.0.clone();
        let resolver: Resolver = Arc::new(move |host, port| {
            assert_eq!((host.as_str(), port), ("rooms", 50052));
            let addresses = addresses.lock().unwrap().clone();
            Box::pin(async move { Ok(addresses) })
        });
        let targets = vec![Uri::from_static("http://rooms:50052")];
        let transport = rpc::dial_by(resolver, targets, GrpcTls::default(), shutdown);
        let key = ServiceKeys::parse(KEY).unwrap().of("test").unwrap();
        RoomServiceClient::new(rpc::as_caller(transport, &key, Arc::new(SystemClock)))
    }
}

async fn look(rooms: &RoomServiceClient<Transport>) -> Result<(), Status> {
    let request = GetRoomRequest::default();
    rooms.clone().get_room(request).await.map(|_| ())
}

async fn sync(rooms: &RoomServiceClient<Transport>) -> Result<(), Status> {
    let request = SyncStateRequest::default();
    rooms.clone().sync_state(request).await.map(|_| ())
}

#[tokio::test]
async fn calls_are_spread_over_all_addresses() {
    let _turn = TURN.lock().await;
    let (one, other) = (Process::start().await, Process::start().await);
    let rooms = Name::of(&[&one, &other]).dial(&Shutdown::new());
    for _ in 0..10 {
        look(&rooms).await.unwrap();
    }
    for answer in join_all((0..90).map(|_| look(&rooms))).await {
        answer.unwrap();
    }
    assert_eq!(one.calls() + other.calls(), 100);
    assert!(one.calls().abs_diff(other.calls()) <= 10);
}

#[tokio::test]
async fn what_is_about_the_same_goes_to_the_same_one_while_it_lives() {
    let _turn = TURN.lock().await;
    let (mut one, mut other) = (Process::start().await, Process::start().await);
    let rooms = Name::of(&[&one, &other]).dial(&Shutdown::new());
    let look = async |room_id: &str| {
        let request = GetRoomRequest {
            room_id: room_id.to_owned(),
            ..GetRoomRequest::default()
        };
        let request = rpc::about(request, |request| &request.room_id);
        rooms.clone().get_room(request).await.map(|_| ())
    };
    for _ in 0..20 {
        look("room").await.unwrap();
    }
    let mut calls = [one.calls(), other.calls()];
    calls.sort_unstable();
    assert_eq!(calls, [0, 20]);
    for room in 0..100 {
        look(&room.to_string()).await.unwrap();
    }
    assert!(one.calls() > 20 && other.calls() > 20, "rooms are spread");
    // Whoever it was: the other one takes over.
    let before = [one.calls(), other.calls()];
    look("room").await.unwrap();
    let (chosen, heir) = if one.calls() > before[0] {
        (&mut one, &other)
    } else {
        (&mut other, &one)
    };
    chosen.kill().await;
    let before = heir.calls();
    look("room").await.unwrap();
    assert_eq!(heir.calls(), before + 1);
}

#[tokio::test]
async fn one_of_two_dies_and_no_call_fails() {
    let _turn = TURN.lock().await;
    let (one, mut other) = (Process::start().await, Process::start().await);
    let rooms = Name::of(&[&one, &other]).dial(&Shutdown::new());
    let mut callers = tokio::task::JoinSet::new();
    let over = Arc::new(AtomicBool::new(false));
    for _ in 0..2 {
        let (rooms, over) = (rooms.clone(), over.clone());
        callers.spawn(async move {
            while !over.load(SeqCst) {
                look(&rooms).await.unwrap();
            }
        });
    }
    while other.calls() < 100 {
        look(&rooms).await.unwrap();
    }
    other.kill().await;
    let before = one.calls();
    while one.calls() < before + 300 {
        look(&rooms).await.unwrap();
    }
    over.store(true, SeqCst);
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
}

#[tokio::test]
async fn one_that_is_frozen_is_left_out_until_it_goes_on() {
    let _turn = TURN.lock().await;
    let (one, other) = (Process::start().await, Process::start().await);
    let rooms = Name::of(&[&one, &other]).dial(&Shutdown::new());
    for _ in 0..4 {
        look(&rooms).await.unwrap();
    }
    let frozen = other.freeze().await;
    // Those that meet it wait for a second and are answered by the other one; the rest do not meet it.
    for answer in join_all((0..10).map(|_| look(&rooms))).await {
        answer.unwrap();
    }
    for _ in 0..100 {
        let begun = Instant::now();
        look(&rooms).await.unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        sync(&rooms).await.unwrap();
    }
    drop(frozen);
    let before = other.calls();
    while other.calls() < before + 10 {
        look(&rooms).await.unwrap();
    }
}

#[tokio::test]
async fn a_new_address_is_used_within_six_seconds() {
    let _turn = TURN.lock().await;
    let (mut one, other) = (Process::start().await, Process::start().await);
    let name = Name::of(&[&one]);
    let rooms = name.dial(&Shutdown::new());
    look(&rooms).await.unwrap();
    name.set(&[&one, &other]);
    let begun = Instant::now();
    while other.calls() == 0 {
        look(&rooms).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(6));
    name.set(&[&other]);
    one.kill().await;
    for _ in 0..10 {
        look(&rooms).await.unwrap();
        sync(&rooms).await.unwrap();
    }
}

#[tokio::test]
async fn only_what_may_be_done_twice_is_tried_again() {
    let _turn = TURN.lock().await;
    let (one, other) = (Process::start().await, Process::start().await);
    one.is_unavailable.store(true, SeqCst);
    let rooms = Name::of(&[&one, &other]).dial(&Shutdown::new());
    for _ in 0..10 {
        look(&rooms).await.unwrap();
    }
    let before = one.calls() + other.calls();
    let mut refused = 0;
    for _ in 0..10 {
        match sync(&rooms).await {
            Ok(()) => {}
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    assert_eq!(one.calls() + other.calls() - before, 10);
    // What was never sent is another matter.
    let (mut gone, here) = (Process::start().await, Process::start().await);
    gone.kill().await;
    let rooms = Name::of(&[&gone, &here]).dial(&Shutdown::new());
    for _ in 0..10 {
        sync(&rooms).await.unwrap();
    }
}

#[tokio::test]
async fn where_nobody_answers_it_says_so_in_time() {
    let _turn = TURN.lock().await;
    let nobody = Name::default().dial(&Shutdown::new());
    let mut gone = Process::start().await;
    gone.kill().await;
    let gone = Name::of(&[&gone]).dial(&Shutdown::new());
    let frozen = Process::start().await;
    let _frozen = frozen.freeze().await;
    let frozen = Name::of(&[&frozen]).dial(&Shutdown::new());
    for rooms in [nobody, gone, frozen] {
        for answer in [look(&rooms).await, sync(&rooms).await] {
            // Whether it is found to be silent before the deadline or by it.
            let code = answer.unwrap_err().code();
            assert!(
                [Code::Unavailable, Code::DeadlineExceeded].contains(&code),
                "{code:?}"
            );
        }
    }
}

#[tokio::test]
async fn callers_who_give_up_at_once_end_no_connection_of_others() {
    let _turn = TURN.lock().await;
    let process = Process::start().await;
    let shutdown = Shutdown::new();
    let rooms = Name::of(&[&process]).dial(&shutdown);
    sync(&rooms).await.unwrap();
    let frozen = process.freeze().await;
    let mut given_up = (0..300).map(|_| Box::pin(sync(&rooms))).collect::<Vec<_>>();
    for call in &mut given_up {
        assert!(poll!(call.as_mut()).is_pending());
    }
    let mut waiting = Box::pin(sync(&rooms));
    assert!(poll!(waiting.as_mut()).is_pending());
    // The connection's task runs on this thread, too: what is asked and what is given up goes to the process.
    let is_sent = || async {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    is_sent().await;
    drop(given_up);
    is_sent().await;
    drop(frozen);
    waiting.await.unwrap();
    sync(&rooms).await.unwrap();
}
