//! `verify` by ids: which events of a dump are stored.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, gzip, in_arrays, join, lines, small_event, zstd_frames};
use crate::support::eventually;
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Program, Workplace, assert_tables};
use crate::support::terminal::Terminal;

fn verify(work: &Workplace, database: &Database<'_>, args: &[&str]) -> Program {
    work.program(&["verify"]).args(args).env("DATABASE_URL", &database.url())
}

fn found(program: Program, code: i32) -> Value {
    serde_json::from_str(&program.args(&["--json"]).expect(code).stdout).expect("one JSON object")
}

/// The result without differences.
fn account(events: u64, present: u64, missing: u64, missing_ids: &[i64]) -> Value {
    json!({"events": events, "present": present, "missing": missing, "missing_ids": missing_ids,
        "different": 0, "different_ids": []})
}

/// The result of a comparison that did not reach the end of all sources.
fn with_status(mut account: Value, status: &str) -> Value {
    account["status"] = status.into();
    account
}

#[test]
fn stored_events_are_present() {
    let database = Cluster::shared().database("present");
    let work = Workplace::new();
    let dump = generated(120, 41, 10.0);
    work.load(&database, &[]).stdin(dump.clone()).expect(0);
    work.write("dump", &dump);
    work.write("dump.gz", gzip(&dump));
    let all = |events: u64| account(events, events, 0, &[]);
    assert_eq!(found(verify(&work, &database, &["dump"]).segment_bytes(16 << 10), 0), all(120));
    assert_eq!(
        found(verify(&work, &database, &["dump", "dump.gz", "-"]).stdin(zstd_frames(&dump, 90_000)), 0),
        all(360)
    );
    assert_eq!(found(verify(&work, &database, &[]).stdin(in_arrays(&dump, 51)), 0), all(120));
    assert_eq!(found(verify(&work, &database, &[]), 0), all(0));
    let words = verify(&work, &database, &["dump"]).expect(0).stdout;
    assert!(words.contains("120") && !words.contains("missing"), "{words}");
    // Ids of another server do not count.
    assert_eq!(found(verify(&work, &database, &["dump", "--server", "asia"]), 6)["missing"], 120);
}

/// As after a crash of the server, which empties unlogged tables.
#[test]
fn the_suggested_load_into_unlogged_tables_works() {
    let database = Cluster::shared().database("unlogged");
    let work = Workplace::new();
    let dump = generated(20, 44, 0.0);
    work.write("dump", &dump);
    work.load(&database, &["dump"]).expect(0);
    let crash = "alter table kill_event set unlogged; alter table kill_player set unlogged;
         alter table kill_loot set unlogged; truncate kill_event, kill_player, kill_loot";
    database.client().batch_execute(crash).expect("empty tables");
    let report = verify(&work, &database, &["dump"]).expect(6).stdout;
    let after = |purpose: &str| {
        let rest = report.split_once(purpose).and_then(|(_, rest)| rest.lines().next());
        rest.unwrap_or_else(|| panic!("no {purpose:?} in {report}"))
    };
    database.client().batch_execute(after("run in psql as the owner:\n")).expect("the owner may");
    let args: Vec<&str> = after("To load the missing events:\n").split_whitespace().skip(1).collect();
    work.program(&args).env("DATABASE_URL", &database.url()).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

/// A crash empties only the unlogged tables, so that events can lack only their child rows.
#[test]
fn the_reload_that_a_load_suggests_restores_unlogged_tables() {
    let work = Workplace::new();
    let dump = generated(20, 45, 0.0);
    work.write("dump", &dump);
    for tables in
        [&["kill_loot"][..], &["kill_player", "kill_loot"], &["kill_event"], &["kill_event", "kill_player"]]
    {
        let database = Cluster::shared().database("unlogged");
        work.load(&database, &["dump"]).expect(0);
        for table in tables {
            let crash = format!("alter table {table} set unlogged; truncate {table}");
            database.client().batch_execute(&crash).expect("an empty table");
        }
        let failed = work.load(&database, &["dump"]).expect(7).summary();
        let (_, hint) = failed.error().split_once("run in psql as the owner: ").expect("statements");
        let (statements, options) =
            hint.split_once("; after a crash, reload the dumps with ").expect("options");
        database.client().batch_execute(statements).expect("the owner may");
        let options: Vec<&str> = options.split_whitespace().collect();
        work.load(&database, &[&options[..], &["dump"]].concat()).expect(0);
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    }
}

#[test]
fn missing_events_are_reported_by_id() {
    let database = Cluster::shared().database("missing");
    let work = Workplace::new();
    let dump = join(&(1..=400).map(|id| small_event(id).to_string()).collect::<Vec<_>>());
    work.load(&database, &[]).stdin(dump.clone()).expect(0);
    work.write("dump", &dump);
    let mut client = database.client();

    client.batch_execute("delete from kill_event where event_id in (7, 300)").expect("to delete");
    let program = || verify(&work, &database, &["dump"]).segment_bytes(4 << 10);
    assert_eq!(found(program(), 6), account(400, 398, 2, &[7, 300]));
    let words = program().expect(6).stdout;
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!(lines[0], "Missing: 2 of 400 events are not in the database.");
    assert!(lines[2].ends_with(" 398 present") && lines[3].ends_with(" 2 missing"), "{words}");
    assert_eq!(lines[4..6], ["dump:7  event 7 is missing", "dump:300  event 300 is missing"]);

    client.batch_execute("delete from kill_event where event_id > 250").expect("to delete");
    let missing = found(program(), 6);
    assert_eq!((&missing["missing"], &missing["present"]), (&json!(151), &json!(249)));
    let ids: Vec<i64> = [7].into_iter().chain(251..350).collect();
    assert_eq!(missing["missing_ids"], json!(ids), "the first 100");
    let ended = program().args(&["-v"]).expect(6);
    assert_eq!(ended.stdout.matches("  event ").count(), 100, "the first 100");
    assert!(ended.stdout.contains("\n… and 51 more in the log\n"), "{}", ended.stdout);
    let brief = program().expect(6).stdout;
    assert!(brief.contains("\n… and 51 more; -v lists all\n"), "{brief}");
    assert_eq!(ended.stderr.matches("  event ").count(), 151, "with -v it is all of them");

    // The suggested command stores all of them.
    let next = ended.stdout.lines().last().expect("a command").trim();
    let args: Vec<&str> = next.split(' ').skip(1).collect();
    assert!(next.starts_with(env!("CARGO_BIN_EXE_aegis-kills")), "as it was called: {next}");
    let load = work.program(&args).args(&["--json"]).env("DATABASE_URL", &database.url());
    load.expect(0).summary().check(&[("inserted", 151)]);
    assert_eq!(found(program(), 0)["missing"], 0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn rejected_events_count_as_missing() {
    let database = Cluster::shared().database("unloadable");
    let work = Workplace::new();
    let dump = format!("{}\nno event\n[{},{{\"EventId\":3}}]\n\n", small_event(1), small_event(2));
    work.load(&database, &[]).stdin(dump.clone()).expect(3);
    let result = found(verify(&work, &database, &[]).stdin(dump.clone()), 6);
    assert_eq!(result, account(4, 2, 2, &[]));
    let words = verify(&work, &database, &[]).stdin(dump).expect(6).stdout;
    for wanted in [
        "<stdin>:2  can't be loaded",
        "<stdin>:3  can't be loaded",
        "TimeStamp",
        "aegis-kills load --server americas --dry-run -",
    ] {
        assert!(words.contains(wanted), "{wanted:?} is missing in: {words}");
    }
}

#[test]
fn broken_input_and_missing_tables_are_errors() {
    let database = Cluster::shared().database("broken");
    let work = Workplace::new();
    let dump = generated(60, 43, 0.0);
    let begin = join(&lines(&dump)[..40]);
    // Half of the second member's header.
    let end = gzip(&join(&lines(&dump)[40..]));
    let broken = [&gzip(&begin)[..], &end[..5]].concat();
    work.write("broken.gz", &broken);
    verify(&work, &database, &["broken.gz"]).expect(7).says(&["has no table kill_event (layout archive)"]);
    work.load(&database, &[]).stdin(dump).expect(0);
    let ended =
        verify(&work, &database, &["broken.gz", "--json"]).expect(1).says(&["broken.gz", "cut short"]);
    let result: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(result, with_status(account(40, 40, 0, &[]), "failed"));
    let words = verify(&work, &database, &["broken.gz"]).expect(1).stdout;
    let failed = "Failed: some input could not be read. Of 40 events read, 0 missing and 0 different.\n";
    assert_eq!(words, failed);
    verify(&work, &database, &["missing.gz"]).expect(1).says(&["missing.gz"]);
}

#[test]
fn a_stopped_comparison_clears_its_progress_and_reports() {
    let database = Cluster::shared().database("stopped");
    let work = Workplace::new();
    let dump = generated(60, 42, 0.0);
    work.load(&database, &[]).stdin(dump.clone()).expect(0);
    for (signal, code, is_blocked) in [(Signal::SIGINT, 130, false), (Signal::SIGTERM, 143, true)] {
        let terminal = Terminal::new(120);
        let program = verify(&work, &database, &[]).env("KILLS_FLUSH_INTERVAL", "10").env("TERM", "xterm");
        let mut running = program.on(&terminal).start();
        running.feed(&dump);
        terminal.shows(&["compared 60"]);
        let mut client = database.client();
        let mut lock = client.transaction().expect("a transaction");
        if is_blocked {
            lock.batch_execute("lock table kill_event").expect("a lock");
            running.feed(&dump);
            terminal.shows(&["no answer from the database for "]);
        }
        running.signal(signal);
        let ended = running.finish().expect(code);
        let headline = "Interrupted: compared 60 events; no difference so far.\nWorking directory: ";
        assert!(ended.stdout.starts_with(headline), "{}", ended.stdout);
        assert!(ended.stdout.contains("\nTo run it again:\n  … | "), "{}", ended.stdout);
        assert!(ended.stdout.ends_with(" verify --server americas\n"), "{}", ended.stdout);
        eventually(Duration::from_mins(1), "only the log is left", || {
            let lines = terminal.lines();
            // On a slow machine a message about the lock precedes it.
            lines.last().is_some_and(|line| line.ends_with("stopping; another signal after 1 s aborts"))
                && !lines.iter().any(|line| line.contains("compared"))
        });
        lock.rollback().expect("the lock is given back");
    }
}

#[test]
fn the_json_of_a_stopped_comparison_has_its_status() {
    let database = Cluster::shared().database("stopped_json");
    let work = Workplace::new();
    let dump = generated(60, 42, 0.0);
    work.load(&database, &[]).stdin(dump.clone()).expect(0);
    let terminal = Terminal::new(120);
    let program =
        verify(&work, &database, &["--json"]).env("KILLS_FLUSH_INTERVAL", "10").env("TERM", "xterm");
    let mut running = program.on(&terminal).start();
    running.feed(&dump);
    terminal.shows(&["compared 60"]);
    running.signal(Signal::SIGTERM);
    let ended = running.finish().expect(143);
    let result: Value = serde_json::from_str(&ended.stdout).expect("one JSON object");
    assert_eq!(result, with_status(account(60, 60, 0, &[]), "interrupted"));
}
