//! TLS files, modes and settings that cannot be used.

use std::path::PathBuf;

/// A TLS file, mode or setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
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
    Library(String),
    #[error(
        "sslcert is set, sslkey is not, and this user has no home directory to look for it\nhint: set sslkey (PGSSLKEY)"
    )]
    NoKey,
    #[error(
        "no authorities found on this machine for sslrootcert=system{why}\nhint: install ca-certificates, or name a file"
    )]
    System { why: String },
    #[error("cannot use {place} '{path}': {why}", path = path.display())]
    File { place: String, path: PathBuf, why: String },
    #[error("{place} '{path}' can be read by other users\nhint: run: chmod 600 {path} (640 if root owns it)", path = path.display())]
    OpenKey { place: String, path: PathBuf },
    #[error("cannot use the client certificate '{certificate}' with the key '{key}': {why}\nhint: name a certificate and its own key with \
     sslcert and sslkey", certificate = certificate.display(), key = key.display())]
    Pair { certificate: PathBuf, key: PathBuf, why: String },
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        TlsError::Library(error.to_string())
    }
}
