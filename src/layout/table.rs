//! Tables, columns and indexes as data.

/// A table of a layout.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name, without the schema.
    pub name: &'static str,
    /// The columns that are written, in the order of a row's fields.
    pub columns: &'static [Column],
    /// Columns that the database fills by a default: name and DDL.
    pub defaulted: &'static [(&'static str, &'static str)],
    /// The columns of the primary key.
    pub key: &'static [&'static str],
    /// The secondary indexes.
    pub indexes: &'static [Index],
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
            ColumnType::Id | ColumnType::Text => &["text", "varchar"],
            ColumnType::Int2 => &["int2"],
            ColumnType::Int4 => &["int4"],
            ColumnType::Int8 => &["int8"],
            ColumnType::Float8 => &["float8"],
            ColumnType::Bool => &["bool"],
            ColumnType::Timestamptz => &["timestamptz"],
            ColumnType::Jsonb => &["jsonb"],
        }
    }
}

/// A column that may be NULL.
pub(super) const fn optional(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, needed: false }
}

/// A column that is never NULL.
pub(super) const fn needed(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, needed: true }
}
