//! Engine.IO over long-polling: one request waits for what there is to say, others bring what the client says.

use std::{sync::Arc, time::Duration};

use axum::{body::Bytes, extract::Request, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use engineioxide_core::Str;
use http::{StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::Instant;
use tutti_common::http::ConnectionPermit;

use super::{
    Sessions, Word,
    line::{Heart, Line, Polled},
    pace::{Pace, Verdict},
    packet,
    request::{Refusal, answer},
};

/// How long a poll waits while the client tries to go on by WebSocket: it waits for its poll to end before it does.
const PROBING: Duration = Duration::from_millis(100);

/// How long what is said last waits to be polled for.
const FAREWELL: Duration = Duration::from_secs(2);

/// Stands between the packets of a POST.
const SEPARATOR: char = '\u{1e}';

/// A `WebSocket` that wants to take over from polling.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Successor {
    Nobody,
    /// It has not shown yet that it works.
    Tried,
    Probed,
}

/// What there is to know of a session while it is polled.
pub(super) struct Polling {
    pub(super) heart: Heart,
    /// A poll waits.
    pub(super) is_polled: bool,
    /// A POST is under way.
    is_posting: bool,
    pub(super) successor: Successor,
    /// When the last poll ended.
    left_at: Instant,
    /// The question whether it is there has not been polled for yet.
    is_ping_waiting: bool,
    pace: Pace,
}

/// What is to be done about a session that is polled, and when to look again.
pub(super) enum Beat {
    Wait(Instant),
    /// The client is asked whether it is there.
    Ask(Instant),
    /// It does not answer, or does not poll.
    Silent,
    Moved,
    Over,
}

impl Polling {
    pub(super) fn new(heart: Heart) -> Self {
        let now = Instant::now();
        Self {
            heart,
            is_polled: false,
            is_posting: false,
            successor: Successor::Nobody,
            left_at: now,
            is_ping_waiting: false,
            pace: Pace::new(now),
        }
    }

    /// A poll begins, unless one waits already.
    fn begin_poll(&mut self) -> bool {
        !std::mem::replace(&mut self.is_polled, true)
    }

    fn end_poll(&mut self) {
        self.is_polled = false;
        self.left_at = Instant::now();
    }

    /// Something was polled for, and whether that was all.
    pub(super) fn has_taken(&mut self, is_all: bool) {
        self.is_ping_waiting &= !is_all;
    }

    /// A POST begins, unless one is under way.
    fn begin_post(&mut self) -> bool {
        !std::mem::replace(&mut self.is_posting, true)
    }

    /// The client says that it is there; what it says before it was asked means nothing.
    fn answered(&mut self, interval: Duration) {
        if !self.is_ping_waiting {
            self.heart.answer(interval);
        }
    }

    /// A WebSocket tries to take over, unless one does already.
    pub(super) fn begin_probe(&mut self) -> bool {
        let is_first = self.successor == Successor::Nobody;
        if is_first {
            self.successor = Successor::Tried;
        }
        is_first
    }

    /// It has died, or said something else.
    pub(super) fn end_probe(&mut self) {
        self.successor = Successor::Nobody;
    }

    /// Looks whether the client is there and polls; it has `timeout` for either.
    pub(super) fn beat(&mut self, timeout: Duration) -> Beat {
        let now = Instant::now();
        if !self.is_polled && now >= self.left_at + timeout {
            return Beat::Silent;
        }
        let is_due = now >= self.heart.due;
        if is_due && self.heart.asked_at.is_some() {
            return Beat::Silent;
        }
        if is_due {
            self.heart.ask(timeout);
            self.is_ping_waiting = true;
        }
        let left_at = if self.is_polled { now } else { self.left_at };
        let next = self.heart.due.min(left_at + timeout);
        if is_due {
            Beat::Ask(next)
        } else {
            Beat::Wait(next)
        }
    }
}

/// A session begins.
pub(super) fn open(
    sessions: &Arc<Sessions>,
    query: Option<Box<str>>,
    permit: Option<ConnectionPermit>,
) -> Response {
    let settings = &sessions.gateway.settings;
    let heart = Heart::new(settings.socket_ping_interval);
    let line = Arc::new(Line::polled(query, permit, heart));
    let open = sessions.handshake(&line, &["websocket"]);
    sessions.polled().insert(line.sid, line.clone());
    sessions.begin(line.clone());
    let shutdown = &sessions.gateway.shutdown;
    shutdown.spawn(keep(sessions.clone(), line));
    answer(packet::opened(&open))
}

/// Keeps a session until it is over or is no longer polled.
async fn keep(sessions: Arc<Sessions>, line: Arc<Line>) {
    let timeout = sessions.gateway.settings.socket_ping_timeout;
    loop {
        let next = match line.beat(timeout) {
            Beat::Wait(next) | Beat::Ask(next) => next,
            Beat::Silent => {
                line.refuse();
                break;
            }
            Beat::Over => break,
            Beat::Moved => return,
        };
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = line.keeper.notified() => {}
        }
    }
    Sessions::end(&line);
    let read = async {
        while !line.is_gone() {
            line.keeper.notified().await;
        }
    };
    let _ = tokio::time::timeout(FAREWELL, read).await;
    sessions.polled().remove(&line.sid);
}

/// A request that is under way. One that is cut off ends the session: what it was given is lost.
struct UnderWay<'a> {
    line: &'a Line,
    end: fn(&mut Polling),
    is_whole: bool,
}

impl<'a> UnderWay<'a> {
    fn new(line: &'a Line, end: fn(&mut Polling)) -> Self {
        Self {
            line,
            end,
            is_whole: false,
        }
    }

    fn answer(mut self, response: Response) -> Response {
        self.is_whole = true;
        response
    }

    /// Ends the session for what the client did.
    fn refuse(self, response: Response) -> Response {
        self.line.refuse();
        self.answer(response)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // Where it has become a WebSocket meanwhile, its client may well let go of what it was polled by.
        let is_polled = self.line.with_polling(self.end).is_some();
        if is_polled && !self.is_whole {
            self.line.abandon();
        }
    }
}

/// Begins a request that may be under way once only.
fn begin(
    line: &Line,
    begin: fn(&mut Polling) -> bool,
    end: fn(&mut Polling),
) -> Result<UnderWay<'_>, Refusal> {
    match line.with_polling(begin) {
        Some(true) => Ok(UnderWay::new(line, end)),
        Some(false) => {
            line.refuse();
            Err(Refusal::BadRequest)
        }
        // It is a WebSocket by now.
        None => Err(Refusal::BadRequest),
    }
}

/// Waits until there is something to say.
pub(super) async fn poll(line: &Line) -> Response {
    let poll = match begin(line, Polling::begin_poll, Polling::end_poll) {
        Ok(poll) => poll,
        Err(refusal) => return refusal.response(),
    };
    let mut has_waited = false;
    loop {
        let changed = line.changed.notified();
        match line.poll() {
            Polled::Packets(packets) => return poll.answer(answer(packets)),
            Polled::Nothing => changed.await,
            Polled::Probing if has_waited => return poll.answer(answer(Line::NOTHING)),
            Polled::Probing => {
                let _ = tokio::time::timeout(PROBING, changed).await;
            }
        }
        has_waited = true;
    }
}

/// Hears what the client says.
pub(super) async fn post(sessions: &Arc<Sessions>, line: &Arc<Line>, request: Request) -> Response {
    let end = |polling: &mut Polling| polling.is_posting = false;
    let post = match begin(line, Polling::begin_post, end) {
        Ok(post) => post,
        Err(refusal) => return refusal.response(),
    };
    let text = match read(sessions, request).await {
        Ok(text) => text,
        Err(Some(status)) => return post.refuse(status_only(status)),
        Err(None) => return status_only(StatusCode::BAD_REQUEST),
    };
    let mut from = 0;
    for length in text.split(SEPARATOR).map(str::len).collect::<Vec<_>>() {
        let packet = text.slice(from..from + length);
        from += length + SEPARATOR.len_utf8();
        let counted = u32::from(!sessions.is_free(&packet));
        match line.with_polling(|polling| polling.pace.count(counted, Instant::now())) {
            Some(Verdict::GoOn) => {}
            Some(Verdict::Wait(wait)) => tokio::time::sleep(wait).await,
            Some(Verdict::Close) => return post.refuse(status_only(StatusCode::TOO_MANY_REQUESTS)),
            None => return post.answer(Refusal::BadRequest.response()),
        }
        if line.is_closed() {
            break;
        }
        match hear(sessions, &packet, line) {
            Word::Heard => {}
            Word::Pong => {
                let interval = sessions.gateway.settings.socket_ping_interval;
                line.with_polling(|polling| polling.answered(interval));
                line.keeper.notify_one();
            }
            Word::Bye => {
                line.has_left();
                break;
            }
            Word::Wrong => return post.refuse(status_only(StatusCode::BAD_REQUEST)),
        }
    }
    post.answer(answer("ok"))
}

fn hear(sessions: &Sessions, packet: &Str, line: &Arc<Line>) -> Word {
    let Some(text) = packet.strip_prefix('b') else {
        return sessions.hear_packet(packet, line);
    };
    match STANDARD.decode(text) {
        Ok(data) => {
            sessions.hear_binary(data.into(), line);
            Word::Heard
        }
        Err(_) => Word::Wrong,
    }
}

/// The text of a POST; why it is refused, or nothing where the client has gone.
async fn read(sessions: &Sessions, request: Request) -> Result<Str, Option<StatusCode>> {
    let settings = &sessions.gateway.settings;
    let (head, body) = request.into_parts();
    let media_type = head.headers.get(CONTENT_TYPE);
    if media_type.is_some_and(|it| it == "application/octet-stream") {
        return Err(Some(StatusCode::BAD_REQUEST));
    }
    let read = Limited::new(body, settings.socket_max_payload).collect();
    let body = match tokio::time::timeout(settings.socket_ping_timeout, read).await {
        Ok(Ok(body)) => Vec::from(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Some(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Ok(Err(_)) => return Err(None),
        Err(_) => return Err(Some(StatusCode::REQUEST_TIMEOUT)),
    };
    let text = String::from_utf8(body).map_err(|_| Some(StatusCode::BAD_REQUEST))?;
    Ok(Str::from(text))
}

fn status_only(status: StatusCode) -> Response {
    let mut response = answer(Bytes::new());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};

    use super::{Polling, begin};
    use crate::socket::line::{Heart, Line};

    fn line() -> Line {
        Line::polled(None, None, Heart::new(Duration::from_secs(25)))
    }

    #[tokio::test]
    async fn a_poll_that_is_cut_off_ends_its_session_unless_that_has_become_a_websocket() {
        let polled = line();
        drop(begin(&polled, Polling::begin_poll, Polling::end_poll));
        assert!(polled.is_gone());

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let moved = line();
        let poll = begin(&moved, Polling::begin_poll, Polling::end_poll);
        assert!(moved.move_to(stream.await.unwrap()).is_some());
        drop(poll);
        assert!(!moved.is_closed());
    }
}
