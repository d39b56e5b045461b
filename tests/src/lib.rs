//! What stories about Tutti's services are told with: the services in this process, joined together as in
//! the standalone program, on either database engine; people who use them; and time in the story's hand.
#![allow(
    clippy::missing_panics_doc,
    reason = "what goes wrong here fails the story"
)]

mod app;
mod engines;
mod faults;
mod people;
mod refusals;
mod server;
mod watch;

pub use app::{A_MOMENT, Builder, Caller, START, TestApp, almost};
pub use engines::{on_postgres, on_sqlite};
pub use faults::{Faults, Held, How, Step};
pub use people::{Device, Person, paused, playing};
pub use refusals::{refused, wrong_fields};
pub use server::{IN_TIME, Postgres};
pub use watch::Watch;
