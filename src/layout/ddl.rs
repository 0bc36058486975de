//! Generates the DDL of a layout from the descriptions of its tables.

use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::comments::Comments;
use crate::layout::identifier::{identifier, quote_identifier};
use crate::layout::table::{Column, ColumnType, Index, Table, TableOwner};
use std::fmt::Write as _;

/// The roles of a player in an event, in the order of the database's enum.
pub(crate) const ROLES: [&str; 4] = ["killer", "victim", "participant", "group"];

/// When to create secondary indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexes {
    /// Together with their tables.
    Now,
    /// After a bulk load, because sorting all rows at once is faster than inserting them one by one.
    Later,
}

impl Layout {
    /// Returns idempotent statements that create the missing types, tables and indexes in `schema`. `indexes` applies to the
    /// indexes of our own tables.
    pub fn ddl(self, schema: &str, indexes: Indexes) -> String {
        let schema = quote_identifier(schema);
        let mut sql = String::new();
        let tables = self.tables();
        let uses = |kind| tables.iter().flat_map(|table| table.columns).any(|column| column.kind == kind);
        if uses(ColumnType::Server) {
            create_enum(&mut sql, &schema, "albion_server", &Server::ALL.map(Server::name));
        }
        if uses(ColumnType::Role) {
            create_enum(&mut sql, &schema, "kill_role", &ROLES);
        }
        for table in tables {
            match table.keeper {
                TableOwner::Us => create_missing(&mut sql, &schema, table, indexes),
                TableOwner::Others => create_whole(&mut sql, &schema, table),
            }
        }
        sql
    }

    /// The secondary indexes of our own tables, which can be created later than the tables: their names and the statements.
    pub fn indexes(self, schema: &str) -> Vec<(&'static str, String)> {
        let schema = quote_identifier(schema);
        let ours = self.tables().iter().filter(|table| table.keeper == TableOwner::Us);
        let made = |table: &'static Table| {
            let schema = &schema;
            table.indexes.iter().map(move |index| (index.name, create_index(schema, table, index)))
        };
        ours.flat_map(made).collect()
    }
}

// Writing to a String can't fail, so the results of write! are ignored.
fn create_enum(sql: &mut String, schema: &str, name: &str, labels: &[&str]) {
    let labels = labels.join("', '");
    let quotes = dollar_quotes(schema);
    let _ = write!(
        sql,
        "DO {quotes} BEGIN\n  CREATE TYPE {schema}.{name} AS ENUM ('{labels}');\n\
         EXCEPTION WHEN duplicate_object THEN NULL;\nEND {quotes};\n\n",
    );
}

/// Returns a dollar quote that does not occur in the schema's name.
fn dollar_quotes(schema: &str) -> String {
    let mut quotes = "$$".to_owned();
    while schema.contains(&quotes) {
        quotes.insert(1, '_');
    }
    quotes
}

/// Creates the missing table and indexes, and leaves existing ones unchanged.
fn create_missing(sql: &mut String, schema: &str, table: &Table, indexes: Indexes) {
    let _ = writeln!(sql, "CREATE TABLE IF NOT EXISTS {};\n", definition(schema, table));
    if indexes == Indexes::Now {
        for index in table.indexes {
            let _ = writeln!(sql, "{};\n", create_index(schema, table, index));
        }
    }
}

fn create_index(schema: &str, table: &Table, index: &Index) -> String {
    format!("CREATE INDEX IF NOT EXISTS {}", index_definition(schema, table, index))
}

/// Returns the statements that comment on the tables and the columns for which `is_wanted` is true. A table has no column.
/// Only the owner of a table can run them.
pub(crate) fn comments(
    comments: &[Comments],
    schema: &str,
    is_wanted: impl Fn(&str, Option<&str>) -> bool,
) -> String {
    let schema = quote_identifier(schema);
    let mut sql = String::new();
    for Comments { table, text, columns } in comments {
        let before = sql.len();
        if is_wanted(table, None) {
            let _ = writeln!(sql, "COMMENT ON TABLE {schema}.{table} IS '{text}';");
        }
        for (column, text) in columns.iter().filter(|(column, _)| is_wanted(table, Some(*column))) {
            let _ = writeln!(sql, "COMMENT ON COLUMN {schema}.{table}.{column} IS '{text}';");
        }
        if sql.len() > before {
            sql.push('\n');
        }
    }
    sql
}

/// Creates the table with all its indexes, or leaves an existing table unchanged.
fn create_whole(sql: &mut String, schema: &str, table: &Table) {
    let quotes = dollar_quotes(schema);
    let regclass = table.in_schema(schema).replace('\'', "''");
    let _ = writeln!(sql, "DO {quotes} BEGIN\nIF to_regclass('{regclass}') IS NULL THEN\n");
    let _ = writeln!(sql, "CREATE TABLE {};\n", definition(schema, table));
    for index in table.indexes {
        let _ = writeln!(sql, "CREATE INDEX {};\n", index_definition(schema, table, index));
    }
    let _ = writeln!(sql, "END IF;\nEND {quotes};\n");
}

fn definition(schema: &str, table: &Table) -> String {
    let mut sql = format!("{} (\n", table.in_schema(schema));
    for column in table.columns {
        let _ = writeln!(sql, "  {} {},", identifier(column.name), column.definition(schema));
    }
    for (name, definition) in table.defaulted {
        let _ = writeln!(sql, "  {} {definition},", identifier(name));
    }
    let key: Vec<String> = table.key.iter().map(|column| identifier(column)).collect();
    let full = match table.keeper {
        // New keys ascend, so the pages need no free space between keys.
        TableOwner::Us => " WITH (fillfactor = 100)",
        TableOwner::Others => "",
    };
    let _ = write!(sql, "  PRIMARY KEY ({}){full}\n)", key.join(", "));
    sql
}

fn index_definition(schema: &str, table: &Table, index: &Index) -> String {
    format!("{}\n  ON {} {}", identifier(index.name), table.in_schema(schema), index.definition)
}

impl Column {
    /// The type and NOT NULL in DDL. `schema` is quoted.
    pub fn definition(&self, schema: &str) -> String {
        let not_null = if self.needed { " NOT NULL" } else { "" };
        format!("{}{not_null}", column_type(schema, self))
    }
}

fn column_type(schema: &str, column: &Column) -> String {
    match column.kind {
        ColumnType::Server => format!("{schema}.albion_server"),
        ColumnType::Role => format!("{schema}.kill_role"),
        ColumnType::Id => "text COLLATE \"C\"".to_owned(),
        ColumnType::Text => "text".to_owned(),
        ColumnType::Varchar(characters) => format!("varchar({characters})"),
        ColumnType::Int2 => "smallint".to_owned(),
        ColumnType::Int4 => "integer".to_owned(),
        ColumnType::Int8 => "bigint".to_owned(),
        ColumnType::Float8 => "double precision".to_owned(),
        ColumnType::Bool => "boolean".to_owned(),
        ColumnType::Timestamptz => "timestamptz".to_owned(),
        ColumnType::TimestampMs => "timestamp(3)".to_owned(),
        ColumnType::Jsonb => "jsonb".to_owned(),
    }
}
