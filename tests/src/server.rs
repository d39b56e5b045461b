//! A PostgreSQL server of a story's own, which it may stop and freeze.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tutti_common::{config::Secret, sql::Database};

/// A server. It is gone with the value.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    job: Option<Child>,
}

impl Postgres {
    /// The newest one on this machine, unless stories on PostgreSQL are not told here.
    #[must_use]
    pub fn make() -> Option<Self> {
        std::env::var_os("TEST_POSTGRES_URL")?;
        let versions = fs::read_dir("/usr/lib/postgresql").unwrap();
        let newest = versions.map(|version| version.unwrap().path()).max();
        let server = Self {
            folder: tempfile::tempdir().unwrap(),
            programs: newest.unwrap().join("bin"),
            port: TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port(),
            job: None,
        };
        if is_root() {
            run(
                "chown",
                &["postgres", server.folder.path().to_str().unwrap()],
            );
        }
        let made = server
            .command("initdb")
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"])
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb");
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of PostgreSQL's, as somebody who is not root: it refuses that.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            // Becomes the program: runuser would stand still with it.
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .arg("-D")
            .arg(self.data())
            .current_dir(self.folder.path());
        command
    }

    /// Starts it and waits until it listens.
    pub fn start(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let port = self.port.to_string();
        let started = self
            .command("postgres")
            .args([
                "-p",
                &port,
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .stderr(log)
            .spawn();
        self.job = Some(started.unwrap());
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            std::thread::yield_now();
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections to it by a port that leads to it, once it answers.
    pub async fn open(&self, port: u16) -> Database {
        let url = format!("postgresql://postgres@127.0.0.1:{port}/postgres");
        let database = Database::open(&Secret::new(&url)).await.unwrap();
        while database.migrate().await.is_err() {
            tokio::task::yield_now().await;
        }
        database
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.signal("QUIT");
        if let Some(mut job) = self.job.take() {
            job.wait().unwrap();
        }
    }

    /// It and all its processes stand still: connections stay, and nobody answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// They go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let Some(job) = &self.job else { return };
        let pid = &job.id().to_string();
        run("kill", &["-s", signal, pid]);
        let children = Command::new("ps")
            .args(["--ppid", pid, "-o", "pid="])
            .output();
        for child in String::from_utf8_lossy(&children.unwrap().stdout).split_whitespace() {
            // It may have ended by itself.
            let _ = Command::new("kill")
                .args(["-s", signal, child])
                .stderr(Stdio::null())
                .status();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.job.is_some() {
            self.thaw();
            self.kill();
        }
    }
}

/// Longer than any answer takes, however busy the machine is with the story: the contract's 2 s.
pub const IN_TIME: Duration = Duration::from_secs(2);

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).status().unwrap();
    assert!(done.success(), "{program} {arguments:?}");
}
