//! Tables, columns and indexes as data.

use crate::event::server::Server;
use crate::layout::identifier::{identifier, quoted_list};

/// A table of a layout.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name, without the schema.
    pub name: &'static str,
    /// The columns that are written, in the order of a row's fields.
    pub columns: &'static [Column],
    /// Columns that the database fills by a default: name and DDL.
    pub defaulted: &'static [(&'static str, &'static str)],
    /// The column of the event's id.
    pub id: &'static str,
    /// The columns of the primary key.
    pub key: &'static [&'static str],
    /// The secondary indexes.
    pub indexes: &'static [Index],
    /// Who looks after it.
    pub keeper: TableOwner,
}

/// Where the rows of a layout's tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// All in one server.
    OneServer,
    /// Spread by the event's id over the nodes of Citus, those of one event together.
    Citus,
}

/// Who looks after a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableOwner {
    /// This program: what is missing is made, indexes too.
    Us,
    /// Another program as well: a table that is there is left as it is, even where it lacks some of its indexes.
    Others,
}

impl Table {
    /// Its columns, quoted, with commas between them.
    pub fn column_list(&self) -> String {
        quoted_list(&self.columns.iter().map(|column| column.name).collect::<Vec<_>>())
    }

    /// Its name in a statement; `schema` is quoted already.
    pub fn in_schema(&self, schema: &str) -> String {
        format!("{schema}.{}", identifier(self.name))
    }

    /// The column of the event's id in a statement.
    pub fn id_column(&self) -> String {
        identifier(self.id)
    }

    /// The statement that reads columns of those rows of a server's events whose ids are its first parameter. Where there is
    /// no column for the server, all rows are taken as its own. `schema` is quoted.
    ///
    /// Each id is looked up by the primary key, whatever the planner believes. Of a table that was never analyzed, or that
    /// was when it was small, it believes that a server has few events, and would read all of them for each segment, or
    /// even for each id by another index that begins with the server. So the subquery has an OFFSET or a LIMIT, which keep
    /// it from being turned into a join; and where the key has one row, it asks for the first one of a range in the order
    /// of the key, which no other index has. (Of an equality the order would not matter, and `enable_sort` is off in the
    /// sessions that ask, or the order could be had from another index by sorting.)
    ///
    /// Citus knows no such subquery. There it is the plain condition, in whatever order, which its nodes look up by the key
    /// where `enable_seqscan` is off in them as well.
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
        let key = self.key.iter().map(|column| identifier(column)).collect::<Vec<_>>().join(", ");
        let of_server = self.of_server(server);
        let has_one_row = self.key.len() == 1 + usize::from(self.server_column().is_some());
        let condition = if has_one_row {
            format!("{of_server}{id} >= wanted.id AND {id} <= wanted.id ORDER BY {key} LIMIT 1")
        } else {
            format!("{of_server}{id} = wanted.id OFFSET 0")
        };
        format!(
            "SELECT {columns} FROM pg_catalog.unnest($1::bigint[]) AS wanted (id) CROSS JOIN LATERAL
               (SELECT {columns} FROM {table} WHERE {condition}) AS stored"
        )
    }

    /// The subquery that finds the place of the stored row, if there is one, that has the key of the row `found`: `place`, and
    /// in which table it is, `part`. It is looked up by the primary key, as in [`select_stored`](Self::select_stored).
    /// `schema` is quoted.
    pub fn select_place(&self, schema: &str, server: Server) -> String {
        let (table, id) = (self.in_schema(schema), self.id_column());
        let key = self.key.iter().map(|column| identifier(column)).collect::<Vec<_>>();
        let rest = key.iter().filter(|column| **column != id);
        let rest = rest.filter(|column| self.server_column().is_none_or(|server| server.name != *column));
        let rest: Vec<String> = rest.map(|column| format!("AND {column} = found.{column}")).collect();
        format!(
            "SELECT ctid AS place, tableoid AS part FROM {table}
             WHERE {}{id} >= found.{id} AND {id} <= found.{id} {} ORDER BY {} LIMIT 1",
            self.of_server(server),
            rest.join(" "),
            key.join(", ")
        )
    }

    /// The statement that reads the ids of a server's events from the first parameter to the second. `schema` is quoted.
    pub fn select_ids_between(&self, schema: &str, server: Server) -> String {
        let (table, id, of_server) = (self.in_schema(schema), self.id_column(), self.of_server(server));
        format!("SELECT {id} FROM {table} WHERE {of_server}{id} >= $1 AND {id} <= $2")
    }

    /// The statement that reads the ids of a server's events before the time that is its first parameter, and not before the
    /// second one, both as text: at most so many, the oldest first, each with its time as text. `schema` is quoted.
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

    /// The statement that counts a server's events before the time that is its parameter, as text. `schema` is quoted.
    pub fn count_before(&self, schema: &str, server: Server) -> String {
        let (column, zone) = self.time_column();
        format!(
            "SELECT count(*) FROM {} WHERE {}{column} < $1::text::timestamptz{zone}",
            self.in_schema(schema),
            self.of_server(server)
        )
    }

    /// The column of an event's time, and what turns an instant into its type.
    fn time_column(&self) -> (String, &'static str) {
        let zone = |column: &Column| match column.kind {
            ColumnType::Timestamptz => Some((identifier(column.name), "")),
            ColumnType::TimestampMs => Some((identifier(column.name), " AT TIME ZONE 'UTC'")),
            _ => None,
        };
        self.columns.iter().find_map(zone).expect("the first table of a layout has the time of its events")
    }

    /// The condition that picks the same rows in an UPDATE or a DELETE. In one server they are found by their places; the
    /// rest of it is for partitions, in each of which another row may have the same place, and in a form that no index is
    /// used for.
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

    /// The beginning of a condition that leaves the rows of a server.
    fn of_server(&self, server: Server) -> String {
        let of_server =
            self.server_column().map(|column| format!("{} = '{server}' AND ", identifier(column.name)));
        of_server.unwrap_or_default()
    }

    fn server_column(&self) -> Option<&Column> {
        self.columns.iter().find(|column| column.kind == ColumnType::Server)
    }
}

/// A column that is written.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it is never NULL.
    pub needed: bool,
    /// Whether an update leaves what is known where the event says nothing.
    pub keep_on_update: bool,
}

/// A secondary index.
#[derive(Debug, Clone, Copy)]
pub struct Index {
    /// Its name, without the schema.
    pub name: &'static str,
    /// What follows `ON table` in its DDL.
    pub definition: &'static str,
}

/// The type of a column, by what its values are in binary COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// The enum `albion_server`.
    Server,
    /// The enum `kill_role`.
    Role,
    /// Text that is only compared for equality: an id, in the collation "C".
    Id,
    /// Text for people.
    Text,
    /// Text of so many characters at most.
    Varchar(usize),
    /// 16 bits.
    Int2,
    /// 32 bits.
    Int4,
    /// 64 bits.
    Int8,
    /// 64 bits, floating.
    Float8,
    /// True or false.
    Bool,
    /// An instant, in microseconds.
    Timestamptz,
    /// An instant in UTC, in milliseconds, whose column does not say that it is UTC.
    TimestampMs,
    /// JSON.
    Jsonb,
}

impl ColumnType {
    /// The names of the types, as `pg_type.typname` has them, whose binary form is the one that is sent.
    pub fn fitting_types(self) -> &'static [&'static str] {
        match self {
            // An enum's binary form is its label, which text takes as well.
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

/// A column that may be NULL.
pub(crate) const fn optional(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, needed: false, keep_on_update: false }
}

/// A column that may be NULL, and that an update does not make NULL.
pub(crate) const fn keep_on_update(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, needed: false, keep_on_update: true }
}

/// A column that is never NULL.
pub(crate) const fn needed(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, needed: true, keep_on_update: false }
}
