use super::check::check;
use super::{
    BINARY, Broken, CLOSE, CONTINUATION, Goodbye, PING, PONG, Reader, Received, TEXT, close, text,
};

const LAST: u8 = 0x80;

/// A frame as a client sends it.
fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (payload.len(), u16::try_from(payload.len())) {
        (short @ ..=125, _) => frame.push(0x80 | u8::try_from(short).unwrap()),
        (_, Ok(middle)) => {
            frame.push(0x80 | 0x7e);
            frame.extend_from_slice(&middle.to_be_bytes());
        }
        (long, _) => {
            frame.push(0x80 | 0x7f);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
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
        sent(CONTINUATION, b""),
        sent(LAST | CONTINUATION, b"!"),
        sent(LAST | CLOSE, &[3, 232]),
    ];
    let wanted = [
        Received::Part,
        Received::Ping(b"there?".to_vec()),
        Received::Part,
        Received::Part,
        Received::Part,
        is_text("ä!"),
        Received::Close(Some(1000)),
    ];
    assert_eq!(read(&all.concat()).unwrap(), wanted);
}

#[test]
fn each_frame_is_counted_and_costs_the_same() {
    let mut reader = Reader::new(1_000);
    // It would take minutes if each frame moved those behind it.
    reader.feed(&sent(LAST | PONG, b"").repeat(400_000));
    assert_eq!(reader.next(), Ok(Some(Received::Part)));
    assert_eq!(reader.frames(), 1);
    while reader.next().unwrap().is_some() {}
    assert_eq!((reader.frames(), reader.frames()), (399_999, 0));
}

#[test]
fn what_is_not_websocket_or_too_large_ends_it() {
    // An unmasked text, and lengths that are longer than they have to be.
    let unmasked = [LAST | TEXT, 1, b'x'];
    let longer = [LAST | TEXT, 0xfe, 0, 125];
    let longest = [LAST | TEXT, 255, 0, 0, 0, 0, 0, 0, 255, 255];
    let begun = sent(TEXT, b"");
    for (bytes, why) in [
        (unmasked[..2].to_vec(), Broken::PROTOCOL),
        (longer.to_vec(), Broken::PROTOCOL),
        (longest.to_vec(), Broken::PROTOCOL),
        // The first byte says enough.
        (vec![LAST | 0x40 | TEXT], Broken::PROTOCOL),
        (vec![LAST | 0x20 | PING], Broken::PROTOCOL),
        (vec![LAST | 0x10 | TEXT], Broken::PROTOCOL),
        (vec![LAST | 3], Broken::PROTOCOL),
        (vec![LAST | 0xb], Broken::PROTOCOL),
        (vec![PING], Broken::PROTOCOL),
        (vec![CLOSE], Broken::PROTOCOL),
        (vec![LAST | CONTINUATION], Broken::PROTOCOL),
        ([&begun[..], &[LAST | TEXT]].concat(), Broken::PROTOCOL),
        ([&begun[..], &[BINARY]].concat(), Broken::PROTOCOL),
        (sent(LAST | PING, &[0; 126]), Broken::PROTOCOL),
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
            vec![LAST | TEXT, 255, 127, 255, 255, 255, 255, 255, 255, 255],
            Broken::TOO_LARGE,
        ),
        (
            vec![LAST | TEXT, 255, 128, 0, 0, 0, 0, 0, 0, 0],
            Broken::PROTOCOL,
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
fn text_that_cannot_become_utf8_fails_at_once() {
    // The first byte of four, then one that can never follow it.
    let begin = sent(TEXT, &[b'x', 0xf0]);
    assert!(read(&begin).is_ok());
    let bad = [begin.clone(), sent(CONTINUATION, &[0x80])].concat();
    assert_eq!(read(&bad), Err(Broken::NOT_UTF8));
    // It may be cut anywhere, but not at the end.
    let cut = [begin.clone(), sent(CONTINUATION, &[0x9f])].concat();
    assert!(read(&cut).is_ok());
    let ended = [begin, sent(LAST | CONTINUATION, &[0x9f])].concat();
    assert_eq!(read(&ended), Err(Broken::NOT_UTF8));
}

#[test]
fn a_close_is_sent_back_unless_it_may_not_be_sent() {
    let closing = |payload: &[u8]| read(&sent(LAST | CLOSE, payload));
    assert_eq!(closing(b""), Ok(vec![Received::Close(None)]));
    assert_eq!(closing(&[3]), Err(Broken::PROTOCOL));
    assert_eq!(closing(&[3, 232, 0xff]), Err(Broken::NOT_UTF8));
    for (codes, may_be) in [
        (0..=999, false),
        (1000..=1003, true),
        (1004..=1006, false),
        (1007..=1014, true),
        (1015..=2999, false),
        (3000..=4999, true),
        (5000..=u16::MAX, false),
    ] {
        for code in codes {
            let wanted = if may_be {
                Ok(vec![Received::Close(Some(code))])
            } else {
                Err(Broken::PROTOCOL)
            };
            let payload = [&code.to_be_bytes()[..], "wörds".as_bytes()].concat();
            assert_eq!(closing(&payload), wanted, "{code}");
        }
    }
    for (goodbye, frame) in [
        (Goodbye::Normal, &[0x88, 2, 3, 232][..]),
        (Goodbye::Broken(Broken::PROTOCOL), &[0x88, 2, 3, 234]),
        (Goodbye::Echo(Some(3000)), &[0x88, 2, 11, 184]),
        (Goodbye::Echo(None), &[0x88, 0]),
    ] {
        assert_eq!(close(goodbye), frame);
    }
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

/// Numbers that are the same in each run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// Mostly what clients send; now and then a bit is another.
    fn frames(&mut self) -> Vec<u8> {
        const TEXTS: [&str; 4] = ["", "2probe", "κόσμε 🎵", "ü"];
        let mut all = self.bytes(1);
        let mut is_begun = false;
        for _ in 0..self.below(8) {
            let opcode = match self.below(8) {
                0 => PING,
                1 => PONG,
                2 if self.below(4) == 0 => CLOSE,
                _ if is_begun => CONTINUATION,
                3 => BINARY,
                _ => TEXT,
            };
            let is_last = opcode >= CLOSE || self.below(3) > 0;
            if opcode < CLOSE {
                is_begun = !is_last;
            }
            let length = self.one_of(&[0, 1, 2, 5, 124, 125, 126, 127, 299, 65_535, 65_536]);
            let payload = match self.below(4) {
                0 if opcode == CLOSE => vec![3, 232],
                0 => self.bytes(if opcode < CLOSE { length } else { length % 126 }),
                1 if opcode < CLOSE => vec![b'x'; length],
                _ => {
                    let text = self.one_of(&TEXTS).as_bytes();
                    // A character may go on in the next frame.
                    text[..self.below(text.len() + 1)].to_vec()
                }
            };
            all.extend(sent(if is_last { LAST | opcode } else { opcode }, &payload));
        }
        if self.below(3) == 0 && all.len() > 1 {
            // Near the beginning, where the heads are.
            let place = self.below(all.len().min(40));
            all[place] ^= 1 << self.below(8);
        }
        all.truncate(all.len() - self.one_of(&[0, 0, 1, 7]).min(all.len()));
        all
    }
}

#[test]
fn whatever_is_sent_is_read_like_a_simpler_reader_does() {
    let mut numbers = Numbers(14);
    for _ in 0..3_000 {
        check(&numbers.frames());
    }
    for _ in 0..3_000 {
        let length = numbers.below(60);
        check(&numbers.bytes(length));
    }
}
