//! Rows that another session removes while a load runs: from the ledger, from the tables of players and loot, by a crash of
//! a server with an unlogged table.

use crate::faults::ledger::{load_and_change, load_while};
use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, small_event, version};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Ended, Workplace, assert_tables};
use crate::support::{eventually, log_case};
use std::time::Duration;

fn run(database: &Database<'_>, sql: &str) {
    database.client().batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// The ledger has none of the segments, so the same command loads them again.
#[test]
fn events_removed_together_with_the_ledger_are_missed() {
    let dump = generated(20, 8, 0.0);
    let expected = expect(&dump, Nul::Reject).tables;
    for change in [
        "truncate kill_event, kill_player, kill_loot, kill_load_segment, kill_load_file",
        "delete from kill_load_segment; delete from kill_event; delete from kill_player; delete from kill_loot",
        "delete from kill_load_segment; delete from kill_event",
        "truncate kill_load_run, kill_load_segment, kill_event, kill_player, kill_loot",
    ] {
        log_case(change);
        let database = Cluster::shared().database("removed");
        let work = Workplace::new();
        let ended = load_while(&work, &database, &dump, || run(&database, change)).expect(4);
        ended.summary().check(&[("inserted", 0), ("events", 20), ("unfinished", 20)]);
        let error = ended.summary().error().to_owned();
        assert!(error.contains("another session truncated the tables"), "{error}");
        assert!(error.contains("run the same command again"), "{error}");
        assert!(!ended.stderr.contains("'delete'"), "{ended:?}");
        work.load(&database, &[]).stdin(&dump[..]).expect(0).summary().check(&[("inserted", 20)]);
        assert_tables(&database, "americas", &expected);
    }
}

/// The other loader's version of the events has no loot.
#[test]
fn rows_that_another_update_removes_are_not_missed() {
    let (with_loot, without): (Vec<_>, Vec<_>) =
        (1..=20).map(|id| (version(id, 1), small_event(id).to_string())).unzip();
    let (dump, update) = (join(&with_loot), join(&without));
    let database = Cluster::shared().database("updated");
    let work = Workplace::new();
    let ended = load_while(&work, &database, &dump, || {
        let other = work.load(&database, &["--on-conflict", "update"]).stdin(&update[..]).expect(0);
        other.summary().check(&[("updated", 20)]);
    });
    ended.expect(0).summary().check(&[("inserted", 20), ("unfinished", 0)]);
    assert_tables(&database, "americas", &expect(&update, Nul::Reject).tables);
}

/// A load that fails for another reason looks up its events, too.
#[test]
fn events_removed_before_a_load_fails_are_missed() {
    let dump = generated(20, 10, 0.0);
    let database = Cluster::shared().database("failing");
    let work = Workplace::new();
    let load = work.load(&database, &["--rejects", "/dev/full"]);
    let ended = load_and_change(load, &database, &dump, |running| {
        run(&database, "truncate kill_event, kill_player, kill_loot");
        running.feed(b"{}\n");
    });
    let ended =
        ended.expect(1).says(&["20 of 21 events were committed", "load --server americas", "--force"]);
    ended.summary().check(&[("inserted", 0), ("events", 21)]);
    assert!(ended.summary().error().contains("No space left"), "{}", ended.summary().error());
    work.load(&database, &["--force"]).stdin(&dump[..]).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn a_ledger_removed_without_events_is_only_a_warning() {
    let dump = generated(20, 9, 0.0);
    let database = Cluster::shared().database("forgotten");
    let work = Workplace::new();
    let ended = load_while(&work, &database, &dump, || run(&database, "truncate kill_load_segment"));
    let ended = ended.expect(0).says(&["another session removed ", "but not their first and last events"]);
    ended.summary().check(&[("inserted", 20), ("unfinished", 0)]);
    assert!(!ended.stderr.contains("'delete'"), "{ended:?}");
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    work.load(&database, &[]).stdin(&dump[..]).expect(0).summary().check(&[("duplicate", 20)]);
}

#[test]
fn a_run_removed_from_the_ledger_is_only_a_warning() {
    let dump = generated(20, 13, 0.0);
    let database = Cluster::shared().database("unrecorded");
    let work = Workplace::new();
    let ended = load_while(&work, &database, &dump, || run(&database, "delete from kill_load_run"));
    let ended = ended.expect(0).says(&["removed the row of this run from kill_load_run"]);
    ended.summary().check(&[("inserted", 20), ("unfinished", 0)]);
    assert!(!ended.stderr.contains("drops the written rows"), "{}", ended.stderr);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

/// `delete` of other events does not explain why the segments of this load are gone.
#[test]
fn a_deletion_of_other_events_explains_no_missing_segment() {
    let (old, new) = (events(1), events(1_001));
    let database = Cluster::shared().database("mixed");
    let work = Workplace::new();
    work.write("old.ndjson", &old);
    work.load(&database, &["old.ndjson"]).expect(0);
    let ended = load_while(&work, &database, &new, || {
        work.program(&["delete", "old.ndjson"]).env("DATABASE_URL", &database.url()).expect(0);
        let marked = "select count(*) from kill_load_run where status = 'running' and error like '''delete'' removed%'";
        assert_eq!(database.client().query_one(marked, &[]).expect("a count").get::<_, i64>(0), 1);
        run(&database, "truncate kill_event, kill_player, kill_loot, kill_load_segment");
    });
    ended.expect(4).summary().check(&[("inserted", 0), ("unfinished", 20)]);
    // The end of the run replaces the mark.
    let failed =
        "select count(*) from kill_load_run where status = 'failed' and error like '%20 of 20 events%'";
    assert_eq!(database.client().query_one(failed, &[]).expect("a count").get::<_, i64>(0), 1);
    work.load(&database, &[]).stdin(&new[..]).expect(0).summary().check(&[("inserted", 20)]);
    assert_tables(&database, "americas", &expect(&new, Nul::Reject).tables);
}

/// `--force` would keep the stored events as they are.
#[test]
fn rows_of_players_and_loot_that_another_session_removes_are_missed() {
    let dump = generated(20, 10, 0.0);
    let expected = expect(&dump, Nul::Reject).tables;
    for (change, is_of_each) in [
        ("truncate kill_player", true),
        ("delete from kill_player", true),
        ("truncate kill_loot", false),
        ("delete from kill_loot", false),
        ("truncate kill_player, kill_load_segment", true),
    ] {
        log_case(change);
        let database = Cluster::shared().database("stripped");
        let work = Workplace::new();
        let ended = load_while(&work, &database, &dump, || run(&database, change)).expect(4);
        let unfinished = ended.summary().count("unfinished");
        // A segment can be without loot.
        assert!(unfinished == 20 || unfinished > 0 && !is_of_each, "{ended:?}");
        ended.summary().check(&[("inserted", 20 - unfinished), ("events", 20)]);
        let error = ended.summary().error().to_owned();
        assert!(error.contains("events were committed in segments whose events lack rows"), "{error}");
        assert!(error.contains("load --server americas --on-conflict update"), "{error}");
        work.load(&database, &["--on-conflict", "update"]).stdin(&dump[..]).expect(0);
        assert_tables(&database, "americas", &expected);
    }
}

/// The log conceals the login of a URL, so the command has another form of it.
#[test]
fn the_command_that_restores_removed_rows_works_when_pasted() {
    let dump = generated(20, 10, 0.0);
    let database = Cluster::shared().database("pasted");
    let work = Workplace::new();
    let load = work.load(&database, &["--database-url", &database.tcp_url()]);
    let ended = load_and_change(load, &database, &dump, |_| run(&database, "truncate kill_player")).expect(4);
    let error = ended.summary().error().to_owned();
    let (_, command) = error.split_once("load the input again with: ").expect("a command");
    assert!(command.contains("--database-url"), "{command}");
    work.other_program("sh", &["-c", command]).stdin(&dump[..]).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn a_table_dropped_during_a_load_is_named_with_the_command_that_restores_its_rows() {
    let dump = generated(20, 10, 0.0);
    let expected = expect(&dump, Nul::Reject).tables;
    for table in ["kill_player", "kill_loot"] {
        log_case(table);
        let database = Cluster::shared().database("dropped");
        let work = Workplace::new();
        let change = format!("drop table {table}");
        let ended = load_while(&work, &database, &dump, || run(&database, &change)).expect(7);
        let error = ended.summary().error().to_owned();
        let cause = format!("the table {table} is missing in schema \"public\", but kill_event has rows");
        assert!(error.contains(&cause), "{error}");
        assert!(error.contains("load --server americas --on-conflict update"), "{error}");
        work.load(&database, &["--on-conflict", "update"]).stdin(&dump[..]).expect(0);
        assert_tables(&database, "americas", &expected);
    }
}

#[test]
fn the_error_about_removed_events_names_triggers() {
    let dump = generated(20, 11, 0.0);
    let database = Cluster::shared().database("named");
    let work = Workplace::new();
    let change = "create function nothing() returns trigger language plpgsql as 'begin return null; end';
        create trigger mine after insert on kill_event for each row execute function nothing(); delete from kill_event";
    let ended = load_while(&work, &database, &dump, || run(&database, change)).expect(4);
    let error = ended.summary().error().to_owned();
    assert!(error.contains("or a trigger or rule removed them (kill_event has the trigger mine)"), "{error}");
    assert!(error.contains("--force"), "{error}");
    work.load(&database, &["--force"]).stdin(&dump[..]).expect(0);
    assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
}

#[test]
fn triggers_that_remove_rows_of_the_ledger_are_named() {
    let dump = generated(20, 11, 0.0);
    let expected = expect(&dump, Nul::Reject).tables;
    let database = Cluster::shared().database("named");
    let work = Workplace::new();
    let change = "create function nothing() returns trigger language plpgsql as 'begin return null; end';
        create trigger mine after insert on kill_load_segment for each row execute function nothing();
        truncate kill_event, kill_player, kill_loot, kill_load_segment";
    let ended = load_while(&work, &database, &dump, || run(&database, change)).expect(4);
    let error = ended.summary().error().to_owned();
    assert!(
        error.contains("or a trigger or rule removed them (kill_load_segment has the trigger mine)"),
        "{error}"
    );
    assert!(error.contains("removes rows; then run the same command again"), "{error}");
    work.load(&database, &[]).stdin(&dump[..]).expect(0);
    assert_tables(&database, "americas", &expected);

    let database = Cluster::shared().database("forgetting");
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let trigger = "create function forget() returns trigger language plpgsql as
          $$ begin delete from kill_load_segment where hash = new.hash; return null; end $$;
        create trigger mine after update on kill_load_segment for each row execute function forget()";
    run(&database, trigger);
    work.load(&database, &[]).stdin(&dump[..]).expect(0).says(&[
        "another session, or a trigger or rule (kill_load_segment has the trigger mine), removed 1 segment of this load",
    ]);
    assert_tables(&database, "americas", &expected);
}

fn events(first: i64) -> Vec<u8> {
    join(&(first..first + 20).map(|id| small_event(id).to_string()).collect::<Vec<_>>())
}

/// A load that skips a file of 20 events unread, and stores 20 from standard input before `change` is called.
fn load_beside_skipped(work: &Workplace, database: &Database<'_>, change: impl FnOnce()) -> Ended {
    work.write("old.ndjson", events(1));
    eventually(Duration::from_secs(30), "the unchanged file is skipped", || {
        work.load(database, &["old.ndjson"]).expect(0).summary().count("files_skipped") == 1
    });
    let load = work.load(database, &["old.ndjson", "-"]);
    load_and_change(load, database, &events(1_001), |_| change())
}

#[test]
fn events_of_skipped_files_that_another_session_removes_are_missed() {
    let expected = expect(&[events(1), events(1_001)].concat(), Nul::Reject).tables;
    for change in [
        "truncate kill_event, kill_player, kill_loot, kill_load_segment, kill_load_file",
        "truncate kill_event, kill_player, kill_loot, kill_load_segment",
    ] {
        log_case(change);
        let database = Cluster::shared().database("skipped");
        let work = Workplace::new();
        let ended = load_beside_skipped(&work, &database, || run(&database, change)).expect(4);
        ended.summary().check(&[
            ("files_skipped", 1),
            ("inserted", 0),
            ("already_loaded", 0),
            ("unfinished", 40),
        ]);
        let error = ended.summary().error().to_owned();
        assert!(error.contains("40 of 40 events were committed in segments"), "{error}");
        assert!(error.contains("run the same command again"), "{error}");
        let again = work.load(&database, &["old.ndjson", "-"]).stdin(events(1_001)).expect(0);
        again.summary().check(&[("files_skipped", 0), ("inserted", 40)]);
        assert_tables(&database, "americas", &expected);
    }
}

#[test]
fn skipped_files_whose_events_are_there_or_deleted_do_not_fail_a_load() {
    let work = Workplace::new();
    let database = Cluster::shared().database("skipped");
    let ended = load_beside_skipped(&work, &database, || run(&database, "truncate kill_load_file")).expect(0);
    ended.summary().check(&[("files_skipped", 1), ("inserted", 20), ("already_loaded", 20)]);
    assert!(!ended.stderr.contains("another session"), "{}", ended.stderr);

    let database = Cluster::shared().database("skipped");
    let ended = load_beside_skipped(&work, &database, || {
        work.program(&["delete", "old.ndjson"]).env("DATABASE_URL", &database.url()).expect(0);
    });
    let ended = ended.expect(0).says(&["'delete' removed 1 segment of this load from the ledger"]);
    ended.summary().check(&[("inserted", 20), ("already_loaded", 20)]);
    work.load(&database, &["old.ndjson"]).expect(0).summary().check(&[("inserted", 20)]);
}

#[test]
fn a_table_made_unlogged_during_a_load_is_reported() {
    let dump = generated(20, 12, 0.0);
    let expected = expect(&dump, Nul::Reject).tables;
    let cluster = Cluster::private(&[]);
    for is_crash in [false, true] {
        let database = cluster.database("unlogged");
        let work = Workplace::new();
        let ended = load_while(&work, &database, &dump, || {
            run(&database, "alter table kill_player set unlogged");
            if is_crash {
                cluster.stop_immediate();
                cluster.start();
            }
        });
        let ended = ended.expect(if is_crash { 4 } else { 7 });
        let unfinished = if is_crash { 20 } else { 0 };
        ended.summary().check(&[("inserted", 20 - unfinished), ("unfinished", unfinished)]);
        let error = ended.summary().error().to_owned();
        assert!(error.contains("kill_player is unlogged and kill_load_segment is not"), "{error}");
        assert!(error.contains("ALTER TABLE \"public\".\"kill_player\" SET LOGGED"), "{error}");
        run(&database, "alter table kill_player set logged");
        if is_crash {
            assert!(error.contains("load --server americas --on-conflict update"), "{error}");
            work.load(&database, &["--on-conflict", "update"]).stdin(&dump[..]).expect(0);
        }
        assert_tables(&database, "americas", &expected);
    }
}
