//! The rules, without a database, a wire or a clock of their own.

pub mod account;
mod blocklist;
pub mod event;
pub mod friends;
pub mod network;
pub mod password;
pub mod session;
