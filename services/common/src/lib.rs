//! What every part of Tutti needs and none of them is about: time, ids, settings, limits, Redis, serving
//! and calling, requests to strangers' hosts, telemetry, orderly shutdown. No business rules.

pub mod accounts;
pub mod admin;
pub mod clock;
pub mod config;
pub mod follow;
pub mod http;
pub mod ids;
pub mod limits;
pub mod network;
pub mod outbound;
pub mod process;
pub mod redis;
pub mod rpc;
pub mod shutdown;
pub mod spread;
pub mod sql;
pub mod status;
pub mod telemetry;
pub mod text;
pub mod token;
