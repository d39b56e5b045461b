//! The one program that plays every part of Tutti.

mod cli;
mod data_folder;
mod parts;

use std::process::ExitCode;

use clap::{Parser as _, error::ErrorKind};
use tutti_auth::keys::SigningKeys;
use tutti_common::{
    config::{Role, Settings, Wrong},
    process,
    shutdown::{self, Shutdown, Signals},
    telemetry::{self, Telemetry},
};

use crate::{
    cli::{Cli, Command},
    parts::{Bound, migrate},
};

/// `EX_USAGE` of sysexits.h: settings are wrong.
const WRONG_SETTINGS: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            // Help and version are no errors. A broken pipe leaves nobody to tell.
            let _ = said.print();
            return match said.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(WRONG_SETTINGS),
            };
        }
    };
    if cli.command == Some(Command::Keygen) {
        return keygen();
    }
    let role = match cli.command {
        None | Some(Command::Migrate | Command::Keygen) => Role::Standalone,
        Some(Command::Auth) => Role::Auth,
        Some(Command::Room) => Role::Room,
        Some(Command::Gateway) => Role::Gateway,
    };
    let settings = match cli.settings.check(role) {
        Ok(settings) => settings,
        Err(wrong) => return refuse(&wrong),
    };
    process::keep_files_private();
    let ran = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(cli.command, settings)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tutti: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(wrong: &Wrong) -> ExitCode {
    eprint!("tutti: these settings are wrong:\n{wrong}");
    ExitCode::from(WRONG_SETTINGS)
}

fn keygen() -> ExitCode {
    match SigningKeys::generate_pem() {
        Ok(pem) => {
            print!("{pem}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tutti: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Option<Command>, settings: Settings) -> anyhow::Result<()> {
    let telemetry = telemetry::init(&settings)?;
    let served = match command {
        Some(Command::Migrate) => migrate(&settings).await,
        _ => serve(&settings, &telemetry).await,
    };
    telemetry.flush().await;
    served
}

async fn serve(settings: &Settings, telemetry: &Telemetry) -> anyhow::Result<()> {
    let files = process::raise_file_limit();
    tracing::info!(
        files,
        "this process may open so many files, one a connection"
    );
    let shutdown = Shutdown::new();
    // Before anybody is told that it runs, and may end it.
    let mut signals = Signals::catch()?;
    // Every port is bound before any work begins.
    let bound = Bound::bind(settings)?;
    let running = bound
        .start(settings, files, telemetry.metrics.clone(), &shutdown)
        .await?;
    signals.next().await;
    tokio::select! {
        () = running.drain() => {}
        // Whoever asks twice does not want to wait.
        () = signals.next() => {}
    }
    if !shutdown.finish(shutdown::GRACE).await {
        tracing::warn!("some work did not end in time");
    }
    running.close().await;
    Ok(())
}
