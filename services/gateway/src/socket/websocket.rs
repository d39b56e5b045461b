//! Engine.IO over a WebSocket from the start, which is how nearly every client comes. Long-polling, and
//! what is upgraded from it, is engineioxide's.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use engineioxide::{DisconnectReason, Str};
use http::{
    HeaderMap, Method, StatusCode,
    header::{
        CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
        UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha1::{Digest as _, Sha1};
use tokio::{net::TcpStream, time::Instant};

use super::{
    Carrier, Sessions,
    frame::{self, Broken, Reader, Received},
    line::{Line, PING},
    packet,
};

/// RFC 6455, section 1.3.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes read at once. They are on the stack: what waits for a client holds no buffer.
const READ: usize = 4 * 1024;

/// How long a client may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(2);

/// Answers a request for a WebSocket from the start; `None` if it is for something else.
pub(super) fn upgrade(sessions: &Arc<Sessions>, request: &mut Request) -> Option<Response> {
    if !is_from_the_start(request) {
        return None;
    }
    let key = request.headers().get(SEC_WEBSOCKET_KEY)?;
    let accept = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(ACCEPT_SUFFIX)
        .finalize();
    let accept = STANDARD.encode(accept);
    // A token may stand there; nothing else is of interest. Copied: the request's head is not kept for it.
    let query = request.uri().query().filter(|it| it.contains("token="));
    let query = query.map(Box::from);
    let upgrading = hyper::upgrade::on(request);
    let sessions = sessions.clone();
    let shutdown = sessions.gateway.shutdown.clone();
    shutdown.spawn(async move {
        let Ok(upgraded) = upgrading.await else {
            return;
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            return tracing::error!("a WebSocket came over something else than TCP");
        };
        let line = Arc::new(Line::new(parts.io.into_inner(), query));
        // A task of its own: with this one, the request's head is let go before the long wait begins.
        let shutdown = sessions.gateway.shutdown.clone();
        shutdown.spawn(run(sessions, line, parts.read_buf));
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "Upgrade")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .body(Body::empty())
        .ok()
}

/// What is odd about a request is engineioxide's to say.
fn is_from_the_start(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let has = |pair: &str| query.split('&').any(|each| each == pair);
    let names = |header: HeaderName, word: &str| names(request.headers(), &header, word);
    request.method() == Method::GET
        && has("EIO=4")
        && has("transport=websocket")
        && !query.split('&').any(|each| each.starts_with("sid="))
        && names(CONNECTION, "upgrade")
        && names(UPGRADE, "websocket")
        && names(SEC_WEBSOCKET_VERSION, "13")
}

/// Whether a header's list has this word.
fn names(headers: &HeaderMap, header: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(header).iter();
    let mut words = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    words.any(|each| each.trim().eq_ignore_ascii_case(word))
}

/// Why a connection is over.
enum Over {
    /// The client goes, or has gone.
    Gone,
    /// It was closed from here.
    Closed,
    /// It speaks something else.
    Broken(Option<Broken>),
    /// It does not answer.
    Silent,
}

async fn run(sessions: Arc<Sessions>, line: Arc<Line>, first: Bytes) {
    let carrier = Carrier::Line(line.clone());
    let settings = &sessions.gateway.settings;
    let open = json!({
        "sid": carrier.id(),
        "upgrades": [],
        "pingInterval": millis(settings.socket_ping_interval),
        "pingTimeout": millis(settings.socket_ping_timeout),
        "maxPayload": settings.socket_max_payload,
    });
    let mut reader = Reader::new(settings.socket_max_payload);
    reader.feed(&first);
    drop(first);
    if line.send_frame(&packet::opened(&open)).is_ok() {
        sessions.begin(carrier.clone());
        let over = listen(&sessions, &line, &carrier, &mut reader).await;
        let (broken, reason) = match over {
            Over::Gone => (None, DisconnectReason::TransportClose),
            Over::Closed => (None, DisconnectReason::ClosingServer),
            Over::Broken(broken) => (broken, DisconnectReason::PacketParsingError),
            Over::Silent => (None, DisconnectReason::HeartbeatTimeout),
        };
        line.close(broken);
        Sessions::end(&carrier, &reason);
        if !matches!(over, Over::Gone) {
            let _ = tokio::time::timeout(FAREWELL, part(&line, &mut reader)).await;
        }
        line.hang_up();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reads, writes what had to wait, and asks now and then whether the client is there.
async fn listen(
    sessions: &Arc<Sessions>,
    line: &Line,
    carrier: &Carrier,
    reader: &mut Reader,
) -> Over {
    let settings = &sessions.gateway.settings;
    let mut asked = None;
    let deadline = tokio::time::sleep(settings.socket_ping_interval);
    tokio::pin!(deadline);
    loop {
        loop {
            match reader.next() {
                Ok(None) => break,
                Ok(Some(Received::Close)) => return Over::Gone,
                Ok(Some(Received::Ping(payload))) => {
                    // One that does not read, and is asked to: its queue is bounded like any other.
                    if line.send_frame(&frame::pong(&payload)).is_err() {
                        return Over::Closed;
                    }
                }
                Ok(Some(Received::Binary(data))) => sessions.hear_binary(data.into(), carrier),
                Ok(Some(Received::Text(text))) => match text.as_bytes().first() {
                    Some(b'4') => sessions.hear_text(Str::from(text).slice(1..), carrier),
                    Some(b'2' | b'3') => {
                        if let Some(at) = asked.take() {
                            deadline.as_mut().reset(at + settings.socket_ping_interval);
                        }
                    }
                    Some(b'1') => return Over::Gone,
                    _ => return Over::Broken(None),
                },
                Err(broken) => return Over::Broken(Some(broken)),
            }
            if line.is_closed() {
                return Over::Closed;
            }
        }
        // Whoever sends without end lets the others have their turn.
        tokio::task::coop::consume_budget().await;
        tokio::select! {
            ready = line.stream.readable() => {
                if ready.is_err() || !read(line, reader) {
                    return Over::Gone;
                }
            }
            ready = line.stream.writable(), if line.is_waiting() => {
                if ready.is_err() || line.flush().is_err() {
                    return Over::Gone;
                }
            }
            () = line.changed.notified() => {}
            () = &mut deadline => {
                if asked.is_some() {
                    return Over::Silent;
                }
                if line.send_frame(&Bytes::from_static(PING)).is_err() {
                    return Over::Closed;
                }
                asked = Some(Instant::now());
                deadline.as_mut().reset(Instant::now() + settings.socket_ping_timeout);
            }
        }
        if line.is_closed() {
            return Over::Closed;
        }
    }
}

/// Reads what is there. Returns whether the line still stands.
fn read(line: &Line, reader: &mut Reader) -> bool {
    let mut buffer = [0; READ];
    match line.stream.try_read(&mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            reader.feed(&buffer[..length]);
            true
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Sends the last words and waits until the client has read them: closing a line on which something
/// unread has come would throw them away.
async fn part(line: &Line, reader: &mut Reader) {
    while line.is_waiting() {
        if line.stream.writable().await.is_err() || line.flush().is_err() {
            return;
        }
    }
    // Where it is broken, only the end of the line ends it.
    let mut is_broken = false;
    while line.stream.readable().await.is_ok() && read(line, reader) {
        while !is_broken {
            match reader.next() {
                Ok(None) => break,
                Ok(Some(Received::Close)) => return,
                Ok(Some(_)) => {}
                Err(_) => is_broken = true,
            }
        }
        if is_broken {
            reader.clear();
        }
        tokio::task::coop::consume_budget().await;
    }
}
