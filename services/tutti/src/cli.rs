//! What can be said on the command line.

use clap::{Parser, Subcommand};
use tutti_common::config::RawSettings;

/// Friends listen to the same music at the same moment, each in their own browser.
///
/// Without a command everything runs in this one process, with SQLite in the data folder. Every setting
/// can be given as a flag or as the environment variable named beside it.
#[derive(Debug, Parser)]
#[command(name = "tutti", version)]
pub(crate) struct Cli {
    /// Which part to play; all of them if left out.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub(crate) settings: RawSettings,
}

/// Which part to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Serve accounts and friends over gRPC
    Auth,
    /// Serve rooms over gRPC
    Room,
    /// Serve REST, Socket.IO and the web app
    Gateway,
    /// Bring the database's schema up to date and end
    Migrate,
    /// Print a new Ed25519 key to sign access tokens with and end
    Keygen,
}
