//! The status of a run over HTTP: a page for users, and the JSON that the page requests each second.
//!
//! Invariant: a request does not query the database, and the response is bounded.
//!
//! Invariant: the response contains no text of an event.

pub(crate) mod history;
pub(crate) mod page;
pub(crate) mod status_json;

use crate::event::server::Server;
use crate::layout::Layout;
use crate::report::http::Response;
use crate::report::snapshot::LiveRun;
use crate::report::summary::RunStatus;
use crate::report::terminal::speed::{Pace, Speed};
use crate::report::terminal::ticker::Ticker;
use history::{History, HistorySample};
use jiff::Timestamp;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A page counts as open if it has requested the JSON within this time.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// Constant facts about a run.
#[derive(Debug)]
pub(crate) struct RunFacts {
    /// The id in the ledger.
    pub run: Uuid,
    pub server: Server,
    pub layout: Layout,
    /// The dumps as text.
    pub sources: String,
    /// The reject file, which exists once there are new rejects.
    pub rejects_file: String,
}

#[derive(Debug, Clone)]
pub(crate) struct RunOutcome {
    pub status: RunStatus,
    /// The error, in a text that is safe to publish.
    pub error: Option<String>,
}

#[derive(Debug)]
pub(crate) struct StatusPage {
    live: Arc<Live>,
    page: Response,
    _sampler: Ticker,
}

/// The state of the page during a run.
#[derive(Debug)]
struct Live {
    facts: RunFacts,
    run: LiveRun,
    started: Timestamp,
    seen: Mutex<Sampled>,
    /// The last request of the JSON.
    asked: Mutex<Option<Instant>>,
}

/// The samples so far.
#[derive(Debug, Default)]
struct Sampled {
    history: History,
    speed: Speed,
    pace: Pace,
}

impl StatusPage {
    /// Starts sampling a run.
    pub(crate) fn start(facts: RunFacts, run: LiveRun) -> io::Result<Self> {
        let mut seen = Sampled::default();
        seen.pace = seen.speed.look(&run.figures());
        let now = Timestamp::now();
        let started = now.checked_sub(run.begun.elapsed()).unwrap_or(now);
        let live = Arc::new(Live { facts, run, started, seen: Mutex::new(seen), asked: Mutex::default() });
        let looked_at = Arc::clone(&live);
        let sampler = Ticker::start("status", SAMPLE_INTERVAL, move || looked_at.sample())?;
        Ok(Self { live, page: page::response(), _sampler: sampler })
    }

    pub(crate) fn page(&self) -> Response {
        self.page.clone()
    }

    pub(crate) fn json(&self) -> Response {
        *lock(&self.live.asked) = Some(Instant::now());
        json_response(&self.live.to_json(None))
    }

    /// The final JSON of a finished run, if a page is open.
    pub(crate) fn last_json(&self, outcome: &RunOutcome) -> Option<Response> {
        let looked = lock(&self.live.asked).is_some_and(|asked| asked.elapsed() < LOOK_MAX);
        looked.then(|| {
            self.live.sample();
            json_response(&self.live.to_json(Some(outcome)))
        })
    }
}

fn json_response(value: &serde_json::Value) -> Response {
    Response::new(200, "application/json", format!("{value}\n"))
}

impl Live {
    fn sample(&self) {
        let figures = self.run.figures();
        let mut seen = lock(&self.seen);
        seen.pace = seen.speed.look(&figures);
        seen.history.add(HistorySample {
            seconds: self.run.begun.elapsed().as_secs_f64(),
            events: figures.events_done(),
            bytes_text: figures.bytes_uncompressed,
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The state is consistent after every statement, so a poisoned lock is safe.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
