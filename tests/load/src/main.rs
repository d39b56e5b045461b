//! Load for Tutti, and for two yardsticks beside it: see `scripts/bench`.
#![allow(
    clippy::cast_precision_loss,
    reason = "counts, which are small, become averages"
)]

mod bare;
mod client;
mod fleet;
mod people;
mod pings;
mod program;
mod report;
mod scenario;
mod websocket;

use std::{future::Future, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{bare::Bare, fleet::Means};

#[derive(Debug, Parser)]
#[command(name = "tutti-load")]
/// Measures what Tutti costs under load
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure and print
    Run(Run),
    /// Be the bare program that only writes
    Bare(Bare),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// How much
    #[arg(long, value_enum, default_value = "quick")]
    size: Size,
    /// The program to measure
    #[arg(long, value_name = "PATH")]
    tutti: PathBuf,
    /// Any database of a PostgreSQL on which databases may be made
    #[arg(long, value_name = "URL")]
    postgres: String,
    /// A Redis, without a database number
    #[arg(long, value_name = "URL")]
    redis: String,
    /// The Node server; left out, that yardstick is
    #[arg(long, value_name = "PATH")]
    node: Option<PathBuf>,
    /// Only these parts of the measurement
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// Whether it works at all
    Smoke,
    /// In a minute or so
    Quick,
    /// Thousands of listeners and 100 000 rooms
    Full,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Thousands in one room
    One,
    /// Thousands in many rooms
    Many,
    /// Two listeners a room: nobody waits for others
    Pair,
    /// Connecting and joining
    Joins,
    /// Rooms elsewhere
    Others,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Bare(bare) => bare::run(&bare),
        Command::Run(run) => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(measure(run))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tutti-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(run: Run) -> anyhow::Result<()> {
    let means = Means {
        tutti: run.tutti.canonicalize()?,
        postgres: run.postgres,
        redis: run.redis,
        node: run.node,
        people: run.size.people(),
    };
    let mut signals = tutti_common::shutdown::Signals::catch()?;
    tokio::select! {
        done = report::run(&means, run.size, &run.only) => done,
        // What was started ends with this future.
        () = signals.next() => anyhow::bail!("interrupted"),
    }
}

/// Does something for each of `which`, `many` at a time.
pub(crate) async fn at_once<T, F>(
    many: usize,
    which: std::ops::Range<usize>,
    what: impl Fn(usize) -> F,
) -> anyhow::Result<Vec<T>>
where
    F: Future<Output = anyhow::Result<T>>,
{
    stream::iter(which)
        .map(what)
        .buffered(many)
        .try_collect()
        .await
}
