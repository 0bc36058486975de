//! Whole runs on a scripted in-memory store: the order of commits, and the end of a run.

#[cfg(shuttle)]
mod schedules;

use crate::database::store::Store;
use crate::input::source::Source;
use crate::pipeline::account::counts::RejectLimit;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::fake::{FakeOperation, FakeStore, OtherLoad, ScriptedFault, event, hash, settings};
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::run::PipelineSettings;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::sync::channel::{Receiver, Sender, bounded};
use std::path::PathBuf;
use std::thread;
use tempfile::TempDir;

fn events(count: i64) -> Vec<String> {
    (1..=count).map(|id| event(id, 1)).collect()
}

/// A dump and the settings of its run.
struct Bench {
    directory: TempDir,
    settings: PipelineSettings,
    shutdown: Shutdown,
    monitor: Monitor,
}

impl Bench {
    fn new(lines: &[String], workers: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("dump"), lines.concat()).unwrap();
        let (shutdown, monitor) = (Shutdown::default(), Monitor::default());
        Self { directory, settings: settings(workers), shutdown, monitor }
    }

    fn dump(&self) -> PathBuf {
        self.directory.path().join("dump")
    }

    fn rejects(&self) -> PathBuf {
        self.directory.path().join("rejects")
    }

    fn store(&self) -> FakeStore {
        FakeStore::new(self.shutdown.aborted())
    }

    /// Runs the load to its end. The run itself asserts that all circulating items were returned.
    fn run(&self, store: &FakeStore) -> RunReport {
        let rejects = RejectFile::new(self.rejects()).unwrap();
        let sources = vec![Source::File(self.dump())];
        let report = crate::pipeline::run::run(
            sources,
            None,
            &self.settings,
            Some(store as &dyn Store),
            &rejects,
            &self.shutdown,
            &self.monitor,
        );
        assert_eq!(store.claims(), 0, "{report:?}");
        report
    }

    /// Returns the number of segments that can be in flight.
    fn buffers(&self) -> u64 {
        (self.settings.parse_threads.min(4) + self.settings.workers + 1) as u64
    }
}

/// Creates a channel for [`ScriptedFault::Wait`]. Dropping the sender ends the wait.
fn waiting() -> (Sender<()>, Receiver<()>) {
    bounded(0)
}

#[test]
fn one_writer_commits_in_the_order_of_the_input() {
    let bench = Bench::new(&events(100), 1);
    let store = bench.store();
    let report = bench.run(&store);
    assert!(report.halted.is_none(), "{report:?}");
    assert_eq!(store.committed(), (0..100).collect::<Vec<u64>>());
    assert_eq!((report.counts.inserted, report.counts.unfinished()), (100, 0));
    assert!(bench.monitor.is_settled());
}

#[test]
fn the_first_of_several_versions_is_stored_by_any_number_of_writers() {
    let lines: Vec<String> = (0..200u32).map(|number| event(i64::from(number % 7), number)).collect();
    let bench = Bench::new(&lines, 4);
    let (release, wait) = waiting();
    // The first write is delayed while others are ready.
    let store = bench.store().on(FakeOperation::Write, 0, ScriptedFault::Wait(wait));
    let report = thread::scope(|scope| {
        let run = scope.spawn(|| bench.run(&store));
        store.wait_for(FakeOperation::Write, 4);
        drop(release);
        run.join().unwrap()
    });
    assert_eq!((report.counts.inserted, report.counts.duplicate), (7, 193));
    for id in 0..7 {
        assert_eq!(store.segment_of(id), Some(u64::try_from(id).unwrap()));
    }
}

#[test]
fn a_stalled_store_blocks_the_input() {
    let bench = Bench::new(&events(500), 2);
    let (release, wait) = waiting();
    let store = bench.store().always(FakeOperation::Write, ScriptedFault::Wait(wait));
    let report = thread::scope(|scope| {
        let run = scope.spawn(|| bench.run(&store));
        store.wait_for(FakeOperation::Write, 2);
        let segments = bench.monitor.counts().segments;
        assert!(segments <= bench.buffers(), "{segments}");
        drop(release);
        run.join().unwrap()
    });
    assert_eq!((report.counts.inserted, report.counts.unfinished()), (500, 0));
}

#[test]
fn a_stop_request_stores_the_events_read_and_an_abort_does_not() {
    for aborts in [false, true] {
        let bench = Bench::new(&events(500), 2);
        let (release, wait) = waiting();
        let store = bench.store().always(FakeOperation::Write, ScriptedFault::Wait(wait));
        let report = thread::scope(|scope| {
            let run = scope.spawn(|| bench.run(&store));
            store.wait_for(FakeOperation::Write, 2);
            bench.shutdown.stop(ShutdownReason::Signal(15));
            if aborts {
                bench.shutdown.abort();
            } else {
                drop(release);
            }
            run.join().unwrap()
        });
        assert!(matches!(report.halted, Some(ShutdownReason::Signal(15))), "{report:?}");
        let counts = report.counts;
        assert!((2..=bench.buffers() + 1).contains(&counts.events), "{counts:?}");
        let stored = if aborts { 0 } else { counts.events };
        assert_eq!((counts.inserted, counts.unfinished()), (stored, counts.events - stored));
        assert_eq!(store.committed().len() as u64, stored);
    }
}

#[test]
fn a_failure_overrides_a_signal() {
    let bench = Bench::new(&events(50), 2);
    let (release, wait) = waiting();
    let store = bench.store().on(FakeOperation::Write, 0, ScriptedFault::Wait(wait)).on(
        FakeOperation::Write,
        1,
        ScriptedFault::Fail,
    );
    let report = thread::scope(|scope| {
        let run = scope.spawn(|| bench.run(&store));
        store.wait_for(FakeOperation::Write, 2);
        bench.shutdown.stop(ShutdownReason::Signal(2));
        drop(release);
        run.join().unwrap()
    });
    assert!(matches!(report.halted, Some(ShutdownReason::Failed(_))), "{report:?}");
    assert!(report.counts.unfinished() > 0, "{report:?}");
}

#[test]
fn a_failed_lookup_ends_the_run() {
    let bench = Bench::new(&events(50), 2);
    let store = bench.store().on(FakeOperation::Look, 3, ScriptedFault::Fail);
    let report = bench.run(&store);
    assert!(
        matches!(&report.halted, Some(ShutdownReason::Failed(error)) if error.to_string() == "scripted failure")
    );
    assert_eq!(report.counts.inserted + report.counts.unfinished(), report.counts.events);
}

#[test]
fn a_panic_of_a_thread_loses_only_its_segment() {
    for operation in [FakeOperation::Look, FakeOperation::Write] {
        let bench = Bench::new(&events(60), 3);
        let store = bench.store().on(operation, 5, ScriptedFault::Panic);
        let report = bench.run(&store);
        assert!(matches!(report.halted, Some(ShutdownReason::Panicked(_))), "{operation:?} {report:?}");
        let counts = report.counts;
        // A segment whose thread panicked before counting it was not read.
        assert_eq!(
            counts.unfinished(),
            u64::from(operation == FakeOperation::Write),
            "{operation:?} {counts:?}"
        );
        assert_eq!(counts.inserted, store.committed().len() as u64);
    }
}

#[test]
fn when_all_writers_panic_the_run_still_ends() {
    let bench = Bench::new(&events(100), 3);
    let store = bench.store().always(FakeOperation::Write, ScriptedFault::Panic);
    let report = bench.run(&store);
    assert!(matches!(report.halted, Some(ShutdownReason::Panicked(_))), "{report:?}");
    assert_eq!(report.counts.unfinished(), report.counts.events);
}

#[test]
fn rejects_are_written_and_counted_and_too_many_stop_the_run() {
    let mut lines = events(20);
    lines[3] = "no event\n".to_owned();
    let bench = Bench::new(&lines, 2);
    let store = bench.store().on(FakeOperation::Write, 0, ScriptedFault::RejectFirst);
    let report = bench.run(&store);
    assert!(report.halted.is_none(), "{report:?}");
    assert_eq!((report.counts.inserted, report.counts.rejected, report.counts.unfinished()), (18, 2, 0));
    let text = std::fs::read_to_string(bench.rejects()).unwrap();
    assert_eq!((text.lines().count(), text.contains("\"sqlstate\":\"23514\"")), (2, true), "{text}");

    let mut bench = Bench::new(&vec!["no event\n".to_owned(); 200], 2);
    bench.settings.reject_limit = Some(RejectLimit::Number(10));
    let report = bench.run(&bench.store());
    assert!(matches!(report.halted, Some(ShutdownReason::RejectLimit)), "{report:?}");
    assert!((11..200).contains(&report.counts.rejected) && report.counts.unfinished() == 0, "{report:?}");
}

#[test]
fn rejects_that_cannot_be_written_are_unfinished() {
    let bench = Bench::new(&["no event\n".to_owned()], 1);
    let rejects = RejectFile::by_default(bench.directory.path().join("no").join("rejects"));
    let sources = vec![Source::File(bench.dump())];
    let store = bench.store();
    let report = crate::pipeline::run::run(
        sources,
        None,
        &bench.settings,
        Some(&store as &dyn Store),
        &rejects,
        &bench.shutdown,
        &bench.monitor,
    );
    assert!(matches!(report.halted, Some(ShutdownReason::Failed(_))), "{report:?}");
    assert_eq!((report.counts.rejected, report.counts.unfinished()), (0, 1));
}

#[test]
fn segments_of_other_loads_are_counted_once_loaded_and_loaded_once_released() {
    let lines = events(30);
    let bench = Bench::new(&lines, 2);
    let store = bench
        .store()
        .claimed_by(hash(&lines[3]), OtherLoad::Loads(2))
        .claimed_by(hash(&lines[7]), OtherLoad::Releases(2));
    let report = bench.run(&store);
    assert!(report.halted.is_none() && report.source_errors.is_empty(), "{report:?}");
    assert_eq!(
        (report.counts.inserted, report.counts.already_loaded, report.counts.unfinished()),
        (29, 1, 0)
    );
    assert_eq!(store.segment_of(8), Some(30), "loaded last");
}

#[test]
fn a_missing_dump_with_released_segments_is_an_error() {
    let lines = events(10);
    let bench = Bench::new(&lines, 2);
    let (release, wait) = waiting();
    let store = bench.store().claimed_by(hash(&lines[3]), OtherLoad::Releases(1)).on(
        FakeOperation::LookAgain,
        0,
        ScriptedFault::Wait(wait),
    );
    let report = thread::scope(|scope| {
        let run = scope.spawn(|| bench.run(&store));
        store.wait_for(FakeOperation::LookAgain, 1);
        std::fs::remove_file(bench.dump()).unwrap();
        drop(release);
        run.join().unwrap()
    });
    assert_eq!((report.counts.inserted, report.source_errors.len()), (9, 1), "{report:?}");
}

#[test]
fn a_stop_does_not_load_segments_claimed_by_other_loads() {
    let lines = events(10);
    let bench = Bench::new(&lines, 2);
    let store = bench.store().claimed_by(hash(&lines[3]), OtherLoad::Releases(usize::MAX));
    let report = thread::scope(|scope| {
        let run = scope.spawn(|| bench.run(&store));
        store.wait_for(FakeOperation::LookAgain, 2);
        bench.shutdown.stop(ShutdownReason::Signal(1));
        run.join().unwrap()
    });
    assert!(matches!(report.halted, Some(ShutdownReason::Signal(1))), "{report:?}");
    assert_eq!((report.counts.events, report.counts.inserted), (9, 9));
}

#[test]
fn without_a_store_all_events_are_counted() {
    let bench = Bench::new(&events(40), 3);
    let rejects = RejectFile::new(bench.rejects()).unwrap();
    let sources = (0..12).map(|_| Source::File(bench.dump())).collect();
    let report = crate::pipeline::run::run(
        sources,
        None,
        &bench.settings,
        None,
        &rejects,
        &bench.shutdown,
        &bench.monitor,
    );
    assert_eq!((report.counts.events, report.counts.unfinished()), (480, 480), "{report:?}");
}

#[test]
fn an_input_whose_first_thousand_values_are_all_rejected_is_abandoned() {
    let bad = "no event\n".to_owned();
    let check = |lines: Vec<String>, limit, is_abandoned: bool, rejected: u64| {
        let mut bench = Bench::new(&lines, 3);
        bench.settings.reject_limit = limit;
        let store = bench.store();
        let report = bench.run(&store);
        assert_eq!(report.source_errors.len(), usize::from(is_abandoned), "{report:?}");
        assert_eq!((report.counts.rejected, report.halted.is_none()), (rejected, true));
        let text = std::fs::read_to_string(bench.rejects()).unwrap();
        assert_eq!(text.lines().count() as u64, rejected);
        report
    };
    let report = check(vec![bad.clone(); 3000], None, true, 1000);
    assert!(report.counts.events < 1100, "reading stops: {report:?}");
    let error = report.source_errors[0].to_string();
    assert!(error.contains("first 1000 values") && error.contains("--max-rejects 100%"), "{error}");
    check(vec![bad.clone(); 999], None, false, 999);
    check(vec![bad.clone(); 1500], Some(RejectLimit::Percent(100.0)), false, 1500);
    let late = |before| [vec![bad.clone(); before], events(1), vec![bad.clone(); 600]].concat();
    check(late(999), None, false, 1599);
    check(late(1000), None, true, 1000);
}

#[test]
fn an_array_of_many_values_is_abandoned_after_the_first_thousand() {
    let bench = Bench::new(&[format!("[{}0]\n", "0,".repeat(30_000))], 1);
    let report = bench.run(&bench.store());
    assert_eq!((report.source_errors.len(), report.counts.rejected), (1, 1000), "{report:?}");
}

#[test]
fn a_reject_file_disproportionate_to_the_input_stops_the_run() {
    let mut bench = Bench::new(&vec![format!("[{}0]\n", "0,".repeat(30_000)); 16], 1);
    bench.settings.reject_limit = Some(RejectLimit::Percent(100.0));
    let report = bench.run(&bench.store());
    let limit = (16 << 20) + 32 * report.bytes_read;
    assert!(
        matches!(report.halted, Some(ShutdownReason::RejectBytes(bytes)) if bytes == limit),
        "{report:?}"
    );
    let size = std::fs::metadata(bench.rejects()).unwrap().len();
    assert!(size <= limit && size + 1000 > limit, "{size}");
    assert!(report.counts.unfinished() > 0, "{report:?}");
}
