//! docs/schema.md lists the columns that `schema print` creates, with their types, in the same order.

use std::collections::BTreeMap;

use crate::support::oracle::Layout;
use crate::support::program::Workplace;

const PAGE: &str = include_str!("../../docs/schema.md");

/// The columns of each table: name and type.
type Tables = BTreeMap<String, Vec<(String, String)>>;

/// The columns in the `CREATE TABLE` statements of a DDL.
fn created(ddl: &str) -> Tables {
    let mut tables = Tables::new();
    let mut table = None;
    for line in ddl.lines() {
        let line = line.trim();
        if line.starts_with("CREATE TABLE ") {
            let (_, name) = line.trim_end_matches(" (").rsplit_once('.').expect("a schema");
            table = Some(name.trim_matches('"').to_owned());
        } else if line.starts_with(')') {
            table = None;
        } else if let Some(table) = &table
            && !line.starts_with("PRIMARY KEY")
        {
            let (name, rest) = line.trim_end_matches(',').split_once(' ').expect("a type");
            let kind = rest.split(" DEFAULT ").next().unwrap_or(rest);
            let kind = kind.replace("\"public\".", "").replace(" COLLATE \"C\"", "");
            let kind = kind.replace("PRIMARY KEY", "not null").replace("NOT NULL", "not null");
            let columns = tables.entry(table.clone()).or_default();
            columns.push((name.trim_matches('"').to_owned(), kind));
        }
    }
    tables
}

/// The first two cells of the rows under each third-level heading of the page.
fn listed(page: &str) -> Tables {
    let mut tables = Tables::new();
    let mut table = "";
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            table = name;
        } else if line.starts_with("| `") {
            let mut cells = line.split('|').skip(1).map(|cell| cell.trim().trim_matches('`').to_owned());
            let column = (cells.next().expect("a name"), cells.next().expect("a type"));
            tables.entry(table.to_owned()).or_default().push(column);
        }
    }
    tables
}

#[test]
fn the_schema_page_lists_all_tables_and_columns() {
    let work = Workplace::new();
    let print = |layout: &str| work.program(&["schema", "print", "--layout", layout]).expect(0).stdout;
    let printed = Layout::ALL.map(|layout| print(layout.name()));
    let expected: Tables = printed.iter().flat_map(|ddl| created(ddl)).collect();
    // With the three tables of the ledger.
    let tables: usize = Layout::ALL.iter().map(|layout| layout.tables().len()).sum();
    assert_eq!(expected.len(), tables + 3, "{expected:?}");
    assert_eq!(listed(PAGE), expected);
    let lines = printed.iter().flat_map(|ddl| ddl.lines());
    for index in lines.filter_map(|line| line.strip_prefix("CREATE INDEX IF NOT EXISTS ")) {
        assert!(PAGE.contains(&format!("`{index}`")), "the page lacks {index}");
    }
}
