//! The gateway's reader of WebSocket frames, against a simpler one. What is checked is in `frame/check.rs`, which the
//! gateway's tests run as well, on bytes that they make up themselves.

#![no_main]

// The file itself: the gateway shows it to nobody.
#[allow(dead_code)]
#[path = "../../services/gateway/src/socket/frame.rs"]
mod frame;

libfuzzer_sys::fuzz_target!(|input: &[u8]| frame::check::check(input));
