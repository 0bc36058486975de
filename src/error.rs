//! Errors of a command.

pub(crate) use crate::exit::ExitStatus;

use crate::database::store::{FailureKind, StoreError};
use crate::embedded::error::EmbeddedError;
use crate::input::error::InputError;
use crate::pipeline::rejects::file::RejectFileError;
use crate::settings::environment::SettingError;

/// A command failed before it could report a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    RejectFile(#[from] RejectFileError),
    #[error(transparent)]
    Database(#[from] StoreError),
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl CommandError {
    /// Whether a stop request ended the command.
    pub(crate) fn is_aborted(&self) -> bool {
        matches!(self, CommandError::Database(error) if error.is_aborted())
    }

    pub(crate) fn exit_status(&self) -> ExitStatus {
        match self {
            CommandError::Setting(_) => ExitStatus::WrongSetting,
            CommandError::Embedded(error) if error.is_wrong_directory() => ExitStatus::WrongSetting,
            CommandError::Database(error) => database_exit_status(error),
            CommandError::Embedded(error) if error.needs_owner() => ExitStatus::Failed,
            CommandError::Embedded(EmbeddedError::NoEntry { .. } | EmbeddedError::NoAccount)
            | CommandError::Input(_)
            | CommandError::RejectFile(_)
            | CommandError::Other(_) => ExitStatus::Failed,
            CommandError::Embedded(_) => ExitStatus::DatabaseFailed,
        }
    }
}

pub(crate) fn database_exit_status(error: &StoreError) -> ExitStatus {
    match error.kind() {
        FailureKind::Passing => ExitStatus::DatabaseFailed,
        FailureKind::Permanent => ExitStatus::DatabaseRefused,
        FailureKind::Program => ExitStatus::Failed,
    }
}
