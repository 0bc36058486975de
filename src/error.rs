//! The errors that a command can end with.

pub(crate) use crate::exit::ExitStatus;

use crate::database::failure::failure_kind::FailureKind;
use crate::database::store::StoreError;
use crate::embedded::error::EmbeddedError;
use crate::input::error::InputError;
use crate::pipeline::rejects::file::RejectFileError;
use crate::settings::environment::SettingError;

/// A command failed before it could say how it went.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// A wrong option, variable or value.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A dump can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The reject file can't be written.
    #[error(transparent)]
    RejectFile(#[from] RejectFileError),
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] StoreError),
    /// The private PostgreSQL can't be used.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl CommandError {
    /// How the program ends.
    pub(crate) fn exit_status(&self) -> ExitStatus {
        match self {
            CommandError::Setting(_) => ExitStatus::WrongSetting,
            CommandError::Embedded(error) if error.is_wrong_directory() => ExitStatus::WrongSetting,
            CommandError::Database(error) => database_exit_status(error),
            CommandError::Embedded(EmbeddedError::NoEntry { .. } | EmbeddedError::NoAccount)
            | CommandError::Input(_)
            | CommandError::RejectFile(_)
            | CommandError::Other(_) => ExitStatus::Failed,
            CommandError::Embedded(_) => ExitStatus::DatabaseFailed,
        }
    }
}

/// How the program ends for a failure of the database.
pub(crate) fn database_exit_status(error: &StoreError) -> ExitStatus {
    match error.kind() {
        FailureKind::Passing => ExitStatus::DatabaseFailed,
        FailureKind::Permanent => ExitStatus::DatabaseRefused,
        FailureKind::Program => ExitStatus::Failed,
    }
}
