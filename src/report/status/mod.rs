//! The status of a run over HTTP: a page for people, and the JSON that it asks for each second.
//!
//! Invariant: who asks costs the database nothing, and the answer is bounded.
//!
//! Invariant: nothing of an event's text is in it.

mod history;
mod page;
mod sampler;
mod told;

use super::http::Response;
use super::summary::Status;
use crate::database::DatabaseManager;
use crate::kill::Server;
use crate::layout::Layout;
use crate::pipeline::Monitor;
use crossbeam_channel::{Receiver, TryRecvError};
use history::{History, Sample};
use jiff::Timestamp;
use sampler::Sampler;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Who has asked within this time looks at the page.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// What is told of a run, beside what is counted.
#[derive(Debug)]
pub struct RunFacts {
    /// Its id in the ledger.
    pub run: Uuid,
    /// The game server.
    pub server: Server,
    /// The tables.
    pub layout: Layout,
    /// The dumps, in words.
    pub sources: String,
    /// Bytes of all dumps as they come, where that is known.
    pub bytes_total: Option<u64>,
    /// Knows how the database and the pool are; there is none in a dry run.
    pub manager: Option<DatabaseManager>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct RunOutcome {
    /// In one word.
    pub status: Status,
    /// What broke, if something did, in words for all to see.
    pub error: Option<String>,
}

/// The status of one run.
#[derive(Debug)]
pub struct StatusPage {
    live: Arc<Live>,
    page: Response,
    _sampler: Sampler,
}

/// What a run is looked at with.
#[derive(Debug)]
struct Live {
    facts: RunFacts,
    monitor: Arc<Monitor>,
    begun: Instant,
    started: Timestamp,
    history: Mutex<History>,
    /// Disconnected once the run is to stop.
    stopped: OnceLock<Receiver<()>>,
    /// Set once all is stored and the indexes are built.
    builds_indexes: OnceLock<()>,
    asked: Mutex<Option<Instant>>,
}

impl StatusPage {
    /// Begins to look at a run.
    pub fn start(facts: RunFacts, monitor: Arc<Monitor>) -> io::Result<Self> {
        let live = Arc::new(Live {
            facts,
            monitor,
            begun: Instant::now(),
            started: Timestamp::now(),
            history: Mutex::default(),
            stopped: OnceLock::new(),
            builds_indexes: OnceLock::new(),
            asked: Mutex::default(),
        });
        let seen = Arc::clone(&live);
        let sampler = Sampler::start(move || seen.sample())?;
        Ok(Self { live, page: page::response(), _sampler: sampler })
    }

    /// Tells of a wish to stop, which this channel shows by its end.
    pub fn heed(&self, stopped: Receiver<()>) {
        // A run has one; a second says the same.
        let _ = self.live.stopped.set(stopped);
    }

    /// All is stored, and the indexes are built from now on.
    pub fn builds_indexes(&self) {
        let _ = self.live.builds_indexes.set(());
    }

    /// The page for people.
    pub fn page(&self) -> Response {
        self.page.clone()
    }

    /// The JSON at this moment.
    pub fn json(&self) -> Response {
        *lock(&self.live.asked) = Some(Instant::now());
        json_response(&self.live.to_json(None))
    }

    /// The JSON of a run that has ended, if someone is looking: the last sample is that of the end.
    pub fn last_json(&self, outcome: &RunOutcome) -> Option<Response> {
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
        let counts = self.monitor.counts();
        lock(&self.history).add(Sample {
            seconds: self.begun.elapsed().as_secs_f64(),
            events: counts.events - counts.unfinished(),
            bytes_read: self.monitor.bytes_read(),
            bytes_text: self.monitor.bytes_uncompressed(),
        });
    }

    fn is_stopping(&self) -> bool {
        self.stopped.get().is_some_and(|stopped| stopped.try_recv() == Err(TryRecvError::Disconnected))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in these is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
