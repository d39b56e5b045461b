//! A Socket.IO client: it connects, joins, speaks as a host, listens.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tutti_common::clock::{Clock as _, SystemClock};

use crate::websocket::Line;

/// When the measurement began, in Unix milliseconds: positions are seconds since then, so that each message
/// carries the moment of its emit, and another process on this machine can say it too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch(pub(crate) f64);

impl Epoch {
    pub(crate) fn now() -> Self {
        Self(SystemClock.precise_ms())
    }

    pub(crate) fn seconds(self) -> f64 {
        (SystemClock.precise_ms() - self.0) / 1000.0
    }
}

/// How many joins were not answered in time.
pub(crate) static UNAVAILABLE: AtomicU64 = AtomicU64::new(0);

/// What listeners hear, all of them together.
#[derive(Default)]
pub(crate) struct Tally {
    heard: AtomicU64,
    /// Bytes of the last message.
    length: AtomicU64,
    /// Microseconds from the host's emit.
    waits: Mutex<Vec<u32>>,
}

impl Tally {
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(crate) fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    pub(crate) fn take_waits(&self) -> Vec<u32> {
        std::mem::take(&mut self.waits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, text: &str, epoch: Epoch) {
        let Some(emitted) = position(text) else {
            return;
        };
        let wait = epoch.seconds() - emitted;
        self.heard.fetch_add(1, Ordering::Relaxed);
        self.length.store(text.len() as u64, Ordering::Relaxed);
        let wait = micros(wait);
        self.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wait);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "microseconds of a wait, some thousands"
)]
pub(crate) fn micros(seconds: f64) -> u32 {
    (seconds * 1e6) as u32
}

/// When a state was emitted.
fn position(text: &str) -> Option<f64> {
    let (_, rest) = text.split_once(r#""position":"#)?;
    rest.split([',', '}']).next()?.parse().ok()
}

/// A connected client.
pub(crate) struct Client {
    line: Line,
    acknowledged: u64,
}

impl Client {
    /// Connects as whom the token says.
    pub(crate) async fn connect(gateway: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let mut line = Line::open(gateway, "/socket.io/?EIO=4&transport=websocket").await?;
        let opened = line.text().await?;
        if !opened.starts_with("0{") {
            bail!("not Engine.IO: {opened}");
        }
        line.send(&format!("40{}", json!({ "token": token })))
            .await?;
        loop {
            let said = line.text().await?;
            if said.starts_with("44") {
                bail!("refused: {said}");
            }
            if said.starts_with("40") {
                break;
            }
        }
        Ok(Self {
            line,
            acknowledged: 0,
        })
    }

    /// Emits and waits for the acknowledgement.
    pub(crate) async fn call(&mut self, event: &str, payload: &Value) -> anyhow::Result<Value> {
        self.acknowledged += 1;
        let ack = self.acknowledged;
        let begin = format!("43{ack}[");
        self.line
            .send(&format!("42{ack}{}", json!([event, payload])))
            .await?;
        loop {
            let said = self.line.text().await?;
            if said == "2" {
                self.line.send("3").await?;
                continue;
            }
            if said.starts_with(&begin) {
                let answer: Value = serde_json::from_str(&said[begin.len() - 1..])?;
                if answer[0]["ok"] != true {
                    bail!("{event}: {answer}");
                }
                return Ok(answer[0].clone());
            }
        }
    }

    /// Emits and waits for an event.
    pub(crate) async fn ask(
        &mut self,
        event: &str,
        payload: &Value,
        answer: &str,
    ) -> anyhow::Result<Value> {
        self.line
            .send(&format!("42{}", json!([event, payload])))
            .await?;
        let begin = format!("42[\"{answer}\",");
        loop {
            let said = self.line.text().await?;
            if said == "2" {
                self.line.send("3").await?;
            } else if said.starts_with(&begin) {
                let mut said: Value = serde_json::from_str(&said[2..])?;
                return Ok(said[1].take());
            }
        }
    }

    /// Joins. Where a part does not answer in time, a client asks again; how often is said at the end.
    pub(crate) async fn join(&mut self, room_id: &str) -> anyhow::Result<()> {
        for _ in 0..5 {
            match self.call("join_room", &json!({ "room_id": room_id })).await {
                Err(error) if error.to_string().contains("UNAVAILABLE") => {
                    UNAVAILABLE.fetch_add(1, Ordering::Relaxed);
                }
                done => {
                    done.context("cannot join")?;
                    return Ok(());
                }
            }
        }
        bail!("cannot join: unavailable again and again")
    }

    /// Listens for as long as the line lives.
    pub(crate) async fn listen(mut self, tally: Arc<Tally>, epoch: Epoch) -> anyhow::Result<()> {
        loop {
            let text = self.line.text().await?;
            if text == "2" {
                self.line.send("3").await?;
            } else if text.starts_with(r#"42["state_synced""#) {
                tally.note(text, epoch);
            }
        }
    }

    /// Speaks as the host, at a steady rate, until it has said `count` things.
    pub(crate) async fn host(
        &mut self,
        every: Duration,
        count: u32,
        epoch: Epoch,
    ) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(every);
        for _ in 0..count {
            loop {
                tokio::select! {
                    _ = ticks.tick() => break,
                    text = self.line.text() => {
                        if text? == "2" {
                            self.line.send("3").await?;
                        }
                    }
                }
            }
            let position = epoch.seconds();
            let state = json!({
                "playback_state": { "playing": true, "position": position },
                "current_song": {
                    "title": "Wachet auf, ruft uns die Stimme",
                    "artists": ["Johann Sebastian Bach"],
                    "youtube_video_id": "dQw4w9WgXcQ",
                    "artwork_url": "https://img.example.org/covers/bwv-140.jpg",
                    "duration": 412.5,
                },
            });
            self.acknowledged += 1;
            let ack = self.acknowledged;
            self.line
                .send(&format!("42{ack}{}", json!(["sync_state", state])))
                .await?;
        }
        Ok(())
    }
}

/// Hears frames that come by themselves: the bare writes.
pub(crate) async fn hear_bare(
    mut line: Line,
    tally: Arc<Tally>,
    epoch: Epoch,
) -> anyhow::Result<()> {
    loop {
        tally.note(line.text().await?, epoch);
    }
}
