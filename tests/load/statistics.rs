//! The planner's statistics of loaded tables.

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines};
use crate::support::oracle::Layout;
use crate::support::program::Workplace;

/// The estimated rows and the columns with statistics, per table of the layout.
fn statistics(database: &Database<'_>, layout: Layout) -> Vec<(String, f32, i64)> {
    let sql = "select relname::text, reltuples, (select count(*) from pg_stats where tablename = relname)
               from pg_class where relname::text = any($1::text[]) order by 1";
    let rows = database.client().query(sql, &[&layout.table_names()]).expect("statistics");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[test]
fn a_large_load_analyzes_its_tables_and_a_small_one_does_not() {
    for layout in Layout::ALL {
        let database = Cluster::shared().database("statistics");
        let work = Workplace::new();
        let dump = generated(420, 61, 0.0);
        let (first, second) = dump.split_at(join(&lines(&dump)[..400]).len());
        let args = ["--layout", layout.name()];
        work.program(&["schema", "apply", "--database-url", &database.url()]).args(&args).expect(0);
        // The load leaves a complete ANALYZE to autovacuum, which could come at any time.
        for (table, _, _) in statistics(&database, layout) {
            let sql = format!("alter table \"{table}\" set (autovacuum_enabled = off)");
            database.client().batch_execute(&sql).expect("a table without autovacuum");
        }
        work.load(&database, &args).stdin(first).expect(0);
        let after_first = statistics(&database, layout);
        assert_eq!(after_first.len(), layout.tables().len());
        for (table, rows, columns) in &after_first {
            assert!(*rows >= 400.0 && *columns > 5, "{table}: {rows} rows, {columns} columns");
        }
        // Analyzing again would count its rows, too.
        work.load(&database, &args).stdin(second).expect(0);
        assert_eq!(statistics(&database, layout), after_first, "{layout:?}");
    }
}

/// An ANALYZE would wait for the lock.
#[test]
fn a_locked_table_is_not_analyzed() {
    let (work, database) = (Workplace::new(), Cluster::shared().database("locked"));
    work.program(&["schema", "apply", "--database-url", &database.url()]).expect(0);
    // Filled, so that the load builds no index and takes no such lock itself.
    let dump = generated(100, 62, 0.0);
    let (first, second) = dump.split_at(join(&lines(&dump)[..10]).len());
    work.load(&database, &[]).stdin(first).expect(0);
    let before = statistics(&database, Layout::Archive);
    let mut client = database.client();
    let mut lock = client.transaction().expect("a transaction");
    lock.batch_execute("lock table kill_event in share update exclusive mode").expect("a lock");
    let ended = work.load(&database, &["-v"]).stdin(second).expect(0);
    ended.summary().check(&[("inserted", 90)]);
    // Another load that analyzes the table is no problem.
    let skipped =
        ended.stderr.lines().find(|line| line.contains("skipping analyze")).expect("a line of the log");
    assert!(!skipped.contains("WARN"), "{skipped}");
    let after = statistics(&database, Layout::Archive);
    let rows = |of: &[(String, f32, i64)], table: &str| {
        of.iter().find(|(name, _, _)| name == table).map_or(0.0, |(_, rows, _)| *rows)
    };
    assert!(rows(&before, "kill_event") < 50.0 && rows(&after, "kill_event") < 50.0);
    assert!(rows(&after, "kill_loot") > rows(&before, "kill_loot"));
    lock.rollback().expect("the lock is given back");
}
