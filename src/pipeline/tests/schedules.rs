//! Whole runs in thousands of schedules: `scripts/schedules`.
//!
//! Few pieces and buffers circulate and each line is a segment, so that all threads wait for each other. In each schedule
//! all threads must end, each segment must be accounted for, and everything that circulates must return. The run itself
//! asserts that its buffers, batches and claims have returned.

use crate::database::store::Store;
use crate::input::buffers::BufferPool;
use crate::input::reader::{Reader, ReaderShape, spawn_with};
use crate::input::source::Source;
use crate::pipeline::account::counts::RejectLimit;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::fake::{FakeOperation, FakeStore, OtherLoad, ScriptedFault, event, hash, settings};
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::run::{PipelineSettings, run};
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::pipeline::verify::VerifyRun;
use crate::sync::channel::never;
use crate::sync::explored::thread::wait_for_all;
use crate::sync::explored::{explore, failure_of, locks};
use crate::sync::thread;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Fewer pieces than sources.
const SHAPE: ReaderShape = ReaderShape { piece_bytes: 300, pieces: 2, raw_bytes: 512 };

/// Dumps with the same few events in several versions. A name is a number, or the path of a file.
#[derive(Clone)]
struct Dumps(Arc<Vec<(String, String)>>);

impl Dumps {
    /// `count` dumps of `lines` lines each. Of `ids` events, each line has the next.
    fn new(count: u32, lines: u32, ids: u32) -> Self {
        let line = |number: u32| event(i64::from(number % ids), number);
        let dump = |dump: u32| (dump * lines..(dump + 1) * lines).map(line).collect();
        Self::of((0..count).map(dump).collect())
    }

    fn of(texts: Vec<String>) -> Self {
        Self(Arc::new(
            texts.into_iter().enumerate().map(|(number, text)| (number.to_string(), text)).collect(),
        ))
    }

    fn sources(&self) -> Vec<Source> {
        self.0.iter().map(|(name, _)| Source::File(name.into())).collect()
    }

    fn lines(&self) -> u64 {
        self.0.iter().map(|(_, text)| text.lines().count() as u64).sum()
    }

    /// Starts a reader. `begin` is called at the begin of each source.
    fn read(&self, begin: impl Fn() + Send + 'static) -> Reader {
        let dumps = self.clone();
        let open = move |source: &Source| {
            begin();
            let text =
                dumps.0.iter().find(|(name, _)| *name == source.to_string()).map(|(_, text)| text.clone());
            match text {
                Some(text) => Ok(Box::new(Cursor::new(text.into_bytes())) as Box<dyn Read>),
                None => source.open(),
            }
        };
        spawn_with(self.sources(), SHAPE, open).unwrap()
    }
}

/// One run in one schedule.
struct Trial<'t> {
    dumps: &'t Dumps,
    settings: PipelineSettings,
    shutdown: Shutdown,
    rejects: PathBuf,
}

impl<'t> Trial<'t> {
    fn new(dumps: &'t Dumps, workers: usize) -> Self {
        let settings = PipelineSettings { parse_threads: 2, ..settings(workers) };
        Self { dumps, settings, shutdown: Shutdown::default(), rejects: "no/directory".into() }
    }

    fn rejects(self, directory: &Path) -> Self {
        Self { rejects: directory.join("rejects"), ..self }
    }

    fn store(&self) -> FakeStore {
        FakeStore::new(self.shutdown.aborted())
    }

    /// Runs the load to its end, and checks its account.
    fn run(&self, store: &FakeStore) -> RunReport {
        let report = self.run_with(store, self.dumps.read(|| {}));
        let mut committed = store.committed();
        committed.sort_unstable();
        let stored = committed.len();
        committed.dedup();
        assert_eq!(committed.len(), stored, "a segment was stored twice");
        let counts = report.counts;
        assert_eq!(store.claims(), 0, "{report:?}");
        let finished = counts.inserted + counts.duplicate + counts.already_loaded + counts.rejected;
        assert_eq!(finished + counts.unfinished(), counts.events, "{report:?}");
        report
    }

    fn run_with(&self, store: &FakeStore, reader: Reader) -> RunReport {
        let pieces = reader.pieces.clone();
        let rejects = RejectFile::by_default(self.rejects.clone());
        let (sources, store) = (self.dumps.sources(), Some(store as &dyn Store));
        let monitor = Monitor::default();
        let report = run(sources, Some(reader), &self.settings, store, &rejects, &self.shutdown, &monitor);
        wait_for_all();
        assert_eq!(pieces.in_use(), 0, "{report:?}");
        report
    }

    /// The same, while another thread does something at any moment.
    fn run_during(&self, store: &FakeStore, act: impl FnOnce(&Shutdown) + Send) -> RunReport {
        thread::scope(|scope| {
            let act = || act(&self.shutdown);
            thread::Builder::new().name("act".to_owned()).spawn_scoped(scope, act).unwrap();
            self.run(store)
        })
    }
}

/// The segments `0..count`.
fn first(count: u64) -> Vec<u64> {
    (0..count).collect()
}

fn sorted(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers
}

#[test]
fn each_segment_is_stored_once_and_the_first_version_wins() {
    let dumps = Dumps::new(5, 2, 3);
    explore(move || {
        let trial = Trial::new(&dumps, 2);
        let store = trial.store();
        let report = trial.run(&store);
        assert!(report.halted.is_none() && report.source_errors.is_empty(), "{report:?}");
        assert_eq!(sorted(store.committed()), first(10));
        assert_eq!((report.counts.inserted, report.counts.duplicate), (3, 7), "{report:?}");
        for id in 0..3 {
            assert_eq!(store.segment_of(id), Some(u64::try_from(id).unwrap()));
        }
    });
}

#[test]
fn one_writer_commits_in_order() {
    let dumps = Dumps::new(3, 3, 20);
    explore(move || {
        let trial = Trial::new(&dumps, 1);
        let store = trial.store();
        let report = trial.run(&store);
        assert_eq!(store.committed(), first(9));
        assert_eq!((report.counts.inserted, report.counts.unfinished()), (9, 0), "{report:?}");
    });
}

#[test]
fn large_values_take_turns() {
    // Larger than a buffer without a permit.
    let large = |id: i64| event(id, 1).replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(9000)), 1);
    let dumps = Dumps::of((0..3).map(|id| large(id) + &event(id + 10, 1) + &large(id + 20)).collect());
    explore(move || {
        let trial = Trial::new(&dumps, 2);
        let store = trial.store();
        let report = trial.run(&store);
        assert_eq!((report.counts.inserted, report.counts.unfinished()), (9, 0), "{report:?}");
        assert_eq!(sorted(store.committed()), first(9));
    });
}

#[test]
fn after_a_stop_request_all_events_read_are_stored() {
    let dumps = Dumps::new(4, 3, 5);
    explore(move || {
        let trial = Trial::new(&dumps, 2);
        let store = trial.store();
        let report = trial.run_during(&store, |shutdown| shutdown.stop(ShutdownReason::Signal(15)));
        let counts = report.counts;
        match report.halted {
            Some(ShutdownReason::Signal(15)) => assert!(counts.events <= dumps.lines(), "{counts:?}"),
            // The request came after the end.
            None => assert_eq!(counts.events, dumps.lines()),
            other => panic!("{other:?}"),
        }
        assert_eq!(counts.unfinished(), 0, "{counts:?}");
        assert_eq!(sorted(store.committed()), first(counts.events), "no gap");
    });
}

#[test]
fn an_abort_ends_all_waits() {
    let dumps = Dumps::new(4, 3, 5);
    explore(move || {
        let trial = Trial::new(&dumps, 2);
        let store = trial.store().always(FakeOperation::Write, ScriptedFault::Wait(never())).on(
            FakeOperation::Look,
            4,
            ScriptedFault::Wait(never()),
        );
        let report = trial.run_during(&store, |shutdown| {
            shutdown.stop(ShutdownReason::Signal(2));
            shutdown.abort();
        });
        assert!(matches!(report.halted, Some(ShutdownReason::Signal(2))), "{report:?}");
        assert_eq!((report.counts.inserted, report.counts.unfinished()), (0, report.counts.events));
    });
}

#[test]
fn a_failure_ends_the_run_and_overrides_a_signal() {
    let dumps = Dumps::new(4, 3, 5);
    for operation in [FakeOperation::Look, FakeOperation::Write] {
        let dumps = dumps.clone();
        explore(move || {
            let trial = Trial::new(&dumps, 2);
            let store = trial.store().on(operation, 3, ScriptedFault::Fail);
            let report = trial.run_during(&store, |shutdown| shutdown.stop(ShutdownReason::Signal(15)));
            let is_failed = matches!(report.halted, Some(ShutdownReason::Failed(_)));
            // The signal may have ended the run before that call.
            assert_eq!(is_failed, store.calls(operation) > 3, "{report:?}");
            let counts = report.counts;
            // A failed lookup stops the writers at any of their batches, or after all of them.
            let may_differ = is_failed && operation == FakeOperation::Look;
            assert!(may_differ || is_failed == (counts.unfinished() > 0), "{counts:?}");
        });
    }
}

#[test]
fn the_reject_limit_ends_the_run() {
    let bad = || "no event\n".repeat(3);
    let dumps = Dumps::of((0..4).map(|_| bad()).collect());
    let directory = tempfile::tempdir().unwrap();
    explore(move || {
        let mut trial = Trial::new(&dumps, 2).rejects(directory.path());
        trial.settings.reject_limit = Some(RejectLimit::Number(2));
        let report = trial.run(&trial.store());
        assert!(matches!(report.halted, Some(ShutdownReason::RejectLimit)), "{report:?}");
        let counts = report.counts;
        assert!((3..=12).contains(&counts.rejected) && counts.unfinished() == 0, "{counts:?}");
        let text = std::fs::read_to_string(&trial.rejects).unwrap();
        assert_eq!(text.lines().count() as u64, counts.rejected);
        std::fs::remove_file(&trial.rejects).unwrap();
    });
}

#[test]
fn rejects_of_the_database_are_accounted_for() {
    let dumps = Dumps::new(3, 2, 4);
    let directory = tempfile::tempdir().unwrap();
    explore(move || {
        let trial = Trial::new(&dumps, 2).rejects(directory.path());
        let store = trial.store().on(FakeOperation::Write, 1, ScriptedFault::RejectFirst);
        let report = trial.run(&store);
        assert!(report.halted.is_none(), "{report:?}");
        let counts = report.counts;
        assert_eq!((counts.events, counts.rejected, counts.unfinished()), (6, 1, 0), "{counts:?}");
        std::fs::remove_file(&trial.rejects).unwrap();
    });
}

#[test]
fn segments_of_other_loads_are_awaited() {
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..6).map(|id| event(id, 1)).collect();
    let name = |half: usize| directory.path().join(half.to_string()).display().to_string();
    for half in 0..2 {
        std::fs::write(name(half), lines[half * 3..][..3].concat()).unwrap();
    }
    let dumps = Dumps(Arc::new((0..2).map(|half| (name(half), lines[half * 3..][..3].concat())).collect()));
    for stops in [false, true] {
        let (dumps, lines) = (dumps.clone(), lines.clone());
        explore(move || {
            let trial = Trial::new(&dumps, 2);
            let store = trial
                .store()
                .claimed_by(hash(&lines[1]), OtherLoad::Loads(2))
                .claimed_by(hash(&lines[2]), OtherLoad::Releases(1))
                .claimed_by(hash(&lines[4]), OtherLoad::Releases(3));
            let report = if stops {
                trial.run_during(&store, |shutdown| shutdown.stop(ShutdownReason::Signal(1)))
            } else {
                trial.run(&store)
            };
            let counts = report.counts;
            assert!(report.source_errors.is_empty() && counts.unfinished() == 0, "{report:?}");
            if !stops {
                assert_eq!((counts.inserted, counts.already_loaded), (5, 1), "{report:?}");
                assert_eq!(store.committed().len(), 5);
            }
        });
    }
}

#[test]
fn a_panic_loses_only_its_segment() {
    let dumps = Dumps::new(4, 2, 20);
    for operation in [FakeOperation::Look, FakeOperation::Write] {
        let dumps = dumps.clone();
        explore(move || {
            let trial = Trial::new(&dumps, 2);
            let store = trial.store().on(operation, 2, ScriptedFault::Panic);
            let report = trial.run(&store);
            assert!(matches!(report.halted, Some(ShutdownReason::Panicked(_))), "{report:?}");
            let counts = report.counts;
            assert_eq!(counts.unfinished(), u64::from(operation == FakeOperation::Write), "{counts:?}");
            assert_eq!(counts.inserted, store.committed().len() as u64);
        });
    }
}

#[test]
fn when_all_writers_panic_the_run_ends() {
    let dumps = Dumps::new(4, 2, 3);
    explore(move || {
        let trial = Trial::new(&dumps, 2);
        let report = trial.run(&trial.store().always(FakeOperation::Write, ScriptedFault::Panic));
        assert!(matches!(report.halted, Some(ShutdownReason::Panicked(_))), "{report:?}");
        assert_eq!((report.counts.inserted, report.counts.unfinished()), (0, report.counts.events));
    });
}

#[test]
fn a_verify_run_compares_each_segment_and_ends_after_failures() {
    let dumps = Dumps::new(4, 2, 20);
    // The comparison that fails, and the one that panics.
    for (fails, panics) in [(None, None), (Some(2), None), (None, Some(2)), (Some(1), Some(3))] {
        let dumps = dumps.clone();
        explore(move || {
            let settings = settings(2);
            let (preparer, segment, piped) = (settings.preparer(), settings.segment, settings.piped);
            let verify = VerifyRun { workers: 2, segment, preparer, piped, stop: never() };
            let reader = dumps.read(|| {});
            let pieces = reader.pieces.clone();
            let compared = std::sync::atomic::AtomicUsize::new(0);
            let compare = |_: &_| {
                let number = Some(compared.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
                if number == panics {
                    std::panic::resume_unwind(Box::new("intended by the test"));
                }
                if number == fails { Err(anyhow::anyhow!("fails")) } else { Ok(()) }
            };
            let monitor = Monitor::default();
            let result = verify.run(dumps.sources(), Some(reader), &monitor, compare);
            assert_eq!(result.is_err(), fails.or(panics).is_some(), "{result:?}");
            wait_for_all();
            assert_eq!(pieces.in_use(), 0);
            assert!(result.is_err() || monitor.counts().events == dumps.lines());
        });
    }
}

/// Runs while the reader loses a piece at each source. `pieces` is what circulates.
fn run_with_a_leak(dumps: &Dumps) {
    let trial = Trial::new(dumps, 2);
    let pieces = Arc::new(OnceLock::<BufferPool>::new());
    let circulating = Arc::clone(&pieces);
    let reader = dumps.read(move || {
        std::mem::forget(circulating.get().and_then(BufferPool::try_take));
    });
    let _ = pieces.set(reader.pieces.clone());
    trial.run_with(&trial.store(), reader);
}

#[test]
fn a_buffer_that_each_source_loses_is_found() {
    let dumps = Dumps::new(5, 1, 3);
    let failure = failure_of(move || run_with_a_leak(&dumps));
    assert!(failure.contains("no progress") || failure.contains("deadlock"), "{failure}");
}

#[test]
fn a_lost_wakeup_is_found() {
    locks::lose_wakeups();
    let dumps = Dumps::new(3, 2, 1);
    let failure = failure_of(move || {
        let trial = Trial::new(&dumps, 2);
        trial.run(&trial.store());
    });
    assert!(failure.contains("deadlock"), "{failure}");
}
