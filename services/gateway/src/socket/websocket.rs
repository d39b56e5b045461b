//! Engine.IO over a WebSocket: from the start, which is how nearly every client comes, or after long-polling.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use engineioxide_core::Str;
use http::{
    HeaderValue, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE},
};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::Instant};
use tutti_common::http::{ConnectionPermit, lift_deadline};

use super::{
    Sessions, Word,
    frame::{self, Broken, Goodbye, Reader, Received},
    handshake,
    line::{Heart, Line, PING},
    pace::{Pace, Verdict},
    packet,
    polling::Polling,
};

/// Bytes read at once. They are on the stack: what waits for a client holds no buffer.
const READ: usize = 4 * 1024;

/// How long a client may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a client that was polling may take to go on by WebSocket, as with the reference server.
const PROBE: Duration = Duration::from_secs(10);

/// Answers a request for a WebSocket: a new session's, or that of one that was polled.
pub(super) fn upgrade(
    sessions: &Arc<Sessions>,
    polled: Option<Arc<Line>>,
    query: Option<Box<str>>,
    request: &mut Request,
) -> Response {
    let accept = match handshake::accept(request) {
        Ok(accept) => accept,
        Err(refused) => return refused,
    };
    let is_wanted =
        (polled.as_ref()).is_none_or(|line| line.with_polling(Polling::begin_probe) == Some(true));
    // As long as the WebSocket lives, it is one of its client's connections.
    let permit = request.extensions_mut().remove::<ConnectionPermit>();
    let upgrading = hyper::upgrade::on(request);
    let sessions = sessions.clone();
    let shutdown = sessions.gateway.shutdown.clone();
    shutdown.spawn(async move {
        let upgraded = upgrading.await.ok();
        let parts = upgraded.and_then(|it| it.downcast::<TokioIo<TcpStream>>().ok());
        let parts = parts.map(|parts| (parts.io.into_inner(), parts.read_buf));
        if let Some((stream, _)) = &parts {
            lift_deadline(stream);
        }
        // A task of its own: with this one, the request's head is let go before the long wait begins.
        let shutdown = sessions.gateway.shutdown.clone();
        match (parts, polled) {
            // The session has a WebSocket already, or one that tries. The protocol has this one closed, not refused.
            (Some((stream, _)), _) if !is_wanted => {
                shutdown.spawn(leave(stream, Goodbye::Normal));
            }
            (None, _) if !is_wanted => {}
            (Some((stream, first)), None) => {
                let line = Arc::new(Line::new(stream, query, permit));
                shutdown.spawn(run(sessions, line, first));
            }
            (Some((stream, first)), Some(line)) => {
                shutdown.spawn(take_over(sessions, line, stream, permit, first));
            }
            (None, Some(line)) => {
                line.with_polling(Polling::end_probe);
            }
            (None, None) => {}
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = accept.parse() {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Why a connection is over.
enum Over {
    /// The client goes, or has gone.
    Gone,
    /// It was closed from here.
    Closed,
    /// It has said good-bye, or is told why it cannot go on.
    Ended(Goodbye),
}

/// A session that is a WebSocket from the start.
async fn run(sessions: Arc<Sessions>, line: Arc<Line>, first: Bytes) {
    let settings = &sessions.gateway.settings;
    let open = sessions.handshake(&line, &[]);
    let mut reader = Reader::new(settings.socket_max_payload);
    reader.feed(&first);
    drop(first);
    if line.send_frame(&packet::opened_frame(&open)).is_ok() {
        sessions.begin(line.clone());
        let heart = Heart::new(settings.socket_ping_interval);
        serve(&sessions, &line, reader, heart).await;
    }
}

/// A WebSocket that wants to take over a session that is polled. If it dies or says something else, the session goes on
/// being polled: between here and there may be something that cuts `WebSocket`s.
async fn take_over(
    sessions: Arc<Sessions>,
    line: Arc<Line>,
    stream: TcpStream,
    permit: Option<ConnectionPermit>,
    first: Bytes,
) {
    let mut reader = Reader::new(sessions.gateway.settings.socket_max_payload);
    reader.feed(&first);
    let probed = tokio::time::timeout(PROBE, probe(&line, &stream, &mut reader)).await;
    if let Err(goodbye) = probed.unwrap_or(Err(Some(Goodbye::Normal))) {
        // First: it can be polled on at once, and another may try.
        line.with_polling(Polling::end_probe);
        if let Some(goodbye) = goodbye {
            leave(stream, goodbye).await;
        }
        return;
    }
    let Some(heart) = line.move_to(stream) else {
        return;
    };
    serve(&sessions, &line, reader, heart).await;
    sessions.polled().remove(&line.sid);
    drop(permit);
}

/// Waits until a WebSocket that wants to take over has shown that it works, which takes a word from either side.
///
/// # Errors
/// It does not: what it is to be told, unless it has died.
async fn probe(
    line: &Line,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<(), Option<Goodbye>> {
    let mut pace = Pace::new(Instant::now());
    let mut is_probed = false;
    loop {
        let received = reader.next();
        if pace.count(reader.frames(), Instant::now()) != Verdict::GoOn {
            return Err(Some(Goodbye::Broken(Broken::TOO_MUCH)));
        }
        let reply = match received {
            Ok(None) => {
                if stream.readable().await.is_err() || !read(stream, reader) {
                    return Err(None);
                }
                continue;
            }
            Ok(Some(Received::Text(text))) if text == "2probe" => {
                is_probed = true;
                frame::text("", "3probe").0
            }
            Ok(Some(Received::Text(text))) if text == "5" && is_probed => return Ok(()),
            Ok(Some(Received::Ping(payload))) => frame::pong(&payload),
            Ok(Some(Received::Part)) => continue,
            Ok(Some(Received::Close(code))) => return Err(Some(Goodbye::Echo(code))),
            Ok(Some(_)) => return Err(Some(Goodbye::Normal)),
            Err(broken) => return Err(Some(Goodbye::Broken(broken))),
        };
        if !write_all(stream, &reply).await {
            return Err(None);
        }
        if is_probed {
            line.set_probed();
        }
    }
}

/// Says good-bye on a `WebSocket` that is nobody's, and waits until that has been read.
async fn leave(mut stream: TcpStream, goodbye: Goodbye) {
    let farewell = async {
        if write_all(&stream, &frame::close(goodbye)).await && stream.shutdown().await.is_ok() {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if stream.writable().await.is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

/// A session that is a WebSocket, to its end.
async fn serve(sessions: &Arc<Sessions>, line: &Arc<Line>, mut reader: Reader, heart: Heart) {
    let Some(stream) = line.stream() else { return };
    let over = listen(sessions, line, stream, &mut reader, heart).await;
    match over {
        Over::Ended(goodbye) => line.part(goodbye),
        Over::Gone | Over::Closed => line.close(),
    }
    Sessions::end(line);
    if !matches!(over, Over::Gone) {
        let _ = tokio::time::timeout(FAREWELL, part(line, stream, &mut reader)).await;
    }
    line.hang_up();
}

/// Reads, writes what had to wait, and asks now and then whether the client is there.
async fn listen(
    sessions: &Arc<Sessions>,
    line: &Arc<Line>,
    stream: &TcpStream,
    reader: &mut Reader,
    mut heart: Heart,
) -> Over {
    let settings = &sessions.gateway.settings;
    let mut pace = Pace::new(Instant::now());
    let deadline = tokio::time::sleep_until(heart.due);
    tokio::pin!(deadline);
    loop {
        loop {
            let received = reader.next();
            let is_free =
                matches!(&received, Ok(Some(Received::Text(text))) if sessions.is_free(text));
            let frames = reader.frames().saturating_sub(is_free.into());
            match pace.count(frames, Instant::now()) {
                Verdict::GoOn => {}
                Verdict::Wait(wait) => tokio::time::sleep(wait).await,
                Verdict::Close => return Over::Ended(Goodbye::Broken(Broken::TOO_MUCH)),
            }
            match received {
                Ok(None) => break,
                Ok(Some(Received::Part)) => {}
                Ok(Some(Received::Close(code))) => return Over::Ended(Goodbye::Echo(code)),
                Ok(Some(Received::Ping(payload))) => {
                    // One that does not read, and is asked to: its queue is bounded like any other.
                    if line.send_frame(&frame::pong(&payload)).is_err() {
                        return Over::Closed;
                    }
                }
                Ok(Some(Received::Binary(data))) => sessions.hear_binary(data.into(), line),
                Ok(Some(Received::Text(text))) => {
                    match sessions.hear_packet(&Str::from(text), line) {
                        Word::Heard => {}
                        Word::Pong => {
                            heart.answer(settings.socket_ping_interval);
                            deadline.as_mut().reset(heart.due);
                        }
                        Word::Bye => return Over::Gone,
                        Word::Wrong => return Over::Ended(Goodbye::Normal),
                    }
                }
                Err(broken) => return Over::Ended(Goodbye::Broken(broken)),
            }
            if line.is_closed() {
                return Over::Closed;
            }
            // Whoever sends without end lets the others have their turn.
            tokio::task::coop::consume_budget().await;
        }
        tokio::select! {
            ready = stream.readable() => {
                if ready.is_err() || !read(stream, reader) {
                    return Over::Gone;
                }
            }
            ready = stream.writable(), if line.is_waiting() => {
                if ready.is_err() || line.flush().is_err() {
                    return Over::Gone;
                }
            }
            () = line.changed.notified() => {}
            () = &mut deadline => {
                if heart.asked_at.is_some() {
                    return Over::Ended(Goodbye::Normal);
                }
                if line.send_frame(&Bytes::from_static(PING)).is_err() {
                    return Over::Closed;
                }
                heart.ask(settings.socket_ping_timeout);
                deadline.as_mut().reset(heart.due);
            }
        }
        if line.is_closed() {
            return Over::Closed;
        }
    }
}

/// Reads what is there. Returns whether the line still stands.
fn read(stream: &TcpStream, reader: &mut Reader) -> bool {
    let mut buffer = [0; READ];
    match stream.try_read(&mut buffer) {
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
async fn part(line: &Line, stream: &TcpStream, reader: &mut Reader) {
    while line.is_waiting() {
        if stream.writable().await.is_err() || line.flush().is_err() {
            return;
        }
    }
    // The server is the first to close the line (RFC 6455, section 7.1.1).
    line.finish();
    // Where it is broken, only the end of the line ends it.
    let mut is_broken = false;
    while stream.readable().await.is_ok() && read(stream, reader) {
        while !is_broken {
            match reader.next() {
                Ok(None) => break,
                Ok(Some(Received::Close(_))) => return,
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
