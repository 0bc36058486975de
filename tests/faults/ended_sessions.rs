//! A trigger ends the session of the load, so that the server looks unreachable to it.

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{join, version};
use crate::support::oracle::{Nul, expect};
use crate::support::program::{Program, Workplace, assert_tables};

const EVENTS: i64 = 300;
const CULPRIT: i64 = 137;

fn versions(number: i64) -> Vec<u8> {
    join(&(1..=EVENTS).map(|id| version(id, number)).collect::<Vec<_>>())
}

/// Creates the function `end_session`, which ends the session at its first `times` calls.
fn can_end_sessions(database: &Database<'_>, times: i64) {
    let sql = format!(
        "create sequence ends;
         create function end_session() returns trigger language plpgsql as $$ begin
           if nextval('public.ends') <= {times} then perform pg_terminate_backend(pg_backend_pid()); end if;
           return new;
         end $$"
    );
    database.client().batch_execute(&sql).expect("a function");
}

fn ends_sessions(database: &Database<'_>, event: &str) {
    let sql = format!(
        "create trigger end_session before {event} on kill_event for each row when (new.event_id = {CULPRIT})
         execute function end_session()"
    );
    database.client().batch_execute(&sql).expect("a trigger");
}

fn load(work: &Workplace, database: &Database<'_>) -> Program {
    work.load(database, &["dump.ndjson"]).env("DATABASE_RETRY_BASE", "50")
}

/// The other segments are stored. The error names the event, and does not say that the server is unreachable.
#[test]
fn an_event_that_always_ends_its_session_is_named() {
    let work = Workplace::new();
    let database = Cluster::shared().database("ends_always");
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    can_end_sessions(&database, i64::MAX);
    ends_sessions(&database, "insert");
    work.write("dump.ndjson", versions(1));
    let ended = load(&work, &database).segment_bytes(16 << 10).env("DATABASE_AWAY_TIMEOUT", "3s").expect(4);
    let summary = ended.summary();
    summary.check(&[("rejected", 0)]);
    assert!(summary.count("inserted") > 0 && summary.count("unfinished") > 0, "{}", ended.stdout);
    let error = summary.error();
    assert!(error.contains(&format!("dump.ndjson:{CULPRIT}: writing a segment failed")), "{error}");
    assert!(error.contains("accepted a session for each of the last "), "{error}");
    assert!(!error.contains("unreachable"), "{error}");
    // The end of the run needs no further wait.
    let status = database.client().query_one("select status from kill_load_run", &[]).expect("one run");
    assert_eq!(status.get::<_, &str>(0), "failed");
}

/// The error of an UPDATE names no line, so the lines of the segment are named.
#[test]
fn a_segment_that_always_ends_its_session_is_named() {
    let work = Workplace::new();
    let database = Cluster::shared().database("ends_update");
    work.load(&database, &[]).stdin(versions(1)).expect(0);
    can_end_sessions(&database, i64::MAX);
    ends_sessions(&database, "update");
    work.write("dump.ndjson", versions(2));
    let update = load(&work, &database).args(&["--on-conflict", "update"]);
    let ended = update.env("DATABASE_AWAY_TIMEOUT", "3s").expect(4);
    let summary = ended.summary();
    summary.check(&[("updated", 0), ("rejected", 0), ("unfinished", EVENTS.unsigned_abs())]);
    let error = summary.error();
    assert!(error.contains(&format!("dump.ndjson:1-{EVENTS}: writing a segment failed")), "{error}");
    assert_tables(&database, "americas", &expect(&versions(1), Nul::Reject).tables);
}

/// An operator may end the sessions of one segment several times in a row.
#[test]
fn an_event_whose_session_is_ended_several_times_is_stored() {
    let work = Workplace::new();
    let database = Cluster::shared().database("ends_often");
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    can_end_sessions(&database, 8);
    ends_sessions(&database, "insert");
    work.write("dump.ndjson", versions(1));
    let ended = load(&work, &database).segment_bytes(16 << 10).expect(0);
    ended.summary().check(&[("inserted", EVENTS.unsigned_abs()), ("rejected", 0), ("unfinished", 0)]);
    assert_tables(&database, "americas", &expect(&versions(1), Nul::Reject).tables);
}
