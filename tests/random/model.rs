//! Random sequences of steps on a real server and on a small model, which agree after each step: the tables, the ledger's
//! size, and the report.
//!
//! `MODEL` is the number of sequences for each layout, `SEED` the seed of the first.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::support::backends::backends;
use crate::support::cluster::{Cluster, Database};
use crate::support::model::{self, Counts, Mode, Model};
use crate::support::oracle::{Layout, Nul, Tables, assert_same, expect_in};
use crate::support::program::{Ended, Program, Summary, Workplace};
use crate::support::{eventually, log_case};

const SEQUENCES: u64 = 8;

/// An action of a user, or a fault.
#[derive(Clone, Debug)]
enum Step {
    /// Writes other events or other versions into a file.
    Write {
        file: usize,
        count: usize,
        version: i64,
    },
    Grow {
        file: usize,
        count: usize,
        version: i64,
    },
    Truncate {
        file: usize,
        lines: usize,
    },
    /// Replaces the last file by a copy of another.
    Copy {
        file: usize,
    },
    Spoil {
        file: usize,
        line: usize,
    },
    Load {
        mode: Mode,
        workers: u32,
    },
    /// Stops a load after some milliseconds.
    Stop {
        mode: Mode,
        signal: Signal,
        after_ms: u64,
    },
    /// Runs two loads at once.
    Beside {
        mode: Mode,
    },
    /// Deletes rows by hand.
    Delete {
        file: usize,
        ids: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (file, count, version) = (0..3_usize, 0..14_usize, 1..4_i64);
    let mode = || prop_oneof![4 => Just(Mode::Skip), 1 => Just(Mode::Force), 1 => Just(Mode::Update)];
    let signals = select(vec![Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    prop_oneof![
        3 => (file.clone(), count.clone(), version.clone())
            .prop_map(|(file, count, version)| Step::Write { file, count, version }),
        2 => (file.clone(), count, version).prop_map(|(file, count, version)| Step::Grow { file, count, version }),
        1 => (file.clone(), 0..14_usize).prop_map(|(file, lines)| Step::Truncate { file, lines }),
        1 => file.clone().prop_map(|file| Step::Copy { file }),
        1 => (file.clone(), 0..14_usize).prop_map(|(file, line)| Step::Spoil { file, line }),
        4 => (mode(), 1..5_u32).prop_map(|(mode, workers)| Step::Load { mode, workers }),
        3 => (mode(), signals, 1..250_u64)
            .prop_map(|(mode, signal, after_ms)| Step::Stop { mode, signal, after_ms }),
        1 => mode().prop_map(|mode| Step::Beside { mode }),
        1 => (file, 1..8_usize).prop_map(|(file, ids)| Step::Delete { file, ids }),
    ]
}

/// The program, its files, its database, and the model of them.
struct World<'c> {
    layout: Layout,
    database: Database<'c>,
    work: Workplace,
    model: Model,
    /// The files as last written. An unchanged file is not written again.
    written: [Option<Vec<model::Line>>; 4],
}

impl World<'_> {
    fn new(layout: Layout) -> Self {
        let (database, work) = (Cluster::shared().database("model"), Workplace::new());
        let (model, written) = (Model::default(), [const { None }; 4]);
        let mut world = Self { layout, database, work, model, written };
        world.set(world.work.program(&["schema", "apply"])).expect(0);
        world.write_files();
        world
    }

    fn set(&self, program: Program) -> Program {
        program.env("DATABASE_URL", &self.database.url()).env("KILLS_LAYOUT", self.layout.name())
    }

    fn program(&self, mode: Mode, workers: u32) -> Program {
        let args: &[&str] = match mode {
            Mode::Skip => &[],
            Mode::Force => &["--force"],
            Mode::Update => &["--on-conflict", "update"],
        };
        let load =
            self.work.program(&["load", "--json", "--server", "americas", "0", "1", "2", "3"]).args(args);
        self.set(load)
            .workers(workers)
            .segment_bytes(model::SEGMENT_BYTES)
            .env("KILLS_FLUSH_INTERVAL", "1h")
            .env("DATABASE_RETRY_BASE", "20")
    }

    fn write_files(&mut self) {
        for (number, (lines, written)) in self.model.files.iter().zip(&mut self.written).enumerate() {
            if written.as_ref() != Some(lines) {
                self.work.write(&number.to_string(), model::text(lines));
                *written = Some(lines.clone());
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write { file, count, version } => self.model.write(file, count, version),
            Step::Grow { file, count, version } => self.model.grow(file, count, version),
            Step::Truncate { file, lines } => self.model.files[file].truncate(lines),
            Step::Copy { file } => {
                let copy = self.model.files[file].clone();
                self.model.files[3] = copy;
            }
            Step::Spoil { file, line } => self.model.spoil(file, line),
            Step::Load { mode, workers } => {
                let ended = self.program(mode, workers).run();
                let counts = self.model.load(mode);
                check_counts(counts, &summary(&ended, counts.rejected > 0));
            }
            Step::Stop { mode, signal, after_ms } => self.stop(mode, signal, after_ms),
            Step::Beside { mode } => self.beside(mode),
            Step::Delete { file, ids } => self.delete(file, ids),
        }
        self.write_files();
        self.check();
    }

    fn stop(&mut self, mode: Mode, signal: Signal, after_ms: u64) {
        let before = self.model.stored.len();
        let mut running = self.program(mode, 2).start();
        thread::sleep(Duration::from_millis(after_ms));
        if !running.has_ended() {
            running.signal(signal);
        }
        let ended = running.finish();
        self.wait_for_commits();
        let found = self.versions();
        if matches!(ended.code, 0 | 3) {
            let counts = self.model.load(mode);
            check_counts(counts, &summary(&ended, counts.rejected > 0));
            return;
        }
        assert_eq!(ended.code, 128 + signal as i32, "{ended:?}");
        // Killed, or stopped before it printed anything.
        if !ended.stdout.is_empty() {
            let inserted = ended.summary().count("inserted");
            assert_eq!(
                inserted,
                (found.len() - before) as u64,
                "inserted, and events that are new: {ended:?}"
            );
        }
        self.model.learn(mode, found).unwrap_or_else(|what| panic!("{what}: {ended:?}"));
    }

    fn beside(&mut self, mode: Mode) {
        let runs: Vec<Ended> = thread::scope(|scope| {
            let programs = [self.program(mode, 1), self.program(mode, 2)];
            let runs = programs.map(|program| scope.spawn(|| program.run()));
            runs.into_iter().map(|run| run.join().expect("no panic")).collect()
        });
        let counts = self.model.load(mode);
        let summaries: Vec<Summary> =
            runs.into_iter().map(|ended| summary(&ended, counts.rejected > 0)).collect();
        let sum = |name| summaries.iter().map(|summary| summary.count(name)).sum::<u64>();
        assert_eq!(sum("inserted"), counts.inserted, "{summaries:?}");
        assert_eq!(sum("events"), 2 * counts.events, "{summaries:?}");
        assert_eq!(sum("rejected"), 2 * counts.rejected, "{summaries:?}");
        assert_eq!(sum("unfinished"), 0, "{summaries:?}");
    }

    fn delete(&mut self, file: usize, ids: usize) {
        let range = self.model.delete(file, ids);
        let mut client = self.database.client();
        for (table, id) in self.layout.tables() {
            let sql = format!("delete from {table} where {id} >= $1 and {id} < $2");
            client.execute(&sql, &[&range.start, &range.end]).expect("deleted");
        }
    }

    fn tables(&self) -> Tables {
        self.layout.read(&mut self.database.client(), "public", "americas")
    }

    /// Waits for the end of all other sessions: the server can still run the COMMIT of a killed load.
    fn wait_for_commits(&self) {
        eventually(Duration::from_mins(1), "the sessions end", || backends(&self.database).is_empty());
    }

    /// The version of each stored event.
    fn versions(&self) -> BTreeMap<i64, i64> {
        let (table, id) = self.layout.tables()[0];
        let sql = format!("select {id}, {}::bigint from {table}", self.layout.fame());
        let rows = self.database.client().query(&sql, &[]).expect("events");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    fn check(&self) {
        let expected = expect_in(self.layout, &self.model.stored_dump(), Nul::Reject, &BTreeSet::new());
        assert_same(&expected.tables, &self.tables());
        let sql = format!("select count(*) from {}.kill_load_segment", self.layout.ledger("public"));
        let rows: i64 = self.database.client().query_one(&sql, &[]).expect("a count").get(0);
        let (least, most) = self.model.ledger_rows();
        let rows = usize::try_from(rows).expect("a count");
        assert!((least..=most).contains(&rows), "{rows} segments in the ledger, expected {least} to {most}");
    }
}

fn summary(ended: &Ended, has_rejects: bool) -> Summary {
    let code = ended.code;
    // Rejects that an earlier run reported need not be reported again.
    assert!(code == 0 || has_rejects && code == 3, "exit code {code}: {ended:?}");
    ended.summary()
}

#[track_caller]
fn check_counts(expected: Counts, found: &Summary) {
    found.check(&[
        ("events", expected.events),
        ("inserted", expected.inserted),
        ("rejected", expected.rejected),
        ("unfinished", 0),
    ]);
    let there = expected.updated + expected.duplicate + expected.already_loaded;
    let names = ["updated", "duplicate", "already_loaded"];
    let sum: u64 = names.iter().map(|name| found.count(name)).sum();
    assert_eq!(sum, there, "events that were there already: {found:?}");
    if expected.is_exact {
        // A broken line can merge with later ones, which shifts the segments. The model then cannot know whether an event
        // is a duplicate or already loaded.
        found.check(&[("updated", expected.updated)]);
    }
}

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name} is {text:?}: {error}")))
}

fn check_sequences(layout: Layout) {
    let is_ci = !matches!(env::var("CI").as_deref(), Err(_) | Ok("" | "0" | "false"));
    let first = setting("SEED").unwrap_or_else(|| if is_ci { 1 } else { fastrand::u64(0..1_000_000_000) });
    for number in 0..setting("MODEL").unwrap_or(SEQUENCES) {
        let seed = first.wrapping_add(number);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let config =
            Config { cases: 1, failure_persistence: None, max_shrink_iters: 40, ..Config::default() };
        let outcome = TestRunner::new_with_rng(config, rng).run(&vec(step(), 1..16), |steps| {
            let mut world = World::new(layout);
            for step in &steps {
                log_case(step);
                world.step(step);
            }
            Ok::<(), TestCaseError>(())
        });
        if let Err(error) = outcome {
            panic!("again with: MODEL=1 SEED={seed} scripts/test model\n{layout:?}: {error}");
        }
    }
}

#[test]
fn the_model_of_the_archive_agrees() {
    check_sequences(Layout::Archive);
}

#[test]
fn the_model_of_aegis_agrees() {
    check_sequences(Layout::Aegis);
}
