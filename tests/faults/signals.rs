//! Stop requests: `load` stores the events that it has read, and reports its progress.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, join, lines};
use crate::support::eventually;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Workplace, assert_tables};

/// The default capacity of a pipe.
const PIPE_BYTES: usize = 64 << 10;

#[test]
fn events_read_from_a_slow_pipe_are_stored_after_a_stop_request() {
    let dump = generated(60, 61, 0.0);
    let events = lines(&dump);
    let whole = expect(&dump, Nul::Reject);
    for (signal, code, segment_bytes) in
        [(Signal::SIGTERM, 143, 8 << 20), (Signal::SIGINT, 130, 8 << 20), (Signal::SIGTERM, 143, 64 << 10)]
    {
        let database = Cluster::shared().database("slow");
        let work = Workplace::new();
        // No flush interval, so that events are pending when the signal arrives.
        let program = work.load(&database, &[]).segment_bytes(segment_bytes);
        let mut running = program.env("KILLS_FLUSH_INTERVAL", "1h").start();
        // The fed text ends within a line, and the pipe stays open.
        let fed = dump.len() - events[59].len() / 2;
        running.feed(&dump[..fed]);
        running.signal(signal);
        let ended = running.finish().expect(code).says(&["stopping"]);

        let summary = ended.summary();
        assert_eq!((summary.status(), &summary.0["error"]), ("interrupted", &serde_json::Value::Null));
        let stored = summary.count("events");
        summary.check(&[("inserted", stored), ("lines", stored), ("rejected", 0), ("unfinished", 0)]);
        let begin = join(&events[..usize::try_from(stored).expect("a count")]);
        assert_tables(&database, "americas", &expect(&begin, Nul::Reject).tables);
        if segment_bytes > dump.len() {
            // Every byte that left the pipe, except for pieces inside the program.
            assert!(begin.len() + PIPE_BYTES + (256 << 10) >= fed, "{} of {fed} bytes", begin.len());
            assert!(stored > 0);
        }
        let row = database.client().query_one("select status, finished is not null from kill_load_run", &[]);
        let row = row.expect("a run");
        assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("interrupted", true));

        // The same command continues there.
        let run = work.load(&database, &[]).segment_bytes(segment_bytes).stdin(dump.clone()).expect(0);
        run.summary().check(&[("events", 60), ("inserted", 60 - stored)]);
        assert_tables(&database, "americas", &whole.tables);
    }
}

/// Ctrl-C also ends the writer, within a line. The partial line is no reject.
#[test]
fn a_line_cut_by_the_stop_request_is_no_reject() {
    let dump = generated(20, 63, 0.0);
    let events = lines(&dump);
    let (whole, part) = (join(&events[..19]), &events[19][..events[19].len() / 2]);
    let (database, work) = (Cluster::shared().database("cut_off"), Workplace::new());
    let mut running = work.load(&database, &[]).env("KILLS_FLUSH_INTERVAL", "10").start();
    running.feed(&whole);
    eventually(Duration::from_mins(1), "the whole lines are stored", || {
        let rows = database.client().query_one("select count(*) from kill_event", &[]);
        rows.is_ok_and(|row| row.get::<_, i64>(0) == 19)
    });
    running.feed(part);
    running.signal(Signal::SIGINT);
    let ended = running.finish_after_input().expect(130);
    ended.summary().check(&[("events", 19), ("inserted", 19), ("rejected", 0), ("unfinished", 0)]);
    assert_eq!(ended.rejects().len(), 0);
    work.load(&database, &[]).stdin(dump.clone()).expect(0).summary().check(&[("inserted", 1)]);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn slow_input_is_stored_at_intervals() {
    let dump = generated(10, 62, 0.0);
    let database = Cluster::shared().database("interval");
    let work = Workplace::new();
    let mut running = work.load(&database, &[]).env("KILLS_FLUSH_INTERVAL", "10").start();
    let events = lines(&dump);
    for count in 1..=3 {
        running.feed(&join(&events[count - 1..count]));
        let mut client = database.client();
        eventually(Duration::from_mins(1), "the event is stored while the pipe is open", || {
            let rows = client.query_one("select count(*) from kill_event", &[]);
            rows.is_ok_and(|row| row.get::<_, i64>(0) == i64::try_from(count).expect("a count"))
        });
    }
    running.signal(Signal::SIGTERM);
    running.finish().expect(143).summary().check(&[("inserted", 3), ("segments", 3), ("unfinished", 0)]);
}

#[test]
fn a_second_signal_ends_the_load_at_once() {
    let dump = generated(30, 63, 0.0);
    let database = Cluster::shared().database("second");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let mut client = database.client();
    // The events cannot be stored while this lock is held.
    let mut transaction = client.transaction().expect("a transaction");
    transaction.batch_execute("lock table kill_event in exclusive mode").expect("a lock");
    let mut running = work.load(&database, &[]).segment_bytes(64 << 10).start();
    running.feed(&dump);
    let mut watcher = database.client();
    eventually(Duration::from_mins(1), "a writer waits for the lock", || {
        let sql =
            "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        !watcher.query(sql, &[]).expect("sessions").is_empty()
    });
    running.signal(Signal::SIGTERM);
    // Two simultaneous signals can count as one, so the test repeats it until the program ends.
    let ended = running.signal_until_ended(Signal::SIGTERM).expect(143);
    assert_eq!(ended.stdout, "", "there was no time for a summary");
    ended.says(&["aborted: all committed events stay stored; to resume, run the same command again"]);
    transaction.rollback().expect("the lock is given back");
    work.load(&database, &[]).segment_bytes(64 << 10).stdin(dump.clone()).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}
