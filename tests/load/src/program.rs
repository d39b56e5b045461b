//! The programs under load: started on free ports, measured from outside, ended.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};

/// How long a program may take to serve, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program.
pub(crate) struct Program {
    child: Child,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Where it says how it is, where that was asked for.
    admin: Option<SocketAddr>,
}

/// Processor time, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
        }
    }

    pub(crate) fn per(self, count: f64) -> Self {
        Self {
            user: self.user / count,
            system: self.system / count,
        }
    }
}

impl std::iter::Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, each| Self {
            user: sum.user + each.user,
            system: sum.system + each.system,
        })
    }
}

impl Program {
    /// Starts a program that says on its standard output where it listens. What it logs goes to a file
    /// in `folder`.
    pub(crate) async fn start(
        name: &str,
        mut command: Command,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take();
        let mut program = Self {
            child,
            name: name.to_owned(),
            address: SocketAddr::from(([0; 4], 0)),
            admin: None,
        };
        let (found, address) = oneshot::channel();
        std::thread::spawn(move || read(stdout, found));
        let Ok(Ok(address)) = tokio::time::timeout(PATIENCE, address).await else {
            let log = fs::read_to_string(&log).unwrap_or_default();
            bail!("{name} does not listen:\n{log}");
        };
        program.address = address;
        Ok(program)
    }

    /// The same for a program that is told by `ADMIN_ADDR` where to say how it is.
    pub(crate) async fn start_with_admin(
        name: &str,
        mut command: Command,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        // Free a moment ago, and ports are given out in no order that would make it taken again.
        let admin = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        command.env("ADMIN_ADDR", admin.to_string());
        let mut program = Self::start(name, command, folder).await?;
        program.admin = Some(admin);
        Ok(program)
    }

    /// Its metrics, as Prometheus reads them.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        get(self.admin.context("no admin address")?, "/metrics").await
    }

    /// Waits until `/readyz` says that it can serve.
    pub(crate) async fn ready(self) -> anyhow::Result<Self> {
        let asked = async {
            loop {
                if let Ok(answer) = get(self.address, "/readyz").await
                    && answer.starts_with("HTTP/1.1 200")
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, asked).await.is_err() {
            bail!("{} is not ready", self.name);
        }
        Ok(self)
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))
            .with_context(|| format!("{} is gone", self.name))?;
        // The name in brackets may hold anything; after it come state and numbers.
        let (_, rest) = stat.rsplit_once(')').context("/proc/…/stat")?;
        let mut numbers = rest.split_whitespace().skip(11).map(str::parse::<f64>);
        let mut next = || anyhow::Ok(numbers.next().context("/proc/…/stat")?? * 10_000.0);
        // In hundredths of a second, on every Linux.
        Ok(Cpu {
            user: next()?,
            system: next()?,
        })
    }

    /// Its share of memory, in KiB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id()))
            .with_context(|| format!("{} is gone", self.name))?;
        let pss = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .context("no Pss in smaps_rollup")?;
        Ok(pss.trim().parse()?)
    }

    /// Asks it to end and waits for that.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        // Rust can send no signal but the one that kills.
        Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status()?;
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begin.elapsed() > PATIENCE {
                bail!("{} does not end", self.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what a program writes to its end, and says which address it names first.
fn read(stdout: Option<ChildStdout>, found: oneshot::Sender<SocketAddr>) {
    let mut found = Some(found);
    for line in stdout.into_iter().flat_map(|it| BufReader::new(it).lines()) {
        let address = line.iter().flat_map(|line| line.split_whitespace());
        let mut address =
            address.filter_map(|word| word.trim_start_matches("http://").parse().ok());
        if let Some(address) = address.next()
            && let Some(found) = found.take()
        {
            // Nobody waits any more: it is being ended.
            let _ = found.send(address);
        }
    }
}

/// The answer to a GET.
async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// POSTs JSON with a token and reads JSON.
pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    token: &str,
    body: &serde_json::Value,
) -> anyhow::Result<serde_json::Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    if !head.starts_with("HTTP/1.1 20") {
        bail!("{path}: {answer}");
    }
    Ok(serde_json::from_str(body)?)
}
