//! The database of a command: of the user's, or a private one that runs for as long as it is used.

use crate::database::embedded::{Embedded, Lifetime};
use crate::database::{DatabaseManager, from_url};
use crate::error::CommandError;
use crate::settings::{DatabasePlace, DatabaseSettings, SettingError};

/// A pool of connections, and the share in the server that it may need.
pub(super) struct OpenDatabase {
    /// Above the share, so that the connections are closed before the server is stopped.
    pub(super) manager: DatabaseManager,
    embedded: Option<Embedded>,
}

impl OpenDatabase {
    pub(super) fn open(settings: &DatabaseSettings) -> Result<Self, CommandError> {
        let (target, embedded) = match &settings.place {
            DatabasePlace::Target(target) => {
                for warning in &target.warnings {
                    log::warn!("{warning}");
                }
                (target.as_ref().clone(), None)
            }
            DatabasePlace::Embedded(dir) => {
                let embedded = Embedded::open(dir, Lifetime::WhileUsed)?;
                (from_url(embedded.url()).map_err(SettingError::from)?, Some(embedded))
            }
        };
        let manager = DatabaseManager::connect(&target, settings.pool)?;
        Ok(Self { manager, embedded })
    }

    /// Closes the connections, and gives back the share.
    pub(super) fn close(self) -> Result<(), CommandError> {
        drop(self.manager);
        match self.embedded {
            Some(embedded) => Ok(embedded.close().map(drop)?),
            None => Ok(()),
        }
    }
}
