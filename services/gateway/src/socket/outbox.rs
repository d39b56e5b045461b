//! What waits to be sent on a connection, bounded in packets and in bytes. Packets that go to many share their bytes.

use std::{collections::VecDeque, io::ErrorKind};

use axum::body::Bytes;
use tokio::net::TcpStream;

use super::frame;

/// Packets a connection may have waiting; one that has more does not read, and is closed.
pub(super) const PACKETS_MAX: usize = 512;

/// Bytes a connection may have waiting. A single packet may be larger: somebody who reads gets it.
pub(super) const BYTES_MAX: usize = 512 * 1024;

/// Stands between the packets of one answer to a poll.
const SEPARATOR: u8 = 0x1e;

/// Too much waits already: nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Packets in their order, as `WebSocket` frames.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    /// The first one was written in part.
    is_begun: bool,
    /// The last one is a state, which a newer one may replace.
    ends_with_state: bool,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts a packet behind all others.
    pub(super) fn push(&mut self, frame: Bytes) -> Result<(), Full> {
        let is_too_much = self.waiting.len() >= PACKETS_MAX || self.bytes + frame.len() > BYTES_MAX;
        if is_too_much && !self.waiting.is_empty() {
            return Err(Full);
        }
        self.ends_with_state = false;
        self.put(frame);
        Ok(())
    }

    /// Puts a state behind all others. It takes the place of the one before it, unless something came between or the
    /// client has part of that one.
    pub(super) fn push_state(&mut self, frame: Bytes) {
        let is_free = self.waiting.len() > 1 || !self.is_begun;
        if self.ends_with_state
            && is_free
            && let Some(old) = self.waiting.pop_back()
        {
            self.bytes -= old.len();
        }
        self.put(frame);
        self.ends_with_state = true;
    }

    /// Puts what the network did not take of a packet.
    pub(super) fn push_rest(&mut self, rest: Bytes, is_state: bool) {
        self.put(rest);
        self.is_begun = true;
        self.ends_with_state = is_state;
    }

    fn put(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.waiting.push_back(frame);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Hands the network what it takes.
    pub(super) fn write_to(&mut self, stream: &TcpStream) -> std::io::Result<()> {
        while let Some(frame) = self.waiting.front_mut() {
            match stream.try_write(frame) {
                Ok(written) if written == frame.len() => {
                    self.waiting.pop_front();
                    self.bytes -= written;
                    self.is_begun = false;
                }
                Ok(written) => {
                    *frame = frame.slice(written..);
                    self.bytes -= written;
                    self.is_begun = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        // A crowded moment is no reason to hold memory for good.
        self.clear();
        Ok(())
    }

    /// Takes the next packets as the answer to a poll: at most so many, and no more than so many bytes unless a single
    /// packet has more.
    pub(super) fn take(&mut self, packets: usize, bytes: usize) -> Option<Vec<u8>> {
        let mut answer = Vec::from(frame::payload(&self.pop()?));
        for _ in 1..packets {
            let Some(next) = self.waiting.front() else {
                break;
            };
            if answer.len() + 1 + frame::payload(next).len() > bytes {
                break;
            }
            answer.push(SEPARATOR);
            if let Some(next) = self.pop() {
                answer.extend_from_slice(frame::payload(&next));
            }
        }
        if self.waiting.is_empty() {
            self.clear();
        }
        Some(answer)
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.waiting.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Full, Outbox, PACKETS_MAX};
    use crate::socket::frame;

    fn packet(text: &str) -> axum::body::Bytes {
        frame::text("4", text).0
    }

    fn all(outbox: &mut Outbox) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(answer) = outbox.take(16, 1_000) {
            all.push(String::from_utf8(answer).unwrap());
        }
        all
    }

    #[test]
    fn an_answer_has_at_most_so_many_packets_and_bytes() {
        let mut outbox = Outbox::default();
        for n in 0..40 {
            outbox.push(packet(&n.to_string())).unwrap();
        }
        let counts = all(&mut outbox)
            .iter()
            .map(|answer| answer.split('\u{1e}').count())
            .collect::<Vec<_>>();
        assert_eq!(counts, [16, 16, 8]);
        for _ in 0..3 {
            outbox.push(packet(&"x".repeat(600))).unwrap();
        }
        outbox.push(packet(&"x".repeat(5_000))).unwrap();
        assert_eq!(all(&mut outbox).len(), 4);
        assert!(outbox.is_empty());
    }

    #[test]
    fn only_the_newest_state_waits_and_what_came_between_stays_in_its_place() {
        let mut outbox = Outbox::default();
        for state in ["old", "new"] {
            outbox.push_state(packet(state));
        }
        outbox.push(packet("left")).unwrap();
        for state in ["older", "newest"] {
            outbox.push_state(packet(state));
        }
        assert_eq!(all(&mut outbox), ["4new\u{1e}4left\u{1e}4newest"]);
        // Of one that is on its way, the rest has to follow.
        outbox.push_rest(packet("half"), true);
        for state in ["older", "newest"] {
            outbox.push_state(packet(state));
        }
        assert_eq!(all(&mut outbox), ["4half\u{1e}4newest"]);
    }

    #[test]
    fn it_is_bounded_in_packets_and_in_bytes_and_takes_one_that_is_larger() {
        let mut outbox = Outbox::default();
        for _ in 0..PACKETS_MAX {
            outbox.push(packet("x")).unwrap();
        }
        assert_eq!(outbox.push(packet("x")), Err(Full));
        for n in 0..10 * PACKETS_MAX {
            outbox.push_state(packet(&n.to_string()));
        }
        assert_eq!(outbox.waiting.len(), PACKETS_MAX + 1);
        outbox.clear();
        outbox.push(packet(&"x".repeat(2 * BYTES_MAX))).unwrap();
        assert_eq!(outbox.push(packet("x")), Err(Full));
        outbox.clear();
        let kib = packet(&"x".repeat(1_000));
        let taken = (0..PACKETS_MAX).take_while(|_| outbox.push(kib.clone()).is_ok());
        assert!(taken.count() * kib.len() <= BYTES_MAX);
    }
}
