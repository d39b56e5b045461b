//! The program on a small database and lock file.

use std::{fs, path::Path, process::Command};

/// Two crates of where this program's own come from.
fn lockfile() -> String {
    let own = include_str!("../Cargo.lock");
    let source = own.lines().find(|line| line.starts_with("source = ")).unwrap();
    let package = |name: &str, version: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{source}\n")
    };
    ["version = 4\n".to_owned(), package("leaky", "1.2.3"), package("sound", "1.0.0")].join("\n")
}

/// The exit status of the program and what it writes, where `leaky` is patched in that version.
fn checked(patched: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("Cargo.lock", &lockfile());
    let advisory = format!(
        "```toml\n[advisory]\nid = \"RUSTSEC-2026-0001\"\npackage = \"leaky\"\ndate = \"2026-01-01\"\n\n[versions]\n\
        patched = [\">= {patched}\"]\n```\n\n# It leaks\n\nMemory, to whoever asks.\n"
    );
    write("crates/leaky/RUSTSEC-2026-0001.md", &advisory);
    let unmaintained = "```toml\n[advisory]\nid = \"RUSTSEC-2026-0002\"\npackage = \"sound\"\ndate = \"2026-01-02\"\n\
        informational = \"unmaintained\"\n\n[versions]\npatched = []\n```\n\n# Nobody looks after it\n\nSince a year.\n";
    write("crates/sound/RUSTSEC-2026-0002.md", unmaintained);
    run(&[folder.path(), &folder.path().join("Cargo.lock")])
}

fn run(arguments: &[&Path]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tutti-advisories"))
        .args(arguments)
        .output()
        .unwrap();
    let written = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(written).unwrap())
}

#[test]
fn a_vulnerable_crate_is_named_and_fails() {
    let (status, written) = checked("1.2.4");
    assert_eq!(status, Some(1), "{written}");
    for word in ["leaky 1.2.3", "It leaks", "RUSTSEC-2026-0001", ">=1.2.4"] {
        assert!(written.contains(word), "{word}: {written}");
    }
}

#[test]
fn a_patched_one_passes() {
    let (status, written) = checked("1.2.3");
    assert_eq!(status, Some(0), "{written}");
    // For people to judge.
    assert!(
        written.contains("sound 1.0.0 is unmaintained: Nobody looks after it"),
        "{written}"
    );
    assert!(
        written.contains("2 advisories") && written.contains("0 vulnerabilities"),
        "{written}"
    );
}

#[test]
fn what_cannot_be_read_is_no_success() {
    let (status, written) = run(&[Path::new("/nowhere"), Path::new("Cargo.lock")]);
    assert_eq!(status, Some(2), "{written}");
    assert_eq!(run(&[]).0, Some(2));
}
