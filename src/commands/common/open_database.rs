//! The database of a command: of the user's, or a private one that runs for as long as it is used.

use crate::database::connect::{Target, from_url};
use crate::database::ledger::runs::application_name;
use crate::database::pool::manager::DatabaseManager;
use crate::embedded::{Embedded, Lifetime};
use crate::error::CommandError;
use crate::settings::database::{DatabasePlace, DatabaseSettings};
use crate::settings::environment::SettingError;
use uuid::Uuid;

/// Where a database is, and the share in the private server that it may need.
pub(crate) struct DatabaseLocation {
    pub(crate) target: Target,
    embedded: Option<Embedded>,
}

impl DatabaseLocation {
    pub(crate) fn open(settings: &DatabaseSettings) -> Result<Self, CommandError> {
        match &settings.place {
            DatabasePlace::Target(target) => {
                for warning in &target.warnings {
                    log::warn!("{warning}");
                }
                Ok(Self { target: target.as_ref().clone(), embedded: None })
            }
            DatabasePlace::Embedded(dir) => {
                let embedded = Embedded::open(dir, Lifetime::WhileUsed)?;
                let target = from_url(embedded.url(), &|_| None).map_err(SettingError::from)?;
                Ok(Self { target, embedded: Some(embedded) })
            }
        }
    }

    /// Gives back the share.
    pub(crate) fn close(self) -> Result<(), CommandError> {
        match self.embedded {
            Some(embedded) => Ok(embedded.close().map(drop)?),
            None => Ok(()),
        }
    }
}

/// A pool of connections.
pub(crate) struct OpenDatabase {
    /// Above the place, so that the connections are closed before the server is stopped.
    pub(crate) manager: DatabaseManager,
    pub(crate) place: DatabaseLocation,
}

impl OpenDatabase {
    /// `run` is told in the name of each session.
    pub(crate) fn open(settings: &DatabaseSettings, run: Uuid) -> Result<Self, CommandError> {
        let place = DatabaseLocation::open(settings)?;
        let name = application_name(place.target.application_name(), run);
        let manager = DatabaseManager::connect(&place.target, &name, settings.pool, settings.trouble)?;
        Ok(Self { manager, place })
    }

    /// Closes the connections, and gives back the share.
    pub(crate) fn close(self) -> Result<(), CommandError> {
        drop(self.manager);
        self.place.close()
    }
}
