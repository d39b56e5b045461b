//! The course of a measurement, and what is printed of it.

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    Part, Size,
    client::UNAVAILABLE,
    fleet::{Fleet, Kind, Means},
    program::Cpu,
    scenario::{self, FannedOut, Joined, Shape, Waits},
};

/// What is aimed at.
const OF_BARE: f64 = 1.4;
const OF_NODE: f64 = 0.6;
const KIB: f64 = 24.0;
const JOINS: f64 = 3_000.0;
const PONG_MS: f64 = 1.0;

const FIFTH: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);

impl Size {
    /// One room, hosts at five updates a second.
    fn one(self) -> Shape {
        let (listeners, count) = match self {
            Self::Smoke => (8, 3),
            Self::Quick => (2_000, 20),
            Self::Full => (5_000, 75),
        };
        Shape {
            rooms: 1,
            listeners,
            every: FIFTH,
            count,
            pingers: 20,
        }
    }

    /// Many rooms, hosts at one update a second.
    fn many(self) -> Shape {
        let (rooms, count) = match self {
            Self::Smoke => (2, 1),
            Self::Quick => (100, 5),
            Self::Full => (250, 15),
        };
        Shape {
            rooms,
            listeners: 20,
            every: SECOND,
            count,
            pingers: 0,
        }
    }

    /// A listener on either gateway.
    fn pair(self) -> Shape {
        let (rooms, count) = match self {
            Self::Smoke => (1, 2),
            Self::Quick => (10, 20),
            Self::Full => (10, 75),
        };
        Shape {
            rooms,
            listeners: 2,
            every: FIFTH,
            count,
            pingers: 0,
        }
    }

    fn joins(self) -> usize {
        match self {
            Self::Smoke => 10,
            Self::Quick => 1_000,
            Self::Full => 5_000,
        }
    }

    /// How many rooms there are elsewhere.
    fn others(self) -> &'static [usize] {
        match self {
            Self::Smoke => &[1, 5],
            Self::Quick => &[1, 1_000, 10_000],
            Self::Full => &[1, 1_000, 10_000, 100_000],
        }
    }

    /// Users that all of this needs.
    pub(crate) fn people(self) -> usize {
        match self {
            Self::Smoke => 100,
            _ => 12_000,
        }
    }
}

/// Measures and prints as it goes.
pub(crate) async fn run(means: &Means, size: Size, only: &[Part]) -> anyhow::Result<()> {
    let wanted = |part| only.is_empty() || only.contains(&part);
    let mut kinds = vec![Kind::Parts, Kind::Standalone];
    if means.node.is_some() {
        kinds.push(Kind::Node);
    }
    for (part, shape, title) in [
        (Part::One, size.one(), "One room"),
        (Part::Many, size.many(), "Many rooms"),
        (Part::Pair, size.pair(), "A listener on either gateway"),
    ] {
        if wanted(part) {
            fan_out(means, &kinds, shape, title).await?;
        }
    }
    if wanted(Part::Joins) {
        joins(means, &kinds, size.joins()).await?;
    }
    if wanted(Part::Others) {
        others(means, size).await?;
    }
    let again = UNAVAILABLE.load(Ordering::Relaxed);
    if again > 0 {
        println!("\n{again} joins were not answered in time and asked for again");
    }
    Ok(())
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Parts => "Tutti, two gateways",
        Kind::Standalone => "Tutti, one process",
        Kind::Node => "Node, two processes",
    }
}

async fn fan_out(means: &Means, kinds: &[Kind], shape: Shape, title: &str) -> anyhow::Result<()> {
    println!(
        "\n{title}: {} × {} listeners, {} updates a second",
        shape.rooms,
        shape.listeners,
        1000 / shape.every.as_millis()
    );
    println!(
        "{:<22}{:>26}{:>9}{:>9}{:>17}{:>17}{:>9}{:>9}",
        "",
        "µs a message (user+sys)",
        "÷ bare",
        "÷ Node",
        "here p50/p99 ms",
        "there p50/p99",
        "KiB",
        "arrived"
    );
    let mut measured = Vec::new();
    for kind in kinds {
        let fleet = Fleet::start(*kind, means).await?;
        let fanned_out = scenario::fan_out(&fleet, shape).await?;
        fleet.end().await?;
        measured.push((name(*kind), fanned_out));
    }
    // As long as the messages of the first.
    let length = measured[0].1.length;
    let folder = tempfile::tempdir()?;
    let bare = scenario::bare(shape, length, folder.path()).await?;
    let node = kinds
        .iter()
        .position(|kind| *kind == Kind::Node)
        .map(|at| measured[at].1.message.total());
    let floor = bare.message.total();
    measured.push(("bare writes", bare));
    for (name, fanned_out) in &measured {
        print_fan_out(name, fanned_out, floor, node);
    }
    let (_, tutti) = &measured[0];
    println!("  a message has {length} bytes");
    println!("  auth and room use {} µs an update", cpu(tutti.update));
    // In small rooms, what the host's update costs is most of what a message seems to.
    if shape.listeners >= 1_000 {
        verdict(
            "of bare writes",
            tutti.message.total() / floor,
            OF_BARE,
            true,
        );
    }
    if let Some(node) = node {
        verdict("of Node", tutti.message.total() / node, OF_NODE, true);
    }
    if shape.rooms * shape.listeners >= 1_000 {
        verdict("KiB a connection", tutti.kib, KIB, true);
    }
    for (name, fanned_out) in &measured {
        if let Some(pongs) = &fanned_out.pongs {
            println!(
                "  pings beside it, {name}: {} ms inside, {} ms there and back (p50/p99)",
                precise(&pongs.inside),
                precise(&pongs.round_trips)
            );
            verdict(
                "ms from ping to pong at p99",
                pongs.written_ms,
                PONG_MS,
                true,
            );
        }
    }
    Ok(())
}

fn print_fan_out(name: &str, fanned_out: &FannedOut, floor: f64, node: Option<f64>) {
    let total = fanned_out.message.total();
    let of = |other: Option<f64>| {
        other.map_or_else(|| "–".to_owned(), |it| format!("{:.2}", total / it))
    };
    let kib = if fanned_out.kib > 0.0 {
        format!("{:.1}", fanned_out.kib)
    } else {
        "–".to_owned()
    };
    println!(
        "{name:<22}{:>26}{:>9}{:>9}{:>17}{:>17}{kib:>9}{:>8.1}%",
        cpu(fanned_out.message),
        of(Some(floor)),
        of(node),
        waits(&fanned_out.here),
        waits(&fanned_out.there),
        fanned_out.arrived * 100.0,
    );
}

async fn joins(means: &Means, kinds: &[Kind], users: usize) -> anyhow::Result<()> {
    const A_ROOM: usize = 10;
    println!("\nJoins: {users} users connect with a token and join rooms of {A_ROOM}");
    println!(
        "{:<22}{:>14}{:>14}{:>26}{:>26}",
        "", "a second", "a core·s", "gateways, µs a join", "auth and room, µs a join"
    );
    for kind in kinds {
        let fleet = Fleet::start(*kind, means).await?;
        let joined = scenario::join(&fleet, users, A_ROOM).await?;
        fleet.end().await?;
        print_joins(name(*kind), &joined);
        if *kind == Kind::Parts {
            verdict("joins a second and core", joined.a_core, JOINS, false);
        }
    }
    Ok(())
}

fn print_joins(name: &str, joined: &Joined) {
    println!(
        "{name:<22}{:>14.0}{:>14.0}{:>26}{:>26}",
        joined.by_the_clock,
        joined.a_core,
        cpu(joined.gateways),
        cpu(joined.behind)
    );
}

async fn others(means: &Means, size: Size) -> anyhow::Result<()> {
    let shape = match size {
        Size::Smoke => size.one(),
        Size::Quick | Size::Full => Shape {
            listeners: 500,
            count: 25,
            pingers: 0,
            ..size.one()
        },
    };
    let users = size.joins().min(500);
    println!("\nOther rooms: the same beside more and more of them");
    println!(
        "{:>10}{:>26}{:>26}{:>26}{:>26}",
        "rooms",
        "µs a message",
        "auth+room, µs an update",
        "gateways, µs a join",
        "auth+room, µs a join"
    );
    let fleet = Fleet::start(Kind::Parts, means).await?;
    let mut there = 1;
    for rooms in size.others() {
        fleet.make_other_rooms(rooms - there).await?;
        there = *rooms;
        scenario::calm(&fleet).await?;
        let fanned_out = scenario::fan_out(&fleet, shape).await?;
        scenario::calm(&fleet).await?;
        let joined = scenario::join(&fleet, users, 10).await?;
        println!(
            "{rooms:>10}{:>26}{:>26}{:>26}{:>26}",
            cpu(fanned_out.message),
            cpu(fanned_out.update),
            cpu(joined.gateways),
            cpu(joined.behind)
        );
    }
    fleet.end().await
}

fn cpu(cpu: Cpu) -> String {
    format!("{:.1} ({:.1}+{:.1})", cpu.total(), cpu.user, cpu.system)
}

fn waits(waits: &Waits) -> String {
    match (waits.percentile(50), waits.percentile(99)) {
        (Some(half), Some(most)) => format!("{half:.1} / {most:.1}"),
        _ => "–".to_owned(),
    }
}

/// To a hundredth of a millisecond.
fn precise(waits: &Waits) -> String {
    let part = |percent| waits.percentile(percent).unwrap_or_default();
    format!("{:.2} / {:.2}", part(50), part(99))
}

fn verdict(what: &str, figure: f64, aim: f64, at_most: bool) {
    let (is_met, bound) = if at_most {
        (figure <= aim, "at most")
    } else {
        (figure >= aim, "at least")
    };
    let word = if is_met { "met" } else { "not met" };
    println!("  aim: {bound} {aim} {what}: {figure:.2}, {word}");
}
