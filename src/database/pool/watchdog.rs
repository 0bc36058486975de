//! The watchdog: a thread that checks the health of the database at intervals, probes it during an outage, and closes
//! idle connections above the minimum.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::connections::Pool;
use crate::database::pool::gate::AvailabilityGate;
use crate::database::pool::liveness::{HealthStatus, LastHealth, apart};
use crate::database::pool::retry::RetryPolicy;
use crate::database::session::backend::awaits_standby;
use crate::database::session::client::Client;
use crate::database::session::deadline::{Deadline, Waited};
use crate::database::session::opener::Opener;
use crate::error_chain::in_full;
use crate::panics::inject;
use crate::sync::channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest interval of probes during an outage, and of checks while the database is unhealthy.
const PROBE_DELAY_MAX: Duration = Duration::from_secs(5);

/// The objects that the watchdog watches.
pub(crate) struct Watched {
    pub(crate) gate: Arc<AvailabilityGate>,
    pub(crate) opener: Opener,
    pub(crate) pool: Pool,
    pub(crate) delays: RetryPolicy,
    pub(crate) health_interval: Duration,
    /// The interval of the checks for idle connections.
    pub(crate) trim_interval: Duration,
    pub(crate) health: Arc<LastHealth>,
}

/// The handle of the thread, which ends when the handle is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Dropped before the thread is joined, so that the thread sees its end.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread. A message of `closings` means that the gate has closed.
    pub(crate) fn start(watched: Watched, closings: Receiver<()>) -> Result<Self, DatabaseError> {
        let (alive, ended) = bounded(0);
        let watch = WatchLoop { watched, closings, deadline: Deadline::until_cancelled(ended) };
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch.run())
            .map_err(DatabaseError::NoThread)?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

struct WatchLoop {
    watched: Watched,
    closings: Receiver<()>,
    deadline: Deadline,
}

impl WatchLoop {
    fn run(&self) {
        inject("watchdog");
        // The health was checked at the start of the process.
        let is_healthy = self.watched.health.get().is_some_and(|status| status.is_healthy());
        let mut next_check = Instant::now() + self.check_interval(is_healthy);
        let mut next_trim = Instant::now() + self.watched.trim_interval;
        loop {
            let due = next_check.min(next_trim).saturating_duration_since(Instant::now());
            match self.deadline.wait(&self.closings, due) {
                Waited::Got(()) => {
                    // Checks at once after a failure, and again until the database is healthy.
                    next_check = Instant::now();
                    if !self.probe_until_back() {
                        return;
                    }
                }
                Waited::TimeOver => {}
                Waited::Ended | Waited::Aborted => return,
            }
            if Instant::now() >= next_check {
                let Some(is_healthy) = self.is_healthy() else { return };
                next_check = Instant::now() + self.check_interval(is_healthy);
            }
            if Instant::now() >= next_trim {
                self.watched.pool.trim();
                next_trim = Instant::now() + self.watched.trim_interval;
            }
        }
    }

    /// The time from a check to the next one.
    fn check_interval(&self, is_healthy: bool) -> Duration {
        let interval = self.watched.health_interval;
        if is_healthy { interval } else { interval.min(PROBE_DELAY_MAX) }
    }

    /// Checks the health. None if the watchdog is to end.
    fn is_healthy(&self) -> Option<bool> {
        let kept = || self.watched.health.get().and_then(|status| status.error);
        let known = kept();
        let found = match self.watched.health.check(&self.watched.opener, &self.deadline) {
            Ok(status) => status.error,
            Err(_) if self.deadline.is_over() => return None,
            // The gate stays open, because the connections of the writers may work.
            Err(error) => Some(in_full(&error)),
        };
        match &found {
            // Each state once.
            Some(error) if kept() == known => log::debug!("Database health check failed: {error}"),
            Some(error) => log::warn!("Database health check failed: {error}"),
            None => log::debug!("the database is healthy"),
        }
        Some(found.is_none())
    }

    /// Probes with growing delays until the database responds. Returns false if the watchdog is to end.
    fn probe_until_back(&self) -> bool {
        let delays = RetryPolicy {
            delay_max: self.watched.delays.delay_max.min(PROBE_DELAY_MAX),
            ..self.watched.delays
        };
        while let Some(failures) = self.watched.gate.count_failure() {
            // The first probe has no delay, because a single terminated backend is not an outage.
            let delay = match failures.saturating_sub(1) {
                0 => Duration::ZERO,
                earlier => delays.delay(earlier, fastrand::f64()),
            };
            self.watched.gate.probe_at(Instant::now() + delay);
            if !delay.is_zero() {
                self.watched.gate.log_outage();
            }
            if !self.deadline.sleep(delay) {
                return false;
            }
            match self.probe() {
                Ok(()) => {
                    self.watched.gate.open();
                    return true;
                }
                Err(DatabaseError::Aborted) => return false,
                Err(error) => {
                    // The probe is also a health check. The log has its failure as that of the outage.
                    self.watched.health.keep(HealthStatus::failed(&error));
                    self.watched.gate.note(error);
                }
            }
        }
        true
    }

    /// Connects, logs in and sets up a session, which tests more than `SELECT 1`. If the server has no capacity for
    /// another connection, a working one of the pool is sufficient.
    fn probe(&self) -> Result<(), DatabaseError> {
        let cause = self.watched.gate.cause();
        if let Some((_, cause)) = cause
            && let DatabaseError::Standby(waited) = *cause
        {
            let awaits = |client: &mut Client| Ok(awaits_standby(client)?);
            let still = apart(&self.watched.opener, &self.deadline, awaits)?;
            return if still { Err(DatabaseError::Standby(waited)) } else { Ok(()) };
        }
        let opened = self.watched.opener.open(&self.deadline).map(drop);
        opened.or_else(|error| if self.watched.pool.has_fit_one() { Ok(()) } else { Err(error) })
    }
}
