//! What a process asks of the system at its start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// Lets the process open as many files as it is allowed to. Systems start processes with a soft limit of 1 024 for the sake
/// of programs that use `select`, and expect others to raise it. A connection is a file.
///
/// Answers how many it may open now.
#[must_use]
pub fn raise_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where the system does not allow it, it stays as it was.
    let _ = setrlimit(Resource::Nofile, raised);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files).unwrap_or(usize::MAX)
}

/// Whatever files this process makes are for its user alone.
pub fn keep_files_private() {
    umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}
