//! The database that a load writes to, with its tables and the settings of the load.

use crate::commands::common::next_steps::SchemaHints;
use crate::commands::common::open_database::OpenDatabase;
use crate::commands::load::parts::LoadParts;
use crate::database::ledger::runs::RunLog;
use crate::database::options::{LoadedSegments, OnConflict, StoreSettings};
use crate::database::schema::access::{self, TableUse};
use crate::database::schema::catalog::Catalog;
use crate::database::schema::inspect::OWNER_APPLY;
use crate::database::schema::locate;
use crate::database::schema::misfits::{LostRows, RESTORE, dropped_tables};
use crate::database::schema::{deferred_indexes, ensure};
use crate::database::store::StoreError;
use crate::error::CommandError;
use crate::layout::ddl::Indexes;
use crate::layout::table::Distribution;
use crate::pipeline::run_error::RunError;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::ShutdownReason;
use crate::settings::database::DatabaseSettings;

/// An open database whose tables a load can write to.
pub(crate) struct LoadTarget {
    pub(crate) database: OpenDatabase,
    pub(crate) store_settings: StoreSettings,
    /// Part of each segment's key.
    pub(crate) identity: Option<String>,
    /// The catalog before the load.
    pub(crate) catalog: Catalog,
    /// The end of the last successful run, in seconds since 1970, if the pages or the metrics file show it.
    pub(crate) last_success: Option<i64>,
}

impl LoadTarget {
    /// Opens the database and ensures that the tables exist and fit.
    pub(crate) fn open(parts: &LoadParts<'_>, place: &DatabaseSettings) -> Result<Self, CommandError> {
        let (settings, id) = (parts.settings, parts.id);
        let layout = settings.event.layout;
        let database = OpenDatabase::open(place, id)?;
        let manager = &database.manager;
        let hinted = |error: StoreError| error.map_message(|text| parts.hints.fill(text));
        let schemas = locate::schemas(manager, layout, place.schema(), place.ledger_schema.as_deref())
            .map_err(hinted)?;
        let lost = accepted_losses(settings.on_conflict, settings.held);
        let tables = ensure::ensure(manager, layout, &schemas, Indexes::Later, Distribution::OneServer, lost)
            .map_err(hinted)?;
        for warning in &tables.warnings {
            log::warn!("{}", parts.hints.fill(warning));
        }
        if tables.distribution == Distribution::OneServer {
            deferred_indexes::defer(manager, &tables.catalog, layout, &schemas, id);
        }
        let identity = tables.catalog.identity(layout, &schemas);
        let store_settings = StoreSettings {
            schema_apply: parts.hints.fill("aegis-kills schema apply"),
            owner_apply: parts.hints.fill(OWNER_APPLY),
            layout,
            schemas,
            server: settings.event.server,
            on_conflict: settings.on_conflict,
            held: settings.held,
            distribution: tables.distribution,
            has_user_code: tables.catalog.has_user_code,
            uses_files: tables.catalog.uses_files,
        };
        let is_watched = settings.listen.is_some() || settings.metrics_file.is_some();
        let last_success = if is_watched { RunLog::last_success(manager, &store_settings)? } else { None };
        Ok(Self { database, store_settings, identity, catalog: tables.catalog, last_success })
    }

    /// The same failure, with the statements for the owner if this role lacks privileges.
    pub(crate) fn with_grants(&self, error: StoreError) -> StoreError {
        let StoreSettings { layout, schemas, .. } = &self.store_settings;
        access::with_grants(error, &self.database.manager, *layout, schemas, TableUse::Load)
    }

    /// Does the same for the failure of a run. If a table is missing now, the failure names it, and the command that restores
    /// its rows.
    pub(crate) fn explain(&self, report: &mut RunReport, hints: &SchemaHints) {
        if let Some(dropped) = self.dropped_tables(report) {
            if dropped.contains(RESTORE) {
                report.reload = Some(hints.fill(RESTORE));
            }
            let error = StoreError::refused(hints.fill(&dropped));
            report.halted = Some(ShutdownReason::Failed(error.into()));
            return;
        }
        let explained = |reason| match reason {
            ShutdownReason::Failed(RunError::Store(error)) => {
                ShutdownReason::Failed(RunError::Store(self.with_grants(error)))
            }
            ShutdownReason::Failed(RunError::Event { place, source }) => {
                ShutdownReason::Failed(RunError::Event { place, source: self.with_grants(source) })
            }
            other => other,
        };
        report.halted = report.halted.take().map(explained);
    }

    fn dropped_tables(&self, report: &RunReport) -> Option<String> {
        let Some(ShutdownReason::Failed(RunError::Store(error) | RunError::Event { source: error, .. })) =
            &report.halted
        else {
            return None;
        };
        let StoreSettings { layout, schemas, on_conflict, held, .. } = &self.store_settings;
        let accepted = accepted_losses(*on_conflict, *held);
        dropped_tables(error, &self.database.manager, *layout, schemas, accepted)
    }
}

/// The rows of missing tables that a load accepts as lost.
fn accepted_losses(on_conflict: OnConflict, held: LoadedSegments) -> LostRows {
    match (on_conflict, held) {
        (OnConflict::Update, _) => LostRows::Accepted,
        (OnConflict::Skip, LoadedSegments::LoadAgain) => LostRows::OfEvents,
        (OnConflict::Skip, LoadedSegments::Skip) => LostRows::Refused,
    }
}
