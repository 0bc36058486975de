//! The status of a run over HTTP: a page for people, and the JSON that it asks for each second.
//!
//! Invariant: who asks costs the database nothing, and the answer is bounded.
//!
//! Invariant: nothing of an event's text is in it.

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

/// Between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Who has asked within this time looks at the page.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// What is told of a run, beside what is counted.
#[derive(Debug)]
pub(crate) struct RunFacts {
    /// Its id in the ledger.
    pub run: Uuid,
    /// The game server.
    pub server: Server,
    /// The tables.
    pub layout: Layout,
    /// The dumps, in words.
    pub sources: String,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct RunOutcome {
    /// In one word.
    pub status: RunStatus,
    /// What broke, if something did, in words for all to see.
    pub error: Option<String>,
}

/// The status of one run.
#[derive(Debug)]
pub(crate) struct StatusPage {
    live: Arc<Live>,
    page: Response,
    _sampler: Ticker,
}

/// What a run is looked at with.
#[derive(Debug)]
struct Live {
    facts: RunFacts,
    run: LiveRun,
    /// When the history begins.
    begun: Instant,
    started: Timestamp,
    seen: Mutex<Sampled>,
    asked: Mutex<Option<Instant>>,
}

/// What the samples so far come to.
#[derive(Debug, Default)]
struct Sampled {
    history: History,
    speed: Speed,
    pace: Pace,
}

impl StatusPage {
    /// Begins to look at a run.
    pub(crate) fn start(facts: RunFacts, run: LiveRun) -> io::Result<Self> {
        let mut seen = Sampled::default();
        seen.pace = seen.speed.look(&run.figures());
        let (begun, now) = (run.begun, Timestamp::now());
        let started = now.checked_sub(begun.elapsed()).unwrap_or(now);
        let live = Arc::new(Live {
            facts,
            run,
            // As the terminal counts it, so that both show one rate.
            begun,
            started,
            seen: Mutex::new(seen),
            asked: Mutex::default(),
        });
        let looked_at = Arc::clone(&live);
        let sampler = Ticker::start("status", SAMPLE_INTERVAL, move || looked_at.sample())?;
        Ok(Self { live, page: page::response(), _sampler: sampler })
    }

    /// The page for people.
    pub(crate) fn page(&self) -> Response {
        self.page.clone()
    }

    /// The JSON at this moment.
    pub(crate) fn json(&self) -> Response {
        *lock(&self.live.asked) = Some(Instant::now());
        json_response(&self.live.to_json(None))
    }

    /// The JSON of a run that has ended, if someone is looking: the last sample is that of the end.
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
            seconds: self.begun.elapsed().as_secs_f64(),
            events: figures.events_done(),
            bytes_text: figures.bytes_uncompressed,
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in these is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
