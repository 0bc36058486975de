//! `load`: events that repeat in the same dump, in another dump, or in a concurrent load.

use std::thread;
use std::time::Duration;

use fastrand::Rng;
use postgres::Client;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, gzip, join, lines, small_event, version};
use crate::support::eventually;
use crate::support::oracle::{Nul, expect, merge};
use crate::support::program::{Workplace, assert_loaded, assert_tables};
use crate::support::progress::meanwhile;
use crate::support::samples;

/// The position of each row and the transaction that wrote it. A rewritten row has moved.
pub(crate) fn places(client: &mut Client) -> Vec<(String, String, String)> {
    let select = |table: &str| format!("select '{table}', ctid::text, xmin::text from {table}");
    let tables = ["kill_event", "kill_player", "kill_loot"].map(select).join(" union all ");
    let rows = client.query(&format!("{tables} order by 1, 2"), &[]).expect("rows");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// Lines with random ids, each with a version of its own.
fn shuffled_versions(lines: i64, ids: i64, seed: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let line = |number| version(rng.i64(1..=ids), number);
    join(&(1..=lines).map(line).collect::<Vec<_>>())
}

#[test]
fn the_first_of_several_versions_wins_within_a_segment() {
    let database = Cluster::shared().database("within");
    let dump = shuffled_versions(200, 20, 1);
    let run = Workplace::new().load(&database, &[]).stdin(dump.clone()).expect(0);
    run.summary().check(&[("segments", 1), ("inserted", 20), ("duplicate", 180)]);
    assert_loaded(&database, &dump, &run);
}

#[test]
fn the_first_of_several_versions_wins_across_segments() {
    let work = Workplace::new();
    for (seed, workers, ids) in [(1, 4, 40), (2, 4, 3), (3, 8, 40), (4, 1, 40), (5, 8, 300)] {
        let database = Cluster::shared().database("across");
        let dump = shuffled_versions(600, ids, seed);
        let run = work
            .load(&database, &[])
            .stdin(dump.clone())
            .segment_bytes(4 << 10)
            .workers(workers)
            .env("KILLS_PARSE_THREADS", "4")
            .expect(0);
        assert!(run.summary().count("segments") > 150);
        assert_eq!(run.summary().count("retries"), 0, "writers of one run do not collide: {}", run.stderr);
        assert_loaded(&database, &dump, &run);
    }
}

#[test]
fn a_second_run_finds_all_loaded_and_writes_nothing() {
    let database = Cluster::shared().database("second");
    let work = Workplace::new();
    let dump = generated(200, 3, 10.0);
    work.write("dump.ndjson", &dump);
    work.write("the same.gz", gzip(&dump));
    let load = |args: &[&str]| work.load(&database, args).segment_bytes(64 << 10).expect(0);
    let first = load(&["dump.ndjson"]);
    let expected = assert_loaded(&database, &dump, &first);
    let segments = first.summary().count("segments");
    let before = places(&mut database.client());

    for args in [&["dump.ndjson"][..], &["the same.gz"]] {
        load(args).summary().check(&[
            ("events", expected.events),
            ("lines", expected.lines),
            ("already_loaded", expected.events),
            ("inserted", 0),
            ("duplicate", 0),
            ("segments", segments),
            ("segments_skipped", segments),
        ]);
        assert_eq!(places(&mut database.client()), before, "{args:?}");
    }
    let forced = load(&["--force", "dump.ndjson"]);
    forced.summary().check(&[("duplicate", expected.events), ("already_loaded", 0), ("segments_skipped", 0)]);
    assert_eq!(places(&mut database.client()), before);
    assert_tables(&database, "americas", &expected.tables);
}

#[test]
fn a_dump_twice_in_one_run_is_loaded_once() {
    let database = Cluster::shared().database("twice");
    let work = Workplace::new();
    let dump = samples::sample_events();
    work.write("a", &dump);
    let run = work.load(&database, &["a", "a", "./a"]).segment_bytes(64 << 10).workers(4).expect(0);
    let expected = expect(&dump, Nul::Reject);
    assert_tables(&database, "americas", &expected.tables);
    let summary = run.summary();
    summary.check(&[("events", 3 * expected.events), ("inserted", expected.loaded()), ("rejected", 0)]);
    assert_eq!(summary.count("duplicate") + summary.count("already_loaded"), 2 * expected.loaded());
}

#[test]
fn only_the_new_part_of_a_grown_dump_is_written() {
    let database = Cluster::shared().database("grown");
    let work = Workplace::new();
    let whole = generated(150, 5, 0.0);
    let part = join(&lines(&whole)[..100]);
    let load = |dump: &[u8]| work.load(&database, &[]).stdin(dump).segment_bytes(64 << 10).expect(0);
    load(&part).summary().check(&[("inserted", 100)]);
    let summary = load(&whole).summary();
    summary.check(&[("events", 150), ("inserted", 50), ("rejected", 0), ("unfinished", 0)]);
    // The last segment of the part has changed too.
    assert!(summary.count("already_loaded") >= 85, "{summary:?}");
    assert_tables(&database, "americas", &expect(&whole, Nul::Reject).tables);
}

#[test]
fn the_stored_version_stays_if_dumps_overlap() {
    let database = Cluster::shared().database("overlap");
    let work = Workplace::new();
    let dumps = [(1..60, 100), (40..90, 200), (1..120, 300)]
        .map(|(ids, number)| join(&ids.map(|id| version(id, number + id % 3)).collect::<Vec<_>>()));
    let mut parts = Vec::new();
    for (dump, inserted) in dumps.iter().zip([59, 30, 30]) {
        let run = work.load(&database, &[]).stdin(dump.clone()).segment_bytes(16 << 10).workers(4).expect(0);
        let events = run.summary().count("events");
        run.summary().check(&[("inserted", inserted), ("duplicate", events - inserted)]);
        parts.push(expect(dump, Nul::Reject));
        assert_tables(&database, "americas", &merge(parts.clone()).tables);
    }
}

#[test]
fn force_restores_deleted_events() {
    let database = Cluster::shared().database("deleted");
    let work = Workplace::new();
    let dump = generated(120, 9, 0.0);
    let load =
        |args: &[&str]| work.load(&database, args).stdin(dump.clone()).segment_bytes(64 << 10).expect(0);
    load(&[]);
    let delete = |table: &str| format!("delete from {table} where event_id % 3 = 0;");
    let all = ["kill_event", "kill_player", "kill_loot"].map(delete).concat();
    // If only the event's row is deleted, its child rows remain and must not prevent the load.
    for (what, sql) in [("all rows", all), ("the event's row", delete("kill_event"))] {
        let mut client = database.client();
        client.batch_execute(&sql).expect(what);
        let left: i64 = client.query_one("select count(*) from kill_event", &[]).expect("a count").get(0);
        load(&[]).summary().check(&[("already_loaded", 120)]);
        let run = load(&["--force"]);
        let missing = 120 - u64::try_from(left).expect("a count");
        assert!(missing > 20);
        run.summary().check(&[("inserted", missing), ("duplicate", 120 - missing), ("rejected", 0)]);
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    }
}

#[test]
fn remaining_rows_of_another_version_are_removed() {
    let database = Cluster::shared().database("orphans");
    let work = Workplace::new();
    let load = |number| {
        let dump = join(&[version(1, number), version(2, number)]);
        work.load(&database, &[]).stdin(dump.clone()).expect(0).summary().check(&[("inserted", 2)]);
        assert_tables(&database, "americas", &expect(&dump, Nul::Reject).tables);
    };
    load(3);
    database.client().batch_execute("delete from kill_event").expect("to delete");
    load(4);
}

/// Runs a load of each dump concurrently, and checks the tables and the sum of inserted events.
#[track_caller]
fn check_at_once(database: &Database<'_>, dumps: &[Vec<u8>], segment_bytes: usize) {
    let works: Vec<Workplace> = dumps.iter().map(|_| Workplace::new()).collect();
    let runs: Vec<_> = thread::scope(|scope| {
        let start = |(work, dump): (&Workplace, &Vec<u8>)| {
            let program =
                work.load(database, &[]).stdin(dump.clone()).segment_bytes(segment_bytes).workers(2);
            scope.spawn(|| program.run())
        };
        let threads: Vec<_> = works.iter().zip(dumps).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let expected = merge(dumps.iter().map(|dump| expect(dump, Nul::Reject)).collect());
    let summaries: Vec<_> = runs.into_iter().map(|run| run.expect(0).summary()).collect();
    let sum = |name| summaries.iter().map(|summary| summary.count(name)).sum::<u64>();
    assert_eq!(sum("inserted"), expected.loaded(), "{summaries:?}");
    assert_eq!(sum("duplicate") + sum("already_loaded"), expected.duplicates, "{summaries:?}");
    assert_eq!(sum("rejected") + sum("unfinished"), 0, "{summaries:?}");
    assert_tables(database, "americas", &expected.tables);
}

#[test]
fn concurrent_loads_of_one_dump_store_it_once() {
    let dump = generated(150, 11, 10.0);
    for (loaders, segment_bytes) in [(2, 64 << 10), (4, 16 << 10)] {
        // The database is empty, so they also create the tables concurrently.
        let database = Cluster::shared().database("same");
        check_at_once(&database, &vec![dump.clone(); loaders], segment_bytes);
    }
}

/// Waits until a session of the database waits for a lock.
fn wait_until_blocked(client: &mut Client) {
    let blocked =
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually(Duration::from_secs(30), "a session waits for a lock", || {
        !client.query(blocked, &[]).expect("sessions").is_empty()
    });
}

#[test]
fn a_search_for_refused_events_keeps_the_rows_of_another_load() {
    let database = Cluster::shared().database("beside");
    let work = Workplace::new();
    let events: Vec<_> = (1..=4).map(|id| version(id, 3)).collect();
    work.load(&database, &[]).stdin(join(&[&events[1], &events[3]])).expect(0);
    // Another load's transaction: it has stored event 2, and keeps the loads of others waiting for its players. Event 4
    // keeps the tables from being empty.
    let mut other = database.client();
    other
        .batch_execute(
            "alter table kill_event add constraint refused check (event_id <> 1) not valid;
             create table events as select * from kill_event where event_id = 2;
             create table players as select * from kill_player where event_id = 2;
             create table loot as select * from kill_loot where event_id = 2;
             truncate kill_load_segment, kill_load_file;
             delete from kill_event where event_id = 2; delete from kill_player where event_id = 2;
             delete from kill_loot where event_id = 2;
             begin; insert into kill_event select * from events; insert into kill_player select * from players;
             insert into kill_loot select * from loot; lock table kill_player in exclusive mode",
        )
        .expect("a transaction");
    let ended = meanwhile(work.load(&database, &[]).stdin(join(&events[..3])), |_| {
        wait_until_blocked(&mut database.client());
        other.batch_execute("commit").expect("an end");
    });
    let ended = ended.expect(3);
    ended.summary().check(&[("inserted", 1), ("duplicate", 1), ("rejected", 1), ("unfinished", 0)]);
    other.batch_execute("drop table events, players, loot").expect("a drop");
    assert_tables(&database, "americas", &expect(&join(&events[1..]), Nul::Reject).tables);
}

#[test]
fn concurrent_loads_of_overlapping_dumps_store_each_event_once() {
    // The same events in different orders, so that no two segments are equal and many share events.
    let events: Vec<String> = (1..=400).map(|id| small_event(id).to_string()).collect();
    for (loaders, segment_bytes) in [(2, 4 << 10), (4, 4 << 10), (4, 8 << 20)] {
        let database = Cluster::shared().database("overlapping");
        let shuffled = |seed| {
            let mut events = events.clone();
            Rng::with_seed(seed).shuffle(&mut events);
            join(&events)
        };
        check_at_once(&database, &(0..loaders).map(shuffled).collect::<Vec<_>>(), segment_bytes);
    }
}

#[test]
fn concurrent_loads_in_opposite_orders_do_not_deadlock() {
    let events: Vec<String> = (1..=400).map(|id| small_event(id).to_string()).collect();
    let backwards: Vec<String> = events.iter().rev().cloned().collect();
    for segment_bytes in [4 << 10, 8 << 20] {
        let database = Cluster::shared().database("opposite");
        check_at_once(&database, &[join(&events), join(&backwards)], segment_bytes);
    }
}
