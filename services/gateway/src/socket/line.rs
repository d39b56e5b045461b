//! A connection that is written to by whoever has something to say, without a task or a copy between: a message to
//! thousands costs little more than the system calls. Only what the network does not take at once, or nobody has polled
//! for yet, waits here.
//!
//! It is carried by long-polling, by a WebSocket, or first by the one and then by the other.

use std::{
    io::ErrorKind,
    net::Shutdown,
    os::fd::AsFd as _,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use engineioxide_core::Sid;
use tokio::{net::TcpStream, sync::Notify, time::Instant};
use tutti_common::http::ConnectionPermit;

use super::{
    Slot,
    frame::{self, Goodbye},
    outbox::{Full, Outbox},
    packet::Message,
    polling::{Beat, Polling, Successor},
};

/// Engine.IO's `ping`, `close` and `noop`, as frames.
pub(super) const PING: &[u8] = b"\x81\x012";
const CLOSE: &[u8] = b"\x81\x011";
const NOOP: &[u8] = b"\x81\x016";

/// Most packets in the answer to a poll: python-engineio takes no more ("too many packets in payload"). What is left waits
/// for the next poll.
const PACKETS_PER_POLL: usize = 16;

/// Bytes in the answer to a poll, unless a single packet has more.
const BYTES_PER_POLL: usize = 64 * 1024;

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too much waits already: nobody reads.
    Full,
    /// It is over.
    Closed,
}

impl From<Full> for Refused {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// When the client is asked whether it is there, and whether it was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heart {
    /// When it is asked; where it was, by when it has to have answered.
    pub(super) due: Instant,
    pub(super) asked_at: Option<Instant>,
}

impl Heart {
    /// One that is asked for the first time after that.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            due: Instant::now() + interval,
            asked_at: None,
        }
    }

    /// It was asked.
    pub(super) fn ask(&mut self, timeout: Duration) {
        let now = Instant::now();
        self.asked_at = Some(now);
        self.due = now + timeout;
    }

    /// It has answered.
    pub(super) fn answer(&mut self, interval: Duration) {
        if let Some(at) = self.asked_at.take() {
            self.due = at + interval;
        }
    }
}

/// A connection without its reader.
pub(crate) struct Line {
    /// Opens the session: nobody else may learn it.
    pub(super) sid: Sid,
    pub(super) slot: Slot,
    /// What stood behind the `?`, where a token may be in it.
    pub(super) query: Option<Box<str>>,
    /// One of its client's connections, as long as it lives.
    _permit: Option<ConnectionPermit>,
    /// Once it is a WebSocket.
    stream: OnceLock<TcpStream>,
    state: Mutex<State>,
    /// Something waits, or it is over.
    pub(super) changed: Notify,
    /// Who keeps it while it is polled has to look again.
    pub(super) keeper: Notify,
}

#[derive(Default)]
struct State {
    outbox: Outbox,
    /// While it is polled.
    polling: Option<Box<Polling>>,
    is_closed: bool,
}

/// What a poll gets.
pub(super) enum Polled {
    /// These packets.
    Packets(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// Nothing, and it should come back soon: the client wants to go on by WebSocket.
    Probing,
}

impl Line {
    /// A WebSocket from the start.
    pub(super) fn new(
        stream: TcpStream,
        query: Option<Box<str>>,
        permit: Option<ConnectionPermit>,
    ) -> Self {
        Self {
            stream: stream.into(),
            ..Self::empty(query, permit)
        }
    }

    /// One that is polled.
    pub(super) fn polled(
        query: Option<Box<str>>,
        permit: Option<ConnectionPermit>,
        heart: Heart,
    ) -> Self {
        let line = Self::empty(query, permit);
        line.state().polling = Some(Box::new(Polling::new(heart)));
        line
    }

    fn empty(query: Option<Box<str>>, permit: Option<ConnectionPermit>) -> Self {
        Self {
            sid: Sid::new(),
            slot: Slot::default(),
            query,
            _permit: permit,
            stream: OnceLock::new(),
            state: Mutex::default(),
            changed: Notify::new(),
            keeper: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its WebSocket, once it has one.
    pub(super) fn stream(&self) -> Option<&TcpStream> {
        self.stream.get()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Whether the client is to be waited for.
    pub(super) fn is_waiting(&self) -> bool {
        !self.state().outbox.is_empty()
    }

    /// Sends a message behind all others.
    pub(super) fn send(&self, message: &Message) -> Result<(), Refused> {
        self.send_frame(message.frame())
    }

    /// Sends a frame behind all others.
    pub(super) fn send_frame(&self, frame: &Bytes) -> Result<(), Refused> {
        self.put(&mut self.state(), frame)
    }

    /// Sends a state that a newer one makes worthless. Where the client does not keep up, it takes the place of the one before
    /// it, unless something came between.
    pub(crate) fn send_state(&self, message: &Message) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        match self.write(&state, message.frame()) {
            Ok(written) if written == message.frame().len() => return,
            Ok(0) => state.outbox.push_state(message.frame().clone()),
            Ok(written) => state
                .outbox
                .push_rest(message.frame().slice(written..), true),
            // Its reader sees that too, and ends it.
            Err(_) => return,
        }
        self.changed.notify_one();
    }

    fn put(&self, state: &mut State, frame: &Bytes) -> Result<(), Refused> {
        if state.is_closed {
            return Err(Refused::Closed);
        }
        // Its reader sees that the line is broken, too, and ends it.
        let written = self.write(state, frame).map_err(|_| Refused::Closed)?;
        match written {
            all if all == frame.len() => return Ok(()),
            0 => state.outbox.push(frame.clone())?,
            _ => state.outbox.push_rest(frame.slice(written..), false),
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Hands the network what it takes of a frame, if nothing is before it.
    fn write(&self, state: &State, frame: &Bytes) -> std::io::Result<usize> {
        let Some(stream) = self.stream.get().filter(|_| state.outbox.is_empty()) else {
            return Ok(0);
        };
        match stream.try_write(frame) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// Hands the network what it takes of what waits.
    pub(super) fn flush(&self) -> std::io::Result<()> {
        let mut state = self.state();
        match self.stream.get() {
            Some(stream) => state.outbox.write_to(stream),
            None => Ok(()),
        }
    }

    /// Ends it at once, whoever still holds it: what is left to do when a client has gone may take a while.
    pub(super) fn hang_up(&self) {
        self.shut_down(Shutdown::Both);
    }

    /// Tells the client that nothing follows any more. What it still sends can be read.
    pub(super) fn finish(&self) {
        self.shut_down(Shutdown::Write);
    }

    fn shut_down(&self, how: Shutdown) {
        // What tokio has of it cannot be shut down while it is shared.
        let copy = self.stream.get().map(|it| it.as_fd().try_clone_to_owned());
        if let Some(Ok(copy)) = copy {
            // It may be gone already.
            let _ = std::net::TcpStream::from(copy).shutdown(how);
        }
    }

    /// Ends it behind what waits. The transport is closed and not the namespace, so that a client comes back by itself.
    pub(super) fn close(&self) {
        self.part(Goodbye::Normal);
    }

    /// Ends it behind what waits. The client is told in the words of both protocols, unless it has said good-bye itself.
    pub(super) fn part(&self, goodbye: Goodbye) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        // One that does not even take this is dropped a moment later.
        if !matches!(goodbye, Goodbye::Echo(_)) {
            let _ = self.put(&mut state, &Bytes::from_static(CLOSE));
        }
        if state.polling.is_none() {
            let _ = self.put(&mut state, &frame::close(goodbye));
        }
        self.end(&mut state);
    }

    /// Ends it for what the client did or failed to do, at once while it is polled: only a poll that waits is told, and no
    /// other finds it any more.
    pub(super) fn refuse(&self) {
        let mut state = self.state();
        if state.polling.as_ref().is_some_and(|it| !it.is_polled) {
            state.outbox.clear();
            self.end(&mut state);
        } else {
            drop(state);
            self.close();
        }
    }

    /// The client has gone: nothing that waits will be read. A poll that waits all the same is answered with nothing.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.outbox.clear();
        if !state.is_closed && state.polling.as_ref().is_some_and(|it| it.is_polled) {
            let _ = self.put(&mut state, &Bytes::from_static(NOOP));
        }
        self.end(&mut state);
    }

    /// The client says that it goes. The poll that it had sent before is answered with nothing, though it may come a little
    /// later than that word.
    pub(super) fn has_left(&self) {
        let mut state = self.state();
        if !state.is_closed {
            state.outbox.clear();
            let _ = self.put(&mut state, &Bytes::from_static(NOOP));
        }
        self.end(&mut state);
    }

    fn end(&self, state: &mut State) {
        state.is_closed = true;
        self.changed.notify_one();
        self.keeper.notify_one();
    }
}

/// While it is polled.
impl Line {
    /// What a poll gets where there is nothing to say.
    pub(super) const NOTHING: &str = "6";

    /// Whether nobody needs to find it any more.
    pub(super) fn is_gone(&self) -> bool {
        let state = self.state();
        state.is_closed && state.outbox.is_empty()
    }

    /// What is done with the polling, while it is polled.
    pub(super) fn with_polling<T>(&self, what: impl FnOnce(&mut Polling) -> T) -> Option<T> {
        self.state().polling.as_deref_mut().map(what)
    }

    /// What the poll that waits gets.
    pub(super) fn poll(&self) -> Polled {
        let mut state = self.state();
        if let Some(packets) = state.outbox.take(PACKETS_PER_POLL, BYTES_PER_POLL) {
            if state.is_closed {
                self.keeper.notify_one();
            }
            let is_all = state.outbox.is_empty();
            if let Some(polling) = &mut state.polling {
                polling.has_taken(is_all);
            }
            return Polled::Packets(packets);
        }
        match &state.polling {
            Some(polling) if polling.successor == Successor::Probed => Polled::Probing,
            Some(_) if !state.is_closed => Polled::Nothing,
            _ => Polled::Packets(Self::NOTHING.into()),
        }
    }

    /// Looks whether the client is there and polls.
    pub(super) fn beat(&self, timeout: Duration) -> Beat {
        let mut state = self.state();
        if state.is_closed {
            return Beat::Over;
        }
        let Some(polling) = &mut state.polling else {
            return Beat::Moved;
        };
        let beat = polling.beat(timeout);
        if matches!(beat, Beat::Ask(_)) {
            let _ = self.put(&mut state, &Bytes::from_static(PING));
        }
        beat
    }

    /// The WebSocket that wants to take over works: a poll that waits is answered, so that the client can go on there.
    pub(super) fn set_probed(&self) {
        self.with_polling(|polling| polling.successor = Successor::Probed);
        self.changed.notify_one();
    }

    /// It goes on as a WebSocket: what waits goes there, and nobody polls it any more. Nothing where it is over.
    pub(super) fn move_to(&self, stream: TcpStream) -> Option<Heart> {
        let mut state = self.state();
        if state.is_closed {
            return None;
        }
        let polling = state.polling.take()?;
        let stream = self.stream.get_or_init(|| stream);
        // The network is broken: its reader sees that, too.
        let _ = state.outbox.write_to(stream);
        self.keeper.notify_one();
        // A poll that waits; the socket's task does not yet.
        self.changed.notify_waiters();
        Some(polling.heart)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::{Line, Refused};
    use crate::socket::{
        outbox::PACKETS_MAX,
        packet::{Message, event_to_client},
    };

    fn message(what: &str) -> Message {
        event_to_client("it", &json!(what))
    }

    /// A line to somebody who does not read, with as much on the way as the network takes.
    async fn stuck() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let line = Line::new(accepted.unwrap().0, None, None);
        // The network is not known to take anything before it has said so.
        line.stream().unwrap().writable().await.unwrap();
        let filler = message(&"x".repeat(60_000));
        while !line.is_waiting() {
            line.send(&filler).unwrap();
        }
        (line, client.unwrap())
    }

    /// Everything up to the end of the line, which comes although somebody still holds it.
    async fn all(line: Line, mut client: TcpStream) -> Vec<u8> {
        let mut read = Vec::new();
        let write = async {
            while line.is_waiting() {
                line.stream().unwrap().writable().await.unwrap();
                line.flush().unwrap();
            }
            line.hang_up();
        };
        let (read_all, ()) = tokio::join!(client.read_to_end(&mut read), write);
        read_all.unwrap();
        read
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_state_and_all_else_in_order() {
        let (line, client) = stuck().await;
        line.send_state(&message("old"));
        line.send_state(&message("new"));
        line.send(&message("left")).unwrap();
        line.send_state(&message("older"));
        line.send_state(&message("newest"));
        let wanted = ["new", "left", "newest"].map(|what| message(what).frame().to_vec());
        let read = all(line, client).await;
        assert!(read.ends_with(&wanted.concat()));
        let old = message("old");
        let old = old.frame();
        assert!(!read.windows(old.len()).any(|bytes| bytes == old));
    }

    #[tokio::test]
    async fn who_reads_nothing_is_noticed_and_states_do_not_pile_up() {
        let (line, _client) = stuck().await;
        for _ in 0..10 * PACKETS_MAX {
            line.send_state(&message("state"));
        }
        // Two wait already: what the network did not take, and one state.
        for _ in 2..PACKETS_MAX {
            line.send(&message("event")).unwrap();
        }
        assert_eq!(line.send(&message("event")), Err(Refused::Full));
    }

    #[tokio::test]
    async fn what_was_said_before_the_end_still_arrives_and_nothing_after_it() {
        let (line, client) = stuck().await;
        line.send(&message("last")).unwrap();
        line.close();
        assert_eq!(line.send(&message("late")), Err(Refused::Closed));
        line.send_state(&message("late"));
        let read = all(line, client).await;
        let end = b"\x81\x011\x88\x02\x03\xe8";
        let wanted = [message("last").frame(), end.as_slice()].concat();
        assert!(read.ends_with(&wanted));
    }
}
