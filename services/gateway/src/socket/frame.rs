//! WebSocket frames (RFC 6455, sections 5, 7 and 8.1): read as clients send them, written as servers do.

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

/// What a frame of a client's brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    /// Nothing yet, or nothing to be answered: a part of a message, a pong.
    Part,
    /// The end, with the code that is to be sent back, if it has one.
    Close(Option<u16>),
}

/// Why a connection cannot go on, as a close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(u16);

impl Broken {
    /// Not WebSocket as clients speak it.
    const PROTOCOL: Self = Self(1002);
    const NOT_UTF8: Self = Self(1007);
    /// More than anybody has to say.
    pub(super) const TOO_MUCH: Self = Self(1008);
    const TOO_LARGE: Self = Self(1009);
}

/// What a connection ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    Normal,
    Broken(Broken),
    /// The answer to a client's own: the same code, or none.
    Echo(Option<u16>),
}

/// Puts messages together. It holds no memory while nothing is half there.
pub(super) struct Reader {
    buffer: Vec<u8>,
    /// How much of the buffer has been read.
    used: usize,
    /// A message in several frames, so far.
    begun: Option<Begun>,
    /// The most bytes of a message.
    max: usize,
    /// Those taken out of the buffer since this was asked last.
    frames: u32,
}

/// A message in several frames, so far.
struct Begun {
    is_text: bool,
    bytes: Vec<u8>,
    /// How much of it is known to be UTF-8.
    checked: usize,
}

impl Begun {
    fn new(is_text: bool) -> Self {
        Self {
            is_text,
            bytes: Vec::new(),
            checked: 0,
        }
    }

    /// Appends a part. Text that cannot become UTF-8 any more fails here, not with its last part.
    fn push(&mut self, part: Vec<u8>) -> Result<(), Broken> {
        if self.bytes.is_empty() {
            self.bytes = part;
        } else {
            self.bytes.extend_from_slice(&part);
        }
        if self.is_text
            && let Err(error) = std::str::from_utf8(&self.bytes[self.checked..])
        {
            if error.error_len().is_some() {
                return Err(Broken::NOT_UTF8);
            }
            // The last character goes on in the next part.
            self.checked += error.valid_up_to();
        } else {
            self.checked = self.bytes.len();
        }
        Ok(())
    }

    fn finish(self) -> Result<Received, Broken> {
        if !self.is_text {
            return Ok(Received::Binary(self.bytes));
        }
        let text = String::from_utf8(self.bytes).map_err(|_| Broken::NOT_UTF8)?;
        Ok(Received::Text(text))
    }
}

/// What stands in front of a frame's payload.
struct Head {
    is_last: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Its own bytes, and those of the payload.
    length: usize,
    payload: usize,
}

impl Reader {
    /// `max` is the most bytes of a message.
    pub(super) fn new(max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            used: 0,
            begun: None,
            max,
            frames: 0,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        // Here and not with each frame, of which a buffer may hold thousands.
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets what was read.
    pub(super) fn clear(&mut self) {
        self.buffer = Vec::new();
        self.used = 0;
    }

    /// How many frames of any kind were read since this was asked last.
    pub(super) fn frames(&mut self) -> u32 {
        std::mem::take(&mut self.frames)
    }

    /// Reads the next frame, if it is whole, and says what it brought: it never reads more than one, so that the caller
    /// can count them.
    ///
    /// # Errors
    /// The client breaks the protocol or the limit. Whatever follows cannot be read any more.
    pub(super) fn next(&mut self) -> Result<Option<Received>, Broken> {
        let Some(head) = self.head()? else {
            return Ok(None);
        };
        let begin = self.used + head.length;
        let Some(masked) = self.buffer.get(begin..begin + head.payload) else {
            return Ok(None);
        };
        let unmasked = masked.iter().zip(head.mask.iter().cycle());
        let payload: Vec<u8> = unmasked.map(|(byte, mask)| byte ^ mask).collect();
        self.used = begin + head.payload;
        if self.used == self.buffer.len() {
            self.clear();
        }
        self.frames = self.frames.saturating_add(1);
        self.take(&head, payload).map(Some)
    }

    fn take(&mut self, head: &Head, payload: Vec<u8>) -> Result<Received, Broken> {
        match head.opcode {
            CLOSE => return closed(&payload),
            PING => return Ok(Received::Ping(payload)),
            PONG => return Ok(Received::Part),
            _ => {}
        }
        let begun = self.begun.take();
        let mut message = begun.unwrap_or_else(|| Begun::new(head.opcode == TEXT));
        message.push(payload)?;
        if head.is_last {
            return message.finish();
        }
        self.begun = Some(message);
        Ok(Received::Part)
    }

    /// What stands in front of the next frame, if it is there. What must not be is noticed as soon as it is there.
    fn head(&self) -> Result<Option<Head>, Broken> {
        let Some((first, rest)) = self.buffer[self.used..].split_first() else {
            return Ok(None);
        };
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0f);
        let is_expected = match opcode {
            TEXT | BINARY => self.begun.is_none(),
            CONTINUATION => self.begun.is_some(),
            CLOSE | PING | PONG => is_last,
            _ => false,
        };
        // No extension was agreed on that would use the other bits.
        if !is_expected || first & 0x70 != 0 {
            return Err(Broken::PROTOCOL);
        }
        let Some((second, rest)) = rest.split_first() else {
            return Ok(None);
        };
        let (is_masked, short) = (second & 0x80 != 0, second & 0x7f);
        let is_control = opcode >= CLOSE;
        // Clients mask, and what is short may only be written in the short way.
        if !is_masked || (is_control && usize::from(short) > CONTROL_MAX) {
            return Err(Broken::PROTOCOL);
        }
        let (length_bytes, payload, least) = match short {
            126 => match rest.first_chunk() {
                Some(length) => (2, u64::from(u16::from_be_bytes(*length)), 126),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (8, u64::from_be_bytes(*length), 0x1_0000),
                None => return Ok(None),
            },
            short => (0, u64::from(short), 0),
        };
        // The highest bit of a length must be 0.
        if payload < least || payload >> 63 == 1 {
            return Err(Broken::PROTOCOL);
        }
        let so_far = self.begun.as_ref().map_or(0, |begun| begun.bytes.len());
        let left = self.max.saturating_sub(so_far);
        let payload = usize::try_from(payload).map_err(|_| Broken::TOO_LARGE)?;
        // Before it is waited for: nobody can make us hold more.
        if payload > left && !is_control {
            return Err(Broken::TOO_LARGE);
        }
        let Some(mask) = rest[length_bytes..].first_chunk::<4>() else {
            return Ok(None);
        };
        Ok(Some(Head {
            is_last,
            opcode,
            mask: *mask,
            length: 2 + length_bytes + mask.len(),
            payload,
        }))
    }
}

/// Reads what a close frame carries: nothing, or a code and why in words (section 5.5.1).
fn closed(payload: &[u8]) -> Result<Received, Broken> {
    if payload.is_empty() {
        return Ok(Received::Close(None));
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Err(Broken::PROTOCOL);
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(Broken::PROTOCOL);
    }
    std::str::from_utf8(reason).map_err(|_| Broken::NOT_UTF8)?;
    Ok(Received::Close(Some(code)))
}

/// Whether a close code may stand in a frame: those that IANA has registered for that, and those that libraries and
/// applications may choose (section 7.4). 1004 has no meaning; 1005, 1006 and 1015 are what is said where there was none.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
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

/// The end.
pub(super) fn close(goodbye: Goodbye) -> Bytes {
    let code = match goodbye {
        Goodbye::Normal => Some(NORMAL),
        Goodbye::Broken(Broken(code)) => Some(code),
        Goodbye::Echo(code) => code,
    };
    match code {
        Some(code) => control(CLOSE, &code.to_be_bytes()),
        None => control(CLOSE, &[]),
    }
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = &payload[..payload.len().min(CONTROL_MAX)];
    let mut frame = vec![0x80 | opcode];
    frame.extend(u8::try_from(payload.len()));
    frame.extend_from_slice(payload);
    frame.into()
}

#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
#[path = "frame/check.rs"] // The same file where the fuzz target includes this one.
pub(crate) mod check;
