//! Descriptions of tables, columns and indexes.

use crate::event::server::Server;
use crate::layout::identifier::{identifier, quoted_list};

/// A table of a layout.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name, without the schema.
    pub name: &'static str,
    /// The columns that the loader writes, in the order of a row's fields.
    pub columns: &'static [Column],
    /// Columns that the database fills from a default: name and DDL.
    pub defaulted: &'static [(&'static str, &'static str)],
    /// The column of the event's id.
    pub id: &'static str,
    /// The columns of the primary key.
    pub key: &'static [&'static str],
    /// The secondary indexes.
    pub indexes: &'static [Index],
    /// Who creates and upgrades it.
    pub keeper: TableOwner,
}

/// The location of the rows of a layout's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Distribution {
    /// All on one server.
    #[default]
    OneServer,
    /// Distributed over the nodes of Citus by event id. Rows of one event are on the same node.
    Citus,
}

/// Who creates and upgrades a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableOwner {
    /// This program: it creates missing tables, columns and indexes.
    Us,
    /// Shared with another program: an existing table stays unchanged, even if indexes are missing.
    Others,
}

impl Table {
    /// The quoted columns, separated by commas.
    pub fn column_list(&self) -> String {
        quoted_list(&self.columns.iter().map(|column| column.name).collect::<Vec<_>>())
    }

    /// The qualified name. `schema` is already quoted.
    pub fn in_schema(&self, schema: &str) -> String {
        format!("{schema}.{}", identifier(self.name))
    }

    /// The quoted column of the event's id.
    pub fn id_column(&self) -> String {
        identifier(self.id)
    }

    /// Returns the statement that reads columns of a server's events. The first parameter is the array of event ids.
    /// Without a server column, all rows count as the server's. `schema` is quoted.
    ///
    /// The statement looks up each id by the primary key, whatever the planner estimates. For a table that was never
    /// analyzed, or only while it was small, the planner assumes that a server has few events. It would then read all
    /// of them for each segment, or even for each id through another index that starts with the server. The OFFSET or
    /// LIMIT keeps the subquery from being turned into a join. If the key has one row per id, the subquery asks for the
    /// first row of a range in key order, which no other index provides. (With an equality, the order would not matter.
    /// `enable_sort` is off in these sessions; otherwise, another index plus a sort could provide the order.)
    ///
    /// Citus does not support such a subquery. There, the statement uses a plain condition without an order. The nodes
    /// look up the ids by the key, as `enable_seqscan` is off there as well.
    pub fn select_stored(
        &self,
        schema: &str,
        server: Server,
        columns: &str,
        distribution: Distribution,
    ) -> String {
        let (table, id) = (self.in_schema(schema), self.id_column());
        if distribution == Distribution::Citus {
            return format!("SELECT {columns} FROM {table} WHERE {}", self.is_one_of(server));
        }
        let has_one_row = self.key.len() == 1 + usize::from(self.server_column().is_some());
        let condition = if has_one_row {
            self.is_first_wanted(server)
        } else {
            format!("{}{id} = wanted.id OFFSET 0", self.of_server(server))
        };
        format!(
            "SELECT {columns} FROM pg_catalog.unnest($1::bigint[]) AS wanted (id) CROSS JOIN LATERAL
               (SELECT {columns} FROM {table} WHERE {condition}) AS stored"
        )
    }

    /// Returns the statement that reads, among the array of event ids in its parameter, those with a row of the server. It
    /// reads one row per id by the primary key, as in [`select_stored`](Self::select_stored). Not for Citus. `schema` is
    /// quoted.
    pub fn select_ids_with_rows(&self, schema: &str, server: Server) -> String {
        let (table, id) = (self.in_schema(schema), self.id_column());
        format!(
            "SELECT {id} FROM pg_catalog.unnest($1::bigint[]) AS wanted (id) CROSS JOIN LATERAL
               (SELECT {id} FROM {table} WHERE {}) AS stored",
            self.is_first_wanted(server)
        )
    }

    /// Returns the condition, order and limit that select the first row of the event `wanted.id` in the order of the key.
    fn is_first_wanted(&self, server: Server) -> String {
        let (of_server, id) = (self.of_server(server), self.id_column());
        let key = self.key.iter().map(|column| identifier(column)).collect::<Vec<_>>().join(", ");
        format!("{of_server}{id} >= wanted.id AND {id} <= wanted.id ORDER BY {key} LIMIT 1")
    }

    /// Returns the subquery that locates the stored row with the key of the row `found`: `place` is its ctid, `part`
    /// its table. `schema` is quoted.
    pub fn select_place(&self, schema: &str, server: Server) -> String {
        self.select_by_key(schema, server, "ctid AS place, tableoid AS part")
    }

    /// Returns the subquery that reads columns of the stored row with the key of the row `found`. It uses the primary key,
    /// as in [`select_stored`](Self::select_stored). `schema` is quoted.
    pub fn select_by_key(&self, schema: &str, server: Server, columns: &str) -> String {
        let (table, id) = (self.in_schema(schema), self.id_column());
        let key = self.key.iter().map(|column| identifier(column)).collect::<Vec<_>>();
        let others = key.iter().filter(|column| **column != id);
        let others = others.filter(|column| self.server_column().is_none_or(|server| server.name != *column));
        let others: Vec<String> = others.map(|column| format!("AND {column} = found.{column}")).collect();
        format!(
            "SELECT {columns} FROM {table}
             WHERE {}{id} >= found.{id} AND {id} <= found.{id} {} ORDER BY {} LIMIT 1",
            self.of_server(server),
            others.join(" "),
            key.join(", ")
        )
    }

    /// Returns the statement that reads the ids of a server's events from `$1` to `$2`. `schema` is quoted.
    pub fn select_ids_between(&self, schema: &str, server: Server) -> String {
        let (table, id, of_server) = (self.in_schema(schema), self.id_column(), self.of_server(server));
        format!("SELECT {id} FROM {table} WHERE {of_server}{id} >= $1 AND {id} <= $2")
    }

    /// Returns the statement that reads a server's events before `$1` and not before `$2`, two times as text. It
    /// returns the ids and the times as text of at most `most` events, oldest first. `schema` is quoted.
    pub fn select_before(&self, schema: &str, server: Server, most: usize) -> String {
        let (table, id, of_server) = (self.in_schema(schema), self.id_column(), self.of_server(server));
        let (column, zone) = self.time_column();
        let time = |parameter: &str| format!("{parameter}::text::timestamptz{zone}");
        format!(
            "SELECT {id}, {column}::text FROM {table} WHERE {of_server}{column} < {} AND {column} >= {}
             ORDER BY {column} LIMIT {most}",
            time("$1"),
            time("$2")
        )
    }

    /// Returns the statement that selects `what` of a server's events before `time`, a parameter with a time as text.
    /// `schema` is quoted.
    pub fn select_all_before(&self, schema: &str, server: Server, what: &str, time: &str) -> String {
        let (column, zone) = self.time_column();
        format!(
            "SELECT {what} FROM {} WHERE {}{column} < {time}::text::timestamptz{zone}",
            self.in_schema(schema),
            self.of_server(server)
        )
    }

    /// The column of an event's time, and the SQL that converts an instant to its type.
    fn time_column(&self) -> (String, &'static str) {
        let zone = |column: &Column| match column.kind {
            ColumnType::Timestamptz => Some((identifier(column.name), "")),
            ColumnType::TimestampMs => Some((identifier(column.name), " AT TIME ZONE 'UTC'")),
            _ => None,
        };
        self.columns.iter().find_map(zone).expect("the first table of a layout has the time of its events")
    }

    /// Returns the condition that selects the same rows in an UPDATE or a DELETE. On one server, it finds them by ctid.
    /// Rows of different partitions can have the same ctid, so it also compares the ids, in a form that uses no index.
    pub fn is_stored(&self, schema: &str, server: Server, distribution: Distribution) -> String {
        if distribution == Distribution::Citus {
            return self.is_one_of(server);
        }
        let of_server = self
            .server_column()
            .map(|column| format!("concat({}) = '{server}' AND ", identifier(column.name)));
        format!(
            "ctid = ANY (ARRAY ({})) AND {}{} + 0 = ANY ($1)",
            self.select_stored(schema, server, "ctid", distribution),
            of_server.unwrap_or_default(),
            self.id_column()
        )
    }

    fn is_one_of(&self, server: Server) -> String {
        format!("{}{} = ANY ($1)", self.of_server(server), self.id_column())
    }

    /// Returns the start of a condition that selects the rows of a server.
    fn of_server(&self, server: Server) -> String {
        let of_server =
            self.server_column().map(|column| format!("{} = '{server}' AND ", identifier(column.name)));
        of_server.unwrap_or_default()
    }

    fn server_column(&self) -> Option<&Column> {
        self.columns.iter().find(|column| column.kind == ColumnType::Server)
    }
}

/// A column that the loader writes.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnType,
    /// Whether it is NOT NULL.
    pub needed: bool,
    /// Whether an update keeps the stored value if the event has none.
    pub keep_on_update: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Index {
    pub name: &'static str,
    /// The DDL after `ON table`.
    pub definition: &'static str,
}

/// The type of a column, defined by the binary COPY format of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the others are named as the types of PostgreSQL")]
pub enum ColumnType {
    /// The enum `albion_server`.
    Server,
    /// The enum `kill_role`.
    Role,
    /// Text in collation "C" that is only compared for equality: an id.
    Id,
    Text,
    /// Text with a maximum number of characters.
    Varchar(usize),
    Int2,
    Int4,
    Int8,
    Float8,
    Bool,
    /// An instant, in microseconds.
    Timestamptz,
    /// An instant in UTC, in milliseconds. The column type has no time zone.
    TimestampMs,
    Jsonb,
}

impl ColumnType {
    /// The enum of this program that it is, if it is one.
    pub fn own_type(self) -> Option<&'static str> {
        match self {
            ColumnType::Server => Some("albion_server"),
            ColumnType::Role => Some("kill_role"),
            _ => None,
        }
    }

    /// The fractional digits of a second that a column needs, and its type in SQL. None for a type without them.
    pub fn second_digits(self) -> Option<(i32, &'static str)> {
        match self {
            ColumnType::Timestamptz => Some((6, "timestamptz")),
            ColumnType::TimestampMs => Some((3, "timestamp(3)")),
            _ => None,
        }
    }

    /// The values of `pg_type.typname` whose binary form equals the form that is sent.
    pub fn fitting_types(self) -> &'static [&'static str] {
        match self {
            // The binary form of an enum is its label, which text columns also accept.
            ColumnType::Server => &["albion_server", "text", "varchar"],
            ColumnType::Role => &["kill_role", "text", "varchar"],
            ColumnType::Id | ColumnType::Text | ColumnType::Varchar(_) => &["text", "varchar"],
            ColumnType::Int2 => &["int2"],
            ColumnType::Int4 => &["int4"],
            ColumnType::Int8 => &["int8"],
            ColumnType::Float8 => &["float8"],
            ColumnType::Bool => &["bool"],
            ColumnType::Timestamptz => &["timestamptz"],
            ColumnType::TimestampMs => &["timestamp"],
            ColumnType::Jsonb => &["jsonb"],
        }
    }
}

/// A nullable column.
pub(crate) const fn optional(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, needed: false, keep_on_update: false }
}

/// A nullable column whose value an update does not replace by NULL.
pub(crate) const fn keep_on_update(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, needed: false, keep_on_update: true }
}

/// A NOT NULL column.
pub(crate) const fn needed(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, needed: true, keep_on_update: false }
}
