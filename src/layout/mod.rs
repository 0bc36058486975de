//! The layouts: the tables and columns of an event, and its rows in the format of `COPY`.
//!
//! Invariant: this module has no connection. The table descriptions are the only source of the DDL, of the column lists
//! for COPY, and of the check of existing tables.
//!
//! To add a layout, add a file next to `archive` and `aegis`, and an arm to each `match` on [`Layout`].

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

use crate::layout::comments::Comments;
use crate::layout::table::{ColumnType, Table};
use std::fmt;
use std::str::FromStr;

/// A set of tables that store events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Three tables of events, players and loot, for the queries of a kill board.
    Archive,
    /// The table that the TypeScript Albion Aegis maintains through Prisma.
    Aegis,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Layout; 2] = [Layout::Archive, Layout::Aegis];

    /// The name in options, in JSON and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Archive => "archive",
            Layout::Aegis => "aegis",
        }
    }

    /// The tables in write order. The first has one row per event, and its key decides whether an event is stored.
    pub fn tables(self) -> &'static [Table] {
        match self {
            Layout::Archive => &archive::TABLES,
            Layout::Aegis => &aegis::TABLES,
        }
    }

    /// Whether events of two servers with the same id are distinct.
    pub fn has_server_column(self) -> bool {
        self.tables().iter().flat_map(|table| table.columns).any(|column| column.kind == ColumnType::Server)
    }

    /// The comments on this program's own tables. `"KillEvent"` has none, also if a load creates it: it belongs to Prisma,
    /// and `prisma db pull` warns about comments.
    pub(crate) fn comments(self) -> &'static [Comments] {
        match self {
            Layout::Archive => &comments::ARCHIVE,
            Layout::Aegis => &[],
        }
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
        let found = Layout::ALL.into_iter().find(|layout| layout.name() == name);
        found.ok_or_else(|| format!("possible values: {}", Layout::ALL.map(Layout::name).join(", ")))
    }
}
