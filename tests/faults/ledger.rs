//! A ledger that others change: triggers, tables of another type, loads of the same dump.

use crate::support::backends::terminate;
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines, small_event};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Ended, Program, Running, Workplace, assert_tables};
use crate::support::progress::segments;
use crate::support::proxy::{Fault, Phase, Proxy, What};
use crate::support::{eventually, log_case};
use nix::sys::signal::Signal;
use std::time::Duration;

fn ledger(database: &Database<'_>) -> Vec<(i64, i64, i64)> {
    let sql = "select number, inserted, duplicate from kill_load_segment order by number";
    let rows = database.client().query(sql, &[]).expect("the ledger");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// A load after `schema apply` and this SQL.
fn load_changed(sql: &str) -> Ended {
    let database = Cluster::shared().database("ledger");
    let work = Workplace::new();
    work.write("dump.ndjson", generated(20, 3, 0.0));
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    database.client().batch_execute(sql).expect("a change");
    work.load(&database, &["dump.ndjson"]).run()
}

#[test]
fn a_trigger_that_drops_ledger_rows_ends_the_load() {
    let drop = "create function nothing() returns trigger language plpgsql as 'begin return null; end'";
    for (table, event) in
        [("kill_load_segment", "insert"), ("kill_load_segment", "update"), ("kill_load_run", "insert")]
    {
        let trigger =
            format!("create trigger t before {event} on {table} for each row execute function nothing()");
        let ended = load_changed(&format!("{drop}; {trigger}")).expect(CODE_PERMANENT);
        assert!(
            ended.stdout.contains("a trigger or rule of kill_load_run or kill_load_segment"),
            "{ended:?}"
        );
        ended.summary().check(&[("inserted", 0), ("events", ended.summary().count("unfinished"))]);
    }
}

#[test]
fn the_hint_about_a_rule_of_the_ledger_removes_it() {
    for (table, event) in
        [("kill_load_run", "insert"), ("kill_load_run", "update"), ("kill_load_segment", "insert")]
    {
        let rule = format!("create rule keep as on {event} to {table} do instead nothing");
        let ended = load_changed(&rule).expect(CODE_PERMANENT);
        let statement = format!("DROP RULE keep ON public.{table}");
        assert!((ended.stdout.clone() + &ended.stderr).contains(&statement), "{ended:?}");
        load_changed(&format!("{rule}; {statement}")).expect(0);
    }
}

#[test]
fn a_trigger_that_drops_the_end_of_a_run_is_reported() {
    let ended = load_changed(
        "create function nothing() returns trigger language plpgsql as 'begin return null; end';
         create trigger t before update on kill_load_run for each row execute function nothing()",
    );
    let ended = ended.expect(CODE_PERMANENT);
    assert!(ended.stdout.contains("a trigger or rule of kill_load_run"), "{ended:?}");
    ended.summary().check(&[("inserted", 20), ("unfinished", 0)]);
}

#[test]
fn the_error_of_a_trigger_that_needs_a_search_path_has_the_fix() {
    let trigger = "create table audit (run uuid);
        create function note() returns trigger language plpgsql as
          'begin insert into audit values (new.id); return null; end';
        create trigger t after insert on kill_load_run for each row execute function note()";
    let ended = load_changed(trigger).expect(CODE_PERMANENT);
    assert!(ended.stdout.contains("run ALTER FUNCTION … SET search_path"), "{ended:?}");
    load_changed(&format!("{trigger}; alter function note() set search_path to public")).expect(0);
}

#[test]
fn a_trigger_that_drops_the_mark_of_reported_rejects_is_named() {
    let database = Cluster::shared().database("marks");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let trigger = "create function nothing() returns trigger language plpgsql as 'begin return null; end';
        create trigger t before update on kill_load_segment for each row when (new.reported)
        execute function nothing()";
    database.client().batch_execute(trigger).expect("a trigger");
    let ended = work.load(&database, &[]).stdin("no event\n").expect(3);
    ended.says(&["reports these rejects again", "a trigger or rule of kill_load_run or kill_load_segment"]);
}

/// The exit code of a permanent error.
const CODE_PERMANENT: i32 = 7;

#[test]
fn ledger_columns_of_another_type_are_rejected() {
    for column in ["run", "number", "lines", "events", "inserted", "updated", "duplicate", "rejected"] {
        log_case(column);
        let database = Cluster::shared().database("types");
        let work = Workplace::new();
        work.write("dump.ndjson", generated(20, 3, 0.0));
        work.load(&database, &["dump.ndjson"]).expect(0);
        let change = format!("alter table kill_load_segment alter {column} type text using {column}::text");
        database.client().batch_execute(&change).expect("a change");
        let again = work.load(&database, &["--force", "dump.ndjson"]).expect(CODE_PERMANENT);
        assert!(!again.stderr.contains("panicked"), "{again:?}");
        assert!(again.stdout.contains("kill_load_segment"), "{again:?}");
    }
}

#[test]
fn equal_files_loaded_with_force_keep_the_first_rows() {
    let database = Cluster::shared().database("twins");
    let work = Workplace::new();
    let dump = generated(30, 4, 0.0);
    work.write("a.ndjson", &dump);
    work.write("b.ndjson", &dump);
    let run = work.load(&database, &["--force", "a.ndjson", "b.ndjson"]).expect(0);
    run.summary().check(&[("inserted", 30), ("duplicate", 30), ("unfinished", 0)]);
    let rows = ledger(&database);
    assert_eq!((rows.len(), rows[0].1, rows[0].2), (1, 30, 0), "{rows:?}");
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn a_lost_commit_answer_is_resolved_although_another_load_commits() {
    for args in [&["--force"][..], &["--on-conflict", "update"]] {
        let database = Cluster::shared().database("lost");
        let work = Workplace::new();
        let dump = generated(30, 5, 0.0);
        work.write("dump.ndjson", &dump);
        let proxy = Proxy::to(Cluster::shared().port());
        proxy.plan(Fault::new(Phase::CommitAnswer, What::Stall).after_copy());
        let first = work
            .load(&database, &["dump.ndjson"])
            .env("DATABASE_URL", &proxy.url(&database))
            .env("DATABASE_STALL_TIMEOUT", "3s")
            .start();
        proxy.wait_until_hit();
        let second = work.load(&database, &[args, &["dump.ndjson"]].concat()).expect(0);
        second.summary().check(&[("inserted", 0), ("updated", 0), ("duplicate", 30)]);
        let first = first.finish().expect(0);
        first.summary().check(&[("inserted", 30), ("already_loaded", 0), ("unfinished", 0)]);
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    }
}

/// A load of 20 events from standard input. `change` is called when they are stored.
pub(crate) fn load_while(
    work: &Workplace,
    database: &Database<'_>,
    dump: &[u8],
    change: impl FnOnce(),
) -> Ended {
    load_and_change(work.load(database, &[]), database, dump, |_| change())
}

/// Starts the load, and calls `change` when the 20 events of `dump` are stored. Then the input ends.
pub(crate) fn load_and_change(
    load: Program,
    database: &Database<'_>,
    dump: &[u8],
    change: impl FnOnce(&mut Running),
) -> Ended {
    let mut running = load.env("KILLS_FLUSH_INTERVAL", "10").start();
    running.feed(dump);
    eventually(Duration::from_mins(1), "the events are stored", || {
        let sql = "select coalesce(sum(events), 0)::bigint from kill_load_segment
            where run in (select id from kill_load_run where status = 'running')";
        database.client().query_one(sql, &[]).is_ok_and(|row| row.get::<_, i64>(0) == 20)
    });
    change(&mut running);
    running.finish_after_input()
}

/// The ledger still has the segments, so the suggested command has `--force`.
#[test]
fn events_that_another_session_removes_during_a_load_are_missed() {
    let dump = generated(20, 6, 0.0);
    let expected = expect(&dump, Nul::Reject).tables;
    let all = "truncate kill_event, kill_player, kill_loot";
    for change in ["truncate kill_event", all, "delete from kill_event"] {
        log_case(change);
        let database = Cluster::shared().database("emptied");
        let work = Workplace::new();
        let ended = load_while(&work, &database, &dump, || {
            database.client().batch_execute(change).expect("a change");
        });
        let ended = ended.expect(4);
        ended.summary().check(&[("inserted", 0), ("events", 20), ("unfinished", 20)]);
        let error = ended.summary().error().to_owned();
        assert!(error.contains("20 of 20 events were committed in segments whose events"), "{error}");
        assert!(error.contains("load --server americas --force"), "{error}");
        work.load(&database, &["--force"]).stdin(&dump[..]).expect(0);
        assert_tables(&database, "americas", &expected);
    }
}

/// It removes the segments from the ledger too, so that the next load stores the events again.
#[test]
fn a_deletion_by_the_program_during_a_load_does_not_fail_it() {
    let dump = generated(20, 7, 0.0);
    let database = Cluster::shared().database("deleted");
    let work = Workplace::new();
    work.write("dump.ndjson", &dump);
    let ended = load_while(&work, &database, &dump, || {
        work.program(&["delete", "dump.ndjson"]).env("DATABASE_URL", &database.url()).expect(0);
    });
    ended.expect(0).says(&["'delete' removed ", " of this load from the ledger"]);
    work.load(&database, &["dump.ndjson"]).expect(0).summary().check(&[("inserted", 20)]);
}

/// Kills a load, and starts another, which completes the row of the killed one. Returns the sum of the events that all runs
/// inserted, and the number of stored events.
fn counts_after_kill(work: &Workplace, database: &Database<'_>, running: Running) -> (i64, i64) {
    running.signal(Signal::SIGKILL);
    running.finish().expect(137);
    let mut client = database.client();
    let sessions = "select from pg_stat_activity
                    where datname = current_database() and application_name like 'aegis-kills %'";
    eventually(Duration::from_mins(1), "its sessions have ended", || {
        client.query(sessions, &[]).expect("sessions").is_empty()
    });
    work.load(database, &[]).expect(0);
    let sql = "select (select sum(inserted)::bigint from kill_load_run), (select count(*) from kill_event)";
    let row = client.query_one(sql, &[]).expect("counts");
    (row.get(0), row.get(1))
}

/// A load from a pipe that has stored this much.
fn stored_from_pipe(work: &Workplace, database: &Database<'_>, text: &[u8]) -> Running {
    let mut running = work.load(database, &["-"]).env("KILLS_FLUSH_INTERVAL", "10").start();
    running.feed(text);
    eventually(Duration::from_mins(1), "it is stored", || segments(database) > 0);
    running
}

#[test]
fn a_killed_load_keeps_the_counts_of_segments_that_another_load_has_written_again() {
    let database = Cluster::shared().database("again");
    let work = Workplace::new();
    // The rejects are reported at the end of a load. Until then, another load of the segment writes it again.
    let mut lines: Vec<String> = (1..=3).map(|id| small_event(id).to_string()).collect();
    lines.push("no event".to_owned());
    let dump = join(&lines);
    work.write("dump.ndjson", &dump);
    let running = stored_from_pipe(&work, &database, &dump);
    let again = work.load(&database, &["dump.ndjson"]).expect(3);
    again.summary().check(&[("inserted", 0), ("duplicate", 3), ("rejected", 1)]);
    assert_eq!(counts_after_kill(&work, &database, running), (3, 3));
}

#[test]
fn a_load_that_lost_its_sessions_keeps_all_its_counts_when_it_is_killed() {
    let database = Cluster::shared().database("lost");
    let work = Workplace::new();
    let dump = generated(4, 5, 0.0);
    let events = lines(&dump);
    let mut running = stored_from_pipe(&work, &database, &join(&events[..1]));
    // Without sessions it seems to have crashed.
    running.signal(Signal::SIGSTOP);
    let mut client = database.client();
    eventually(Duration::from_mins(1), "the other load marks it", || {
        terminate(&mut client, usize::MAX, &mut fastrand::Rng::with_seed(1));
        work.load(&database, &[]).expect(0);
        let sql = "select from kill_load_run where status = 'failed'";
        !client.query(sql, &[]).expect("runs").is_empty()
    });
    running.signal(Signal::SIGCONT);
    running.feed(&join(&events[1..]));
    eventually(Duration::from_mins(1), "it continues", || {
        client.query("select from kill_event", &[]).expect("events").len() == 4
    });
    assert_eq!(counts_after_kill(&work, &database, running), (4, 4));
}
