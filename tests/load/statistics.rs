//! The planner's statistics of loaded tables.

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, lines};
use crate::support::program::Workplace;

/// The estimated rows and the columns with statistics, per table.
fn statistics(database: &Database<'_>) -> Vec<(String, f32, i64)> {
    let sql = "select relname::text, reltuples, (select count(*) from pg_stats where tablename = relname)
               from pg_class where relname in ('kill_event', 'kill_player', 'kill_loot', 'KillEvent') order by 1";
    let rows = database.client().query(sql, &[]).expect("statistics");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[test]
fn a_large_load_analyzes_its_tables_and_a_small_one_does_not() {
    for layout in ["archive", "aegis"] {
        let database = Cluster::shared().database("statistics");
        let work = Workplace::new();
        let dump = generated(420, 61, 0.0);
        let (first, second) = dump.split_at(join(&lines(&dump)[..400]).len());
        let args = ["--layout", layout];
        work.load(&database, &args).stdin(first).expect(0);
        let after_first = statistics(&database);
        assert_eq!(after_first.len(), if layout == "archive" { 3 } else { 1 });
        for (table, rows, columns) in &after_first {
            assert!(*rows >= 400.0 && *columns > 5, "{table}: {rows} rows, {columns} columns");
        }
        // Analyzing again would count its rows, too.
        work.load(&database, &args).stdin(second).expect(0);
        assert_eq!(statistics(&database), after_first, "{layout}");
    }
}
