//! WebSocket frames (RFC 6455, section 5): read as clients send them, written as servers do.

use axum::body::Bytes;

/// The normal end.
const NORMAL: u16 = 1000;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The most a control frame may carry.
const CONTROL_MAX: usize = 125;

/// What a client sent, once it is whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    /// A frame that completes nothing.
    Part,
    Close,
}

/// Why a connection cannot go on, as a close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(u16);

impl Broken {
    /// Not WebSocket as clients speak it.
    const PROTOCOL: Self = Self(1002);
    const NOT_UTF8: Self = Self(1007);
    const TOO_LARGE: Self = Self(1009);
    /// More than anybody has to say.
    pub(super) const TOO_MUCH: Self = Self(1008);
}

/// Puts messages together. It holds no memory while nothing is half there.
pub(super) struct Reader {
    buffer: Vec<u8>,
    /// A message in several frames, so far, and whether it is text.
    begun: Option<(bool, Vec<u8>)>,
    /// The most bytes of a message.
    max: usize,
    frames: u32,
}

/// A frame that is all there.
struct Frame {
    is_last: bool,
    opcode: u8,
    payload: Vec<u8>,
}

impl Reader {
    pub(super) fn new(max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            begun: None,
            max,
            frames: 0,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Frames that were taken out since this was asked last.
    pub(super) fn frames(&mut self) -> u32 {
        std::mem::take(&mut self.frames)
    }

    /// Forgets what was read.
    pub(super) fn clear(&mut self) {
        self.buffer = Vec::new();
    }

    /// The next message, if it is whole.
    pub(super) fn next(&mut self) -> Result<Option<Received>, Broken> {
        if let Some(frame) = self.frame()? {
            self.frames += 1;
            let Frame {
                is_last,
                opcode,
                payload,
            } = frame;
            let (is_text, message) = match (opcode, self.begun.take()) {
                (CLOSE, _) => return Ok(Some(Received::Close)),
                (PING, begun) => {
                    self.begun = begun;
                    return Ok(Some(Received::Ping(payload)));
                }
                (PONG, begun) => {
                    self.begun = begun;
                    return Ok(Some(Received::Part));
                }
                (TEXT | BINARY, None) => (opcode == TEXT, payload),
                (CONTINUATION, Some((is_text, mut message))) => {
                    message.extend_from_slice(&payload);
                    (is_text, message)
                }
                _ => return Err(Broken::PROTOCOL),
            };
            if !is_last {
                self.begun = Some((is_text, message));
                return Ok(Some(Received::Part));
            }
            return if is_text {
                let text = String::from_utf8(message).map_err(|_| Broken::NOT_UTF8)?;
                Ok(Some(Received::Text(text)))
            } else {
                Ok(Some(Received::Binary(message)))
            };
        }
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<Frame>, Broken> {
        let [first, second, rest @ ..] = self.buffer.as_slice() else {
            return Ok(None);
        };
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0f);
        // No extension was agreed on, and clients mask.
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(Broken::PROTOCOL);
        }
        let (length_bytes, length) = match second & 0x7f {
            126 => match rest {
                [a, b, ..] => (2, u64::from(u16::from_be_bytes([*a, *b]))),
                _ => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (8, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            short => (0, u64::from(short)),
        };
        let length = usize::try_from(length).map_err(|_| Broken::TOO_LARGE)?;
        if opcode >= CLOSE && (!is_last || length > CONTROL_MAX) {
            return Err(Broken::PROTOCOL);
        }
        let so_far = self.begun.as_ref().map_or(0, |(_, message)| message.len());
        // Before it is waited for: nobody can make us hold more.
        if length > self.max.saturating_sub(so_far) && opcode < CLOSE {
            return Err(Broken::TOO_LARGE);
        }
        let Some((mask, rest)) = rest[length_bytes..].split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some(masked) = rest.get(..length) else {
            return Ok(None);
        };
        let unmasked = masked.iter().zip(mask.iter().cycle());
        let payload = unmasked.map(|(byte, mask)| byte ^ mask).collect();
        let used = 2 + length_bytes + mask.len() + length;
        if used == self.buffer.len() {
            self.buffer = Vec::new();
        } else {
            self.buffer.drain(..used);
        }
        Ok(Some(Frame {
            is_last,
            opcode,
            payload,
        }))
    }
}

/// A text frame of the two one behind the other, and where in it they begin.
pub(super) fn text(prefix: &str, rest: &str) -> (Bytes, usize) {
    let length = prefix.len() + rest.len();
    let mut frame = Vec::with_capacity(length + 10);
    frame.push(0x80 | TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => frame.push(short),
        (_, Ok(middle)) => {
            frame.push(126);
            frame.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let begin = frame.len();
    frame.extend_from_slice(prefix.as_bytes());
    frame.extend_from_slice(rest.as_bytes());
    (frame.into(), begin)
}

/// What a frame that was written here carries.
pub(super) fn payload(frame: &Bytes) -> &[u8] {
    let begin = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    frame.get(begin..).unwrap_or_default()
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

/// The end, in good order or for what is broken.
pub(super) fn close(broken: Option<Broken>) -> Bytes {
    let code = broken.map_or(NORMAL, |broken| broken.0);
    control(CLOSE, &code.to_be_bytes())
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = &payload[..payload.len().min(CONTROL_MAX)];
    let mut frame = vec![0x80 | opcode];
    frame.extend(u8::try_from(payload.len()));
    frame.extend_from_slice(payload);
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::{BINARY, Broken, CLOSE, CONTINUATION, PING, PONG, Reader, Received, TEXT, text};

    const LAST: u8 = 0x80;

    /// A frame as a client sends it.
    fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ ..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
            middle => {
                frame.push(0x80 | 0x7e);
                frame.extend_from_slice(&u16::try_from(middle).unwrap().to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        frame.extend_from_slice(&mask);
        let masked = payload.iter().zip(mask.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn read(bytes: &[u8]) -> Result<Vec<Received>, Broken> {
        let mut reader = Reader::new(1_000);
        reader.feed(bytes);
        let mut all = Vec::new();
        while let Some(received) = reader.next()? {
            all.push(received);
        }
        Ok(all)
    }

    fn is_text(text: &str) -> Received {
        Received::Text(text.to_owned())
    }

    #[test]
    fn messages_are_read_however_they_are_cut() {
        let long = "ü".repeat(400);
        let all = [
            sent(LAST | TEXT, b"one"),
            sent(LAST | TEXT, long.as_bytes()),
            sent(LAST | BINARY, &[0, 255]),
            sent(LAST | TEXT, b""),
        ]
        .concat();
        let wanted = [
            is_text("one"),
            is_text(&long),
            Received::Binary(vec![0, 255]),
            is_text(""),
        ];
        assert_eq!(read(&all).unwrap(), wanted);
        let mut reader = Reader::new(1_000);
        let mut one_by_one = Vec::new();
        for byte in all {
            reader.feed(&[byte]);
            one_by_one.extend(reader.next().unwrap());
        }
        assert_eq!(one_by_one, wanted);
        assert_eq!(reader.buffer.capacity(), 0, "nothing is held");
    }

    #[test]
    fn a_message_may_come_in_pieces_with_pings_between() {
        let all = [
            sent(TEXT, "ä".as_bytes().get(..1).unwrap()),
            sent(LAST | PING, b"there?"),
            sent(LAST | PONG, b""),
            sent(CONTINUATION, "ä".as_bytes().get(1..).unwrap()),
            sent(LAST | CONTINUATION, b"!"),
            sent(LAST | CLOSE, &[3, 232]),
        ];
        let wanted = [
            Received::Part,
            Received::Ping(b"there?".to_vec()),
            Received::Part,
            Received::Part,
            is_text("ä!"),
            Received::Close,
        ];
        assert_eq!(read(&all.concat()).unwrap(), wanted);
    }

    #[test]
    fn what_is_not_websocket_or_too_large_ends_it() {
        let unmasked = [LAST | TEXT, 1, b'x'];
        for (bytes, why) in [
            (unmasked.to_vec(), Broken::PROTOCOL),
            (sent(LAST | 0x40 | TEXT, b""), Broken::PROTOCOL),
            (sent(LAST | 3, b""), Broken::PROTOCOL),
            (sent(LAST | 0xb, b""), Broken::PROTOCOL),
            (sent(PING, b""), Broken::PROTOCOL),
            (sent(LAST | PING, &[0; 126]), Broken::PROTOCOL),
            (sent(LAST | CONTINUATION, b""), Broken::PROTOCOL),
            (
                [sent(TEXT, b""), sent(LAST | TEXT, b"")].concat(),
                Broken::PROTOCOL,
            ),
            (sent(LAST | TEXT, &[255]), Broken::NOT_UTF8),
            (sent(LAST | TEXT, &[b'x'; 1_001]), Broken::TOO_LARGE),
            (
                [
                    sent(TEXT, &[b'x'; 600]),
                    sent(LAST | CONTINUATION, &[b'x'; 401]),
                ]
                .concat(),
                Broken::TOO_LARGE,
            ),
            // Said to be huge: refused at once.
            (
                vec![LAST | TEXT, 255, 255, 255, 255, 255, 255, 255, 255, 255],
                Broken::TOO_LARGE,
            ),
        ] {
            assert_eq!(
                read(&bytes),
                Err(why),
                "{:?}",
                &bytes[..bytes.len().min(12)]
            );
        }
        assert!(read(&sent(LAST | TEXT, &[b'x'; 1_000])).is_ok());
    }

    #[test]
    fn what_is_written_says_its_length() {
        for (length, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let (frame, begin) = text("", &"x".repeat(length));
            assert_eq!(frame[..begin], head);
            assert_eq!(frame.len(), head.len() + length);
        }
        let (frame, begin) = text("4", "2[]");
        assert_eq!(&frame[begin..], b"42[]");
    }
}
