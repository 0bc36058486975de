//! The layouts: which tables and columns an event becomes, and the bytes of its rows for `COPY`.
//!
//! Invariant: this module knows no connection. The description of a table here is the one source of its
//! DDL, of the columns that COPY names and of the check that an existing table fits.
//!
//! A further layout is a file beside `archive` and `aegis`, and an arm in each `match` on [`Layout`].

pub(crate) mod aegis;
pub(crate) mod archive;
pub(crate) mod comments;
pub(crate) mod compare;
pub(crate) mod copy;
pub(crate) mod ddl;
pub(crate) mod encoder;
pub(crate) mod identifier;
pub(crate) mod json_value;
pub(crate) mod rows;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use crate::layout::ddl::Indexes;
use crate::layout::table::{ColumnType, Table};
use std::fmt;
use std::str::FromStr;

/// A set of tables that events are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Events, their players and their loot in three tables, for queries of a kill board.
    Archive,
    /// The one table that the TypeScript Albion Aegis keeps through Prisma.
    Aegis,
}

impl Layout {
    /// The name used in options, in JSON and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Archive => "archive",
            Layout::Aegis => "aegis",
        }
    }

    /// The tables in the order in which they are written. The first has one row an event, and its key decides
    /// whether an event is stored.
    pub fn tables(self) -> &'static [Table] {
        match self {
            Layout::Archive => &archive::TABLES,
            Layout::Aegis => &aegis::TABLES,
        }
    }

    /// Whether events of two servers that have the same id are kept apart.
    pub fn has_server_column(self) -> bool {
        self.tables().iter().flat_map(|table| table.columns).any(|column| column.kind == ColumnType::Server)
    }

    /// The statements that make what is missing of the types, tables and indexes in `schema`; they can be run again.
    pub fn ddl(self, schema: &str, indexes: Indexes) -> String {
        ddl::statements(self, schema, indexes)
    }

    /// The statements that comment on the tables of this program among `tables`, and on their columns. Only an owner can run
    /// them.
    pub fn comments(self, schema: &str, tables: &[&str]) -> String {
        match self {
            Layout::Archive => ddl::comments(&comments::ARCHIVE, schema, tables),
            Layout::Aegis => String::new(),
        }
    }

    /// The secondary indexes that may be made later than their tables, by name, and the statements that make each.
    pub fn indexes(self, schema: &str) -> Vec<(&'static str, String)> {
        ddl::indexes(self, schema)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "archive" => Ok(Layout::Archive),
            "aegis" => Ok(Layout::Aegis),
            _ => Err("archive or aegis is needed".to_owned()),
        }
    }
}
