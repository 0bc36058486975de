//! Shows a load: pages over HTTP during the run, and a metrics file at its end.
//!
//! Invariant: nothing here holds the database after the run has ended, so that its connections can be closed.

use crate::commands::common::open_database::OpenDatabase;
use crate::commands::common::sources;
use crate::database::health::HealthProbe;
use crate::database::pool::manager::DatabaseManager;
use crate::input::convert::PipedCommand;
use crate::layout::Layout;
use crate::report::health::HealthReport;
use crate::report::http::{HttpServer, Pages, Response};
use crate::report::metrics::Metrics;
use crate::report::snapshot::LiveRun;
use crate::report::status::{RunFacts, RunOutcome, StatusPage};
use crate::report::terminal::screen::Screen;
use crate::settings::LoadSettings;
use crate::settings::environment::SettingError;
use crate::settings::listen::Listen;
use anyhow::Context as _;
use crossbeam_channel::{Receiver, bounded};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long a `/health` response is cached, to limit the load on the database.
const HEALTH_AGE_MAX: Duration = Duration::from_secs(1);

/// The limit of a `/health` check. Probes usually wait no longer.
const HEALTH_TIME_MAX: Duration = Duration::from_secs(3);

/// Binds the address of the pages. Requests before the run starts are queued. If the address is in use and comes from the
/// environment, which many programs share, no pages are served.
pub(crate) fn listen(listen: &Listen, screen: &Screen) -> Result<Option<TcpListener>, SettingError> {
    match TcpListener::bind((listen.host.as_str(), listen.port)) {
        Ok(listener) => {
            if let Ok(address) = listener.local_addr() {
                screen.say(&format!("listening on http://{address}/"));
            }
            Ok(Some(listener))
        }
        Err(source) if listen.is_variable && source.kind() == io::ErrorKind::AddrInUse => {
            log::warn!("{listen} (KILLS_LISTEN) is in use by another program; no pages are served");
            Ok(None)
        }
        Err(source) => Err(SettingError::Listen { address: listen.to_string(), source }),
    }
}

/// The metrics and pages of a run.
pub(crate) struct Observer {
    metrics: Arc<Metrics>,
    metrics_file: Option<PathBuf>,
    /// None without `--listen`.
    listening: Option<Listening>,
}

/// The pages of a run.
struct Listening {
    server: HttpServer,
    status: Arc<StatusPage>,
}

impl Observer {
    /// Starts the configured outputs. A dry run has no database. `last_success` is the end of the last successful run.
    pub(crate) fn start(
        settings: &LoadSettings,
        live: &LiveRun,
        listener: Option<TcpListener>,
        run: Uuid,
        database: Option<&OpenDatabase>,
        last_success: Option<i64>,
    ) -> anyhow::Result<Self> {
        let (event, monitor) = (&settings.event, Arc::clone(&live.monitor));
        let metrics =
            Metrics::new(run, event.server, event.layout, monitor, live.manager.clone(), last_success)
                .context("cannot create the metrics")?;
        let metrics = Arc::new(metrics);
        let listen = |listener| Listening::start(listener, settings, live, run, &metrics, database);
        let listening = listener.map(listen).transpose()?;
        Ok(Self { metrics, metrics_file: settings.metrics_file.clone(), listening })
    }

    /// Serves the final status to an open page; none if no page is open.
    pub(crate) fn serve_final_status(self, outcome: &RunOutcome) -> Option<FinalStatus> {
        self.listening.and_then(|listening| listening.serve_final_status(outcome))
    }

    /// Writes the metrics file, if one is set.
    pub(crate) fn write_metrics(&self, succeeded: bool) -> anyhow::Result<()> {
        match &self.metrics_file {
            Some(path) => self
                .metrics
                .write(path, succeeded)
                .with_context(|| format!("cannot write the metrics file {}", path.display())),
            None => Ok(()),
        }
    }
}

impl Listening {
    fn start(
        listener: TcpListener,
        settings: &LoadSettings,
        live: &LiveRun,
        run: Uuid,
        metrics: &Arc<Metrics>,
        database: Option<&OpenDatabase>,
    ) -> anyhow::Result<Self> {
        let facts = RunFacts {
            run,
            server: settings.event.server,
            layout: settings.event.layout,
            sources: sources::to_text(&settings.named),
        };
        let status = StatusPage::start(facts, live.clone()).context("cannot start a thread")?;
        let status = Arc::new(status);
        let health = database.map(|database| HealthPage::new(settings, database));
        let pages = pages(Arc::clone(&status), Arc::clone(metrics), health);
        let name = settings.listen.as_ref().and_then(|listen| listen.name.clone());
        let server = HttpServer::start(listener, name, pages).context("cannot serve the pages")?;
        Ok(Self { server, status })
    }

    fn serve_final_status(self, outcome: &RunOutcome) -> Option<FinalStatus> {
        let Self { server, status } = self;
        let (page, last) = (status.page(), status.last_json(outcome)?);
        let (seen, delivered) = bounded(1);
        server.replace(Arc::new(move |path| match path {
            "/" => page.clone(),
            "/status.json" => {
                // One message is enough for the waiting drop.
                let _ = seen.try_send(());
                last.clone()
            }
            _ => Response::text(404, "the load has ended"),
        }));
        Some(FinalStatus { server, delivered })
    }
}

/// How long to wait for an open page, which polls once per second.
const FINAL_STATUS_MAX: Duration = Duration::from_millis(1500);

/// How long to wait for responses in progress. Only a slow reader needs more.
const ANSWERS_MAX: Duration = Duration::from_millis(200);

/// Serves the final status. Dropping it waits briefly for an open page to fetch it.
pub(crate) struct FinalStatus {
    server: HttpServer,
    delivered: Receiver<()>,
}

impl Drop for FinalStatus {
    fn drop(&mut self) {
        if self.delivered.recv_timeout(FINAL_STATUS_MAX).is_ok() {
            self.server.finish_answers(ANSWERS_MAX);
        }
    }
}

fn pages(status: Arc<StatusPage>, metrics: Arc<Metrics>, health: Option<HealthPage>) -> Pages {
    Arc::new(move |path| match path {
        "/" => status.page(),
        "/status.json" => status.json(),
        "/metrics" => Response::new(200, "text/plain; version=0.0.4; charset=utf-8", metrics.text()),
        "/health" => match &health {
            Some(page) => page.answer(),
            None => Response::text(404, "a dry run has no database"),
        },
        _ => Response::text(404, "not found; the pages are /, /status.json, /health and /metrics"),
    })
}

/// `/health`.
struct HealthPage {
    probe: HealthProbe,
    manager: DatabaseManager,
    layout: Layout,
    schema: String,
    ledger_schema: Option<String>,
    /// Writer threads.
    workers: usize,
    /// The last response and its time.
    last: Mutex<Option<(Instant, Response)>>,
    /// Held by the thread that queries the database.
    asking: Mutex<()>,
}

impl HealthPage {
    fn new(settings: &LoadSettings, database: &OpenDatabase) -> Self {
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
    fn answer(&self) -> Response {
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
