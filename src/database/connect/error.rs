//! Connection URLs and variables that can't be used.

use crate::conceal::shown_value;
use crate::database::connect::tls::error::TlsError;

/// A URL or variable that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No setting names a database.
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
    Text {
        /// The fault.
        why: String,
    },
    /// A common mistake, with its remedy.
    #[error("invalid database URL: {why}\nhint: {remedy}")]
    Mistake {
        /// The fault.
        why: String,
        /// The remedy.
        remedy: &'static str,
    },
    /// An invalid value of a parameter or variable.
    #[error("invalid value '{}' for {place} ({wanted})", shown_value(value))]
    Value {
        /// The parameter or variable.
        place: String,
        /// Its value.
        value: String,
        /// The valid values.
        wanted: String,
    },
    /// Lists with different numbers of values.
    #[error(
        "{name} has {count} {}, host has {hosts}\nhint: give one for each host{or_one}",
        if *count == 1 { "value" } else { "values" }
    )]
    Count {
        /// The list's name.
        name: &'static str,
        /// The number of its values.
        count: usize,
        /// The number of hosts.
        hosts: usize,
        /// The alternative to one value per host.
        or_one: &'static str,
    },
    /// An unknown parameter.
    #[error("unknown parameter '{name}' in the database URL\nhint: use one of {known}")]
    Unknown {
        /// The parameter, or `…` if it may be part of a password.
        name: String,
        /// The known parameters.
        known: String,
    },
    /// An unsupported parameter or variable.
    #[error("{name} is not supported\nhint: {remedy}")]
    NotOffered {
        /// The parameter or variable.
        name: &'static str,
        /// The remedy.
        remedy: &'static str,
    },
    /// An unsupported value.
    #[error("{name}={value} is not supported\nhint: {remedy}")]
    ValueNotOffered {
        /// The parameter or variable.
        name: &'static str,
        /// Its value.
        value: &'static str,
        /// The remedy.
        remedy: &'static str,
    },
    /// An empty range of TLS versions.
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
    /// The TLS settings cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}
