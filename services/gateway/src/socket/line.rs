//! A WebSocket that is written to by whoever has something to say, without a task or a copy between: a
//! message to thousands costs little more than the system calls. Only what the network does not take at
//! once waits here.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    net::Shutdown,
    os::fd::AsFd as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::body::Bytes;
use engineioxide::socket::Sid;
use tokio::{net::TcpStream, sync::Notify};

use super::{OUTBOX, Slot, frame, packet::Message};

/// Engine.IO's `ping` and `close`, as frames.
pub(super) const PING: &[u8] = b"\x81\x012";
const CLOSE: &[u8] = b"\x81\x011";

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too much waits already: nobody reads.
    Full,
    /// It is over.
    Closed,
}

/// A WebSocket without its reader.
pub(crate) struct Line {
    pub(super) id: Sid,
    pub(super) slot: Slot,
    /// What stood behind the `?`.
    pub(super) query: Option<Box<str>>,
    pub(super) stream: TcpStream,
    outbox: Mutex<Outbox>,
    /// Something waits, or it is over.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Outbox {
    /// Frames that the network has not taken yet; of the first one, the rest.
    waiting: VecDeque<Bytes>,
    /// A state behind those, which a newer one may replace.
    state: Option<Bytes>,
    is_closed: bool,
}

impl Line {
    pub(super) fn new(stream: TcpStream, query: Option<Box<str>>) -> Self {
        Self {
            id: Sid::new(),
            slot: Slot::default(),
            query,
            stream,
            outbox: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.outbox().is_closed
    }

    /// Whether the network is to be waited for.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outbox().waiting.is_empty()
    }

    /// Sends a message behind all others.
    pub(super) fn send(&self, message: &Message) -> Result<(), Refused> {
        self.send_frame(message.frame())
    }

    /// Sends a frame behind all others.
    pub(super) fn send_frame(&self, frame: &Bytes) -> Result<(), Refused> {
        let mut outbox = self.outbox();
        if let Some(state) = outbox.state.take() {
            outbox.waiting.push_back(state);
        }
        self.put(&mut outbox, frame)
    }

    /// Sends a state. Where the network does not keep up, it takes the place of the one before it, unless
    /// something came between.
    pub(super) fn send_state(&self, message: &Message) {
        let mut outbox = self.outbox();
        if outbox.waiting.is_empty() {
            // Closed: nobody is left to miss it.
            let _ = self.put(&mut outbox, message.frame());
        } else if !outbox.is_closed {
            outbox.state = Some(message.frame().clone());
        }
    }

    fn put(&self, outbox: &mut Outbox, frame: &Bytes) -> Result<(), Refused> {
        if outbox.is_closed {
            return Err(Refused::Closed);
        }
        if outbox.waiting.len() >= OUTBOX {
            return Err(Refused::Full);
        }
        let written = if outbox.waiting.is_empty() {
            match self.stream.try_write(frame) {
                Ok(written) if written == frame.len() => return Ok(()),
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => {
                    // Its reader sees that too, and ends it.
                    return Err(Refused::Closed);
                }
            }
        } else {
            0
        };
        outbox.waiting.push_back(frame.slice(written..));
        self.changed.notify_one();
        Ok(())
    }

    /// Hands the network what it takes of what waits.
    pub(super) fn flush(&self) -> std::io::Result<()> {
        let mut outbox = self.outbox();
        loop {
            let Some(frame) = outbox.waiting.front_mut() else {
                // A crowded moment is no reason to hold memory for good.
                outbox.waiting = VecDeque::new();
                match outbox.state.take() {
                    Some(state) => outbox.waiting.push_back(state),
                    None => return Ok(()),
                }
                continue;
            };
            match self.stream.try_write(frame) {
                Ok(written) if written == frame.len() => {
                    outbox.waiting.pop_front();
                }
                Ok(written) => *frame = frame.slice(written..),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends it at once, whoever still holds it: what is left to do when a client has gone may take a while.
    pub(super) fn hang_up(&self) {
        // What tokio has of it cannot be shut down while it is shared.
        if let Ok(copy) = self.stream.as_fd().try_clone_to_owned() {
            // It may be gone already.
            let _ = std::net::TcpStream::from(copy).shutdown(Shutdown::Both);
        }
    }

    /// Ends it behind what waits. The client is told in the words of both protocols.
    pub(super) fn close(&self, broken: Option<frame::Broken>) {
        let mut outbox = self.outbox();
        if outbox.is_closed {
            return;
        }
        outbox.state = None;
        // One that does not even take this is dropped a moment later.
        let _ = self.put(&mut outbox, &Bytes::from_static(CLOSE));
        let _ = self.put(&mut outbox, &frame::close(broken));
        outbox.is_closed = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::{Line, OUTBOX, Refused};
    use crate::socket::packet::{Message, event_to_client};

    fn message(what: &str) -> Message {
        event_to_client("it", &json!(what))
    }

    /// A line to somebody who does not read, with as much on the way as the network takes.
    async fn stuck() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let line = Line::new(accepted.unwrap().0, None);
        // The network is not known to take anything before it has said so.
        line.stream.writable().await.unwrap();
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
                line.stream.writable().await.unwrap();
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
        for _ in 0..10 * OUTBOX {
            line.send_state(&message("state"));
        }
        // Two wait already: what the network did not take, and one state.
        for _ in 2..OUTBOX {
            line.send(&message("event")).unwrap();
        }
        assert_eq!(line.send(&message("event")), Err(Refused::Full));
    }

    #[tokio::test]
    async fn what_was_said_before_the_end_still_arrives_and_nothing_after_it() {
        let (line, client) = stuck().await;
        line.send(&message("last")).unwrap();
        line.close(None);
        assert_eq!(line.send(&message("late")), Err(Refused::Closed));
        line.send_state(&message("late"));
        let read = all(line, client).await;
        let end = b"\x81\x011\x88\x02\x03\xe8";
        let wanted = [message("last").frame(), end.as_slice()].concat();
        assert!(read.ends_with(&wanted));
    }
}
