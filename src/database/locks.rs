//! Advisory locks that several parts of the program take.

/// The key of the lock under which the tables of a schema are made, so that two loads that start together don't both
/// make them. Its parameter is the schema; the number is any that no one else uses.
pub(crate) const SCHEMA_LOCK: &str = "hashtextextended($1, 7740106396966348901)";
