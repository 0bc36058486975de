//! What makes a database unusable for a while, in the words of logs, errors and displays.

use crate::database::failure::error::DatabaseError;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutageKind {
    /// No connection, or a lost one.
    Unreachable,
    /// Connections are accepted, and then nothing is answered.
    NotAnswering,
    /// The server is starting, stopping or recovering.
    NotReady,
    /// No room for a further connection.
    OutOfConnections,
    OutOfDiskSpace,
    /// A standby, or read-only.
    ReadOnly,
    /// No server matches `target_session_attrs`.
    Unmatched,
    /// Errors of the server's files.
    StorageErrors,
    /// A COMMIT waits for a synchronous standby.
    AwaitsStandby,
}

impl OutageKind {
    /// The kind of the outage that this error shows.
    pub(crate) fn of(error: &DatabaseError) -> Self {
        match (error, error.sqlstate()) {
            (DatabaseError::NoAnswer(_), _) => Self::NotAnswering,
            (DatabaseError::Standby(_) | DatabaseError::Unreplicated, _) => Self::AwaitsStandby,
            (DatabaseError::Unmet(_), _) => Self::Unmatched,
            (_, Some("25006")) => Self::ReadOnly,
            (_, Some("57P03")) => Self::NotReady,
            (_, Some("53300")) => Self::OutOfConnections,
            (_, Some("53100")) => Self::OutOfDiskSpace,
            (_, Some("58000" | "58030")) => Self::StorageErrors,
            _ => Self::Unreachable,
        }
    }

    /// The hint of an outage that did not end, where its cause has none.
    pub(crate) fn remedy(self) -> &'static str {
        if self == Self::ReadOnly {
            "\nhint: connect to the primary, or reset default_transaction_read_only of the server"
        } else {
            ""
        }
    }

    /// The end of the outage, after `database`.
    pub(crate) fn end(self) -> &'static str {
        match self {
            Self::Unreachable
            | Self::NotAnswering
            | Self::NotReady
            | Self::OutOfConnections
            | Self::Unmatched => "reachable again",
            Self::OutOfDiskSpace | Self::ReadOnly | Self::StorageErrors => "available again",
            // A cancelled wait ends without the standby.
            Self::AwaitsStandby => "no longer waiting for a synchronous standby",
        }
    }
}

/// What the database is, after `database` or `the database was`.
impl fmt::Display for OutageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::NotAnswering => "not answering",
            Self::NotReady => "not ready",
            Self::OutOfConnections => "out of connections",
            Self::OutOfDiskSpace => "out of disk space",
            Self::ReadOnly => "read-only",
            Self::Unmatched => "without a matching server",
            Self::StorageErrors => "failing with storage errors",
            Self::AwaitsStandby => "waiting for a synchronous standby",
        })
    }
}
