//! `load --on-conflict update`: stored events that differ are rewritten, and no others.

use std::thread;
use std::time::Duration;

use crate::load::duplicates::places;
use crate::support::cluster::Cluster;
use crate::support::dumps::{join, version};
use crate::support::eventually;
use crate::support::oracle::{Nul, Tables, expect};
use crate::support::program::{Workplace, assert_tables};

/// The expected tables if the last version of each event wins. The oracle keeps the first, so it reads the lines in
/// reverse.
fn last_wins(lines: &[String]) -> Tables {
    let backwards: Vec<&String> = lines.iter().rev().collect();
    expect(&join(&backwards), Nul::Reject).tables
}

#[test]
fn only_changed_events_are_rewritten() {
    let database = Cluster::shared().database("update");
    let work = Workplace::new();
    let stored: Vec<String> = (1..=40).map(|id| version(id, 1)).collect();
    work.load(&database, &[]).stdin(join(&stored)).expect(0).summary().check(&[("inserted", 40)]);

    let news: Vec<String> = (1..=50).map(|id| version(id, if id <= 20 { 1 } else { 2 })).collect();
    let update = || work.load(&database, &["--on-conflict", "update"]).stdin(join(&news)).expect(0);
    update().summary().check(&[("inserted", 10), ("updated", 20), ("duplicate", 20)]);
    let all: Vec<String> = stored.iter().chain(&news).cloned().collect();
    assert_tables(&database, "americas", &last_wins(&all));

    let before = places(&mut database.client());
    update().summary().check(&[("inserted", 0), ("updated", 0), ("duplicate", 50)]);
    assert_eq!(places(&mut database.client()), before, "a run without news writes no row");
}

#[test]
fn the_last_of_several_versions_wins() {
    for (segment_bytes, workers) in [(8 << 20, 1), (4 << 10, 4)] {
        let database = Cluster::shared().database("update_last");
        let lines: Vec<String> = (0..400).map(|number| version(1 + number * 7 % 30, number)).collect();
        let run = Workplace::new()
            .load(&database, &["--on-conflict", "update"])
            .segment_bytes(segment_bytes)
            .workers(workers)
            .stdin(join(&lines))
            .expect(0);
        run.summary().check(&[("events", 400), ("inserted", 30)]);
        assert_tables(&database, "americas", &last_wins(&lines));
    }
}

#[test]
fn an_update_restores_deleted_rows() {
    let database = Cluster::shared().database("update_rows");
    let work = Workplace::new();
    let lines: Vec<String> = (1..=10).map(|id| version(id, 1)).collect();
    work.load(&database, &[]).stdin(join(&lines)).expect(0);
    database.client().batch_execute("delete from kill_player where event_id = 3").expect("deleted");
    let run = work.load(&database, &["--on-conflict", "update"]).stdin(join(&lines)).expect(0);
    run.summary().check(&[("updated", 1), ("duplicate", 9)]);
    assert_tables(&database, "americas", &last_wins(&lines));
}

/// Rows are rewritten by their position, which repeats in each partition.
#[test]
fn partitions_with_equal_row_positions_are_distinguished() {
    let database = Cluster::shared().database("update_parts");
    let work = Workplace::new();
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    for table in ["kill_event", "kill_player", "kill_loot"] {
        let mut sql = format!(
            "alter table {table} rename to whole;
             create table {table} (like whole including defaults) partition by hash (event_id);
             drop table whole; alter table {table} add primary key (server, event_id{});",
            match table {
                "kill_player" => ", player_id",
                "kill_loot" => ", slot",
                _ => "",
            }
        );
        let part = |part| {
            format!(
                "create table {table}_{part} partition of {table} for values with (modulus 4, remainder {part});"
            )
        };
        sql.extend((0..4).map(part));
        database.client().batch_execute(&sql).expect("partitions");
    }
    let mut all = Vec::new();
    for round in 1..4 {
        all.extend((1..=40).filter(|id| id % round == 0).map(|id| version(id, round)));
        work.load(&database, &["--on-conflict", "update"]).stdin(join(&all)).segment_bytes(4 << 10).expect(0);
        assert_tables(&database, "americas", &last_wins(&all));
    }
}

/// A row that another session changed during a wait is found at its new position.
#[test]
fn rows_changed_concurrently_are_updated() {
    for change in [
        "update kill_event set fame = fame + 1",
        "update kill_player set name = 'someone'",
        "update kill_loot set count = count + 1",
        "delete from kill_player where event_id = 3",
    ] {
        let database = Cluster::shared().database("update_beside");
        let work = Workplace::new();
        let stored: Vec<String> = (1..=10).map(|id| version(id, 1)).collect();
        let news: Vec<String> = (1..=10).map(|id| version(id, 2)).collect();
        work.load(&database, &[]).stdin(join(&stored)).expect(0);
        let mut client = database.client();
        let mut transaction = client.transaction().expect("a transaction");
        transaction.execute(change, &[]).expect("a change");
        let load = work.load(&database, &["--on-conflict", "update"]).stdin(join(&news));
        let ended = thread::scope(|scope| {
            let ended = scope.spawn(|| load.run());
            let waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
            eventually(Duration::from_mins(1), "the load waits", || {
                !database.client().query(waits, &[]).expect("rows").is_empty()
            });
            transaction.commit().expect("the change");
            ended.join().expect("no panic")
        });
        ended.expect(0).summary().check(&[("updated", 10), ("rejected", 0)]);
        assert_tables(&database, "americas", &last_wins(&news));
    }
}
