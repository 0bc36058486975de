//! The database of a command: of the user's, or a private one that runs for as long as it is used.

use crate::database::embedded::{Embedded, Lifetime};
use crate::database::{DatabaseManager, application_name, from_url};
use crate::error::CommandError;
use crate::settings::{DatabasePlace, DatabaseSettings, SettingError};
use uuid::Uuid;

/// A pool of connections, and the share in the server that it may need.
pub(super) struct OpenDatabase {
    /// Above the share, so that the connections are closed before the server is stopped.
    pub(super) manager: DatabaseManager,
    embedded: Option<Embedded>,
}

impl OpenDatabase {
    /// `run` is told in the name of each session.
    pub(super) fn open(settings: &DatabaseSettings, run: Uuid) -> Result<Self, CommandError> {
        let (target, embedded) = match &settings.place {
            DatabasePlace::Target(target) => {
                for warning in &target.warnings {
                    log::warn!("{warning}");
                }
                (target.as_ref().clone(), None)
            }
            DatabasePlace::Embedded(dir) => {
                let embedded = Embedded::open(dir, Lifetime::WhileUsed)?;
                (from_url(embedded.url(), &|_| None).map_err(SettingError::from)?, Some(embedded))
            }
        };
        let name = application_name(target.application_name(), run);
        let manager = DatabaseManager::connect(&target, &name, settings.pool, settings.trouble)?;
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
