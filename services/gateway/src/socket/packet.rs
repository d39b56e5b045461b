//! Socket.IO packets, as text.

use axum::body::Bytes;
use engineioxide_core::Str;
use serde_json::{Value, json};
use socketioxide_core::{
    Value as Payload,
    packet::{Packet, PacketData},
    parser::{Parse as _, ParseConfig, ParseError, ParserState},
};
use socketioxide_parser_common::CommonParser;
use std::time::Duration;

use super::frame;

/// The one namespace there is.
const NAMESPACE: &str = "/";

/// Of Engine.IO: what follows is a message.
const MESSAGE: &str = "4";

/// A packet to clients. It is encoded once, as a `WebSocket` takes it: the same bytes go to every one.
#[derive(Clone, Debug)]
pub(crate) struct Message(Bytes);

impl Message {
    fn of(packet: &str) -> Self {
        Self(frame::text(MESSAGE, packet).0)
    }

    /// As a WebSocket takes it.
    pub(super) fn frame(&self) -> &Bytes {
        &self.0
    }

    /// As Engine.IO takes it.
    #[cfg(test)]
    fn text(&self) -> &str {
        std::str::from_utf8(&frame::payload(&self.0)[MESSAGE.len()..]).unwrap()
    }
}

/// Engine.IO's first word.
pub(super) fn opened(handshake: &Value) -> String {
    format!("0{handshake}")
}

/// Engine.IO's first word on a WebSocket.
pub(super) fn opened_frame(handshake: &Value) -> Bytes {
    frame::text("0", &handshake.to_string()).0
}

/// What a client sent.
#[derive(Debug)]
pub(super) enum Incoming {
    /// It says who it is.
    Connect(Value),
    /// It wants a namespace that is not there.
    WrongNamespace(String),
    /// It wants something.
    Event(ClientEvent),
    /// It goes.
    Disconnect,
    /// Nothing for us: an acknowledgement nobody asked for, the first part of a binary event.
    Nothing,
    /// It does not speak Socket.IO.
    Garbage,
}

/// An event and how to acknowledge it.
#[derive(Debug)]
pub(super) struct ClientEvent {
    /// Its name; `None` where it has none that can be read.
    pub(super) name: Option<String>,
    /// The first argument; null where there is none.
    pub(super) payload: Value,
    /// Whether it brought binary data, which no event of ours takes.
    pub(super) is_binary: bool,
    pub(super) ack: Option<i64>,
}

/// Limits of binary events: none is wanted, but reading one must not cost much either.
pub(super) fn parse_config(max_payload: usize) -> ParseConfig {
    ParseConfig {
        max_incoming_binary_buf_size: max_payload,
        max_incoming_binaries: 16,
        packet_completion_timeout: Duration::from_secs(10),
    }
}

/// Reads a text message.
pub(super) fn decode(config: &ParseConfig, state: &ParserState, text: Str) -> Incoming {
    read(CommonParser.decode_str(config, state, text))
}

/// Reads a binary message: a part of a binary event.
pub(super) fn decode_binary(
    config: &ParseConfig,
    state: &ParserState,
    data: axum::body::Bytes,
) -> Incoming {
    read(CommonParser.decode_bin(config, state, data))
}

fn read(packet: Result<Packet, ParseError>) -> Incoming {
    let packet = match packet {
        Ok(packet) => packet,
        Err(ParseError::NeedsMoreBinaryData) => return Incoming::Nothing,
        Err(_) => return Incoming::Garbage,
    };
    if packet.ns != NAMESPACE {
        return match packet.inner {
            PacketData::Connect(_) => Incoming::WrongNamespace(packet.ns.to_string()),
            _ => Incoming::Nothing,
        };
    }
    match packet.inner {
        PacketData::Connect(auth) => {
            let auth = auth
                .as_ref()
                .and_then(Payload::as_str)
                .map(ToString::to_string);
            Incoming::Connect(
                auth.and_then(|text| serde_json::from_str(&text).ok())
                    .unwrap_or_default(),
            )
        }
        PacketData::Event(arguments, ack) => Incoming::Event(event(&arguments, ack, false)),
        PacketData::BinaryEvent(arguments, ack) => Incoming::Event(event(&arguments, ack, true)),
        PacketData::Disconnect => Incoming::Disconnect,
        PacketData::EventAck(..) | PacketData::BinaryAck(..) => Incoming::Nothing,
        PacketData::ConnectError(_) => Incoming::Garbage,
    }
}

fn event(arguments: &Payload, ack: Option<i64>, is_binary: bool) -> ClientEvent {
    let text = arguments
        .as_str()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut arguments = serde_json::from_str::<Vec<Value>>(&text)
        .unwrap_or_default()
        .into_iter();
    ClientEvent {
        name: arguments
            .next()
            .and_then(|name| name.as_str().map(str::to_owned)),
        payload: arguments.next().unwrap_or_default(),
        is_binary,
        ack,
    }
}

fn text(payload: Payload) -> Str {
    match payload {
        Payload::Str(text, _) => text,
        // The common parser makes text of text.
        Payload::Bytes(_) => Str::default(),
    }
}

/// An event to a client.
pub(crate) fn event_to_client(name: &str, payload: &Value) -> Message {
    match CommonParser.encode_value(payload, Some(name)) {
        Ok(arguments) => Message::of(&text(
            CommonParser.encode(Packet::event(NAMESPACE, arguments)),
        )),
        Err(error) => {
            tracing::error!(%error, "cannot encode an event");
            Message::of("")
        }
    }
}

/// The acknowledgement of an event.
pub(super) fn acknowledgement(ack: i64, payload: &Value) -> Message {
    Message::of(&format!("3{ack}[{payload}]"))
}

/// The answer to a good CONNECT. The id is shown to its own client only: it opens the session.
pub(super) fn connected(sid: &str) -> Message {
    Message::of(&format!("0{}", json!({ "sid": sid })))
}

/// The answer to a bad CONNECT. Written here because the parser's has no `data`.
pub(super) fn connect_error(message: &str, code: &str) -> Message {
    Message::of(&format!(
        "4{}",
        json!({ "message": message, "data": { "code": code } })
    ))
}

/// The answer to a CONNECT to a namespace that is not there, in the words of the reference server.
pub(super) fn wrong_namespace(namespace: &str) -> Message {
    Message::of(&format!(
        "4{namespace},{}",
        json!({ "message": "Invalid namespace" })
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use socketioxide_core::parser::ParserState;

    use super::{Incoming, acknowledgement, connect_error, decode, event_to_client, parse_config};

    fn read(text: &'static str) -> Incoming {
        decode(&parse_config(1024), &ParserState::default(), text.into())
    }

    #[test]
    fn events_are_read_with_their_first_argument_and_acknowledgement() {
        let Incoming::Event(event) = read(r#"27["join_room",{"room_id":"x"},"more"]"#) else {
            panic!("not an event");
        };
        assert_eq!(event.name.as_deref(), Some("join_room"));
        assert_eq!(
            (event.payload, event.ack),
            (json!({"room_id": "x"}), Some(7))
        );
    }

    #[test]
    fn what_is_odd_is_read_as_odd_and_never_panics() {
        for text in [r#"2["a"]"#, r#"2["a",]"#, "2[1]", "2[]", "2{}", "2x", "2"] {
            let Incoming::Event(event) = read(text) else {
                panic!("{text}");
            };
            assert_eq!(event.payload, Value::Null, "{text}");
        }
        for text in ["", "9", "x", "4{}", "5x-[]", "3[]"] {
            assert!(matches!(read(text), Incoming::Garbage), "{text}");
        }
        assert!(matches!(read("0/admin,{}"), Incoming::WrongNamespace(_)));
        assert!(matches!(read("0garbage"), Incoming::Connect(Value::Null)));
        assert!(matches!(read("1"), Incoming::Disconnect));
    }

    #[test]
    fn what_is_sent_is_socket_io() {
        assert_eq!(
            event_to_client("pong", &json!({"a": 1})).text(),
            r#"2["pong",{"a":1}]"#
        );
        assert_eq!(
            acknowledgement(3, &json!({"ok": true})).text(),
            r#"33[{"ok":true}]"#
        );
        assert_eq!(
            connect_error("no", "AUTH_REQUIRED").text(),
            r#"4{"message":"no","data":{"code":"AUTH_REQUIRED"}}"#
        );
    }
}
