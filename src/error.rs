//! The errors that a command can end with, and the exit codes of all endings.

use crate::database::embedded::EmbeddedError;
use crate::database::store::StoreError;
use crate::input::InputError;
use crate::pipeline::RejectFileError;
use crate::settings::SettingError;

/// A command failed before it could say how it went.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
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
    pub fn ending(&self) -> Ending {
        match self {
            CommandError::Setting(_) => Ending::WrongSetting,
            CommandError::Embedded(error) if error.is_wrong_folder() => Ending::WrongSetting,
            CommandError::Database(_) | CommandError::Embedded(_) => Ending::DatabaseFailed,
            CommandError::Input(_) | CommandError::RejectFile(_) | CommandError::Other(_) => Ending::Failed,
        }
    }
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All is well: every event is in the database.
    Complete,
    /// The input, the reject file or the program itself failed.
    Failed,
    /// A wrong option, variable or value; nothing was done.
    WrongSetting,
    /// All is loaded but the rejects.
    Rejects,
    /// The database could not be reached, or refused.
    DatabaseFailed,
    /// More rejects than allowed.
    RejectLimit,
    /// `verify` found events missing; `health` found the database unhealthy; a private PostgreSQL does not run.
    Missing,
    /// Interrupted by the signal of this number.
    Interrupted(i32),
}

impl Ending {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Ending::Complete => 0,
            Ending::Failed => 1,
            Ending::WrongSetting => 2,
            Ending::Rejects => 3,
            Ending::DatabaseFailed => 4,
            Ending::RejectLimit => 5,
            Ending::Missing => 6,
            // A shell's habit: 130 for SIGINT, 143 for SIGTERM.
            Ending::Interrupted(signal) => 128 + u8::try_from(signal).unwrap_or(0),
        }
    }
}
