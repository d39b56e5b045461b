//! Over TCP, and who may call.

use futures_util::future::join;
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{Code, transport::Uri};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tutti_common::{
    config::Secret,
    rpc::{self, GrpcTls, GuardLayer, ServiceKeys, Transport},
    sql::Database,
    status::Reason,
};
use tutti_proto::rooms::{
    CloseRoomRequest, GetRoomRequest, WatchRoomRequest, room_event::Event,
    room_service_client::RoomServiceClient,
};
use tutti_tests::{TestApp, on_both_engines, refused};

on_both_engines! {
    a_key_is_needed_for_rooms,
    a_key_does_only_what_its_scopes_say,
    health_and_reflection_need_no_key,
    a_room_is_watched_over_tcp,
    the_example_hears_what_happens,
}

#[path = "../../../proto/examples/watch_room.rs"]
#[allow(dead_code, reason = "an example is a program of its own")]
mod watch_room;

/// Serves the room service over TCP and dials it.
async fn serve(app: &TestApp) -> Transport {
    let uri = serve_at(app).await.parse::<Uri>().unwrap();
    rpc::dial(vec![uri], GrpcTls::default(), &app.shutdown())
}

/// Serves the room service over TCP and says where.
async fn serve_at(app: &TestApp) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let keys = ServiceKeys::parse(
        "gateway:old-secret,gateway:new-secret,ops:ops-secret,reader(rooms.read):reader-secret",
    )
    .unwrap();
    let guard = GuardLayer::new(keys, app.clock.clone(), app.shutdown());
    let (routes, _health) =
        rpc::with_reflection_and_health(app.room_routes(), tutti_room::SERVICES)
            .await
            .unwrap();
    let shutdown = app.shutdown();
    shutdown.spawn(rpc::serve(
        listener,
        routes,
        guard,
        GrpcTls::default(),
        shutdown.clone(),
    ));
    uri
}

async fn a_key_is_needed_for_rooms(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let request = GetRoomRequest {
        user_id: ann.id.clone(),
        room_id: ann.create_room().await,
    };
    let transport = serve(&app).await;
    let see = async |transport: Transport| {
        let mut client = RoomServiceClient::new(transport);
        let answer = client.get_room(request.clone()).await?;
        Ok::<_, tonic::Status>(answer.into_inner().room.unwrap())
    };
    let refuses = |answer| refused(answer, Code::Unauthenticated, Reason::AuthRequired);
    refuses(see(transport.clone()).await);
    for wrong in ["", "old-secre", "old-secret2", "gateway:old-secret"] {
        let caller = rpc::as_caller(transport.clone(), &Secret::new(wrong), app.clock.clone());
        refuses(see(caller).await);
    }
    for right in ["old-secret", "new-secret", "ops-secret"] {
        let caller = rpc::as_caller(transport.clone(), &Secret::new(right), app.clock.clone());
        assert_eq!(see(caller).await.unwrap().host_id, ann.id);
    }
    assert!(
        app.shutdown()
            .finish(std::time::Duration::from_secs(20))
            .await
    );
}

async fn a_key_does_only_what_its_scopes_say(database: Database) {
    let app = TestApp::start(&database).await;
    let ann = app.user("ann").await;
    let room_id = ann.create_room().await;
    let transport = serve(&app).await;
    let with = |key| {
        let transport = transport.clone();
        RoomServiceClient::new(rpc::as_caller(
            transport,
            &Secret::new(key),
            app.clock.clone(),
        ))
    };
    let look = GetRoomRequest {
        user_id: ann.id.clone(),
        room_id: room_id.clone(),
    };
    let close = CloseRoomRequest {
        user_id: Some(ann.id.clone()),
        room_id,
    };
    let seen = with("reader-secret").get_room(look).await.unwrap();
    assert_eq!(seen.into_inner().room.unwrap().host_id, ann.id);
    let answer = with("reader-secret").close_room(close.clone()).await;
    refused(answer, Code::PermissionDenied, Reason::Forbidden);
    with("ops-secret").close_room(close).await.unwrap();
    assert!(
        app.shutdown()
            .finish(std::time::Duration::from_secs(20))
            .await
    );
}

async fn health_and_reflection_need_no_key(database: Database) {
    let app = TestApp::start(&database).await;
    let transport = serve(&app).await;
    for service in ["", "tutti.rooms.v1.RoomService"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = HealthClient::new(transport.clone()).check(request).await;
        assert_eq!(
            answer.unwrap().into_inner().status(),
            ServingStatus::Serving
        );
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let asked = futures_util::stream::iter([request]);
    let answer = ServerReflectionClient::new(transport)
        .server_reflection_info(asked)
        .await;
    let answer = answer.unwrap().into_inner().message().await.unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.unwrap().message_response else {
        panic!("a list of services");
    };
    let names = list.service.into_iter().map(|service| service.name);
    let names = names.collect::<Vec<_>>();
    for name in ["tutti.rooms.v1.RoomService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
}

async fn a_room_is_watched_over_tcp(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let transport = rpc::as_caller(
        serve(&app).await,
        &Secret::new("ops-secret"),
        app.clock.clone(),
    );
    let request = WatchRoomRequest {
        room_id: room.clone(),
    };
    let answer = RoomServiceClient::new(transport).watch_room(request).await;
    let mut stream = answer.unwrap().into_inner();
    let mut next = async || stream.message().await.unwrap().map(|m| m.event.unwrap());
    let first = next().await.unwrap();
    assert!(matches!(first.event, Some(Event::Snapshot(_))));
    bob.join(&room).await.unwrap();
    let joined = next().await.unwrap();
    assert!(matches!(joined.event, Some(Event::UserJoined(_))));
    ann.close(&room).await.unwrap();
    let closed = next().await.unwrap();
    assert!(matches!(closed.event, Some(Event::RoomClosed(_))));
    assert_eq!(next().await, None);
}

async fn the_example_hears_what_happens(database: Database) {
    let app = TestApp::start(&database).await;
    let [ann, bob] = app.users(["ann", "bob"]).await;
    let room = ann.create_room().await;
    let (heard, mut events) = mpsc::unbounded_channel();
    let arguments = [serve_at(&app).await, "ops-secret".to_owned(), room.clone()];
    let watch = watch_room::watch(arguments, |event| heard.send(event.event.unwrap()).unwrap());
    let act = async {
        let first = events.recv().await.unwrap();
        assert!(matches!(first, Event::Snapshot(_)), "{first:?}");
        bob.join(&room).await.unwrap();
        let joined = events.recv().await.unwrap();
        assert!(matches!(joined, Event::UserJoined(_)), "{joined:?}");
        app.close(&room).await.unwrap();
        let closed = events.recv().await.unwrap();
        assert!(matches!(closed, Event::RoomClosed(_)), "{closed:?}");
    };
    let (watched, ()) = join(watch, act).await;
    watched.unwrap();
}
