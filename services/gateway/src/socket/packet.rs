//! Socket.IO packets, as text.

use axum::body::Bytes;
use engineioxide_core::Str;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use socketioxide_core::{
    Value as Payload,
    packet::{Packet, PacketData},
    parser::{Parse as _, ParseConfig, ParseError, ParserState},
};
use socketioxide_parser_common::CommonParser;
use std::{sync::PoisonError, time::Duration};

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
    /// Not Socket.IO, or for a namespace nobody has connected to: the connection must be closed.
    Garbage,
}

/// An event and how to acknowledge it.
#[derive(Debug)]
pub(super) struct ClientEvent {
    /// Its name; `None` where it cannot be read.
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
    let whole = text.clone();
    let decoded = CommonParser.decode_str(config, state, text);
    let incoming = match &decoded {
        Ok(packet) if is_read_to_the_letter(packet, &whole) => read(packet),
        Err(ParseError::NeedsMoreBinaryData) => {
            let partial = state.partial_bin_packet.lock();
            let partial = partial.unwrap_or_else(PoisonError::into_inner);
            // What cannot become an event is not worth waiting for its attachments.
            partial
                .as_ref()
                .filter(|partial| is_read_to_the_letter(&partial.packet, &whole))
                .and_then(|partial| read(&partial.packet))
                .map(|_| Incoming::Nothing)
        }
        _ => None,
    };
    incoming.unwrap_or(Incoming::Garbage)
}

/// Reads a binary message: a part of a binary event.
pub(super) fn decode_binary(config: &ParseConfig, state: &ParserState, data: Bytes) -> Incoming {
    match CommonParser.decode_bin(config, state, data) {
        Ok(packet) => read(&packet).unwrap_or(Incoming::Garbage),
        Err(ParseError::NeedsMoreBinaryData) => Incoming::Nothing,
        Err(_) => Incoming::Garbage,
    }
}

/// Whether the parser has passed nothing over: it skips an id that is too large and what follows a DISCONNECT, and takes
/// a binary packet without attachments.
fn is_read_to_the_letter(packet: &Packet, text: &str) -> bool {
    match &packet.inner {
        PacketData::Event(arguments, None) | PacketData::BinaryEvent(arguments, None) => {
            let head = &text[..text.len().saturating_sub(json_of(arguments).len())];
            // The first byte is the type.
            !head[1..].ends_with(|last: char| last.is_ascii_digit()) && !text.starts_with("50")
        }
        PacketData::BinaryEvent(..) | PacketData::BinaryAck(..) => text.as_bytes()[1] != b'0',
        PacketData::Disconnect => matches!(text, "1" | "1/" | "1/,"),
        _ => true,
    }
}

/// The parser does not look at payloads. `None` if it is no packet that a client may send.
fn read(packet: &Packet) -> Option<Incoming> {
    let is_ours = packet.ns == NAMESPACE;
    match &packet.inner {
        PacketData::Connect(auth) => {
            let auth = match auth.as_ref().map(json_of) {
                None => Value::Null,
                Some(auth) => serde_json::from_str(auth).ok().filter(Value::is_object)?,
            };
            Some(if is_ours {
                Incoming::Connect(auth)
            } else {
                Incoming::WrongNamespace(packet.ns.to_string())
            })
        }
        PacketData::Event(arguments, ack) if is_ours => {
            event(arguments, *ack, false).map(Incoming::Event)
        }
        PacketData::BinaryEvent(arguments, ack) if is_ours => {
            event(arguments, *ack, true).map(Incoming::Event)
        }
        PacketData::EventAck(arguments, _) | PacketData::BinaryAck(arguments, _) if is_ours => {
            serde_json::from_str::<Vec<IgnoredAny>>(json_of(arguments)).ok()?;
            Some(Incoming::Nothing)
        }
        PacketData::Disconnect if is_ours => Some(Incoming::Disconnect),
        // Whatever is for a namespace without a CONNECT, and CONNECT_ERROR, which is the server's.
        _ => None,
    }
}

fn json_of(payload: &Payload) -> &str {
    payload.as_str().map(Str::as_str).unwrap_or_default()
}

/// `None` unless the payload is an array that begins with a name.
fn event(arguments: &Payload, ack: Option<i64>, is_binary: bool) -> Option<ClientEvent> {
    let json = json_of(arguments);
    let (name, payload) = if let Ok(values) = serde_json::from_str::<Vec<Value>>(json) {
        if let Payload::Str(_, Some(attachments)) = arguments
            && !(values.iter()).all(|value| are_placeholders_good(value, attachments.len()))
        {
            return None;
        }
        let mut values = values.into_iter();
        let Some(Value::String(name)) = values.next() else {
            return None;
        };
        (Some(name), values.next().unwrap_or_default())
    } else {
        // JSON that is well-formed, but too deep or with numbers too large to be read: the event is refused, the
        // connection lives. This look at it has no such limits, as it keeps nothing.
        let values = serde_json::from_str::<Vec<IgnoredAny>>(json).ok()?;
        values.first()?;
        (None, Value::Null)
    };
    Some(ClientEvent {
        name,
        payload,
        is_binary,
        ack,
    })
}

/// Whether each placeholder in it stands for one of the attachments.
fn are_placeholders_good(value: &Value, attachments: usize) -> bool {
    match value {
        Value::Array(items) => items
            .iter()
            .all(|it| are_placeholders_good(it, attachments)),
        Value::Object(members) if members.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = members.get("num").and_then(Value::as_u64);
            number.is_some_and(|number| number < attachments as u64)
        }
        Value::Object(members) => {
            let mut values = members.values();
            values.all(|it| are_placeholders_good(it, attachments))
        }
        _ => true,
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

    use axum::body::Bytes;
    use engineioxide_core::Str;
    use socketioxide_core::parser::ParserState;

    use super::{
        Incoming, acknowledgement, connect_error, decode, decode_binary, event_to_client,
        parse_config,
    };

    fn read(text: &str) -> Incoming {
        decode(
            &parse_config(1_024),
            &ParserState::default(),
            Str::copy_from_slice(text),
        )
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
    fn well_formed_events_that_make_no_sense_are_events() {
        let deep = format!(r#"2["a",{}{}]"#, "[".repeat(5_000), "]".repeat(5_000));
        for (text, name) in [
            (r#"2["a"]"#, Some("a")),
            (r#"2/,["a"]"#, Some("a")),
            (r#"2[""]"#, Some("")),
            (&deep, None),
            (r#"2["a",1e999]"#, None),
            (r#"2["a","\ud800"]"#, None),
        ] {
            let Incoming::Event(event) = read(text) else {
                panic!("{text:.80}");
            };
            assert_eq!(event.name.as_deref(), name, "{text:.80}");
            assert_eq!(event.payload, Value::Null, "{text:.80}");
        }
    }

    #[test]
    fn what_is_not_socket_io_is_garbage() {
        let open = format!(r#"2["a",{}"#, "[".repeat(60_000));
        for text in [
            "",
            "7",
            "9",
            "x",
            "é",
            "\u{0}",
            // Events: the payload must be an array that begins with a name.
            "2",
            "2x",
            "2{}",
            "2[]",
            "2null",
            "2\"a\"",
            r#"2["a""#,
            r#"2["a",]"#,
            r#"2["a"]["b"]"#,
            "2[null]",
            "2[1]",
            "2[true]",
            "2[{}]",
            r#"2[["a"]]"#,
            &open,
            // Ids.
            r#"2abc["a"]"#,
            r#"2-1["a"]"#,
            r#"21.5["a"]"#,
            "21",
            r#"299999999999999999999["a"]"#,
            // Acknowledgements.
            "3",
            "31",
            "3[]",
            "31{}",
            "31[",
            // Attachments.
            r#"5["a"]"#,
            r#"5-["a"]"#,
            r#"50-["a"]"#,
            r#"51["a"]"#,
            r#"5x-["a"]"#,
            r#"5-1-["a"]"#,
            r#"517-["a"]"#,
            r#"599999999999999999999-["a"]"#,
            "51-",
            "51-{}",
            "6[]",
            "61-[]",
            "60-1[]",
            // CONNECT takes an object or nothing, DISCONNECT nothing.
            "0garbage",
            "0null",
            "0[]",
            "0\"token\"",
            "0{",
            "0/admin,[]",
            "1{}",
            "1x",
            // The server's.
            "4{}",
            // Nobody has connected to these.
            r#"2/admin,["a"]"#,
            "1/admin,",
            "3/admin,1[]",
        ] {
            let incoming = read(text);
            assert!(
                matches!(incoming, Incoming::Garbage),
                "{text:.80}: {incoming:?}"
            );
        }
    }

    #[test]
    fn what_begins_and_ends_a_connection_is_read() {
        assert!(matches!(read("0"), Incoming::Connect(Value::Null)));
        assert!(
            matches!(read(r#"0{"token":"a"}"#), Incoming::Connect(auth) if auth["token"] == "a")
        );
        assert!(matches!(read("0/,{}"), Incoming::Connect(Value::Object(_))));
        for text in ["0/admin", "0/admin,", "0/admin,{}"] {
            assert!(
                matches!(read(text), Incoming::WrongNamespace(name) if name == "/admin"),
                "{text}"
            );
        }
        assert!(matches!(read("1"), Incoming::Disconnect));
        assert!(matches!(read("31[]"), Incoming::Nothing));
        assert!(matches!(read("31[1,2]"), Incoming::Nothing));
    }

    #[test]
    fn a_binary_event_is_whole_with_its_last_attachment() {
        let (config, state) = (parse_config(1_024), ParserState::default());
        let text = |text: &str| decode(&config, &state, Str::copy_from_slice(text));
        let binary = || decode_binary(&config, &state, Bytes::from_static(&[1]));
        let head = r#"52-7["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        for _ in 0..2 {
            assert!(matches!(text(head), Incoming::Nothing));
            assert!(matches!(binary(), Incoming::Nothing));
            let Incoming::Event(event) = binary() else {
                panic!("not an event");
            };
            assert!(event.is_binary);
            assert_eq!((event.name.as_deref(), event.ack), (Some("a"), Some(7)));
        }
        // What nobody announced, what comes between, and what stands for no attachment.
        assert!(matches!(binary(), Incoming::Garbage));
        assert!(matches!(text("61-7[]"), Incoming::Nothing));
        assert!(matches!(text(r#"2["a"]"#), Incoming::Garbage));
        assert!(matches!(binary(), Incoming::Nothing));
        for number in ["1", "-1", "0.5", r#""0""#, "null"] {
            let head = format!(r#"51-["a",[{{"b":{{"_placeholder":true,"num":{number}}}}}]]"#);
            assert!(matches!(text(&head), Incoming::Nothing), "{head}");
            assert!(matches!(binary(), Incoming::Garbage), "{head}");
        }
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
