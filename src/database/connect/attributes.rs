//! `target_session_attrs`: the kind of server that a session may use.

use crate::database::connect::error::TargetError;
use crate::database::connect::parameters::Parameters;
use postgres::{Error, SimpleQueryMessage};

/// The values of libpq's `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionAttributes {
    /// Any server.
    #[default]
    Any,
    /// A session that can write.
    ReadWrite,
    /// A session that can only read.
    ReadOnly,
    /// A server that is not in recovery.
    Primary,
    /// A server in recovery.
    Standby,
    /// A server in recovery, or any server if there is none.
    PreferStandby,
}

const NAMES: [(&str, SessionAttributes); 6] = [
    ("any", SessionAttributes::Any),
    ("read-write", SessionAttributes::ReadWrite),
    ("read-only", SessionAttributes::ReadOnly),
    ("primary", SessionAttributes::Primary),
    ("standby", SessionAttributes::Standby),
    ("prefer-standby", SessionAttributes::PreferStandby),
];

/// A reachable server of another kind than requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("target_session_attrs={} is not met: {found}", NAMES.iter().find(|(_, value)| value == wanted).map_or("", |(name, _)| name))]
pub(crate) struct Unmet {
    wanted: SessionAttributes,
    found: &'static str,
    /// Whether a setting of the role, the database or the login causes this, on each server.
    pub(crate) is_by_setting: bool,
}

impl SessionAttributes {
    pub(crate) fn of(parameters: &Parameters) -> Result<Self, TargetError> {
        Ok(parameters.word("target_session_attrs", &NAMES)?.unwrap_or_default())
    }

    /// The requirement of each round over the hosts. The next round follows if no host met the previous one.
    pub(crate) fn rounds(self) -> Vec<Self> {
        match self {
            Self::PreferStandby => vec![Self::Standby, Self::Any],
            other => vec![other],
        }
    }

    /// Queries whether the server meets the requirement. Returns none if it does.
    pub(crate) fn unmet(self, client: &mut postgres::Client) -> Result<Option<Unmet>, Error> {
        let (question, met_by, found) = match self {
            Self::Any | Self::PreferStandby => return Ok(None),
            Self::ReadWrite => ("SHOW transaction_read_only", "off", "the session is read-only"),
            Self::ReadOnly => ("SHOW transaction_read_only", "on", "the session is not read-only"),
            Self::Primary => (RECOVERY, "f", "the server is in hot standby mode"),
            Self::Standby => (RECOVERY, "t", "the server is not in hot standby mode"),
        };
        let rows = client.simple_query(question)?;
        let is_met = rows.iter().any(|row| match row {
            SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten() == Some(met_by),
            _ => false,
        });
        if is_met {
            return Ok(None);
        }
        let is_by_setting = self == Self::ReadWrite && {
            let rows = client.simple_query(READ_ONLY_BY_SETTING)?;
            rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(_)))
        };
        Ok(Some(Unmet { wanted: self, found, is_by_setting }))
    }
}

const READ_ONLY_BY_SETTING: &str = "SELECT name FROM pg_catalog.pg_settings
    WHERE name = 'default_transaction_read_only' AND setting = 'on'
      AND source IN ('user', 'database', 'database user', 'client') AND NOT pg_catalog.pg_is_in_recovery()";

const RECOVERY: &str = "SELECT pg_catalog.pg_is_in_recovery()";
