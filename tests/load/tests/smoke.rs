//! The measurement itself works: a few sockets, a few updates, every part of it. What it measures with so
//! few means nothing. Told where `TEST_POSTGRES_URL` and `TEST_REDIS_URL` are set, with the `tutti` that was
//! built beside it; without the Node server, which needs what `npm ci` brings.

use std::{path::Path, process::Command};

#[test]
fn a_small_measurement_comes_to_its_end() {
    let load = Path::new(env!("CARGO_BIN_EXE_tutti-load"));
    let tutti = load.with_file_name("tutti");
    let (Ok(postgres), Ok(redis)) = (
        std::env::var("TEST_POSTGRES_URL"),
        std::env::var("TEST_REDIS_URL"),
    ) else {
        eprintln!("TEST_POSTGRES_URL or TEST_REDIS_URL is not set: not told");
        return;
    };
    assert!(tutti.exists(), "build tutti first: cargo build");
    let measured = Command::new(load)
        .args(["run", "--size", "smoke", "--tutti"])
        .arg(&tutti)
        .args(["--postgres", &postgres, "--redis", &redis])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&measured.stdout);
    let wrong = String::from_utf8_lossy(&measured.stderr);
    assert!(measured.status.success(), "{said}{wrong}");
    // Every listener has heard every message, from both gateways, from one process and from the bare writes.
    assert_eq!(said.matches("100.0%").count(), 9, "{said}");
    for part in [
        "One room",
        "Many rooms",
        "either gateway",
        "Joins",
        "Other rooms",
    ] {
        assert!(said.contains(part), "{said}");
    }
}
