//! A panic of any thread: a message, exit code 1, the events read are stored, and the ledger has the run's end. Release
//! builds cannot inject panics.
#![cfg(debug_assertions)]

use std::time::Duration;

use crate::support::cluster::Cluster;
use crate::support::dumps::generated;
use crate::support::eventually;
use crate::support::program::Workplace;
use crate::support::{free_port, log_case};
use nix::sys::signal::Signal;

/// The threads of a load. The main thread has two points.
const POINTS: [&str; 11] = [
    "connect", "health", "reader", "cut", "parse", "writer", "database", "watchdog", "progress", "status",
    "http",
];

#[test]
fn a_panic_of_any_thread_ends_the_run_in_order() {
    for point in POINTS {
        log_case(point);
        let database = Cluster::shared().database("panics");
        let work = Workplace::new();
        work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
        let port = free_port();
        let mut running = work
            .load(&database, &["--listen", &port.to_string()])
            .env("AEGIS_KILLS_PANIC", point)
            .env("KILLS_FLUSH_INTERVAL", "10")
            .segment_bytes(64 << 10)
            .start();
        running.feed(&generated(10, 8, 0.0));
        if point == "http" {
            eventually(Duration::from_mins(1), "the page is asked for", || {
                running.has_ended() || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
        }
        // The run ends although its input is open.
        let ended = running.finish().expect(1).says(&["panicked", "injected"]);
        if ["connect", "database"].contains(&point) {
            // Nothing can be stored before the run's ledger row.
            continue;
        }
        let summary = ended.summary();
        assert_eq!(summary.status(), "failed", "{point}");
        assert!(summary.0["error"].as_str().is_some_and(|error| error.contains("panicked")), "{point}");
        let sql = "select status, error, finished is not null, inserted,
                     (select count(*) from kill_event) from kill_load_run";
        let row = database.client().query_one(sql, &[]).expect("a run");
        assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(2)), ("failed", true), "{point}");
        assert!(row.get::<_, &str>(1).contains("panicked"), "{point}");
        assert_eq!(row.get::<_, i64>(3), row.get::<_, i64>(4), "{point}");
    }
}

#[test]
fn a_panic_during_a_stop_ends_the_run_with_code_1() {
    for point in ["signals", "drain"] {
        let database = Cluster::shared().database("stopping");
        let work = Workplace::new();
        let program = work.load(&database, &[]).env("AEGIS_KILLS_PANIC", point);
        let mut running = program.env("KILLS_FLUSH_INTERVAL", "10").start();
        running.feed(&generated(10, 9, 0.0));
        eventually(Duration::from_mins(1), "what was fed is stored", || {
            let rows = database.client().query_one("select count(*) from kill_event", &[]);
            rows.is_ok_and(|row| row.get::<_, i64>(0) > 0)
        });
        running.signal(Signal::SIGTERM);
        running.finish().expect(1).says(&["panicked"]).summary().check(&[("unfinished", 0)]);
    }
}

#[test]
fn a_panic_while_a_statement_is_cancelled_ends_the_run_with_code_1() {
    let database = Cluster::shared().database("cancelling");
    let work = Workplace::new();
    work.write("dump", generated(10, 11, 0.0));
    // A load into empty tables would wait for the lock before it reads.
    work.load(&database, &[]).stdin(generated(5, 13, 0.0)).expect(0);
    let mut client = database.client();
    let mut lock = client.transaction().expect("a transaction");
    lock.batch_execute("lock table kill_event in exclusive mode").expect("a lock");
    let program = work.load(&database, &["dump"]).env("AEGIS_KILLS_PANIC", "cancel");
    let running = program.env("KILLS_DRAIN_TIMEOUT", "100").start();
    let mut observer = database.client();
    eventually(Duration::from_mins(1), "the load waits for the lock", || {
        let sql =
            "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        !observer.query(sql, &[]).expect("sessions").is_empty()
    });
    running.signal(Signal::SIGTERM);
    let summary = running.finish().expect(1).says(&["panicked"]).summary();
    summary.check(&[("inserted", 0), ("unfinished", 10)]);
    assert_eq!(summary.status(), "failed");
    lock.rollback().expect("the lock is given back");
}

/// All events are stored, and the run has no reason to fail.
#[test]
fn a_panic_after_the_last_event_is_in_the_summary() {
    // The first connection that is closed is that of the confirmation, which the main thread does. "end" is before the run's
    // end is written, and "ended" after it.
    for point in ["confirm", "close", "end", "ended"] {
        log_case(point);
        let database = Cluster::shared().database("late");
        let work = Workplace::new();
        work.write("dump", generated(10, 12, 0.0));
        let ended = work.load(&database, &["dump"]).env("AEGIS_KILLS_PANIC", point).expect(1);
        let summary = ended.says(&["panicked", "injected"]).summary();
        summary.check(&[("inserted", 10), ("unfinished", 0)]);
        assert_eq!(summary.status(), "failed", "as the exit code");
        assert!(summary.error().contains("panicked"), "{}", summary.error());
        let sql = "select status, inserted from kill_load_run where finished is not null";
        let row = database.client().query_one(sql, &[]).expect("a run");
        assert_eq!(row.get::<_, i64>(1), 10, "{point}");
        // The connection can be closed after the end of the run is written.
        assert!(point == "close" || row.get::<_, &str>(0) == "failed", "{point}");
    }
}

/// The main thread panics between the insertion of the row and the reading, and after the row has its end.
#[test]
fn a_panic_beside_the_reading_leaves_no_row_without_an_end() {
    for (point, inserted, status) in [("show", 0, "failed"), ("recorded", 10, "complete")] {
        log_case(point);
        let database = Cluster::shared().database("beside");
        let work = Workplace::new();
        work.write("dump", generated(10, 15, 0.0));
        let ended = work.load(&database, &["dump"]).env("AEGIS_KILLS_PANIC", point).expect(1);
        let summary = ended.says(&["panicked", "injected"]).summary();
        summary.check(&[("inserted", inserted), ("unfinished", 0)]);
        assert_eq!(summary.status(), "failed", "as the exit code");
        assert!(summary.error().contains("panicked"), "{}", summary.error());
        let sql = "select status, inserted from kill_load_run where finished is not null";
        let row = database.client().query_one(sql, &[]).expect("a run");
        assert_eq!(row.get::<_, &str>(0), status, "{point}");
        assert_eq!(u64::try_from(row.get::<_, i64>(1)), Ok(inserted), "{point}");
        // The connections are closed, and nothing is missing or left for the next load to repair.
        let next = work.load(&database, &["dump"]).expect(0).summary();
        next.check(&[("inserted", 10 - inserted), ("already_loaded", inserted)]);
    }
}

/// The program tries once more to write the end, and panics again.
#[test]
fn a_second_panic_at_the_end_of_a_run_leaves_its_row_to_the_next_load() {
    let database = Cluster::shared().database("twice");
    let work = Workplace::new();
    work.write("dump", generated(10, 14, 0.0));
    let ended = work.load(&database, &["dump"]).env("AEGIS_KILLS_PANIC", "record").expect(1);
    assert_eq!(ended.stderr.matches("injected").count(), 2, "{}", ended.stderr);
    let summary = ended.summary();
    summary.check(&[("inserted", 10), ("unfinished", 0)]);
    assert_eq!(summary.status(), "failed");
    let statuses = "select string_agg(status, ' ' order by started) from kill_load_run";
    let mut client = database.client();
    let mut statuses = || client.query_one(statuses, &[]).expect("runs").get::<_, String>(0);
    assert_eq!(statuses(), "running");
    // The server can need a moment to notice that the sessions are closed.
    eventually(Duration::from_mins(1), "a load marks the run", || {
        work.load(&database, &["dump"]).expect(0).summary().check(&[("already_loaded", 10)]);
        statuses().starts_with("failed complete")
    });
}

#[test]
fn a_panic_of_a_request_thread_ends_the_run_in_order() {
    let database = Cluster::shared().database("request");
    let work = Workplace::new();
    let port = free_port();
    let mut running = work
        .load(&database, &["--listen", &port.to_string()])
        .env("AEGIS_KILLS_PANIC", "request")
        .env("KILLS_FLUSH_INTERVAL", "10")
        .start();
    running.feed(&generated(10, 10, 0.0));
    eventually(Duration::from_mins(1), "the page is asked for", || {
        running.has_ended() || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let ended = running.finish().expect(1).says(&["panicked"]);
    assert_eq!(ended.summary().status(), "failed");
}
