//! What a segment costs does not grow with what is stored: rows are looked up by their key, in tables that the planner
//! knows nothing of as well.

use std::time::Duration;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::small_event;
use crate::support::eventually;
use crate::support::program::Workplace;

const EVENTS: i64 = 6_000;

/// Entries of indexes, and rows of tables, that were read so far, and pages of indexes, in which entries may be passed over.
fn read_so_far(database: &Database<'_>) -> (i64, i64) {
    let sql = "select (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes
                       where relname in ('kill_event', 'kill_player', 'kill_loot', 'KillEvent'))::bigint
                    + (select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables
                       where relname in ('kill_event', 'kill_player', 'kill_loot', 'KillEvent'))::bigint,
                      (select coalesce(sum(idx_blks_hit + idx_blks_read), 0) from pg_statio_user_indexes
                       where indexrelname in ('kill_event_pkey', 'KillEvent_pkey'))::bigint";
    // A server counts what a session did when that has ended.
    let row = database.client().query_one(sql, &[]).expect("a row");
    (row.get(0), row.get(1))
}

#[test]
fn rows_that_are_read_are_as_many_as_are_loaded() {
    let work = Workplace::new();
    // The fame differs from load to load, which is found by reading what is stored.
    let dump = |ids: &[i64], fame: i64| -> Vec<u8> {
        let changed = |id: &i64| {
            let mut event = small_event(*id);
            event["TotalVictimKillFame"] = fame.into();
            format!("{event}\n").into_bytes()
        };
        ids.iter().flat_map(changed).collect()
    };
    for (layout, tables) in
        [("archive", &["kill_event", "kill_player", "kill_loot"][..]), ("aegis", &["\"KillEvent\""])]
    {
        let database = Cluster::shared().database("look_ups");
        work.program(&["schema", "apply", "--layout", layout, "--database-url", &database.url()]).expect(0);
        for table in tables {
            let never = format!("alter table {table} set (autovacuum_enabled = false)");
            database.client().batch_execute(&never).expect("a table of ours");
        }
        let load = |mode, dump: Vec<u8>| {
            let args = ["--force", "--layout", layout, "--on-conflict", mode];
            work.load(&database, &args).stdin(dump).segment_bytes(64 << 10).expect(0);
            eventually(Duration::from_secs(20), "the sessions have ended", || {
                let sql = "select from pg_stat_activity where application_name like 'aegis-kills %' and datname = current_database()";
                database.client().query(sql, &[]).expect("rows").is_empty()
            });
            read_so_far(&database)
        };
        // Building indexes tells the planner how many rows there are, which is one.
        let mut before = load("skip", dump(&[0], 1));
        let all: Vec<i64> = (1..=EVENTS).collect();
        let odd: Vec<i64> = all.iter().copied().filter(|id| id % 2 == 1).collect();
        // New ones behind all that are stored, then between them.
        for (ids, mode, fame) in [
            (&odd, "skip", 1),
            (&all, "skip", 1),
            (&all, "skip", 2),
            (&all, "update", 1),
            (&all, "update", 2),
        ] {
            let now = load(mode, dump(ids, fame));
            // An event has three rows, which an update compares, locks and rewrites, each found by a key.
            let (rows, pages) = (now.0 - before.0, now.1 - before.1);
            before = now;
            assert!(rows < EVENTS * 40, "{layout} {mode}: {rows} rows were read for {EVENTS} events");
            // A look-up goes down two pages, and so does each entry that is made.
            let pages_max = EVENTS * if mode == "skip" { 4 } else { 16 };
            assert!(
                pages < pages_max,
                "{layout} {mode}: {pages} pages of the key were read for {EVENTS} events"
            );
        }
    }
}
