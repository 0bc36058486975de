//! What a segment costs does not grow with what is stored: rows are looked up by their key, in tables that the planner
//! knows nothing of as well.

use std::time::Duration;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::small_event;
use crate::support::eventually;
use crate::support::program::Workplace;

const EVENTS: i64 = 6_000;

/// Entries of indexes, and rows of tables, that were read so far.
fn rows_read(database: &Database<'_>) -> i64 {
    let sql = "select (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes
                       where relname in ('kill_event', 'kill_player', 'kill_loot', 'KillEvent'))::bigint
                    + (select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables
                       where relname in ('kill_event', 'kill_player', 'kill_loot', 'KillEvent'))::bigint";
    // A server counts what a session did when that has ended.
    database.client().query_one(sql, &[]).expect("a row").get(0)
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
            rows_read(&database)
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
            let read = now - before;
            before = now;
            assert!(read < EVENTS * 40, "{layout} {mode}: {read} rows were read for {EVENTS} events");
        }
    }
}
