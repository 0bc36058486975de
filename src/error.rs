//! The errors that a command can end with.

pub(crate) use crate::exit::Ending;

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
    pub(crate) fn ending(&self) -> Ending {
        match self {
            CommandError::Setting(_) => Ending::WrongSetting,
            CommandError::Embedded(error) if error.is_wrong_folder() => Ending::WrongSetting,
            CommandError::Database(error) => database_ending(error),
            CommandError::Embedded(EmbeddedError::NoEntry { .. } | EmbeddedError::NoAccount) => {
                Ending::Failed
            }
            CommandError::Embedded(_) => Ending::DatabaseFailed,
            CommandError::Input(_) | CommandError::RejectFile(_) | CommandError::Other(_) => Ending::Failed,
        }
    }
}

/// How the program ends for a failure of the database.
pub(crate) fn database_ending(error: &StoreError) -> Ending {
    match error.kind() {
        FailureKind::Passing => Ending::DatabaseFailed,
        FailureKind::Permanent => Ending::DatabaseRefused,
        FailureKind::Program => Ending::Failed,
    }
}
