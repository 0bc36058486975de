//! Stop requests while another session locks a table that the load needs: each run ends in time and with a summary.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postgres::Client;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::eventually;
use crate::support::program::{Program, Running, Workplace};

/// Longer than any step on a slow machine.
const SHOWN_MAX: Duration = Duration::from_mins(1);

/// A session that holds an exclusive lock on a table.
fn lock(database: &Database<'_>, table: &str) -> Client {
    let mut holder = database.client();
    let sql = format!("begin; lock table {table} in access exclusive mode");
    holder.batch_execute(&sql).expect("a lock");
    holder
}

fn unlock(mut holder: Client) {
    holder.batch_execute("rollback").expect("the lock is given back");
}

fn wait_until_locked(running: &mut Running, database: &Database<'_>) {
    let sql = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually(SHOWN_MAX, "the load waits", || {
        assert!(!running.has_ended(), "it waits");
        !database.client().query(sql, &[]).expect("rows").is_empty()
    });
}

/// A load of standard input that drains for at most a second.
fn briefly_draining(work: &Workplace, database: &Database<'_>) -> Program {
    work.load(database, &[]).env("KILLS_FLUSH_INTERVAL", "10").env("KILLS_DRAIN_TIMEOUT", "1s")
}

/// For example while the load waits for locked tables. It has read nothing by then, and the summary shows that.
#[test]
fn a_stop_request_before_the_run_ends_with_a_summary() {
    let database = Cluster::shared().database("early");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let holder = lock(&database, "kill_load_run");
        let mut running = work.load(&database, &[]).start();
        wait_until_locked(&mut running, &database);
        running.signal(signal);
        let ended = running.finish().expect(code);
        assert_eq!(ended.summary().status(), "interrupted");
        ended.summary().check(&[("events", 0), ("inserted", 0), ("unfinished", 0)]);
        unlock(holder);
    }
}

/// For example while the first ledger row waits for a lock on an existing table.
#[test]
fn a_stop_request_during_the_first_ledger_write_ends_with_a_summary() {
    let database = Cluster::shared().database("begin");
    let work = Workplace::new();
    work.write("dump", generated(20, 5, 0.0));
    work.load(&database, &["dump"]).expect(0);
    let holder = lock(&database, "kill_load_run");
    let mut running = work.load(&database, &["dump"]).start();
    wait_until_locked(&mut running, &database);
    let asked = Instant::now();
    running.signal(Signal::SIGTERM);
    let ended = running.finish().expect(143);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert_eq!(ended.summary().status(), "interrupted");
    ended.summary().check(&[("events", 0), ("unfinished", 0)]);
    unlock(holder);
}

/// All events are stored by then. Only their confirmation waits.
#[test]
fn a_stop_request_during_the_confirmation_is_no_failure() {
    let database = Cluster::shared().database("confirmed");
    let work = Workplace::new();
    let mut running = briefly_draining(&work, &database).start();
    running.feed(&generated(20, 6, 0.0));
    eventually(SHOWN_MAX, "the events are stored", || {
        let sql = "select coalesce(sum(events), 0)::bigint from kill_load_segment";
        database.client().query_one(sql, &[]).is_ok_and(|row| row.get::<_, i64>(0) == 20)
    });
    let holder = lock(&database, "kill_event");
    drop(running.take_input());
    wait_until_locked(&mut running, &database);
    running.signal(Signal::SIGTERM);
    let ended = running.finish().expect(143).says(&["not confirmed"]);
    ended.summary().check(&[("inserted", 20), ("unfinished", 0)]);
    assert_eq!(ended.summary().status(), "interrupted");
    unlock(holder);
}

/// The confirmation needs the row of the run, and so does its end, which has 5 s after the drain.
#[test]
fn a_stop_request_while_the_row_of_the_run_is_locked_ends_in_time() {
    let database = Cluster::shared().database("run_locked");
    let work = Workplace::new();
    let mut running = briefly_draining(&work, &database).start();
    running.feed(&generated(20, 7, 0.0));
    eventually(SHOWN_MAX, "the events are stored", || {
        let sql = "select count(*) from kill_event";
        database.client().query_one(sql, &[]).is_ok_and(|row| row.get::<_, i64>(0) == 20)
    });
    let holder = lock(&database, "kill_load_run");
    let asked = Instant::now();
    running.signal(Signal::SIGTERM);
    let ended = running.finish().expect(143);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let ended = ended.says(&[
        "not confirmed",
        "the next load marks this run as failed if the ledger lacks its end: writing the run's end into the ledger was cancelled",
    ]);
    ended.summary().check(&[("inserted", 20), ("unfinished", 0)]);
    assert_eq!(ended.summary().status(), "interrupted");
    unlock(holder);
}
