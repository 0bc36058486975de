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
