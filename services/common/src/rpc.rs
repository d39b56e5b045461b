//! Calling and serving gRPC. A service is a layered tower service: split, tonic serves it over TCP and a
//! client dials it; standalone, the client's transport *is* the service.

use std::{
    cell::Cell,
    convert::Infallible,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body, service::Routes};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Layer as _, ServiceExt, util::BoxCloneSyncService};
use tracing::Instrument as _;

use crate::{
    clock::{SharedClock, UnixMs},
    config::Secret,
    telemetry,
};

mod connection;
mod dial;
mod guard;
mod keys;
mod serve;
mod tls;

pub use connection::IdleTimes;
pub use dial::{Resolver, about, dial, dial_by};
pub use guard::{Guard, GuardLayer};
pub use keys::ServiceKeys;
pub use serve::{serve, serve_within, with_reflection_and_health};
pub use tls::{GrpcTls, GrpcTlsFiles};

/// What a client calls through: a TCP channel or the service itself.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// How long a call may take, connecting included. The contract answers `UNAVAILABLE` within 2 s.
pub const DEADLINE: Duration = Duration::from_millis(1_800);

/// How long a call may take that hashes a password. That is slow on purpose, and a crowd that logs in at
/// once waits its turn: a part that is busy is not one that does not answer.
pub const HASHING_DEADLINE: Duration = Duration::from_secs(10);

/// How long a caller waits, in the words of gRPC: a number and a unit.
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// When a caller gives up, in Unix milliseconds: a request may have been on its way for longer than it is good for,
/// and `grpc-timeout` counts from its arrival.
const DEADLINE_MS: &str = "tutti-deadline-ms";

/// How far clocks of processes may be apart: of those that do not go by one, the machines'.
const CLOCKS_APART: Duration = Duration::from_secs(2);

tokio::task_local! {
    /// See [`answer_by`].
    static ANSWER_BY: Cell<Instant>;

    /// See [`caller_gone`]. Cancelled when the caller goes away.
    static CALLER: CancellationToken;
}

/// Does something that is to be answered by then: no call it makes waits for longer, however many there are or
/// however long it had to wait for its turn. Those that hash a password have their own time.
pub async fn answer_by<T>(by: Instant, what: impl Future<Output = T>) -> T {
    ANSWER_BY.scope(Cell::new(by), what).await
}

/// Waits for the caller itself, such as for the rest of what it sends: that takes nothing of the time that there is, see
/// [`answer_by`].
pub async fn not_counting<T>(what: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = what.await;
    // Outside of `answer_by` there is nothing to put off.
    let _ = ANSWER_BY.try_with(|by| by.set(by.get() + begun.elapsed()));
    done
}

/// Until when something may take that begins now, see [`answer_by`].
fn deadline_of_what_begins(now: Instant) -> Instant {
    let by = ANSWER_BY.try_with(Cell::get);
    by.unwrap_or(now + DEADLINE).min(now + DEADLINE)
}

/// Waits for something that is no call as long as there is time, see [`answer_by`].
pub async fn in_time<T>(what: impl Future<Output = T>) -> Result<T, Status> {
    let by = deadline_of_what_begins(Instant::now());
    let done = tokio::time::timeout_at(by.into(), what).await;
    done.map_err(|_| Status::deadline_exceeded("no answer in time"))
}

/// Whether nobody waits any more for what is being done: it is not to be begun then.
#[must_use]
pub fn is_too_late() -> bool {
    ANSWER_BY
        .try_with(|by| by.get() <= Instant::now())
        .unwrap_or(false)
}

/// Resolves when nobody waits any more for the call that is being served: its caller went away, or its time is up. A call is
/// finished all the same, so what is costly asks this before it begins. Outside of a call it never resolves.
pub async fn caller_gone() {
    let gone = async {
        match CALLER.try_with(CancellationToken::clone) {
            Ok(caller) => caller.cancelled_owned().await,
            Err(_) => std::future::pending().await,
        }
    };
    let too_late = async {
        match ANSWER_BY.try_with(Cell::get) {
            Ok(_) if is_too_late() => {}
            Ok(by) => tokio::time::sleep_until(by.into()).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = gone => {}
        () = too_late => {}
    }
}

/// How much longer the caller of a request waits, if it says so.
fn patience(headers: &HeaderMap, now: UnixMs) -> Option<Duration> {
    let deadline = headers
        .get(DEADLINE_MS)
        .and_then(|by| by.to_str().ok()?.parse().ok());
    if deadline.is_some_and(|by| now > UnixMs(by) + CLOCKS_APART) {
        return Some(Duration::ZERO);
    }
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = number.parse::<u32>().ok()?;
    let unit = match unit {
        "H" => Duration::from_hours(1),
        "M" => Duration::from_mins(1),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    unit.checked_mul(number)
}

/// The calls that hash a password.
const HASHING: [&str; 2] = [
    "/tutti.auth.v1.AuthService/Register",
    "/tutti.auth.v1.AuthService/Login",
];

/// The service itself as a transport, behind the same guard as over TCP.
#[must_use]
pub fn in_process(routes: Routes, guard: &GuardLayer) -> Transport {
    let service = guard.layer(routes.prepare());
    BoxCloneSyncService::new(ServiceExt::<Request<Body>>::map_err(
        service,
        |never: Infallible| match never {},
    ))
}

/// Whether a service answers, whatever it says. That it can do its work is another question: its database may be away.
pub async fn answers(transport: &Transport) -> bool {
    let mut health = HealthClient::new(transport.clone());
    let said = health.check(HealthCheckRequest::default()).await;
    match said {
        Ok(_) => true,
        // A service in this process has no health to tell.
        Err(status) => !matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded),
    }
}

/// Names the caller and gives every call a deadline, on a clock that those called go by, too.
#[must_use]
pub fn as_caller(transport: Transport, key: &Secret, clock: SharedClock) -> Transport {
    let bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()))
        .map(|mut value| {
            value.set_sensitive(true);
            value
        })
        .ok();
    BoxCloneSyncService::new(tower::service_fn(move |mut request: Request<Body>| {
        if let Some(bearer) = bearer.clone() {
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let method = request.uri().path().to_owned();
        let span = tracing::info_span!("call", otel.name = %method, otel.kind = "client");
        telemetry::pass_trace_on(&span, request.headers_mut());
        let begun = Instant::now();
        let deadline = if HASHING.contains(&method.as_str()) {
            begun + HASHING_DEADLINE
        } else {
            deadline_of_what_begins(begun)
        };
        let left = deadline.saturating_duration_since(begun);
        if let Ok(timeout) = HeaderValue::try_from(format!("{}m", left.as_millis())) {
            request.headers_mut().insert(GRPC_TIMEOUT, timeout);
        }
        let by = HeaderValue::from((clock.now() + left).0);
        request.headers_mut().insert(DEADLINE_MS, by);
        let call = transport.clone().oneshot(request);
        let call = async move {
            // A stream is held to it until it begins; then it lives as long as it is wanted.
            let answer = match tokio::time::timeout_at(deadline.into(), call).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::deadline_exceeded("no answer in time")),
            };
            let code = code_of(&answer);
            metrics::histogram!("tutti_rpc_seconds", "method" => method.clone())
                .record(begun.elapsed());
            metrics::counter!("tutti_rpc_calls_total", "method" => method, "code" => code)
                .increment(1);
            answer
        };
        call.instrument(span)
    }))
}

/// How a call ended, as gRPC spells it; of a stream, how it began.
fn code_of(answer: &Result<Response<Body>, Status>) -> &'static str {
    let code = match answer {
        Ok(answer) => {
            Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code())
        }
        Err(status) => status.code(),
    };
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant},
    };

    use http::{Request, Response};
    use tonic::{Code, Status, body::Body};
    use tower::{ServiceExt as _, service_fn, util::BoxCloneSyncService};

    use super::{DEADLINE, answer_by, as_caller, caller_gone, is_too_late, patience};
    use crate::{
        clock::{SystemClock, UnixMs},
        config::Secret,
    };

    #[test]
    fn a_caller_says_how_long_it_waits() {
        let patience = |text: &str| {
            let headers = [("grpc-timeout".parse().unwrap(), text.parse().unwrap())];
            patience(&headers.into_iter().collect(), UnixMs(0))
        };
        assert_eq!(patience("1800m"), Some(Duration::from_millis(1_800)));
        assert_eq!(patience("2H"), Some(Duration::from_hours(2)));
        for text in ["", "m", "5", "-1S", "1y", "99999999999S", "1é"] {
            assert_eq!(patience(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_on_its_way_for_too_long_has_no_time_left() {
        let left = |now: i64| {
            let headers = [("grpc-timeout", "1800m"), ("tutti-deadline-ms", "100000")];
            let headers =
                headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            patience(&headers.into_iter().collect(), UnixMs(now))
        };
        assert_eq!(left(98_200), Some(DEADLINE));
        assert_eq!(left(102_000), Some(DEADLINE), "clocks are not that exact");
        assert_eq!(left(102_001), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_too_late() {
        assert!(!is_too_late());
        let now = Instant::now();
        assert!(!answer_by(now + DEADLINE, async { is_too_late() }).await);
        assert!(answer_by(now, async { is_too_late() }).await);
    }

    #[tokio::test]
    async fn a_caller_whose_time_is_up_is_gone() {
        use futures_util::FutureExt as _;
        assert!(caller_gone().now_or_never().is_none());
        let gone = answer_by(Instant::now(), async { caller_gone().now_or_never() });
        assert!(gone.await.is_some());
    }

    #[tokio::test]
    async fn no_call_outlasts_what_it_is_made_for() {
        let never = service_fn(|_| std::future::pending::<Result<Response<Body>, Status>>());
        let caller = as_caller(
            BoxCloneSyncService::new(never),
            &Secret::new("key"),
            Arc::new(SystemClock),
        );
        let call = || caller.clone().oneshot(Request::new(Body::empty()));
        let begun = Instant::now();
        let status = answer_by(begun + Duration::from_millis(20), async {
            // The first call takes all the time there is: nothing is left for the second.
            call().await.unwrap_err();
            call().await.unwrap_err()
        });
        assert_eq!(status.await.code(), Code::DeadlineExceeded);
        assert!(begun.elapsed() < DEADLINE);
    }
}
