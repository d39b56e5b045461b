//! What is counted for each message: looked up once, since a look-up costs as much as the rest.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use http::StatusCode;
use metrics::{Counter, Histogram};

use crate::{fanout::SERVER_EVENTS, socket::CLIENT_EVENTS};

/// What stands for an acknowledgement, which is no event but is a message all the same.
pub(crate) const ACKNOWLEDGEMENT: &str = "acknowledgement";

/// What stands for events that are not ours: their names are a stranger's.
const OTHER: &str = "other";

static IN: LazyLock<HashMap<&'static str, Counter>> = LazyLock::new(|| {
    let names = CLIENT_EVENTS.into_iter().chain([OTHER]);
    names
        .map(|name| {
            let counter = metrics::counter!("tutti_gateway_events_in_total", "event" => name);
            (name, counter)
        })
        .collect()
});

static OUT: LazyLock<HashMap<&'static str, Counter>> = LazyLock::new(|| {
    let names = SERVER_EVENTS.into_iter().chain([ACKNOWLEDGEMENT]);
    names
        .map(|name| {
            let counter = metrics::counter!("tutti_gateway_events_out_total", "event" => name);
            (name, counter)
        })
        .collect()
});

static FANOUT: LazyLock<Histogram> =
    LazyLock::new(|| metrics::histogram!("tutti_gateway_fanout_seconds"));

static PONG: LazyLock<Histogram> =
    LazyLock::new(|| metrics::histogram!("tutti_gateway_pong_seconds"));

/// A client sent an event.
pub(crate) fn event_in(name: &str) {
    if let Some(counter) = IN.get(name).or_else(|| IN.get(OTHER)) {
        counter.increment(1);
    }
}

/// An event went to so many clients.
pub(crate) fn events_out(name: &str, to: u64) {
    if let Some(counter) = OUT.get(name) {
        counter.increment(to);
    }
}

/// An event has reached everybody here, so long after the room service accepted it.
pub(crate) fn fanned_out(after: Duration) {
    FANOUT.record(after);
}

/// A room's events stopped coming in, and are opened again: `deaf` where nothing had said so.
pub(crate) fn feed_broken(reason: &'static str) {
    metrics::counter!("tutti_gateway_feeds_broken_total", "reason" => reason).increment(1);
}

/// A REST call was answered.
pub(crate) fn answered(route: String, status: StatusCode, after: Duration) {
    let status = status.as_str().to_owned();
    metrics::histogram!("tutti_http_seconds", "route" => route, "status" => status).record(after);
}

/// A connection has joined a room.
pub(crate) fn joined() {
    metrics::counter!("tutti_gateway_joins_total").increment(1);
}

/// So many connections are here, and rooms that they are in.
pub(crate) fn here(connections: usize, rooms: usize) {
    let gauge = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    metrics::gauge!("tutti_gateway_connections").set(gauge(connections));
    metrics::gauge!("tutti_gateway_rooms").set(gauge(rooms));
}

/// What plays, as listeners call it; anything else is a stranger's word.
const PLAYERS: [&str; 3] = ["webaudio", "audio", "youtube"];

/// A listener has measured its way here and its playing.
pub(crate) fn measured(
    player: Option<&str>,
    round_trip_ms: f64,
    error_ms: Option<f64>,
    dropouts: Option<f64>,
) {
    metrics::histogram!("tutti_client_round_trip_seconds").record(round_trip_ms / 1000.0);
    let known = PLAYERS.into_iter().find(|known| Some(*known) == player);
    let player = known.unwrap_or(OTHER);
    if let Some(error_ms) = error_ms {
        metrics::histogram!("tutti_playback_error_seconds", "player" => player)
            .record(error_ms / 1000.0);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count"
    )]
    let dropouts = dropouts.unwrap_or_default() as u64;
    metrics::counter!("tutti_playback_dropouts_total", "player" => player).increment(dropouts);
}

/// A ping was answered, so long after it was read: what a client's measurement of the clock is off by.
pub(crate) fn ponged(after: Duration) {
    PONG.record(after);
}
