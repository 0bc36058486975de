//! The watchdog: a thread that checks the database's health now and then, looks for it while it is away, and
//! closes connections that nobody needs.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::connections::Pool;
use crate::database::pool::gate::AvailabilityGate;
use crate::database::pool::liveness::{CHECK_MAX, HealthStatus, LastHealth, apart};
use crate::database::pool::retry::RetryPolicy;
use crate::database::session::backend::awaits_standby;
use crate::database::session::client::Client;
use crate::database::session::deadline::{Deadline, Waited};
use crate::database::session::opener::Opener;
use crate::error_chain::in_full;
use crate::panics::inject;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A database that is back is noticed within this time, and one that is unhealthy is checked this often.
const PROBE_DELAY_MAX: Duration = Duration::from_secs(5);

/// What the watchdog looks after.
pub(crate) struct Watched {
    pub(crate) gate: Arc<AvailabilityGate>,
    pub(crate) opener: Opener,
    pub(crate) pool: Pool,
    pub(crate) delays: RetryPolicy,
    pub(crate) health_interval: Duration,
    /// How often idle connections are looked at.
    pub(crate) trim_interval: Duration,
    pub(crate) health: Arc<LastHealth>,
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Above the handle, so that the thread sees its end before it is waited for.
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts it; a message of `closings` says that the gate has closed.
    pub(crate) fn start(watched: Watched, closings: Receiver<()>) -> Result<Self, DatabaseError> {
        let (alive, ended) = bounded(0);
        let watch = WatchLoop { watched, closings, deadline: Deadline::until_cancelled(ended) };
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch.run())
            .map_err(|error| DatabaseError::Thread(error.to_string()))?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
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
        let mut next_check = Instant::now();
        let mut next_trim = Instant::now() + self.watched.trim_interval;
        loop {
            let due = next_check.min(next_trim).saturating_duration_since(Instant::now());
            match self.deadline.wait(&self.closings, due) {
                Waited::Got(()) => {
                    // At once after a failure, and again until it is healthy.
                    next_check = Instant::now();
                    if !self.look_until_back() {
                        return;
                    }
                }
                Waited::TimeOver => {}
                Waited::Ended | Waited::Aborted => return,
            }
            if Instant::now() >= next_check {
                let interval = match self.is_healthy() {
                    Some(true) => self.watched.health_interval,
                    Some(false) => self.watched.health_interval.min(PROBE_DELAY_MAX),
                    None => return,
                };
                next_check = Instant::now() + interval;
            }
            if Instant::now() >= next_trim {
                self.watched.pool.trim();
                next_trim = Instant::now() + self.watched.trim_interval;
            }
        }
    }

    /// Checks the health. None: the watchdog is to end.
    fn is_healthy(&self) -> Option<bool> {
        match self.watched.health.check(&self.watched.opener, &self.deadline.at_most_for(CHECK_MAX)) {
            Ok(status) => {
                match &status.error {
                    Some(error) => log::warn!("Database health check failed: {error}"),
                    None => log::debug!("the database is healthy"),
                }
                Some(status.is_healthy())
            }
            Err(_) if self.deadline.is_over() => None,
            Err(error) => {
                // Whether that concerns the writers they find out themselves: their connections may be good.
                log::warn!("Database health check failed: {}", in_full(&error));
                Some(false)
            }
        }
    }

    /// Probes, with longer and longer waits in between, until the database answers. False: the watchdog is to end.
    fn look_until_back(&self) -> bool {
        let delays = RetryPolicy {
            delay_max: self.watched.delays.delay_max.min(PROBE_DELAY_MAX),
            ..self.watched.delays
        };
        while let Some((away, failures)) = self.watched.gate.count_failure() {
            // What passes at once, such as one backend that was terminated, costs no wait.
            let delay = match failures.saturating_sub(1) {
                0 => Duration::ZERO,
                earlier => delays.delay(earlier, fastrand::f64()),
            };
            self.watched.gate.probe_at(Instant::now() + delay);
            self.tell(away, delay);
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
                    // The probe is a health check, too. That it goes on failing is told with the waits.
                    if self.watched.health.get().is_none_or(|status| status.is_healthy()) {
                        log::warn!("Database health check failed: {}", in_full(&error));
                    }
                    self.watched.health.keep(HealthStatus::failed(&error));
                    self.watched.gate.note(error);
                }
            }
        }
        true
    }

    /// To connect, log in and set up the session is more than a `SELECT 1`. Where there is no room for one more
    /// connection, one of the pool's that answers is as good.
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

    fn tell(&self, away: Duration, delay: Duration) {
        let cause = self.watched.gate.cause().map(|(_, cause)| in_full(&*cause)).unwrap_or_default();
        if delay.is_zero() {
            log::warn!("the database is away: {cause}");
        } else {
            let (away, delay) = (away.as_secs_f64(), delay.as_secs_f64());
            log::warn!("the database is away for {away:.0} s, trying again in {delay:.1} s: {cause}");
        }
    }
}
