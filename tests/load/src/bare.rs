//! The floor: a program that does nothing but write the same bytes to the same number of TCP sockets.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{client::Epoch, websocket::frame};

/// What is written, where and how often.
#[derive(Clone, Debug, Args)]
pub(crate) struct Bare {
    /// Connections to wait for; one more gives the sign to begin
    #[arg(long)]
    pub(crate) sockets: usize,
    /// Connections written to at once; the others follow evenly within the interval
    #[arg(long)]
    pub(crate) at_once: usize,
    /// Bytes of a message
    #[arg(long)]
    pub(crate) bytes: u64,
    /// Milliseconds between two messages to the same connection
    #[arg(long)]
    pub(crate) every_ms: u64,
    /// Messages to each connection
    #[arg(long)]
    pub(crate) count: u32,
    /// When time began, in Unix milliseconds
    #[arg(long)]
    pub(crate) epoch: f64,
}

/// Writes, and then waits to be ended.
///
/// # Errors
/// When a reader is so slow that its socket takes no more.
pub(crate) fn run(bare: &Bare) -> anyhow::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    println!("listening on {}", listener.local_addr()?);
    let mut streams: Vec<TcpStream> = Vec::with_capacity(bare.sockets);
    while streams.len() < bare.sockets {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        streams.push(stream);
    }
    let _sign = listener.accept()?;
    let every = Duration::from_millis(bare.every_ms);
    let rooms = u32::try_from(streams.len().div_ceil(bare.at_once))?;
    let begin = Instant::now();
    for round in 0..bare.count {
        for (room, streams) in (0..).zip(streams.chunks_mut(bare.at_once)) {
            let due = begin + every * round + every * room / rooms;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let message = message(bare);
            for stream in streams {
                let written = stream.write(&message).context("a socket is full")?;
                ensure!(written == message.len(), "a socket is full");
            }
        }
    }
    loop {
        std::thread::park();
    }
}

/// As long as a gateway's.
fn message(bare: &Bare) -> Vec<u8> {
    let now = Epoch(bare.epoch).seconds();
    let mut text = format!(r#"42["state_synced",{{"position":{now:.6}}},""#);
    while (text.len() as u64) + 2 < bare.bytes {
        text.push('-');
    }
    text.push_str("\"]");
    frame(&text, false)
}
