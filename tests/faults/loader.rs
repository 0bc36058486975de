//! Faults of the loader: SIGKILL and stop requests at any moment, a full disk under its reject file, unread output.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines};
use crate::support::eventually;
use crate::support::oracle::{Nul, expect};
use crate::support::process::Supervised as _;
use crate::support::program::{Reject, Workplace, assert_tables, read_rejects};
use crate::support::progress::{in_small_steps, segments, steps};
use crate::support::proxy::{Fault, Phase, Proxy, What};

/// The number of runs in the ledger by status.
fn runs(database: &Database<'_>) -> Vec<(String, i64)> {
    let sql = "select status, count(*) from kill_load_run where finished is not null or status = 'running'
               group by 1 order by 1";
    let rows = database.client().query(sql, &[]).expect("runs");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn a_killed_load_can_be_repeated() {
    let database = Cluster::shared().database("sigkill");
    let work = Workplace::new();
    let dump = generated(900, 81, 5.0);
    work.write("dump.ndjson", &dump);
    let mut random = fastrand::Rng::with_seed(81);
    let mut killed = 0;
    for _ in 0..12 {
        let mut running = in_small_steps(&work, &database).start();
        // Between the first connection and the end.
        let (begin, most) = (segments(&database), random.i64(0..30));
        let until = Instant::now() + Duration::from_millis(random.u64(20..400));
        eventually(Duration::from_mins(1), "its moment comes", || {
            running.has_ended() || segments(&database) > begin + most || Instant::now() > until
        });
        if !running.has_ended() {
            running.signal(Signal::SIGKILL);
        }
        killed += i64::from(running.finish().code == 137);
    }
    assert!(killed > 5, "{killed}");
    let ended = in_small_steps(&work, &database).expect(0);
    let expected = expect(&dump, Nul::Reject);
    assert_tables(&database, "americas", &expected.tables);
    ended.summary().check(&[("events", expected.events), ("unfinished", 0)]);
    let found = runs(&database);
    assert!(!found.iter().any(|(status, _)| status == "running"), "{found:?}");
    // Runs that were killed early have no row.
    let dead: i64 = found.iter().filter(|(status, _)| status == "failed").map(|(_, count)| count).sum();
    assert!(dead > 0 && dead <= killed, "{found:?}");
    let sum = "select sum(inserted)::bigint from kill_load_run";
    let inserted: i64 = database.client().query_one(sum, &[]).expect("a sum").get(0);
    assert_eq!(
        u64::try_from(inserted).expect("a count"),
        expected.loaded(),
        "all runs, the dead too, add up"
    );
}

#[test]
fn stop_request_in_each_phase() {
    for at in [Phase::Begin, Phase::MidCopy, Phase::AfterCopyDone, Phase::CommitSent, Phase::CommitAnswer] {
        let database = Cluster::shared().database("phases");
        let work = Workplace::new();
        let dump = generated(200, 82, 0.0);
        work.write("dump.ndjson", &dump);
        let proxy = Proxy::to(Cluster::shared().port());
        // Later than the set-up of the sessions, which also begins transactions.
        let fault = Fault::new(at, What::Stall).nth(30);
        proxy.plan(if matches!(at, Phase::CommitSent | Phase::CommitAnswer) {
            fault.after_copy()
        } else {
            fault
        });
        let program = in_small_steps(&work, &database).env("DATABASE_URL", &proxy.url(&database));
        let running = program.env("KILLS_DRAIN_TIMEOUT", "700").start();
        proxy.wait_until_hit();
        let begun = Instant::now();
        running.signal(Signal::SIGTERM);
        let ended = running.finish().expect(143).says(&["stopping"]);
        assert!(begun.elapsed() < Duration::from_secs(20), "{at:?}");
        let summary = ended.summary();
        assert_eq!(summary.status(), "interrupted", "{at:?}");
        assert!(summary.count("unfinished") > 0, "one segment can't be stored: {at:?}");
        drop(proxy);
        let again = in_small_steps(&work, &database).expect(0).summary();
        again.check(&[("events", 200), ("unfinished", 0)]);
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    }
}

#[test]
fn stop_request_during_an_outage() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("away");
    let work = Workplace::new();
    let dump = generated(400, 83, 0.0);
    work.write("dump.ndjson", &dump);
    let mut running = in_small_steps(&work, &database).env("KILLS_DRAIN_TIMEOUT", "500").start();
    steps(&database, 10, &|| false);
    cluster.stop();
    assert!(!running.has_ended());
    running.signal(Signal::SIGINT);
    let summary = running.finish().expect(130).summary();
    assert_eq!(summary.status(), "interrupted");
    assert!(summary.count("unfinished") > 0, "{summary:?}");
    cluster.start();
    in_small_steps(&work, &database).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    let error = "select error from kill_load_run where status = 'failed'";
    let error: String = database.client().query_one(error, &[]).expect("the stopped run").get(0);
    // Neither the program nor its host has crashed.
    assert!(error.ends_with(", or the database could not be written"), "{error}");
}

#[test]
fn events_read_before_a_stop_are_stored_if_the_outage_ends_in_time() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("back");
    let work = Workplace::new();
    let dump = generated(400, 84, 0.0);
    work.write("dump.ndjson", &dump);
    let mut running = in_small_steps(&work, &database).start();
    steps(&database, 10, &|| false);
    cluster.stop();
    assert!(!running.has_ended());
    running.signal(Signal::SIGTERM);
    cluster.start();
    let summary = running.finish().expect(143).summary();
    let stored = usize::try_from(summary.count("inserted")).expect("a count");
    summary.check(&[("unfinished", 0), ("events", summary.count("inserted"))]);
    assert!(stored > 0 && stored < 400, "{summary:?}");
    let begin = join(&lines(&dump)[..stored]);
    assert_tables(&database, "americas", &expect(&begin, Nul::Reject).tables);
    assert_eq!(runs(&database), [("interrupted".to_owned(), 1)]);
}

/// A dump of which every third line is rejected.
fn with_rejects(events: u64) -> Vec<u8> {
    let dump = generated(events, 85, 0.0);
    let line = |(number, line): (usize, &&[u8])| match number % 3 {
        0 => format!("no event {}", "x".repeat(300)).into_bytes(),
        _ => line.to_vec(),
    };
    join(&lines(&dump).iter().enumerate().map(line).collect::<Vec<_>>())
}

#[test]
fn a_full_disk_under_the_reject_file_ends_the_load() {
    let database = Cluster::shared().database("fulldisk");
    let work = Workplace::new();
    let dump = with_rejects(300);
    work.write("dump.ndjson", &dump);
    let expected = expect(&dump, Nul::Reject);
    // `/dev/full`, and a file limited to 8 KiB, in which the last line would be torn.
    let program = in_small_steps(&work, &database).args(&["--rejects", "/dev/full"]);
    let ended = program.expect(1);
    assert!(ended.summary().error().contains("No space left"), "{}", ended.stdout);
    assert!(ended.summary().count("unfinished") > 0);

    let limited = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_aegis-kills"), "load", "--json", "dump.ndjson"]);
    command.args(["--rejects", "rejects.ndjson"]).current_dir(work.path());
    command.env("DATABASE_URL", database.url()).env("KILLS_SEGMENT_BYTES", "32768");
    command.env("ALBION_SERVER", "americas");
    let ended = command.output_in_time().expect("the program");
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    let path = work.path().join("rejects.ndjson");
    let torn = read_rejects(&path);
    assert!(!torn.is_empty() && torn.len() < expected.rejected.len(), "{}", torn.len());

    // With space on the disk every reject is reported, regardless of earlier reports.
    fs::remove_file(&path).expect("a file");
    let ended = in_small_steps(&work, &database).args(&["--rejects", "rejects.ndjson"]).expect(3);
    let named: Vec<u64> = ended.rejects().iter().map(Reject::line).collect();
    let wanted: Vec<u64> = expected.rejected.iter().map(|reject| reject.line).collect();
    assert_eq!(named, wanted);
    assert_tables(&database, "americas", &expected.tables);
}

#[test]
fn a_full_disk_is_reported_while_another_writer_waits() {
    let database = Cluster::shared().database("waits");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let mut dump = generated(10, 87, 0.0);
    dump.extend_from_slice(&b"no event\n".repeat(40_000));
    work.write("dump.ndjson", &dump);
    let mut client = database.client();
    let mut lock = client.transaction().expect("a transaction");
    lock.batch_execute("lock table kill_event in exclusive mode").expect("a lock");
    // The first writer waits for the lock. The second has only rejects.
    let program = in_small_steps(&work, &database).segment_bytes(256 << 10).args(&["--rejects", "/dev/full"]);
    let begun = Instant::now();
    let ended = program.expect(1);
    assert!(begun.elapsed() < Duration::from_secs(30), "a statement may stall for a minute");
    assert!(ended.summary().error().contains("No space left"), "{}", ended.stdout);
    lock.rollback().expect("the lock is given back");
    in_small_steps(&work, &database).expect(3);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn a_reject_file_that_ends_in_half_a_line_is_continued() {
    let work = Workplace::new();
    work.write("rejects.ndjson", "{\"source\":\"dump.ndj");
    let program = work.program(&["load", "--json", "--dry-run", "--rejects", "rejects.ndjson"]);
    program.stdin("no event\n").expect(3);
    let text = fs::read_to_string(work.path().join("rejects.ndjson")).expect("a file");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("{\"source\":\"dump.ndj"));
    assert!(lines.next().is_some_and(|line| line.starts_with('{') && line.ends_with('}')), "{text}");
}

#[test]
fn a_load_without_a_summary_reader_completes() {
    let database = Cluster::shared().database("unread");
    let work = Workplace::new();
    let dump = generated(50, 86, 0.0);
    work.write("dump.ndjson", &dump);
    let mut child = Command::new(env!("CARGO_BIN_EXE_aegis-kills"))
        .args(["load", "--json", "--server", "americas", "dump.ndjson"])
        .current_dir(work.path())
        .env("DATABASE_URL", database.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .supervised()
        .expect("the program");
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().code(), Some(0));
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}
