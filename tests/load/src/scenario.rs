//! What is measured, the same for all who are put under load.

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::{
    at_once,
    client::{Client, Epoch, Tally, hear_bare},
    fleet::{Fleet, Kind},
    pings::{Pingers, Pongs},
    program::{Cpu, Program},
    websocket::Line,
};

/// Connections opened at the same time.
const CONNECTING: usize = 48;

/// Connections of each user among the listeners of one room. Thousands of users who join one room are told of
/// each other, which is a cost of its own; hundreds of connections of one user are nothing that happens.
const CONNECTIONS_A_USER: usize = 10;

/// How long nothing may come before what is missing is taken for lost.
const SILENCE: Duration = Duration::from_secs(2);

/// Rooms, who listens, how often hosts speak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rooms: usize,
    pub(crate) listeners: usize,
    pub(crate) every: Duration,
    pub(crate) count: u32,
    /// Further connections, which are in no room and ping while the hosts say it all once more.
    pub(crate) pingers: usize,
}

impl Shape {
    fn messages(self) -> u64 {
        (self.rooms * self.listeners) as u64 * u64::from(self.count)
    }

    fn connections(self) -> usize {
        self.rooms * (self.listeners + 1)
    }
}

/// Waits in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits(Vec<u32>);

impl From<Vec<u32>> for Waits {
    fn from(mut waits: Vec<u32>) -> Self {
        waits.sort_unstable();
        Self(waits)
    }
}

impl Waits {
    fn of(tally: &Tally) -> Self {
        tally.take_waits().into()
    }

    /// In milliseconds; `None` where there was nothing to wait for.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let at = self.0.len().checked_sub(1)? * percent / 100;
        Some(f64::from(self.0[at]) / 1000.0)
    }
}

/// What fanning out cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct FannedOut {
    /// The gateways' processor time, by message.
    pub(crate) message: Cpu,
    /// The parts' behind them, by update of a host.
    pub(crate) update: Cpu,
    /// The gateways' memory, by connection, after the messages.
    pub(crate) kib: f64,
    /// The share of messages that came.
    pub(crate) arrived: f64,
    /// Of listeners on the host's gateway, and on the other.
    pub(crate) here: Waits,
    pub(crate) there: Waits,
    /// Bytes of a message.
    pub(crate) length: u64,
    /// How soon pings were answered meanwhile.
    pub(crate) pongs: Option<Pongs>,
}

/// Hosts speak, everybody listens.
pub(crate) async fn fan_out(fleet: &Fleet, shape: Shape) -> anyhow::Result<FannedOut> {
    let epoch = Epoch::now();
    let here = Arc::new(Tally::default());
    let there = Arc::new(Tally::default());
    warm_up(fleet).await?;
    let memory = fleet.memory()?;
    let mut listening = JoinSet::new();
    let mut hosts = Vec::with_capacity(shape.rooms);
    let rooms = at_once(CONNECTING, 0..shape.rooms, |room| async move {
        let host_user = room * (shape.listeners + 1);
        let room_id = fleet.make_room(host_user).await?;
        let token = fleet.people.token(host_user)?;
        let mut host = Client::connect(fleet.address(room), &token).await?;
        host.join(&room_id).await?;
        Ok((room_id, host))
    })
    .await?;
    let mut room_ids = Vec::with_capacity(shape.rooms);
    for (room_id, host) in rooms {
        room_ids.push(room_id);
        hosts.push(host);
    }
    let rooms = &room_ids;
    let listeners = at_once(
        CONNECTING,
        0..shape.rooms * shape.listeners,
        |at| async move {
            let (room, seat) = (at / shape.listeners, at % shape.listeners);
            let user = if shape.rooms == 1 {
                1 + seat / CONNECTIONS_A_USER
            } else {
                room * (shape.listeners + 1) + 1 + seat
            };
            let token = fleet.people.token(user)?;
            let mut client = Client::connect(fleet.address(room + seat), &token).await?;
            client.join(&rooms[room]).await?;
            let is_here = seat % fleet.gateways.len() == 0;
            Ok((client, is_here))
        },
    )
    .await?;
    for (client, is_here) in listeners {
        let tally = if is_here { &here } else { &there };
        listening.spawn(client.listen(tally.clone(), epoch));
    }
    speak(&mut hosts, Shape { count: 2, ..shape }, epoch).await?;
    arrive(
        &[&here, &there],
        2 * shape.messages() / u64::from(shape.count),
    )
    .await;
    let (heard, _) = (
        here.heard() + there.heard(),
        (here.take_waits(), there.take_waits()),
    );
    let gateways = fleet.gateways_cpu()?;
    let behind = fleet.behind_cpu()?;
    speak(&mut hosts, shape, epoch).await?;
    arrive(&[&here, &there], heard + shape.messages()).await;
    let heard = here.heard() + there.heard() - heard;
    let updates = shape.rooms as f64 * f64::from(shape.count);
    let mut fanned_out = FannedOut {
        message: fleet.gateways_cpu()?.since(gateways).per(heard as f64),
        update: fleet.behind_cpu()?.since(behind).per(updates),
        kib: (fleet.memory()? - memory) / shape.connections() as f64,
        arrived: heard as f64 / shape.messages() as f64,
        here: Waits::of(&here),
        there: Waits::of(&there),
        length: here.length().max(there.length()),
        pongs: None,
    };
    // Afterwards: what pings cost is not in what a message costs.
    if shape.pingers > 0 && fleet.kind != Kind::Node {
        let time = shape.every * shape.count;
        let pingers = Pingers::start(fleet, shape.connections(), shape.pingers, time).await?;
        speak(&mut hosts, shape, epoch).await?;
        fanned_out.pongs = Some(pingers.end(fleet).await?);
    }
    // A listener whose line broke has not heard everything, and the figures are not what they seem.
    if let Some(ended) = listening.try_join_next() {
        ended?.context("a listener was cut off")?;
    }
    Ok(fanned_out)
}

/// One of everything, so that what is made once is not counted.
async fn warm_up(fleet: &Fleet) -> anyhow::Result<()> {
    let room_id = fleet.make_room(0).await?;
    let token = fleet.people.token(0)?;
    for at in 0..fleet.gateways.len() * CONNECTING {
        let mut client = Client::connect(fleet.address(at), &token).await?;
        client.join(&room_id).await?;
    }
    Ok(())
}

/// All hosts speak, evenly spread over the interval.
async fn speak(hosts: &mut Vec<Client>, shape: Shape, epoch: Epoch) -> anyhow::Result<()> {
    let mut speaking = JoinSet::new();
    let all = u32::try_from(hosts.len())?;
    for (at, mut host) in (0..).zip(hosts.drain(..)) {
        speaking.spawn(async move {
            tokio::time::sleep(shape.every * at / all).await;
            host.host(shape.every, shape.count, epoch).await?;
            anyhow::Ok((at, host))
        });
    }
    let mut back = Vec::new();
    while let Some(host) = speaking.join_next().await {
        back.push(host?.context("a host was cut off")?);
    }
    back.sort_by_key(|(at, _)| *at);
    hosts.extend(back.into_iter().map(|(_, host)| host));
    Ok(())
}

/// Waits until everything has come, or nothing comes any more.
async fn arrive(tallies: &[&Arc<Tally>], all: u64) {
    let heard = || tallies.iter().map(|tally| tally.heard()).sum::<u64>();
    let mut last = (heard(), Instant::now());
    while last.0 < all && last.1.elapsed() < SILENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if heard() > last.0 {
            last = (heard(), Instant::now());
        }
    }
}

/// What joining cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    pub(crate) by_the_clock: f64,
    /// A second of processor time, of all parts.
    pub(crate) a_core: f64,
    /// Microseconds a join, of the gateways and of what is behind.
    pub(crate) gateways: Cpu,
    pub(crate) behind: Cpu,
}

/// Users connect, each with a token, and join rooms of some size.
pub(crate) async fn join(fleet: &Fleet, users: usize, a_room: usize) -> anyhow::Result<Joined> {
    warm_up(fleet).await?;
    let rooms = at_once(CONNECTING, 0..users.div_ceil(a_room), |room| {
        fleet.make_room(users + room)
    })
    .await?;
    let rooms = &rooms;
    let tokens = (0..users)
        .map(|user| fleet.people.token(user))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let tokens = &tokens;
    let gateways = fleet.gateways_cpu()?;
    let behind = fleet.behind_cpu()?;
    let begin = Instant::now();
    let clients = at_once(CONNECTING, 0..users, |user| async move {
        let mut client = Client::connect(fleet.address(user), &tokens[user]).await?;
        // Neighbours go to different rooms: those of one room do not all come at the same moment.
        client.join(&rooms[user % rooms.len()]).await?;
        Ok(client)
    })
    .await?;
    let seconds = begin.elapsed().as_secs_f64();
    let users = clients.len() as f64;
    let gateways = fleet.gateways_cpu()?.since(gateways).per(users);
    let behind = fleet.behind_cpu()?.since(behind).per(users);
    Ok(Joined {
        by_the_clock: users / seconds,
        a_core: 1e6 / (gateways.total() + behind.total()),
        gateways,
        behind,
    })
}

/// Waits until the programs have nothing to do.
pub(crate) async fn calm(fleet: &Fleet) -> anyhow::Result<()> {
    const A_LOOK: Duration = Duration::from_secs(1);
    const IDLE: f64 = 30_000.0;
    let begin = Instant::now();
    loop {
        let before = fleet.gateways_cpu()?.total() + fleet.behind_cpu()?.total();
        tokio::time::sleep(A_LOOK).await;
        let used = fleet.gateways_cpu()?.total() + fleet.behind_cpu()?.total() - before;
        if used < IDLE || begin.elapsed() > Duration::from_mins(2) {
            return Ok(());
        }
    }
}

/// The same bytes written to the same number of sockets by a program that does nothing else.
pub(crate) async fn bare(shape: Shape, length: u64, folder: &Path) -> anyhow::Result<FannedOut> {
    let epoch = Epoch::now();
    let sockets = shape.rooms * shape.listeners;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("bare")
        .args(["--sockets", &sockets.to_string()])
        .args(["--at-once", &shape.listeners.to_string()])
        .args(["--bytes", &length.to_string()])
        .args(["--every-ms", &shape.every.as_millis().to_string()])
        .args(["--count", &shape.count.to_string()])
        .args(["--epoch", &epoch.0.to_string()]);
    let program = Program::start("bare", command, folder).await?;
    let address = program.address;
    let heard = Arc::new(Tally::default());
    let mut listening = JoinSet::new();
    for line in at_once(CONNECTING, 0..sockets, |_| Line::bare(address)).await? {
        listening.spawn(hear_bare(line, heard.clone(), epoch));
    }
    let before = program.cpu()?;
    let _sign = Line::bare(address).await?;
    arrive(&[&heard], shape.messages()).await;
    let all = heard.heard() as f64;
    let fanned_out = FannedOut {
        message: program.cpu()?.since(before).per(all),
        arrived: all / shape.messages() as f64,
        here: Waits::of(&heard),
        length: heard.length(),
        ..FannedOut::default()
    };
    drop(listening);
    program.end().await?;
    Ok(fanned_out)
}
