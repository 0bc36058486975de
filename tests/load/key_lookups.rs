//! The cost of a segment does not grow with the stored rows: lookups use keys, also in tables without planner statistics.

use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, Database, major_version};
use crate::support::dumps::small_event;
use crate::support::eventually;
use crate::support::oracle::Layout;
use crate::support::program::Workplace;

const EVENTS: i64 = 6_000;

/// Index entries and table rows read so far, and pages of the events' key, in which entries can be skipped.
fn read_so_far(database: &Database<'_>, layout: Layout) -> (i64, i64) {
    let sql = "select (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes
                       where relname::text = any($1::text[]))::bigint
                    + (select coalesce(sum(seq_tup_read), 0) from pg_stat_user_tables
                       where relname::text = any($1::text[]))::bigint,
                      (select coalesce(sum(idx_blks_hit + idx_blks_read), 0) from pg_statio_user_indexes
                       where indexrelname::text = ($1::text[])[1] || '_pkey')::bigint";
    // A server adds a session's statistics when it ends.
    let row = database.client().query_one(sql, &[&layout.table_names()]).expect("a row");
    (row.get(0), row.get(1))
}

/// The same after all sessions have ended. Servers before version 15 add their statistics up to half a second later.
fn read_by_ended_sessions(database: &Database<'_>, layout: Layout) -> (i64, i64) {
    let is_delayed = major_version(&mut database.client()) < 15;
    let stable_min = if is_delayed { Duration::from_secs(1) } else { Duration::ZERO };
    let mut last = read_so_far(database, layout);
    let mut since = Instant::now();
    eventually(Duration::from_secs(20), "the statistics are complete", || {
        let now = read_so_far(database, layout);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= stable_min
    });
    last
}

#[test]
fn a_load_reads_no_more_rows_than_it_stores() {
    let work = Workplace::new();
    // The fame changes with each load, so an update reads the stored rows.
    let dump = |ids: &[i64], fame: i64| -> Vec<u8> {
        let changed = |id: &i64| {
            let mut event = small_event(*id);
            event["TotalVictimKillFame"] = fame.into();
            format!("{event}\n").into_bytes()
        };
        ids.iter().flat_map(changed).collect()
    };
    for layout in Layout::ALL {
        let (database, name) = (Cluster::shared().database("look_ups"), layout.name());
        work.program(&["schema", "apply", "--layout", name, "--database-url", &database.url()]).expect(0);
        for (table, _) in layout.tables() {
            let never = format!("alter table {table} set (autovacuum_enabled = false)");
            database.client().batch_execute(&never).expect("a table of ours");
        }
        let load = |mode, dump: Vec<u8>| {
            let args = ["--force", "--layout", name, "--on-conflict", mode];
            work.load(&database, &args).stdin(dump).segment_bytes(64 << 10).expect(0);
            eventually(Duration::from_secs(20), "the sessions have ended", || {
                let sql = "select from pg_stat_activity where application_name like 'aegis-kills %' and datname = current_database()";
                database.client().query(sql, &[]).expect("rows").is_empty()
            });
            read_by_ended_sessions(&database, layout)
        };
        // The index build at the end of this load gives the planner a row count of one.
        let mut before = load("skip", dump(&[0], 1));
        let all: Vec<i64> = (1..=EVENTS).collect();
        let odd: Vec<i64> = all.iter().copied().filter(|id| id % 2 == 1).collect();
        // New events after all stored ids, then between them.
        for (ids, mode, fame) in [
            (&odd, "skip", 1),
            (&all, "skip", 1),
            (&all, "skip", 2),
            (&all, "update", 1),
            (&all, "update", 2),
            (&all, "update", 3),
        ] {
            if fame == 3 {
                // With true row counts, the planner has other preferences.
                database.client().batch_execute("analyze").expect("statistics");
                before = read_by_ended_sessions(&database, layout);
            }
            let now = load(mode, dump(ids, fame));
            // An event has three rows. An update compares, locks and rewrites each by its key.
            let (rows, pages) = (now.0 - before.0, now.1 - before.1);
            before = now;
            assert!(rows < EVENTS * 40, "{name} {mode}: {rows} rows were read for {EVENTS} events");
            // A lookup and each new index entry read two pages.
            let pages_max = EVENTS * if mode == "skip" { 4 } else { 20 };
            assert!(
                pages < pages_max,
                "{name} {mode}: {pages} pages of the key were read for {EVENTS} events"
            );
        }
    }
}
