//! The soak: four loaders at once load a continuous stream of dumps of two game servers, while loaders, server and network
//! fail at random. At the end, each server's dumps are loaded once more without faults. Then the tables are the oracle's, each
//! run has inserted the events that its summary counts, and each rejected value is in a reject file.
//!
//! `SOAK` is the length of the stream in seconds, `SEED` the seed of its dumps and faults. The moments of the faults depend on
//! the machine too, so a seed may need several attempts.

mod check;
mod disturb;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use self::check::checked;
use crate::faults::disk::{on_disk, use_disk};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::small_event;
use crate::support::program::{Program, Workplace};
use crate::support::proxy::{Fault, Phase, Proxy, Side, What};
use crate::support::seeds::{first_seed, say, setting};
use crate::support::{log_case, not_tried, samples};

/// The length of the stream in the suite.
const SECONDS: u64 = 20;
const SERVERS: [&str; 2] = ["americas", "europe"];
const LOADERS: usize = 4;
/// Records the run that inserts an event, in its application name.
const RECORD_RUNS: &str =
    "alter table kill_event add column inserted_by text default current_setting('application_name')";
/// The most events that a dump has in common with earlier ones.
const SHARED_MAX: i64 = 16;
/// The most new events of a dump. Few, so that an hour's events fit into the memory of the oracle.
const NEW_MAX: i64 = 4;

/// A running soak.
struct Soak<'a> {
    seed: u64,
    until: Instant,
    cluster: &'a Cluster,
    database: Database<'a>,
    has_disk: bool,
    work: &'a Workplace,
    streams: [Mutex<Stream>; 2],
    runs: Mutex<Vec<Run>>,
    server_faults: AtomicU64,
    has_failed: AtomicBool,
}

/// The dumps of a game server so far, in a directory of the server's name.
#[derive(Default)]
struct Stream {
    /// Without the directory.
    names: Vec<String>,
    /// The id of the last event.
    last: i64,
    /// The values that must be in a reject file.
    rejects: BTreeSet<String>,
}

/// A load that has ended.
#[derive(Debug)]
struct Run {
    code: i32,
    /// The id, the status and the number of inserted events of its summary. None if it was killed before.
    summary: Option<(String, String, i64)>,
}

/// What happens to a load, after this time if it still runs.
#[derive(Debug)]
enum LoaderFault {
    None,
    Signaled(Signal, Duration),
    /// Frozen for the second time.
    Frozen(Duration, Duration),
    Network(Vec<Fault>),
}

/// Ends the soak early when a thread panics.
struct EndOnPanic<'a>(&'a AtomicBool);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds(random: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(random.u64(0..most))
}

/// The event of an id, always the same. Its size varies, so that a segment has few or many events.
fn event(id: i64) -> Value {
    let mut event = if id % 8 == 0 { samples::lean_event(id) } else { small_event(id) };
    event["padding"] = json!("x".repeat(500 * usize::try_from(id % 8).expect("an index")));
    event
}

impl Stream {
    /// The text of the next dump: new events, some of the last ones, and values that are rejected.
    fn next_dump(&mut self, random: &mut Rng) -> Vec<u8> {
        let first = (self.last + 1 - random.i64(0..=SHARED_MAX)).max(1);
        let last = self.last + random.i64(1..=NEW_MAX);
        let mut lines: Vec<String> = (first..=last).map(|id| event(id).to_string()).collect();
        for _ in 0..[0, 0, 1, 3][random.usize(0..4)] {
            let number = self.rejects.len();
            let mut nul = small_event(last + 1_000_000_000);
            nul["Killer"]["Name"] = json!(format!("N\0ame {number}"));
            let reject = match random.u8(0..3) {
                0 => format!("no event {number}"),
                1 => json!({"EventId": number}).to_string(),
                _ => nul.to_string(),
            };
            lines.insert(random.usize(0..=lines.len()), reject.clone());
            self.rejects.insert(reject);
        }
        self.last = last;
        (lines.join("\n") + "\n").into_bytes()
    }
}

impl LoaderFault {
    fn random(random: &mut Rng) -> Self {
        let most = [100, 500, 2000][random.usize(0..3)];
        let after = milliseconds(random, most);
        match random.u8(0..20) {
            0..=3 => Self::Signaled(Signal::SIGKILL, after),
            4 => Self::Signaled([Signal::SIGTERM, Signal::SIGINT][random.usize(0..2)], after),
            5..=8 => Self::Frozen(after, milliseconds(random, 2000)),
            9..=12 => Self::Network((0..random.u8(1..4)).map(|_| network_fault(random)).collect()),
            _ => Self::None,
        }
    }
}

fn network_fault(random: &mut Rng) -> Fault {
    let at = match random.u8(0..9) {
        0 => Phase::Connect,
        1 => Phase::Login,
        2 => Phase::Begin,
        3 => Phase::MidCopy,
        4 => Phase::AfterCopyDone,
        5 => Phase::CommitSent,
        6 => Phase::CommitAnswer,
        7 => Phase::Bytes(Side::Client, random.u64(1..100_000)),
        _ => Phase::Bytes(Side::Server, random.u64(1..20_000)),
    };
    let what = [What::Cut, What::Reset, What::Delay(milliseconds(random, 1500))][random.usize(0..3)];
    Fault::new(at, what).nth(random.u64(1..5))
}

impl Soak<'_> {
    fn is_over(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    /// Writes the next dump of a server's stream. It appears whole.
    fn write(&self, server: usize, random: &mut Rng) {
        let mut stream = lock(&self.streams[server]);
        let (name, text) = (format!("dump-{:06}", stream.names.len()), stream.next_dump(random));
        let place = |name: &str| self.work.path().join(SERVERS[server]).join(name);
        fs::write(place(".new"), text).expect("a file");
        fs::rename(place(".new"), place(&name)).expect("a new name");
        stream.names.push(name);
    }

    /// A load of a server's dumps, without a source yet.
    fn load(&self, server: usize) -> Program {
        self.work
            .load(&self.database, &[])
            .env("ALBION_SERVER", SERVERS[server])
            .env("DATABASE_RETRY_BASE", "20")
            .env("DATABASE_CONNECTION_TIMEOUT", "3s")
            .env("DATABASE_AWAY_TIMEOUT", "20s")
    }

    /// Loads a server's dumps again and again, each time after a new one.
    fn loader(&self, number: usize) {
        let _end = EndOnPanic(&self.has_failed);
        let random = &mut Rng::with_seed(self.seed.wrapping_mul(100).wrapping_add(number as u64));
        let server = number % SERVERS.len();
        while !self.is_over() {
            self.write(server, random);
            let fault = LoaderFault::random(random);
            let (program, input) = self.random_load(server, random);
            let run = self.run(program, &input, &fault);
            lock(&self.runs).push(run);
        }
    }

    /// A load with random sources and settings, and its standard input.
    fn random_load(&self, server: usize, random: &mut Rng) -> (Program, Vec<u8>) {
        let path = |name: &String| format!("{}/{name}", SERVERS[server]);
        let names = lock(&self.streams[server]).names.clone();
        let mut program = self
            .load(server)
            .workers(random.u32(1..=5))
            .segment_bytes([16 << 10, 64 << 10, 256 << 10][random.usize(0..3)])
            .env("KILLS_PARSE_THREADS", &random.u32(1..=3).to_string())
            .env("DATABASE_STALL_TIMEOUT", ["1s", "5s", "60s"][random.usize(0..3)]);
        let mut input = Vec::new();
        match random.u8(0..10) {
            0 => program = program.arg(SERVERS[server]),
            1 => {
                let newest = names.last().expect("a dump");
                input = fs::read(self.work.path().join(path(newest))).expect("a dump");
                program = program.arg("-");
            }
            _ => {
                let newest = names.iter().rev().take(random.usize(1..12)).rev();
                let older = (0..random.usize(0..4)).map(|_| &names[random.usize(0..names.len())]);
                let mut files: Vec<String> = older.map(path).collect();
                files.extend(newest.map(path));
                program = files.iter().fold(program, |program, file| program.arg(file));
            }
        }
        if random.u8(0..7) == 0 {
            program = program.arg("--reread");
        }
        (program, input)
    }

    /// Runs a load with a fault, and checks its exit code and summary.
    fn run(&self, program: Program, input: &[u8], fault: &LoaderFault) -> Run {
        let proxy = match fault {
            LoaderFault::Network(faults) => {
                let proxy = Proxy::to(self.cluster.port());
                for fault in faults {
                    proxy.plan(*fault);
                }
                Some(proxy)
            }
            _ => None,
        };
        let program = match &proxy {
            Some(proxy) => program.env("DATABASE_URL", &proxy.url(&self.database)),
            None => program,
        };
        let mut running = program.start();
        let mut pipe = running.take_input();
        let ended = thread::scope(|scope| {
            // A load that ends early closes its input.
            scope.spawn(move || drop(pipe.write_all(input)));
            let after = match fault {
                LoaderFault::None | LoaderFault::Network(_) => return running.finish(),
                LoaderFault::Signaled(_, after) | LoaderFault::Frozen(after, _) => *after,
            };
            let due = Instant::now() + after;
            while Instant::now() < due && !running.has_ended() {
                thread::sleep(Duration::from_millis(2));
            }
            if !running.has_ended() {
                match fault {
                    LoaderFault::Signaled(signal, _) => running.signal(*signal),
                    LoaderFault::Frozen(_, time) => {
                        running.signal(Signal::SIGSTOP);
                        // The duration of the fault, not a wait for a condition.
                        thread::sleep(*time);
                        running.signal(Signal::SIGCONT);
                    }
                    LoaderFault::None | LoaderFault::Network(_) => {}
                }
            }
            running.finish()
        });
        checked(&ended, fault)
    }
}

#[test]
fn soak_of_loads_under_random_faults() {
    let (seconds, seed) = (setting("SOAK").unwrap_or(SECONDS), first_seed());
    log_case(format!("SOAK={seconds} SEED={seed} scripts/test soak"));
    let work = Workplace::new();
    // Room for the stream's events, which the fault of a full disk leaves.
    let mebibytes = 96 + u32::try_from(seconds / 8).expect("at most some days");
    let disk = on_disk(&work, mebibytes);
    let has_disk = disk.is_some();
    if !has_disk {
        not_tried("a full disk of the server during the soak", "only root may mount one");
    }
    // Its commits are durable, as by default.
    let cluster = disk.unwrap_or_else(|| Cluster::private(&[]));
    let database = cluster.database("soak");
    if has_disk {
        use_disk(&cluster, &database, &work);
    }
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    database.client().batch_execute(RECORD_RUNS).expect("a column");
    let soak = Soak {
        seed,
        until: Instant::now() + Duration::from_secs(seconds),
        cluster: &cluster,
        database,
        has_disk,
        work: &work,
        streams: [Mutex::default(), Mutex::default()],
        runs: Mutex::default(),
        server_faults: AtomicU64::new(0),
        has_failed: AtomicBool::new(false),
    };
    for name in SERVERS {
        fs::create_dir(work.path().join(name)).expect("a directory");
    }
    thread::scope(|scope| {
        for number in 0..LOADERS {
            let soak = &soak;
            scope.spawn(move || soak.loader(number));
        }
        scope.spawn(|| soak.disturb());
    });
    (0..SERVERS.len()).for_each(|server| soak.check(server));
    soak.check_runs();
    soak.check_rejects();
    if setting("SOAK").is_some() {
        let mut codes = BTreeMap::<i32, u64>::new();
        lock(&soak.runs).iter().for_each(|run| *codes.entry(run.code).or_default() += 1);
        let faults = soak.server_faults.load(Ordering::Relaxed);
        say(&format!("{seconds} s from seed {seed}: runs by exit code {codes:?}, {faults} server faults"));
    }
}
