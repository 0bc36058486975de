//! Cases of the swarm: seeded random loads. [`play`] runs one with the real program and a real server, and checks the
//! result.
//!
//! - A [`Case`] is derived only from its seed, and its `Debug` shows everything that it does.
//! - The oracle reads the same events as one event per line, whatever their form. A new form needs only a new
//!   [`dump::Form`].

mod check;
pub(crate) mod dump;
pub(crate) mod feed;
mod play;

use aegis_kills::internals::Server;
use fastrand::Rng;
use nix::sys::signal::Signal;

use self::dump::{Dump, Via};
pub(crate) use self::play::play;
use super::oracle::{Layout, Nul};

/// The dumps, the tables, the number of loads, and the disturbances.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) layout: Layout,
    pub(crate) server: &'static str,
    pub(crate) schema: &'static str,
    pub(crate) nul: Nul,
    /// Whether events of one id differ, so that it matters which of them is stored.
    pub(crate) has_versions: bool,
    pub(crate) dumps: Vec<Dump>,
    pub(crate) owned: Vec<Owned>,
    /// Loads, one or more at once. The last one runs alone, undisturbed, with intact dumps.
    pub(crate) rounds: Vec<Vec<Run>>,
    /// Whether `verify` must find all events.
    pub(crate) verify: bool,
}

/// A change of users to the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    /// Columns with defaults.
    Columns,
    /// A trigger that records each event in a table.
    Audit,
    /// A trigger that rejects events whose id modulo 17 is 3, with this SQLSTATE.
    Refuses(&'static str),
    /// A statement trigger.
    Statement,
}

/// One load.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) mode: Mode,
    pub(crate) end: End,
    pub(crate) workers: u32,
    pub(crate) parse_threads: u32,
    pub(crate) pool: (u32, u32),
    pub(crate) segment_bytes: usize,
    pub(crate) flush_ms: u32,
    /// Over TCP instead of the Unix socket.
    pub(crate) tcp: bool,
    /// Pipes are fed in pieces, with this pause before each.
    pub(crate) pause_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Skip,
    Force,
    Update,
}

/// The end of a load, after this many milliseconds if it still runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Itself,
    Killed(u64),
    Signaled(Signal, u64),
    /// GNU `timeout` sends SIGTERM to the program and to its group.
    TimedOut(u64),
}

impl Case {
    pub(crate) fn new(seed: u64) -> Self {
        let random = &mut Rng::with_seed(seed);
        let layout = if random.u8(0..4) == 0 { Layout::Aegis } else { Layout::Archive };
        let at_once = random.u8(0..4) == 0;
        // With two concurrent loads, timing decides which version is stored.
        let has_versions = !at_once && random.u8(0..3) == 0;
        let only = has_versions.then(|| Mode::random(random));
        let ids = [20, 400, 20_000][random.usize(0..3)];
        let count = [0, 1, 2, 5, 12, 30, 64][random.usize(0..7)];
        let mut dumps: Vec<Dump> =
            (0..count).map(|_| Dump::random(random, ids, has_versions, count < 6)).collect();
        for _ in 0..random.usize(0..3).min(dumps.len()) {
            let (from, to) = (random.usize(0..dumps.len()), random.usize(0..dumps.len()));
            dumps[to] = dumps[from].clone();
        }
        if !at_once && let Some(dump) = dumps.last_mut().filter(|_| random.bool()) {
            (dump.via, dump.is_broken) = (Via::Stdin, false);
        }
        if !at_once && let Some(dump) = dumps.first_mut().filter(|dump| dump.via == Via::File) {
            dump.via = if random.u8(0..5) == 0 { Via::Fifo } else { Via::File };
            dump.is_broken &= dump.via == Via::File;
        }
        let mut rounds = Vec::new();
        for _ in 0..random.usize(0..4) {
            let mut round = vec![Run::random(random, only)];
            if at_once {
                round.push(Run::random(random, only));
            }
            rounds.push(round);
        }
        rounds.push(vec![Run { end: End::Itself, ..Run::random(random, only) }]);
        let owned = Owned::random(random);
        let verify = !has_versions && !owned.iter().any(|owned| matches!(owned, Owned::Refuses(_)));
        Self {
            seed,
            layout,
            server: Server::ALL[random.usize(0..Server::ALL.len())].name(),
            schema: ["public", "kills", "Odd \"schema\""][random.usize(0..3)],
            nul: [Nul::Reject, Nul::Strip, Nul::Replace][random.usize(0..3)],
            has_versions,
            dumps,
            owned,
            rounds,
            verify: verify && random.u8(0..3) == 0,
        }
    }
}

impl Owned {
    fn random(random: &mut Rng) -> Vec<Self> {
        let mut owned = Vec::new();
        if random.u8(0..3) == 0 {
            owned.extend([Self::Columns, Self::Statement]);
        }
        match random.u8(0..8) {
            0 => owned.push(Self::Audit),
            1 => owned.push(Self::Refuses("P0001")),
            _ => {}
        }
        owned
    }
}

impl Run {
    fn random(random: &mut Rng, only: Option<Mode>) -> Self {
        let pool_max = random.u32(1..=12);
        Self {
            mode: only.unwrap_or_else(|| Mode::random(random)),
            end: End::random(random),
            workers: random.u32(1..=8),
            parse_threads: random.u32(1..=4),
            pool: (random.u32(1..=pool_max), pool_max),
            segment_bytes: [64 << 10, 64 << 10, 128 << 10, 1 << 20, 8 << 20][random.usize(0..5)],
            flush_ms: [1, 20, 1000, 60_000][random.usize(0..4)],
            tcp: random.bool(),
            pause_ms: [0, 0, 5, 40][random.usize(0..4)],
        }
    }
}

impl Mode {
    fn random(random: &mut Rng) -> Self {
        match random.u8(0..6) {
            0 => Self::Force,
            1 => Self::Update,
            _ => Self::Skip,
        }
    }
}

impl End {
    fn random(random: &mut Rng) -> Self {
        let most = [60, 400, 1500][random.usize(0..3)];
        let after = random.u64(0..most);
        match random.u8(0..8) {
            0 | 1 => Self::Killed(after),
            2 => Self::Signaled(Signal::SIGTERM, after),
            3 => Self::Signaled([Signal::SIGINT, Signal::SIGHUP][random.usize(0..2)], after),
            4 => Self::TimedOut(after.max(50)),
            _ => Self::Itself,
        }
    }
}
