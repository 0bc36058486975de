//! Files, modes and settings of TLS that can't be used.

use std::path::PathBuf;

/// Files or modes of TLS that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is nothing to check the server's certificate by.
    #[error(
        "sslmode={mode} needs the certificate of the authority that signed the server's: name its file by \
         sslrootcert=FILE (PGSSLROOTCERT){default}, or give sslrootcert=system for the authorities that this \
         machine trusts"
    )]
    NoAuthorities {
        /// The mode.
        mode: &'static str,
        /// The file that is looked for by default.
        default: String,
    },
    /// A mode that would not check what the authorities of the system sign for anyone.
    #[error(
        "sslmode={mode} is too weak for sslrootcert=system, whose authorities sign certificates for anyone; use \
         sslmode=verify-full, or leave sslmode out"
    )]
    WeakMode {
        /// The mode.
        mode: &'static str,
    },
    /// Prisma's strict mode, and no TLS.
    #[error(
        "sslaccept=strict and sslmode=disable exclude each other\nhint: remove one of them from the database URL"
    )]
    StrictButDisabled,
    /// A handshake without negotiation, in a mode that may have to go on without TLS.
    #[error(
        "sslnegotiation=direct cannot be used with sslmode={mode}\nhint: set sslmode=require, verify-ca or verify-full"
    )]
    WeakNegotiation {
        /// The mode.
        mode: &'static str,
    },
    /// Revocation lists, and no authority whose lists they could be.
    #[error(
        "{place} has no effect without sslrootcert\nhint: set sslrootcert to the certificate of the authority that signed \
         the server's, or remove {place}"
    )]
    ListsWithoutAuthorities {
        /// The parameter or variable.
        place: String,
    },
    /// Revocation lists that can't be used.
    #[error(
        "cannot use {place} '{path}': {why}\nhint: name revocation lists in PEM and of version 2 (openssl ca -gencrl \
         -crlexts crl_ext -out FILE)", path = path.display()
    )]
    Lists {
        /// What named the file or directory.
        place: String,
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The TLS library itself fails.
    #[error("TLS cannot be used: {0}")]
    Library(String),
    /// A key of which nothing says where it is.
    #[error(
        "sslcert is set, sslkey is not, and this user has no home directory to look for it\nhint: set sslkey (PGSSLKEY)"
    )]
    NoKey,
    /// The machine's own authorities can't be read.
    #[error(
        "sslrootcert=system finds no authorities on this machine{why}; install ca-certificates, or name a file"
    )]
    System {
        /// Why.
        why: String,
    },
    /// A file is missing, or can't be read.
    #[error("{place} {path:?} can't be read: {why}")]
    File {
        /// What named the file.
        place: String,
        /// The file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// A private key that others can read.
    #[error(
        "{place} {path:?} can be read by others, and so is no secret; mend it by: chmod 600 {path} (640 if root owns it)"
    )]
    OpenKey {
        /// What named the file.
        place: String,
        /// The file.
        path: PathBuf,
    },
    /// A key of another certificate.
    #[error("the client certificate {certificate:?} and the key {key:?} can't be used together: {why}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        why: String,
    },
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        TlsError::Library(error.to_string())
    }
}
