//! Connection URLs and variables that can't be used.

use crate::conceal::shown_value;
use crate::database::connect::tls::error::TlsError;

/// A URL or variable that can't be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages describe the variants and their fields")]
pub enum TargetError {
    #[error(
        "no database given\nhint: set DATABASE_URL (postgresql://user:password@host:5432/database), or PGHOST and \
         PGDATABASE, or add --database-url, or --embedded DIR for a private one"
    )]
    Missing,
    /// The text is not a connection string.
    #[error(
        "invalid database URL: {why}\nhint: write postgresql://user:password@host:5432/database, with special \
         characters percent-encoded (@ as %40)"
    )]
    Text { why: String },
    /// A common mistake, with its remedy.
    #[error("invalid database URL: {why}\nhint: {remedy}")]
    Mistake { why: String, remedy: &'static str },
    #[error("invalid value '{}' for {place} ({wanted})", shown_value(value))]
    Value { place: String, value: String, wanted: String },
    #[error(
        "{name} has {count} {}, host has {hosts}\nhint: give one for each host{or_one}",
        if *count == 1 { "value" } else { "values" }
    )]
    Count { name: &'static str, count: usize, hosts: usize, or_one: &'static str },
    #[error("unknown parameter '{name}' in the database URL\nhint: use one of {known}")]
    Unknown { name: String, known: String },
    #[error("{name} is not supported\nhint: {remedy}")]
    NotOffered { name: &'static str, remedy: &'static str },
    #[error("{name}={value} is not supported\nhint: {remedy}")]
    ValueNotOffered { name: &'static str, value: &'static str, remedy: &'static str },
    #[error(
        "ssl_min_protocol_version={min} is higher than ssl_max_protocol_version={max}\nhint: raise the maximum, or lower \
         the minimum"
    )]
    VersionRange { min: &'static str, max: &'static str },
    /// The TLS settings cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
