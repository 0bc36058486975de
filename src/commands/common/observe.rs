//! What a load shows of itself: pages over HTTP while it runs, and a file of metrics at its end.
//!
//! Invariant: nothing here holds the database once the run has ended, so that its connections can be closed.

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
use crate::settings::environment::SettingError;
use crate::settings::{Listen, LoadSettings};
use anyhow::Context as _;
use crossbeam_channel::{Receiver, bounded};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// For how long the answer of `/health` is given again, so that its readers cost the database next to nothing.
const HEALTH_AGE_MAX: Duration = Duration::from_secs(1);

/// Whoever asks for `/health` waits no longer than most of them are ready to.
const HEALTH_TIME_MAX: Duration = Duration::from_secs(3);

/// Takes the address that pages are to be served at. Whoever asks before they are is answered then. Where the address is
/// another program's and comes from the environment, which many programs share, there are no pages.
pub(crate) fn listen(listen: &Listen, screen: &Screen) -> Result<Option<TcpListener>, SettingError> {
    match TcpListener::bind((listen.host.as_str(), listen.port)) {
        Ok(listener) => {
            if let Ok(address) = listener.local_addr() {
                screen.say(&format!("listening on http://{address}/"));
            }
            Ok(Some(listener))
        }
        Err(source) if listen.is_variable && source.kind() == io::ErrorKind::AddrInUse => {
            log::warn!("{listen} (KILLS_LISTEN) is used by another program; no pages are served");
            Ok(None)
        }
        Err(source) => Err(SettingError::Listen { address: listen.to_string(), source }),
    }
}

/// What shows a run.
pub(crate) struct Observer {
    metrics: Arc<Metrics>,
    metrics_file: Option<PathBuf>,
    /// Nothing where none was asked for.
    listening: Option<Listening>,
}

/// The pages of a run.
struct Listening {
    server: HttpServer,
    status: Arc<StatusPage>,
}

impl Observer {
    /// Starts what is asked for; without a database in a dry run. `last_success` is when an earlier run last did well.
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
                .context("the metrics can't be made")?;
        let metrics = Arc::new(metrics);
        let listen = |listener| Listening::start(listener, settings, live, run, &metrics, database);
        let listening = listener.map(listen).transpose()?;
        Ok(Self { metrics, metrics_file: settings.metrics_file.clone(), listening })
    }

    /// Leaves the end of the run to a page that is open; nothing where none is.
    pub(crate) fn serve_final_status(self, outcome: &RunOutcome) -> Option<Farewell> {
        self.listening.and_then(|listening| listening.serve_final_status(outcome))
    }

    /// Writes the file of metrics, if one was asked for.
    pub(crate) fn write_metrics(&self, succeeded: bool) -> anyhow::Result<()> {
        match &self.metrics_file {
            Some(path) => self
                .metrics
                .write(path, succeeded)
                .with_context(|| format!("the metrics file {} can't be written", path.display())),
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
        let status = StatusPage::start(facts, live.clone()).context("a thread can't be started")?;
        let status = Arc::new(status);
        let health = database.map(|database| HealthPage::new(settings, database));
        let pages = pages(Arc::clone(&status), Arc::clone(metrics), health);
        let name = settings.listen.as_ref().and_then(|listen| listen.name.clone());
        let server = HttpServer::start(listener, name, pages).context("the pages can't be served")?;
        Ok(Self { server, status })
    }

    fn serve_final_status(self, outcome: &RunOutcome) -> Option<Farewell> {
        let Self { server, status } = self;
        let (page, last) = (status.page(), status.last_json(outcome)?);
        let (seen, told) = bounded(1);
        server.replace(Arc::new(move |path| match path {
            "/" => page.clone(),
            "/status.json" => {
                // Who waits for it needs one word.
                let _ = seen.try_send(());
                last.clone()
            }
            _ => Response::words(404, "the load has ended"),
        }));
        Some(Farewell { server, told })
    }
}

/// A page that is open asks each second.
const FAREWELL_MAX: Duration = Duration::from_millis(1500);

/// An answer takes no time, unless its reader does.
const ANSWERS_MAX: Duration = Duration::from_millis(200);

/// Gives a page that is open, when this is dropped, a moment to see how the run has ended.
pub(crate) struct Farewell {
    server: HttpServer,
    told: Receiver<()>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if self.told.recv_timeout(FAREWELL_MAX).is_ok() {
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
            None => Response::words(404, "a dry run has no database"),
        },
        _ => Response::words(404, "there are /, /status.json, /health and /metrics"),
    })
}

/// `/health`.
struct HealthPage {
    probe: HealthProbe,
    manager: DatabaseManager,
    layout: Layout,
    schema: String,
    ledger_schema: Option<String>,
    /// Threads that write.
    workers: usize,
    /// The last answer, and when it was given.
    last: Mutex<Option<(Instant, Response)>>,
    /// Held by the one that asks.
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

    /// One at a time asks the database; the others get the answer before it, and wait where there is none yet.
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
            // All who see the page need not know the options of the run.
            schema_apply: "aegis-kills schema apply".to_owned(),
        };
        let status = if report.status.is_healthy() { 200 } else { 503 };
        Response::new(status, "application/json", format!("{}\n", report.to_json()))
    }
}
