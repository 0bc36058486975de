//! Connection URLs, variables and files of TLS that can't be used.

use crate::conceal::shown;
use std::path::PathBuf;

/// A URL, a variable or a file of TLS that can't be used.
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
    #[error("invalid value '{}' for {place} ({wanted})", shown(value))]
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
    #[error(
        "sslmode={mode} needs the certificate of the authority that signed the server's\nhint: set \
         sslrootcert=FILE (PGSSLROOTCERT){default}, or set sslrootcert=system for the authorities that this \
         machine trusts"
    )]
    NoAuthorities { mode: &'static str, default: String },
    /// A mode without a check of the name. The authorities of the system sign certificates for anyone.
    #[error(
        "sslmode={mode} is too weak for sslrootcert=system, whose authorities sign certificates for anyone\nhint: use \
         sslmode=verify-full, or omit sslmode"
    )]
    WeakMode { mode: &'static str },
    #[error(
        "sslaccept=strict and sslmode=disable cannot be combined\nhint: remove one of them from the database URL"
    )]
    StrictButDisabled,
    /// Direct negotiation in a mode that may fall back to a plain session.
    #[error(
        "sslnegotiation=direct cannot be used with sslmode={mode}\nhint: set sslmode=require, verify-ca or verify-full"
    )]
    WeakNegotiation { mode: &'static str },
    #[error(
        "{place} has no effect without sslrootcert\nhint: set sslrootcert to the certificate of the authority that signed \
         the server's, or remove {place}"
    )]
    ListsWithoutAuthorities { place: String },
    #[error(
        "cannot use {place} '{path}': {why}\nhint: name revocation lists in PEM, version 2 (openssl ca -gencrl \
         -crlexts crl_ext -out FILE)", path = path.display()
    )]
    Lists { place: String, path: PathBuf, why: String },
    #[error("TLS cannot be used: {0}")]
    Tls(String),
    #[error(
        "sslcert is set, sslkey is not, and this user has no home directory to look for it\nhint: set sslkey (PGSSLKEY)"
    )]
    NoKey,
    #[error(
        "no authorities found on this machine for sslrootcert=system{why}\nhint: install ca-certificates, or name a file"
    )]
    NoSystemAuthorities { why: String },
    #[error("cannot use {place} '{path}': {why}", path = path.display())]
    File { place: String, path: PathBuf, why: String },
    #[error("{place} '{path}' can be read by other users\nhint: run: chmod 600 {path} (640 if root owns it)", path = path.display())]
    OpenKey { place: String, path: PathBuf },
    #[error("cannot use the client certificate '{certificate}' with the key '{key}': {why}\nhint: name a certificate and its own key with \
     sslcert and sslkey", certificate = certificate.display(), key = key.display())]
    Pair { certificate: PathBuf, key: PathBuf, why: String },
}
