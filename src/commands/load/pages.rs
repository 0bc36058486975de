//! The pages of a load over HTTP.
//!
//! Invariant: nothing here holds the database after the run has ended, so that its connections can be closed.

use crate::commands::common::open_database::OpenDatabase;
use crate::commands::common::sources;
use crate::commands::load::health_page::HealthPage;
use crate::panics::NO_THREAD;
use crate::report::http::{HttpServer, Pages, Response};
use crate::report::metrics::Metrics;
use crate::report::snapshot::LiveRun;
use crate::report::status::{RunFacts, RunOutcome, StatusPage};
use crate::report::terminal::screen::Screen;
use crate::settings::LoadSettings;
use crate::settings::environment::SettingError;
use crate::settings::listen::Listen;
use crate::sync::channel::{Receiver, bounded};
use anyhow::Context as _;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

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

pub(crate) struct LoadPages {
    server: HttpServer,
    status: Arc<StatusPage>,
}

impl LoadPages {
    /// Serves the pages of a run. A dry run has no database.
    pub(crate) fn start(
        listener: TcpListener,
        settings: &LoadSettings,
        live: &LiveRun,
        run: Uuid,
        metrics: &Arc<Metrics>,
        database: Option<&OpenDatabase>,
        rejects: &Path,
    ) -> anyhow::Result<Self> {
        let facts = RunFacts {
            rejects_file: rejects.display().to_string(),
            run,
            server: settings.event.server,
            layout: settings.event.layout,
            sources: sources::to_text(&settings.named),
        };
        let status = StatusPage::start(facts, live.clone()).context(NO_THREAD)?;
        let status = Arc::new(status);
        let health = database.map(|database| HealthPage::new(settings, database));
        let pages = pages(Arc::clone(&status), Arc::clone(metrics), health);
        let name = settings.listen.as_ref().and_then(|listen| listen.name.clone());
        let server = HttpServer::start(listener, name, pages).context("cannot serve the pages")?;
        Ok(Self { server, status })
    }

    /// Serves the final status to an open page; none if no page is open.
    pub(crate) fn serve_final_status(self, outcome: &RunOutcome) -> Option<FinalStatus> {
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
