//! Rejects are reported once: those in an earlier run's reject file are not new. Only rejects on the disk count as
//! reported.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{join, small_event};
use crate::support::eventually;
use crate::support::program::{Ended, Workplace, read_rejects};

/// Longer values are rejected without being held in memory.
const VALUE_MAX_BYTES: usize = 16 << 20;

/// Two valid events, one that the program rejects, and one that a constraint of the database rejects.
fn dump() -> Vec<u8> {
    let mut rejected = small_event(3);
    rejected["TotalVictimKillFame"] = 666.into();
    join(&[
        small_event(1).to_string(),
        "no event".to_owned(),
        rejected.to_string(),
        small_event(4).to_string(),
    ])
}

fn reject_by_constraint(work: &Workplace, database: &Database<'_>) {
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    database.client().batch_execute("alter table kill_event add check (fame <> 666)").expect("a constraint");
}

/// The reject files in the working directory.
fn reject_files(work: &Workplace) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(work.path()).expect("a directory").map(|entry| entry.expect("an entry").path());
    let is_of_rejects =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rejects-"));
    entries.filter(is_of_rejects).collect()
}

fn named_file(run: &Ended) -> PathBuf {
    PathBuf::from(run.summary().0["rejects_file"].as_str().expect("a reject file"))
}

/// As docs/faq.md says: the longer last segment is a new one, and the whole segments before it are known.
#[test]
fn a_file_that_grows_reports_the_rejects_of_its_last_segment_again() {
    let database = Cluster::shared().database("grows");
    let work = Workplace::new();
    let mut text: Vec<String> = (1..=100).map(|id| small_event(id).to_string()).collect();
    text[0] = "no event".to_owned();
    text.push("no event".to_owned());
    let load = || work.load(&database, &["dump"]).segment_bytes(4 << 10);
    work.write("dump", join(&text));
    load().expect(3).summary().check(&[("inserted", 99), ("rejected", 2), ("rejected_before", 0)]);
    for id in [200, 201] {
        text.push(small_event(id).to_string());
        work.write("dump", join(&text));
        let grown = load().expect(3).summary();
        // The first reject is in a whole segment.
        grown.check(&[("inserted", 1), ("rejected", 2), ("rejected_before", 1)]);
        assert!(grown.count("duplicate") > 0 && grown.count("already_loaded") > 0, "{grown:?}");
    }
    load().expect(0).summary().check(&[("inserted", 0), ("rejected", 2), ("rejected_before", 2)]);
}

#[test]
fn rejects_are_reported_once_and_again_with_force() {
    let database = Cluster::shared().database("once");
    let work = Workplace::new();
    reject_by_constraint(&work, &database);
    let load = |args: &[&str]| work.load(&database, args).stdin(dump());
    let first = load(&[]).expect(3);
    first.summary().check(&[("inserted", 2), ("rejected", 2), ("rejected_before", 0)]);
    let file = work.path().join(named_file(&first));
    assert_eq!(read_rejects(&file).len(), 2);
    // Again, with a limit that any new reject exceeds.
    let again = load(&["--max-rejects", "0"]).expect(0);
    assert_eq!(again.summary().status(), "complete");
    again.summary().check(&[
        ("events", 4),
        ("already_loaded", 2),
        ("rejected", 2),
        ("rejected_before", 2),
        ("segments_skipped", 1),
    ]);
    assert_eq!(named_file(&again), file, "the earlier file");
    assert_eq!(reject_files(&work), std::slice::from_ref(&file));
    let row = database.client().query_one(
        "select rejected_before, rejects_file from kill_load_run order by started desc limit 1",
        &[],
    );
    let row = row.expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, Option<String>>(1)), (2, None));
    // The summary for people names the file too.
    let program = work.program(&["load"]).env("DATABASE_URL", &database.url()).stdin(dump());
    program.expect(0).says_in_output(&format!("rejects of earlier runs: {}", file.display()));
    // New rejects beside old ones.
    let more = [dump(), b"no event either\n".to_vec()].concat();
    let run = work.load(&database, &[]).segment_bytes(4 << 10).stdin(more.clone()).expect(3);
    run.summary().check(&[("rejected", 3), ("rejected_before", 0)]);
    work.load(&database, &[]).stdin(more).expect(0).summary().check(&[("rejected_before", 3)]);
    let forced = load(&["--force"]).expect(3);
    forced.summary().check(&[("rejected", 2), ("rejected_before", 0), ("duplicate", 2)]);
    assert_ne!(work.path().join(named_file(&forced)), file);
    let last = work.path().join(named_file(&forced));
    assert_eq!(named_file(&load(&[]).expect(0)), last, "the last file");
    fs::remove_file(&last).expect("to remove it");
    let program = work.program(&["load"]).env("DATABASE_URL", &database.url()).stdin(dump());
    program.expect(0).says_in_output(&format!("{} (not found here; --force reports them", last.display()));
}

#[test]
fn an_overlong_value_is_reported_once() {
    let database = Cluster::shared().database("long");
    let work = Workplace::new();
    let long = format!("{{\"EventId\":\"{}\"}}", "x".repeat(VALUE_MAX_BYTES));
    work.write("dump", join(&[small_event(1).to_string(), long, small_event(2).to_string()]));
    work.load(&database, &["dump"]).expect(3).summary().check(&[("inserted", 2), ("rejected", 1)]);
    let again = work.load(&database, &["dump"]).expect(0);
    again.summary().check(&[("already_loaded", 2), ("rejected_before", 1)]);
}

/// A file of which the first 1,000 values are rejected, and an event after them.
#[test]
fn an_abandoned_input_fails_each_load_and_is_reported_once() {
    let database = Cluster::shared().database("abandoned");
    let work = Workplace::new();
    let no_events = |lines: usize| {
        let lines = (0..lines).map(|number| format!("{{\"no event\":{number}}}"));
        join(&lines.chain([small_event(1).to_string()]).collect::<Vec<_>>())
    };
    work.write("page.html", no_events(3000));
    work.write("sound", join(&[small_event(2).to_string()]));
    let load = |args: &[&str]| work.load(&database, args).segment_bytes(4 << 10);
    let first = load(&["page.html"]).expect(1).says(&["first 1000 values"]);
    first.summary().check(&[("rejected", 1000), ("rejected_before", 0), ("inserted", 0)]);
    let file = named_file(&first);
    let check_again = |again: &Ended| {
        again.summary().check(&[("rejected", 1000), ("rejected_before", 1000)]);
        assert_eq!(named_file(again), work.path().join(&file));
    };
    check_again(&load(&["-q"]).stdin(no_events(3000)).expect(1).says(&["first 1000 values"]));
    // Also when the files beside it count as unchanged.
    eventually(Duration::from_secs(30), "the other file is skipped", || {
        let again = load(&["page.html", "sound"]).expect(1).says(&["first 1000 values"]);
        check_again(&again);
        let skipped = again.summary().count("files_skipped");
        assert!(skipped <= 1, "{skipped}");
        skipped == 1
    });
    assert_eq!(reject_files(&work).len(), 1);
    // With --force, with the option, and after a change.
    load(&["--force", "page.html"]).expect(1).summary().check(&[("rejected_before", 0)]);
    let all = load(&["--max-rejects", "100%", "page.html"]).expect(3);
    all.summary().check(&[("inserted", 1), ("rejected", 3000)]);
    work.write("page.html", no_events(10));
    load(&["page.html"]).expect(3).summary().check(&[("files_skipped", 0), ("rejected", 10)]);
}

#[test]
fn rejects_of_a_killed_run_are_reported_again() {
    let database = Cluster::shared().database("killed");
    let work = Workplace::new();
    let mut running = work.load(&database, &["--rejects", "first"]).start();
    running.feed(&dump());
    let mut client = database.client();
    eventually(Duration::from_mins(1), "the run begins", || {
        let sql = "select from pg_class where relname = 'kill_load_run'";
        !client.query(sql, &[]).expect("rows").is_empty()
            && !client.query("select from kill_load_run", &[]).expect("rows").is_empty()
    });
    // It can commit events but not its report.
    let mut transaction = client.transaction().expect("a transaction");
    transaction.batch_execute("lock table kill_load_run in exclusive mode").expect("a lock");
    drop(running.take_input());
    let mut other = database.client();
    eventually(Duration::from_mins(1), "the report waits", || {
        let sql =
            "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                   and query like '%rejects_file%'";
        !other.query(sql, &[]).expect("rows").is_empty()
    });
    running.signal(Signal::SIGKILL);
    running.finish();
    transaction.rollback().expect("unlocked");
    assert_eq!(read_rejects(&work.path().join("first")).len(), 1, "they are on the disk");
    let loaded: i64 = client.query_one("select count(*) from kill_event", &[]).expect("a count").get(0);
    assert_eq!(loaded, 3);
    let second = work.load(&database, &["--rejects", "second"]).stdin(dump()).expect(3);
    second.summary().check(&[("duplicate", 3), ("rejected", 1), ("rejected_before", 0)]);
    assert_eq!(read_rejects(&work.path().join("second")).len(), 1);
    let third = work.load(&database, &[]).stdin(dump()).expect(0);
    assert_eq!(named_file(&third), Path::new(&work.path().join("second")));
}

#[test]
fn a_ledger_of_an_earlier_version_records_reported_rejects() {
    let database = Cluster::shared().database("earlier");
    let work = Workplace::new();
    work.load(&database, &[]).stdin(dump()).expect(3);
    database
        .client()
        .batch_execute(
            "alter table kill_load_segment drop column reported;
             alter table kill_load_run drop column rejects_file, drop column rejected_before;
             drop table kill_load_file",
        )
        .expect("an earlier ledger");
    work.load(&database, &[]).stdin(dump()).expect(3).summary().check(&[("duplicate", 3), ("rejected", 1)]);
    work.load(&database, &[]).stdin(dump()).expect(0).summary().check(&[("rejected_before", 1)]);
}

/// As docs/sources.md says: unlike a reject, damaged input fails each time, until it is gone or whole.
#[test]
fn a_page_that_is_cut_off_fails_each_load_until_it_is_whole_or_gone() {
    let database = Cluster::shared().database("cut_page");
    let work = Workplace::new();
    fs::create_dir(work.path().join("pages")).expect("a directory");
    let page = |ids: [i64; 2]| format!("[{},{}]", small_event(ids[0]), small_event(ids[1]));
    let (first, second) = (page([1, 2]), page([3, 4]));
    work.write("pages/1.json", &first[..first.len() - 9]);
    work.write("pages/2.json", &second[..second.len() - 9]);
    let load = || work.load(&database, &["-q", "pages"]);
    for inserted in [2, 0, 0] {
        let run = load().expect(1).says(&["pages/1.json:1", "pages/2.json:1", "is not closed"]);
        run.summary().check(&[("inserted", inserted), ("rejected", 0), ("unfinished", 0)]);
    }
    work.write("pages/1.json", &first);
    fs::remove_file(work.path().join("pages/2.json")).expect("to remove it");
    let run = load().expect(0);
    run.summary().check(&[("inserted", 1), ("rejected", 0)]);
    assert_eq!(run.stderr, "");
}
