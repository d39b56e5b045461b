//! `tutti-advisories DATABASE LOCKFILE…`: what RustSec knows of the crates in lock files. DATABASE is a checkout of RustSec's
//! advisory-db. Ends with 1 where a crate has a vulnerability, with 2 where something cannot be read; unmaintained and unsound
//! crates are named, and are for people to judge.

use std::{path::Path, process::ExitCode};

use rustsec::{Database, Lockfile, Report, advisory::Informational, report::Settings};

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let Some((database, lockfiles)) = arguments.split_first().filter(|(_, rest)| !rest.is_empty())
    else {
        eprintln!("usage: tutti-advisories DATABASE LOCKFILE…");
        return ExitCode::from(2);
    };
    match check(database.as_ref(), lockfiles) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot check: {error}");
            ExitCode::from(2)
        }
    }
}

/// Says what is known; returns how many vulnerabilities there are.
fn check(database: &Path, lockfiles: &[String]) -> Result<usize, rustsec::Error> {
    let settings = Settings {
        informational_warnings: vec![Informational::Unmaintained, Informational::Unsound],
        ..Settings::default()
    };
    let database = Database::open(database)?;
    println!("{} advisories", database.iter().count());
    let mut count = 0;
    for path in lockfiles {
        let lockfile = Lockfile::load(path)?;
        let report = Report::generate(&database, &lockfile, &settings);
        for found in &report.vulnerabilities.list {
            let (package, advisory) = (&found.package, &found.advisory);
            let patched = found.versions.patched().iter().map(ToString::to_string);
            println!(
                "{path}: {} {} is vulnerable: {} ({}); patched: {}",
                package.name,
                package.version,
                advisory.title,
                advisory.id,
                patched.collect::<Vec<_>>().join(" or ")
            );
        }
        for warning in report.warnings.values().flatten() {
            let about = warning.advisory.as_ref();
            let title = about.map_or("", |advisory| advisory.title.as_str());
            let (package, kind) = (&warning.package, warning.kind.as_str());
            println!(
                "{path}: {} {} is {kind}: {title}",
                package.name, package.version
            );
        }
        count += report.vulnerabilities.count;
    }
    println!("{count} vulnerabilities");
    Ok(count)
}
