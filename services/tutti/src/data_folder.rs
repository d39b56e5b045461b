//! Standalone's data folder, which is for its user alone: a database with everybody's e-mails, and the key that signs tokens.

use std::{
    fs::{Metadata, Permissions, create_dir_all, set_permissions, symlink_metadata},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// What Tutti keeps there. Nothing else in the folder is touched: it may be somebody's home.
const FILES: [&str; 5] = [
    "tutti.db",
    "tutti.db-wal",
    "tutti.db-shm",
    "tutti.db-journal",
    "signing-key.pem",
];

/// What others may do with a file.
const OTHERS: u32 = 0o077;

/// Makes the folder if it is not there. What an earlier version, or somebody by hand, made readable for others is taken
/// from them.
pub(crate) fn prepare(folder: &Path) -> anyhow::Result<()> {
    create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let files = FILES.iter().map(|name| folder.join(name));
    let open = std::iter::once(folder.to_owned())
        .chain(files)
        .filter_map(open_to_others)
        .collect::<Vec<_>>();
    if open.is_empty() {
        return Ok(());
    }
    // A folder that somebody else owns, such as a volume that Kubernetes made, is left as it is.
    let (closed, left) = open.into_iter().partition::<Vec<_>, _>(|(path, found)| {
        let mode = found.permissions().mode() & !OTHERS;
        set_permissions(path, Permissions::from_mode(mode)).is_ok()
    });
    let names = |found: Vec<(PathBuf, Metadata)>| {
        let names = found.iter().map(|(path, _)| path.display().to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    if !closed.is_empty() {
        tracing::info!(
            "other users of this machine cannot read these any more: {}",
            names(closed)
        );
    }
    if !left.is_empty() {
        tracing::warn!(
            "other users of this machine may read these: {}",
            names(left)
        );
    }
    Ok(())
}

/// What is there and open to others. Links are not followed.
fn open_to_others(path: PathBuf) -> Option<(PathBuf, Metadata)> {
    let found = symlink_metadata(&path).ok()?;
    let is_open = !found.is_symlink() && found.permissions().mode() & OTHERS != 0;
    is_open.then_some((path, found))
}
