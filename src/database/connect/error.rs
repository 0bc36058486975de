//! Connection URLs and variables that can't be used.

use crate::database::connect::tls::error::TlsError;

/// A URL or variable that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Nothing says where the database is.
    #[error(
        "no database given\nhint: set DATABASE_URL (postgresql://user:password@host:5432/database), or PGHOST and \
         PGDATABASE, or add --database-url, or --embedded DIR for a private one"
    )]
    Missing,
    /// The text is no connection string.
    #[error(
        "invalid database URL: {why}\nhint: write postgresql://user:password@host:5432/database, with special \
         characters percent-encoded (@ as %40)"
    )]
    Text {
        /// What is wrong with it.
        why: String,
    },
    /// The text would be a connection string without something that is easily taken away.
    #[error("invalid database URL: {why}\nhint: {remedy}")]
    Mistake {
        /// What is wrong with it.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A parameter or variable has a value that makes no sense.
    #[error("invalid value '{value}' for {place} ({wanted})")]
    Value {
        /// The parameter or variable.
        place: String,
        /// Its value.
        value: String,
        /// What would do.
        wanted: String,
    },
    /// Values that are lists do not fit together.
    #[error(
        "{name} has {count} {}, host has {hosts}\nhint: give one for each host{or_one}",
        if *count == 1 { "value" } else { "values" }
    )]
    Count {
        /// The list's name.
        name: &'static str,
        /// Its values.
        count: usize,
        /// The hosts.
        hosts: usize,
        /// What would do as well.
        or_one: &'static str,
    },
    /// A parameter that nobody knows.
    #[error("unknown parameter '{name}' in the database URL\nhint: use one of {known}")]
    Unknown {
        /// The parameter, where it can be told.
        name: String,
        /// Those that are known.
        known: String,
    },
    /// A parameter or variable that this program does not support.
    #[error("{name} is not supported\nhint: {remedy}")]
    NotOffered {
        /// The parameter or variable.
        name: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A value that this program does not support.
    #[error("{name}={value} is not supported\nhint: {remedy}")]
    ValueNotOffered {
        /// The parameter or variable.
        name: &'static str,
        /// Its value.
        value: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// No version of TLS is allowed.
    #[error(
        "ssl_min_protocol_version={min} is higher than ssl_max_protocol_version={max}\nhint: raise the maximum, or lower \
         the minimum"
    )]
    VersionRange {
        /// The lower limit.
        min: &'static str,
        /// The upper limit.
        max: &'static str,
    },
    /// TLS can't be used as it is asked for.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
