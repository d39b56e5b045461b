//! As much WebSocket as a client needs that measures: text frames over plain TCP, nothing copied that
//! need not be, so that the generator takes little of the machine it shares with what it measures.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The first bytes of text frames that are whole, by the length that follows.
const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;

/// A buffer that a long message made larger than this is given back.
const KEPT: usize = 4 * 1024;

/// A line to a server: bytes in, frames out.
pub(crate) struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the first unread byte is.
    start: usize,
}

impl Line {
    /// A line on which frames come at once, without a handshake.
    pub(crate) async fn bare(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            start: 0,
        })
    }

    /// A WebSocket at `path`.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let mut line = Self::bare(address).await?;
        // What a browser sends, so that the server keeps as much of it as of a browser's.
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
             Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 \
             (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\n\
             Origin: http://{address}\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br\r\n\
             Accept-Language: en-US,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        line.stream.write_all(head.as_bytes()).await?;
        let end = loop {
            if let Some(at) = line.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            line.fill().await?;
        };
        if !line.buffer.starts_with(b"HTTP/1.1 101") {
            let head = String::from_utf8_lossy(&line.buffer[..end]).into_owned();
            bail!("no WebSocket: {}", head.lines().next().unwrap_or_default());
        }
        line.start = end;
        Ok(line)
    }

    /// The text of the next frame. What was read of it is kept if this is dropped.
    pub(crate) async fn text(&mut self) -> anyhow::Result<&str> {
        loop {
            if let Some((opcode, from, to)) = self.whole_frame()? {
                self.start = to;
                match opcode {
                    1 => return Ok(std::str::from_utf8(&self.buffer[from..to])?),
                    8 => bail!("the server closed the line"),
                    _ => continue,
                }
            }
            self.fill().await?;
        }
    }

    /// The opcode of a frame that is all there, and where its payload is.
    fn whole_frame(&self) -> anyhow::Result<Option<(u8, usize, usize)>> {
        let bytes = &self.buffer[self.start..];
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0xf0 != 0x80 || second & MASKED != 0 {
            bail!("not a whole, unmasked frame: {first:#x} {second:#x}");
        }
        let (head, length) = match (second, rest) {
            (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, [0, 0, 0, 0, a, b, c, d, ..]) => {
                (10, u32::from_be_bytes([*a, *b, *c, *d]) as usize)
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (2, usize::from(*short)),
        };
        let from = self.start + head;
        let to = from + length;
        Ok((to <= self.buffer.len()).then_some((first & 0x0f, from, to)))
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        if self.start == self.buffer.len() {
            // A buffer is only there while something is in it: thousands of lines wait idle.
            self.start = 0;
            self.buffer.clear();
            if self.buffer.capacity() > KEPT {
                self.buffer = Vec::new();
            }
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(1024);
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the line ended");
        }
        Ok(())
    }

    /// Sends text. The mask is zeros, so that the text goes as it is.
    pub(crate) async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        self.stream.write_all(&frame(text, true)).await?;
        Ok(())
    }
}

/// A text frame.
pub(crate) fn frame(text: &str, masked: bool) -> Vec<u8> {
    let mask = if masked { MASKED } else { 0 };
    let mut frame = vec![TEXT];
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(short @ ..=125), _) => frame.push(mask | short),
        (_, Ok(middle)) => {
            frame.push(mask | 0x7e);
            frame.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            frame.push(mask | 0x7f);
            frame.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    if masked {
        frame.extend_from_slice(&[0; 4]);
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}
