//! `delete` that is killed, stopped or unanswered, and beside loads.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::database::delete::{assert_holds, check, count, delete, load, report, small_dump};
use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, join, lines};
use crate::support::http::get;
use crate::support::oracle::Layout;
use crate::support::program::Workplace;
use crate::support::progress::meanwhile;
use crate::support::proxy::{Fault, Phase, Proxy, What};
use crate::support::terminal::Terminal;
use crate::support::{eventually, free_port};

#[test]
fn a_killed_deletion_can_be_repeated() {
    let mut random = fastrand::Rng::with_seed(73);
    for (layout, args) in [
        ("archive", ["--before", "2024-08-15"]),
        ("aegis", ["--before", "2024-08-15"]),
        ("archive", ["--battle", "5"]),
        ("aegis", ["--battle", "5"]),
    ] {
        let database = Cluster::shared().database("killed");
        let work = Workplace::new();
        let dump = small_dump(9_000);
        work.write("dump", &dump);
        let of_dump = args[0] == "--battle";
        // The same parsing options as the deletion.
        let reading: &[&str] = if of_dump { &args } else { &[] };
        let load = || load(&work, &database, layout, "dump").args(reading);
        load().expect(0);
        let table = if layout == "aegis" { "\"KillEvent\"" } else { "kill_event" };
        let old =
            if layout == "aegis" { "\"TimeStamp\" < '2024-08-15'" } else { "occurred_at < '2024-08-15'" };
        let doomed = if of_dump { table.to_owned() } else { format!("{table} where {old}") };
        let mut killed = 0;
        for round in 0..6 {
            // The deletion waits for this row after a random number of batches.
            let row = random.u64(0..count(&database, &doomed).unsigned_abs());
            let mut owner = database.client();
            let mut held = owner.transaction().expect("a transaction");
            held.execute(&format!("select from {doomed} offset {row} limit 1 for update"), &[])
                .expect("a row");
            let program = delete(&work, &database, layout, &args).args(if of_dump { &["dump"] } else { &[] });
            let running = program.start();
            let waiting = "pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
            eventually(Duration::from_mins(1), "it waits for the row", || count(&database, waiting) > 0);
            let at_work = round % 2 == 0;
            if at_work {
                held.rollback().expect("the end of a transaction");
            }
            running.signal(Signal::SIGKILL);
            killed += i64::from(running.finish().code == 137);
            if round % 2 == 1 {
                // Every event that the ledger still claims is stored, so a load restores the rest.
                load().expect(0);
                assert_eq!(count(&database, table), 9_000);
                work.program(&["verify", "--layout", layout, "dump"])
                    .args(reading)
                    .env("DATABASE_URL", &database.url())
                    .expect(0);
            }
        }
        assert!(killed >= 3, "{killed}");
        delete(&work, &database, layout, &args).args(if of_dump { &["dump"] } else { &[] }).expect(0);
        assert_eq!(count(&database, &doomed), 0);
        if layout == "archive" {
            let orphans = "kill_player where event_id not in (select event_id from kill_event)";
            assert_eq!(count(&database, orphans), 0);
        }
        load().expect(0);
        assert_eq!(count(&database, table), 9_000);
    }
}

#[test]
fn a_load_during_a_deletion_loses_nothing() {
    for layout in Layout::ALL.map(Layout::name) {
        let database = Cluster::shared().database("beside");
        let work = Workplace::new();
        let dump = generated(900, 74, 0.0);
        let all = lines(&dump);
        let (old, new): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(number, _)| number % 2 == 0);
        let [old, new] =
            [old, new].map(|part| join(&part.into_iter().map(|(_, line)| *line).collect::<Vec<_>>()));
        work.write("old", &old);
        work.write("new", &new);
        load(&work, &database, layout, "old").expect(0);
        // The ids of both dumps interleave, so the ledger forgets segments of the load too.
        let program = load(&work, &database, layout, "new").segment_bytes(32 << 10);
        let ended = meanwhile(program, |ended| {
            loop {
                delete(&work, &database, layout, &["old"]).expect(0);
                if ended() {
                    break;
                }
                load(&work, &database, layout, "old").expect(0);
            }
        });
        ended.expect(0).summary().check(&[("events", 450), ("inserted", 450), ("unfinished", 0)]);
        assert_holds(&database, layout, &new);
        load(&work, &database, layout, "new").expect(0);
        load(&work, &database, layout, "old").expect(0);
        assert_holds(&database, layout, &dump);
    }
}

/// The load writes nothing, so its segments do not show which server had them.
#[test]
fn a_load_that_skips_everything_during_a_deletion_succeeds() {
    let database = Cluster::shared().database("skips");
    let work = Workplace::new();
    let dump = generated(60, 75, 0.0);
    work.write("dump", &dump);
    load(&work, &database, "archive", "dump").expect(0);
    let port = free_port();
    let mut running = work.load(&database, &["--listen", &port.to_string()]).segment_bytes(64 << 10).start();
    running.feed(&dump);
    eventually(Duration::from_mins(1), "the segment is skipped", || {
        get(port, "/metrics")
            .1
            .contains("aegis_kills_events_total{outcome=\"already_loaded\",server=\"americas\"} 60")
    });
    check(&delete(&work, &database, "archive", &["dump"]).expect(0), &[("events", 60)]);
    let ended = running.finish_after_input().expect(0).says(&["'delete' removed"]);
    ended.summary().check(&[("already_loaded", 60), ("inserted", 0)]);
    load(&work, &database, "archive", "dump").expect(0).summary().check(&[("inserted", 60)]);
}

#[test]
fn a_stopped_deletion_finishes_its_batch_and_counts_it() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let database = Cluster::shared().database("stop");
        let work = Workplace::new();
        work.write("dump", small_dump(7_000));
        load(&work, &database, "archive", "dump").expect(0);
        let mut client = database.client();
        let mut lock = client.transaction().expect("a transaction");
        lock.batch_execute("lock table kill_event in share mode").expect("a lock");
        let running = delete(&work, &database, "archive", &["--before", "2025-01-01"]).start();
        let mut watcher = database.client();
        eventually(Duration::from_mins(1), "it waits for the lock", || {
            let sql = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
            !watcher.query(sql, &[]).expect("sessions").is_empty()
        });
        running.signal(signal);
        lock.rollback().expect("the lock is given back");
        let ended = running.finish().expect(code);
        let value = report(&ended);
        assert_eq!(value["status"], "interrupted");
        let deleted = value["deleted"].as_i64().expect("a count");
        assert!(deleted > 0 && deleted < 7_000, "{value}");
        assert_eq!(count(&database, "kill_event"), 7_000 - deleted);
        check(
            &delete(&work, &database, "archive", &["--before", "2025-01-01"]).expect(0),
            &[("deleted", 7_000 - u64::try_from(deleted).expect("a count"))],
        );
    }
}

/// The drain timeout is longer than the test's deadline.
#[test]
fn a_deletion_that_is_stopped_in_an_outage_ends_at_once() {
    let cluster = Cluster::private(&[]);
    let database = cluster.database("stopped");
    let work = Workplace::new();
    work.write("dump", small_dump(300));
    load(&work, &database, "archive", "dump").expect(0);
    let mut client = database.client();
    let mut lock = client.transaction().expect("a transaction");
    lock.batch_execute("lock table kill_load_segment in exclusive mode").expect("a lock");
    let terminal = Terminal::new(120);
    let deletion = work.program(&["delete", "--before", "2025-01-01"]).env("DATABASE_URL", &database.url());
    let deletion = deletion.env("KILLS_DRAIN_TIMEOUT", "10min").env("TERM", "xterm");
    let running = deletion.on(&terminal).start();
    terminal.shows(&["deleted 0"]);
    cluster.stop_immediate();
    terminal.shows(&["database unreachable for "]);
    running.signal(Signal::SIGINT);
    let ended = running.finish().expect(130);
    let headline = "Interrupted: 0 events before 2025-01-01 00:00:00 UTC deleted.\nWorking directory: ";
    assert!(
        ended.stdout.starts_with(headline) && ended.stdout.contains("\nTo resume:\n"),
        "{}",
        ended.stdout
    );
    // The line about the stop request can come too late: the program has ended.
    assert!(!terminal.bytes().contains("to write"), "a deletion writes nothing: {:?}", terminal.bytes());
    assert!(lock.rollback().is_err(), "the lock went with the server");
    cluster.start();
    assert_eq!(count(&database, "kill_event"), 300);
}

#[test]
fn a_deletion_whose_answer_is_lost_counts_once() {
    let database = Cluster::shared().database("answer");
    let work = Workplace::new();
    work.write("dump", small_dump(300));
    for at in [Phase::CommitSent, Phase::CommitAnswer] {
        load(&work, &database, "archive", "dump").expect(0);
        for nth in 1..=3 {
            let proxy = Proxy::to(Cluster::shared().port());
            proxy.plan(Fault::new(at, What::Cut).nth(nth));
            let program =
                delete(&work, &database, "archive", &["dump"]).env("DATABASE_URL", &proxy.url(&database));
            let ended = program.env("DATABASE_RETRY_BASE", "20").expect(0);
            check(&ended, &[("events", 300), ("deleted", 300), ("not_stored", 0)]);
            load(&work, &database, "archive", "dump").expect(0).summary().check(&[("inserted", 300)]);
        }
    }
}
