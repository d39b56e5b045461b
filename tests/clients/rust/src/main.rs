//! A bot on `rust_socketio` that a story steers: see `tests/stories/clients.test.mjs`, and `tests/clients/python/bot.py`,
//! which takes and gives the same lines.

use std::{
    env,
    error::Error,
    io::{BufRead as _, Write as _, stdin, stdout},
    time::Duration,
};

use rust_socketio::{ClientBuilder, Event, Payload, RawClient, TransportType};
use serde_json::{Value, json};

fn tell(event: &str, payload: &Value) {
    let mut out = stdout().lock();
    // The story has ended: so does this.
    let _ = writeln!(out, "{}", json!([event, payload]));
    let _ = out.flush();
}

/// The only argument there is.
fn first(payload: Payload) -> Value {
    match payload {
        Payload::Text(values) => values.into_iter().next().unwrap_or_default(),
        _ => Value::Null,
    }
}

/// The payload of an acknowledgement, of which this library makes a list in a list.
fn answer(payload: Payload) -> Value {
    match first(payload) {
        Value::Array(values) => values.into_iter().next().unwrap_or_default(),
        other => other,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let [address, transports] = env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "address, transports")?;
    let transport = match transports.as_str() {
        "polling" => TransportType::Polling,
        "websocket" => TransportType::Websocket,
        _ => TransportType::Any,
    };
    let client = ClientBuilder::new(address)
        .auth(json!({ "token": env::var("TOKEN")? }))
        .transport_type(transport)
        .reconnect(true)
        .reconnect_on_disconnect(true)
        .reconnect_delay(100, 200)
        .on_any(|event, payload, _: RawClient| tell(&String::from(event), &first(payload)))
        .on(Event::Error, |payload, _| {
            tell("*disconnect", &first(payload))
        })
        .on(Event::Close, |payload, _| {
            tell("*disconnect", &first(payload))
        })
        .connect()?;
    for line in stdin().lock().lines() {
        let order: Value = serde_json::from_str(&line?)?;
        if let Some([event, payload]) = order["call"].as_array().map(Vec::as_slice) {
            let event = event.as_str().unwrap_or_default();
            client.emit_with_ack(
                event,
                payload.clone(),
                Duration::from_secs(10),
                |payload, _| {
                    tell("*answer", &answer(payload));
                },
            )?;
        } else if let Some(pings) = order["pings"].as_u64() {
            for number in 0..pings {
                client.emit("ping", json!({ "client_time_ms": number }))?;
            }
        } else {
            break;
        }
    }
    client.disconnect()?;
    Ok(())
}
