//! What a load shows of itself: pages over HTTP while it runs, and a file of metrics at its end.

use super::database::OpenDatabase;
use crate::database::{DatabaseManager, HealthProbe};
use crate::pipeline::Monitor;
use crate::report::{HealthReport, HttpServer, Metrics, Pages, Response};
use crate::settings::{LoadSettings, SettingError};
use anyhow::Context as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// For how long the answer of `/health` is given again, so that its readers cost the database next to nothing.
const HEALTH_AGE_MAX: Duration = Duration::from_secs(1);

/// Whoever asks for `/health` waits no longer than most of them are ready to.
const HEALTH_TIME_MAX: Duration = Duration::from_secs(3);

/// Takes the address that pages are to be served at. Whoever asks before they are is answered then.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, SettingError> {
    TcpListener::bind(address).map_err(|source| SettingError::Listen { address, source })
}

/// What shows a run.
pub(super) struct Observer {
    /// The account that the run adds to.
    pub(super) monitor: Arc<Monitor>,
    metrics: Arc<Metrics>,
    metrics_file: Option<PathBuf>,
    /// Nothing where none was asked for.
    _server: Option<HttpServer>,
}

impl Observer {
    /// Starts what is asked for; without a database in a dry run. `last_success` is when an earlier run last did well.
    pub(super) fn start(
        settings: &LoadSettings,
        monitor: Arc<Monitor>,
        listener: Option<TcpListener>,
        run: Uuid,
        database: Option<&OpenDatabase>,
        last_success: Option<i64>,
    ) -> anyhow::Result<Self> {
        let manager = database.map(|database| database.manager.clone());
        let event = &settings.event;
        let metrics =
            Metrics::new(run, event.server, event.layout, Arc::clone(&monitor), manager, last_success)
                .context("the metrics can't be made")?;
        let metrics = Arc::new(metrics);
        let server = match listener {
            Some(listener) => {
                let health = database.map(|database| HealthPage::new(settings, database));
                let pages = pages(Arc::clone(&metrics), health);
                let server = HttpServer::start(listener, pages).context("the pages can't be served")?;
                log::info!("listening on http://{}/", server.address());
                Some(server)
            }
            None => None,
        };
        Ok(Self { monitor, metrics, metrics_file: settings.metrics_file.clone(), _server: server })
    }

    /// Writes the file of metrics, if one was asked for.
    pub(super) fn finish(self, succeeded: bool) -> anyhow::Result<()> {
        match &self.metrics_file {
            Some(path) => self
                .metrics
                .write(path, succeeded)
                .with_context(|| format!("the metrics file {} can't be written", path.display())),
            None => Ok(()),
        }
    }
}

fn pages(metrics: Arc<Metrics>, health: Option<HealthPage>) -> Pages {
    Arc::new(move |path| match path {
        "/metrics" => Response {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: metrics.text(),
        },
        "/health" => match &health {
            Some(page) => page.answer(),
            None => Response::words(404, "a dry run has no database"),
        },
        _ => Response::words(404, "there are /health and /metrics"),
    })
}

/// `/health`.
struct HealthPage {
    probe: HealthProbe,
    manager: DatabaseManager,
    settings: HealthPageSettings,
    /// The last answer, and when it was given.
    last: Mutex<Option<(Instant, Response)>>,
}

struct HealthPageSettings {
    layout: crate::layout::Layout,
    schema: String,
    workers: usize,
}

impl HealthPage {
    fn new(settings: &LoadSettings, database: &OpenDatabase) -> Self {
        let schema = settings.database.as_ref().map_or_else(String::new, |place| place.schema().to_owned());
        let manager = database.manager.clone();
        let time_max = HEALTH_TIME_MAX.min(manager.pool_settings().connection_timeout);
        Self {
            probe: HealthProbe::new(&database.place.target, "aegis-kills health", time_max),
            manager,
            settings: HealthPageSettings {
                layout: settings.event.layout,
                schema,
                workers: settings.pipeline.workers,
            },
            last: Mutex::default(),
        }
    }

    /// One at a time asks the database; the others wait for that answer.
    fn answer(&self) -> Response {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, response)) = &*last
            && when.elapsed() < HEALTH_AGE_MAX
        {
            return response.clone();
        }
        let response = self.look();
        *last = Some((Instant::now(), response.clone()));
        response
    }

    fn look(&self) -> Response {
        let status = self.probe.check();
        let inspect = || self.probe.inspect(self.settings.layout, &self.settings.schema).ok();
        let report = HealthReport {
            inspection: status.server.as_ref().and_then(|_| inspect()),
            status,
            pool: self.manager.pool_settings(),
            workers: self.settings.workers,
            connection_errors: self.manager.figures().connection_errors(),
            pool_total: self.manager.pool_state().total,
        };
        Response {
            status: if report.status.is_healthy() { 200 } else { 503 },
            content_type: "application/json",
            body: format!("{}\n", report.to_json()),
        }
    }
}
