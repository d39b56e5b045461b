//! What the room service promises, told through its gRPC surface and on both engines.

mod budgets;
mod connections;
mod creating;
mod crowds;
mod friendships;
mod hosts;
mod invariants;
mod joining;
mod leaving;
mod playback;
mod presence;
mod processes;
mod refusals;
mod restarting;
mod songs;
mod timing;
mod two_stores;
mod watching;
mod wire;
