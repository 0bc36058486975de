//! Secondary indexes of a first load beside other loads, locks of other sessions, and signals.

use std::thread;

use nix::sys::signal::Signal;

use crate::load::deferred_indexes::{INDEXES, SOON, begin, indexes, lines, wait_for_events};
use crate::support::cluster::{Cluster, Database};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Workplace, assert_tables};
use crate::support::proxy::{Fault, Phase, Proxy, What};
use crate::support::{eventually, free_port, http};

/// Waits until a statement that begins with this text has waited for a lock for two seconds.
#[track_caller]
fn wait_for_blocked_statement(database: &Database<'_>, statement: &str) {
    let sql = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
               and query ilike $1 || '%' and query_start < now() - interval '2 s'";
    eventually(SOON, "a statement waits for a lock", || {
        !database.client().query(sql, &[&statement]).expect("rows").is_empty()
    });
}

/// It fills other tables and never builds these indexes.
#[test]
fn an_index_build_does_not_wait_for_the_other_layout() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("layouts"));
    let mut other = work.load(&database, &["--layout", "aegis"]).env("KILLS_FLUSH_INTERVAL", "50").start();
    other.feed(&lines(1..21));
    eventually(SOON, "the other load has stored its events", || {
        let rows = database.client().query(r#"select from "KillEvent""#, &[]);
        rows.is_ok_and(|rows| rows.len() == 20)
    });
    work.load(&database, &[]).stdin(lines(1..21)).expect(0);
    assert_eq!(indexes(&database), INDEXES);
    other.finish_after_input().expect(0);
}

/// A load into `public` waits for a lock meanwhile.
#[test]
fn an_index_build_does_not_wait_for_another_schema() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("schemas"));
    // Creates the tables first, because a start waits for others that create tables.
    let other = ["--schema", "other", "--database-url", &database.url()];
    work.program(&["schema", "apply"]).args(&other).expect(0);
    database.client().batch_execute("drop index other.kill_event_battle").expect("to drop it");
    let load = begin(&work, &database, 1..21, 20);
    let mut client = database.client();
    let mut lock = client.transaction().expect("a transaction");
    lock.batch_execute("lock table kill_event in row exclusive mode").expect("a lock");
    let ended = thread::scope(|scope| {
        let ended = scope.spawn(|| load.finish_after_input());
        wait_for_blocked_statement(&database, "create index");
        work.load(&database, &["--schema", "other"]).stdin(lines(1..21)).expect(0);
        wait_for_blocked_statement(&database, "create index");
        assert_eq!(indexes(&database), INDEXES);
        lock.rollback().expect("the lock is given back");
        ended.join().expect("no panic")
    });
    ended.expect(0);
    assert_eq!(indexes(&database).len(), 2 * INDEXES.len());
}

/// Another load, `schema apply` or a person builds it.
#[test]
fn inserts_wait_for_an_index_build() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("long_build"));
    work.load(&database, &[]).stdin(lines(1..21)).expect(0);
    let (mut gate, mut builder) = (database.client(), database.client());
    gate.batch_execute(
        "create function slow(bigint) returns bigint immutable language plpgsql
           as 'begin perform pg_advisory_xact_lock_shared(1); return $1; end';
         select pg_advisory_lock(1)",
    )
    .expect("a slow function");
    let builds =
        thread::spawn(move || builder.batch_execute("create index slow on kill_event (slow(event_id))"));
    wait_for_blocked_statement(&database, "create index");
    let settings = [("DATABASE_STALL_TIMEOUT", "30s"), ("DATABASE_RETRY_ATTEMPTS", "1")];
    let load = settings.iter().fold(work.load(&database, &[]), |load, (name, value)| load.env(name, value));
    let mut load = load.start();
    load.feed(&lines(21..31));
    let ended = thread::scope(|scope| {
        let ended = scope.spawn(|| load.finish_after_input());
        wait_for_blocked_statement(&database, "copy");
        gate.batch_execute("select pg_advisory_unlock(1)").expect("the build continues");
        ended.join().expect("no panic")
    });
    ended.expect(0).summary().check(&[("inserted", 10), ("retries", 0)]);
    builds.join().expect("no panic").expect("an index");
    assert_tables(&database, "americas", &expect(&lines(1..31), Nul::Reject).tables);
}

/// Live pipes do not end. If they waited for each other, none would build.
#[test]
fn two_slow_pipes_still_build_the_indexes() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("pipes"));
    let first = begin(&work, &database, 1..21, 20);
    let second = begin(&work, &database, 21..41, 40);
    let since = "update kill_load_run set started = now() - interval '2 hours'";
    database.client().batch_execute(since).expect("to make them older");
    eventually(2 * SOON, "the indexes are built while both run", || indexes(&database) == INDEXES);
    for load in [first, second] {
        load.finish_after_input().expect(0);
    }
}

#[test]
fn stop_request_during_an_index_build_stores_the_events_read() {
    let (work, database, port) = (Workplace::new(), Cluster::shared().database("stop"), free_port());
    let load = work.load(&database, &["--listen", &port.to_string()]);
    let mut load = load.env("KILLS_FLUSH_INTERVAL", "50").env("KILLS_DRAIN_TIMEOUT", "10s").start();
    load.feed(&lines(1..21));
    wait_for_events(&database, 20);
    let mut client = database.client();
    let mut lock = client.transaction().expect("a transaction");
    lock.batch_execute("lock table kill_event in row exclusive mode").expect("a lock");
    wait_for_blocked_statement(&database, "create index");
    load.feed(&lines(21..31));
    eventually(SOON, "the events are read", || {
        http::get(port, "/metrics").1.contains("aegis_kills_lines_total{server=\"americas\"} 30")
    });
    load.signal(Signal::SIGTERM);
    let ended = load.finish().expect(143);
    ended.summary().check(&[("inserted", 30), ("unfinished", 0)]);
    lock.rollback().expect("the lock is given back");
    assert_eq!(indexes(&database), [""; 0]);
    work.load(&database, &[]).stdin(lines(1..31)).expect(0);
    assert_eq!(indexes(&database), INDEXES);
}

#[test]
fn an_index_name_in_use_is_reported() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("taken"));
    database.client().batch_execute("create table kill_event_battle (id int)").expect("a table");
    work.load(&database, &[]).stdin(lines(1..21)).expect(0);
    let health = work.program(&["health", "--json", "--database-url", &database.url()]).expect(0);
    let problem = "the index kill_event_battle is missing, and another object has its name";
    assert!(health.stdout.contains(problem), "{}", health.stdout);
}

#[test]
fn a_restart_during_an_index_build_repeats_it() {
    let cluster = Cluster::private(&[]);
    let (work, database) = (Workplace::new(), cluster.database("restart"));
    let load = begin(&work, &database, 1..21, 20);
    let mut client = database.client();
    // The restart releases the lock.
    client.batch_execute("begin; lock table kill_event in row exclusive mode").expect("a lock");
    let ended = thread::scope(|scope| {
        let ended = scope.spawn(|| load.finish_after_input());
        wait_for_blocked_statement(&database, "create index");
        cluster.restart();
        ended.join().expect("no panic")
    });
    ended.expect(0).summary().check(&[("inserted", 20)]);
    assert_eq!(indexes(&database), INDEXES);
}

/// The network holds the statement or its answer. PostgreSQL does not notice.
#[test]
fn a_network_stall_during_an_index_build_repeats_it() {
    for point in [Phase::IndexSent, Phase::IndexAnswer] {
        let (work, database) = (Workplace::new(), Cluster::shared().database("stalled_build"));
        let proxy = Proxy::to(Cluster::shared().port());
        proxy.plan(Fault::new(point, What::Stall));
        let load = work.load(&database, &[]).env("DATABASE_URL", &proxy.url(&database));
        let load = load.env("DATABASE_STALL_TIMEOUT", "2s").env("DATABASE_RETRY_BASE", "50");
        load.stdin(lines(1..21)).expect(0).summary().check(&[("inserted", 20), ("unfinished", 0)]);
        assert_eq!(proxy.hits(), 1, "{point:?}");
        assert_eq!(indexes(&database), INDEXES, "{point:?}");
    }
}

/// A stalled build keeps the lock for building indexes.
#[test]
fn a_load_beside_a_blocked_index_build_names_the_missing_indexes() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("blocked_build"));
    let load = begin(&work, &database, 1..21, 20);
    let mut client = database.client();
    let mut lock = client.transaction().expect("a transaction");
    lock.batch_execute("lock table kill_event in row exclusive mode").expect("a lock");
    let (ended, beside) = thread::scope(|scope| {
        let ended = scope.spawn(|| load.finish_after_input());
        wait_for_blocked_statement(&database, "create index");
        // It inserts no event, so it does not wait for the table.
        let beside = work.program(&["load", "--json", "--database-url", &database.tcp_url()]);
        let beside = beside.stdin(lines(1..21)).run();
        lock.rollback().expect("the lock is given back");
        (ended.join().expect("no panic"), beside)
    });
    ended.expect(0);
    let beside = beside.expect(0).says(&INDEXES);
    database.client().batch_execute("drop index kill_event_battle").expect("to drop it");
    let (_, command) = beside.stderr.split_once("or run: ").expect("a command");
    let command = command.lines().next().expect("a line");
    work.other_program("sh", &["-c", command]).expect(0);
    assert_eq!(indexes(&database), INDEXES);
}
