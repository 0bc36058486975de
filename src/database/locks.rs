//! Advisory locks that several parts of the program use.

/// The key of the lock for creating the tables of a schema, so that two loads that start together do not both create
/// them. The parameter is the schema; the number is an arbitrary unique seed.
pub(crate) const SCHEMA_LOCK: &str = "hashtextextended($1, 7740106396966348901)";
