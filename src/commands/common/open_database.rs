//! Opens the database of a command: the user's, or a private one that runs while it is used.

use crate::database::connect::{Target, from_url};
use crate::database::ledger::runs::application_name;
use crate::database::pool::manager::DatabaseManager;
use crate::database::pool::supply::Minimum;
use crate::embedded::{Embedded, Lifetime};
use crate::error::CommandError;
use crate::settings::database::{DatabasePlace, DatabaseSettings};
use crate::settings::environment::SettingError;
use uuid::Uuid;

/// The location of a database, with a share in the private server if that is used.
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

    /// Releases the share.
    pub(crate) fn close(self) -> Result<(), CommandError> {
        match self.embedded {
            Some(embedded) => Ok(embedded.close().map(drop)?),
            None => Ok(()),
        }
    }
}

/// An open connection pool.
pub(crate) struct OpenDatabase {
    /// Declared before `place`, so that the connections are closed before the server is stopped.
    pub(crate) manager: DatabaseManager,
    pub(crate) place: DatabaseLocation,
}

impl OpenDatabase {
    /// Opens the pool, at first with one connection. The application name of each session contains `run`.
    pub(crate) fn open(settings: &DatabaseSettings, run: Uuid) -> Result<Self, CommandError> {
        let place = DatabaseLocation::open(settings)?;
        let name = application_name(place.target.application_name(), run);
        let manager = DatabaseManager::connect_with(
            &place.target,
            &name,
            settings.pool,
            settings.trouble,
            Minimum::InUse,
        )?;
        Ok(Self { manager, place })
    }

    /// Closes the connections and releases the share.
    pub(crate) fn close(self) -> Result<(), CommandError> {
        drop(self.manager);
        self.place.close()
    }
}
