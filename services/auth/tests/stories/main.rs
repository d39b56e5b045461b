//! What the auth service promises, told through its gRPC surface and on both engines.

mod accounts;
mod common;
mod events;
mod friends;
mod keys;
mod limits;
mod passwords;
mod races;
mod search;
mod sessions;
