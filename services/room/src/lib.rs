//! The room service: who is in a room, who is host, what plays where.

#![allow(
    clippy::duplicate_mod,
    reason = "store/queries.rs is compiled once for each SQL engine"
)]

mod budgets;
mod changes;
mod convert;
pub mod domain;
mod error;
pub mod live;
mod members;
mod names;
mod people;
mod remembered;
mod rpc;
mod service;
pub mod store;
mod timings;
mod upkeep;

use std::time::Duration;

use tutti_common::config::{Rates, Settings};

pub use error::RoomError;
pub use people::{People, PeopleError, RemotePeople};
pub use rpc::routes;
pub use service::{Leaving, Rooms};

/// The gRPC services this part serves.
pub const SERVICES: &[&str] = &["tutti.rooms.v1.RoomService"];

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct RoomSettings {
    /// How long a lost connection keeps its place.
    pub presence_grace: Duration,
    /// How long an empty room is kept.
    pub room_empty_grace: Duration,
    /// How often the record is swept.
    pub cleanup_interval: Duration,
    /// How often who may do what.
    pub rates: Rates,
}

impl From<&Settings> for RoomSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            presence_grace: settings.presence_grace,
            room_empty_grace: settings.room_empty_grace,
            cleanup_interval: settings.cleanup_interval,
            rates: settings.rates,
        }
    }
}
