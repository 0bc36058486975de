//! `/health` of a load.

use crate::commands::common::open_database::OpenDatabase;
use crate::database::health::HealthProbe;
use crate::database::pool::manager::DatabaseManager;
use crate::input::convert::PipedCommand;
use crate::layout::Layout;
use crate::report::health::HealthReport;
use crate::report::http::Response;
use crate::settings::LoadSettings;
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a `/health` response is cached, to limit the load on the database.
const HEALTH_AGE_MAX: Duration = Duration::from_secs(1);

/// The limit of a `/health` check. Probes usually wait no longer.
const HEALTH_TIME_MAX: Duration = Duration::from_secs(3);

pub(crate) struct HealthPage {
    probe: HealthProbe,
    manager: DatabaseManager,
    layout: Layout,
    schema: String,
    ledger_schema: Option<String>,
    workers: usize,
    last: Mutex<Option<(Instant, Response)>>,
    /// Held by the thread that queries the database.
    asking: Mutex<()>,
}

impl HealthPage {
    pub(crate) fn new(settings: &LoadSettings, database: &OpenDatabase) -> Self {
        let place = settings.database.as_ref();
        let schema = place.map_or_else(String::new, |place| place.schema().to_owned());
        let manager = database.manager.clone();
        let time_max = HEALTH_TIME_MAX.min(manager.pool_settings().connection_timeout);
        Self {
            probe: HealthProbe::new(&database.place.target, "aegis-kills health", time_max).for_public(),
            manager,
            layout: settings.event.layout,
            schema,
            ledger_schema: place.and_then(|place| place.ledger_schema.clone()),
            workers: settings.pipeline(PipedCommand::default()).workers,
            last: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// Answers a request. One thread at a time queries the database. The others get the previous response, or wait if there
    /// is none.
    pub(crate) fn answer(&self) -> Response {
        let lock = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().clone();
        if let Some((when, response)) = &known
            && when.elapsed() < HEALTH_AGE_MAX
        {
            return response.clone();
        }
        let _asking = match (self.asking.try_lock(), known) {
            (Ok(asking), _) => asking,
            (Err(TryLockError::Poisoned(asking)), _) => asking.into_inner(),
            (Err(TryLockError::WouldBlock), Some((_, response))) => return response,
            (Err(TryLockError::WouldBlock), None) => {
                let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((_, response)) = lock().clone() {
                    return response;
                }
                asking
            }
        };
        let response = self.look();
        *lock() = Some((Instant::now(), response.clone()));
        response
    }

    fn look(&self) -> Response {
        let (status, inspection) =
            self.probe.examine(self.layout, &self.schema, self.ledger_schema.as_deref());
        let report = HealthReport {
            inspection,
            status,
            pool: self.manager.pool_settings(),
            workers: self.workers,
            connection_errors: self.manager.figures().connection_errors(),
            pool_total: self.manager.pool_state().total,
            // The page is public, so it does not show the options of the run.
            schema_apply: "aegis-kills schema apply".to_owned(),
        };
        let status = if report.status.is_healthy() { 200 } else { 503 };
        Response::new(status, "application/json", format!("{}\n", report.to_json()))
    }
}
