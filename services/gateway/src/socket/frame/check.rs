//! Holds the reader against a simpler one, however the network cuts what is sent: for a test, which makes up what is sent,
//! and for the fuzz target in `fuzz/`.

use super::{BINARY, Broken, CLOSE, CONTINUATION, CONTROL_MAX, PING, PONG, Reader, Received, TEXT};

/// All that was read, and why it ended if it did.
type Outcome = (Vec<Received>, Option<Broken>);

/// What a frame's head may have: two bytes, a length and a mask.
const HEAD_MAX: usize = 14;

/// Checks what is read from `input`, of which the first byte says how it is cut and what the limit is.
///
/// # Panics
/// The reader is wrong, or holds more than it may.
pub(crate) fn check(input: &[u8]) {
    let Some((how, sent)) = input.split_first() else {
        return;
    };
    let max = [0, 1, 125, 126, 300, 70_000][usize::from(how % 6)];
    let expected = reference(sent, max);
    assert_eq!(read(sent, max, usize::MAX), expected, "in one piece");
    assert_eq!(read(sent, max, 1), expected, "byte by byte");
    let piece = 2 + usize::from(how / 6);
    assert_eq!(read(sent, max, piece), expected, "{piece} at once");
}

fn read(sent: &[u8], max: usize, piece: usize) -> Outcome {
    let mut reader = Reader::new(max);
    let mut all = Vec::new();
    for bytes in sent.chunks(piece.min(sent.len().max(1))) {
        reader.feed(bytes);
        loop {
            match reader.next() {
                Ok(Some(received)) => {
                    assert_eq!(reader.frames(), 1, "each frame is handed back");
                    all.push(received);
                }
                Ok(None) => break,
                Err(broken) => return (all, Some(broken)),
            }
        }
        let begun = reader.begun.as_ref().map_or(0, |begun| begun.bytes.len());
        assert!(begun <= max, "{begun} of a message are held");
        let waiting = reader.buffer.len() - reader.used;
        let longest = max.max(CONTROL_MAX) + HEAD_MAX;
        assert!(waiting < longest, "{waiting} of a frame are held");
        if waiting == 0 {
            assert_eq!(reader.buffer.capacity(), 0, "nothing is held");
        }
    }
    (all, None)
}

/// Reads from all that is sent at once, without a thought of time or memory.
fn reference(sent: &[u8], max: usize) -> Outcome {
    let mut all = Vec::new();
    let mut at = 0;
    let mut begun: Option<(u8, Vec<u8>)> = None;
    loop {
        match one(&sent[at..], &mut begun, max) {
            Ok(Some((received, length))) => {
                all.push(received);
                at += length;
            }
            Ok(None) => return (all, None),
            Err(broken) => return (all, Some(broken)),
        }
    }
}

/// The first frame and its length, if it is there.
fn one(
    sent: &[u8],
    begun: &mut Option<(u8, Vec<u8>)>,
    max: usize,
) -> Result<Option<(Received, usize)>, Broken> {
    let byte = |place: usize| sent.get(place).copied();
    let Some(first) = byte(0) else {
        return Ok(None);
    };
    let (is_last, opcode) = (first >= 128, first % 16);
    let may_be = match opcode {
        CONTINUATION => begun.is_some(),
        TEXT | BINARY => begun.is_none(),
        CLOSE | PING | PONG => is_last,
        _ => false,
    };
    if !may_be || (first / 16) % 8 != 0 {
        return Err(Broken::PROTOCOL);
    }
    let Some(second) = byte(1) else {
        return Ok(None);
    };
    if second < 128 || (opcode >= CLOSE && second > 128 + 125) {
        return Err(Broken::PROTOCOL);
    }
    let (bytes, least) = match second - 128 {
        126 => (2, 126),
        127 => (8, 65_536),
        _ => (0, 0),
    };
    if sent.len() < 2 + bytes {
        return Ok(None);
    }
    let mut length = sent[2..2 + bytes]
        .iter()
        .fold(0_u128, |length, byte| length * 256 + u128::from(*byte));
    if bytes == 0 {
        length = u128::from(second - 128);
    }
    if length < least || length >= 1 << 63 {
        return Err(Broken::PROTOCOL);
    }
    let so_far = begun.as_ref().map_or(0, |(_, message)| message.len());
    if opcode < CLOSE && length + so_far as u128 > max as u128 {
        return Err(Broken::TOO_LARGE);
    }
    let at = 2 + bytes + 4;
    let length = usize::try_from(length).expect("it is within the limit");
    if sent.len() < at + length {
        return Ok(None);
    }
    let payload: Vec<u8> = (0..length)
        .map(|place| sent[at + place] ^ sent[at - 4 + place % 4])
        .collect();
    let received = match opcode {
        PING => Received::Ping(payload),
        PONG => Received::Part,
        CLOSE => good_bye(&payload)?,
        _ => {
            let (kind, mut message) = begun.take().unwrap_or((opcode, Vec::new()));
            message.extend(payload);
            let fault = std::str::from_utf8(&message).err();
            if kind == TEXT && fault.is_some_and(|fault| is_last || fault.error_len().is_some()) {
                return Err(Broken::NOT_UTF8);
            }
            if !is_last {
                *begun = Some((kind, message));
                Received::Part
            } else if kind == TEXT {
                Received::Text(String::from_utf8(message).expect("it was looked at"))
            } else {
                Received::Binary(message)
            }
        }
    };
    Ok(Some((received, at + length)))
}

fn good_bye(payload: &[u8]) -> Result<Received, Broken> {
    const FORBIDDEN: [u16; 4] = [1004, 1005, 1006, 1015];
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() {
            Ok(Received::Close(None))
        } else {
            Err(Broken::PROTOCOL)
        };
    };
    let code = u16::from(*high) * 256 + u16::from(*low);
    if !(1000..5000).contains(&code) || (1016..3000).contains(&code) || FORBIDDEN.contains(&code) {
        return Err(Broken::PROTOCOL);
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Broken::NOT_UTF8);
    }
    Ok(Received::Close(Some(code)))
}
