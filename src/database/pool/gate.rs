//! The availability gate, a circuit breaker: during an outage all callers wait here together.
//!
//! Invariant: nobody waits longer than the settings allow since the last success of any call.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::failure::gate_error::GateError;
use crate::database::failure::outage_kind::OutageKind;
use crate::database::failure::public::in_public;
use crate::database::pool::outages::{OutageLog, Outages};
use crate::database::session::deadline::{Deadline, Waited};
use crate::error_chain::{in_full, with_note};
use crate::sync::channel::{Receiver, Sender, bounded};
use crate::sync::{Mutex, lock};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest outage that is not counted.
const SHORT_OUTAGE_MAX: Duration = Duration::from_secs(1);

/// Whether the database is available.
#[derive(Debug)]
pub(crate) struct AvailabilityGate {
    state: Mutex<GateState>,
    /// Wakes the watchdog.
    closings: Sender<()>,
    away_timeout: Duration,
}

#[derive(Debug)]
struct GateState {
    /// Set during an outage.
    closed: Option<GateOutage>,
    /// The time of the last failure.
    closed_last: Option<Instant>,
    /// The number of failures in a row. Each makes the next delay longer.
    failures: u32,
    /// The time of the next probe by the watchdog.
    next_probe: Option<Instant>,
    /// The time of the last success.
    success: Instant,
    /// A permanent cause and its time. It ends the wait of callers that failed before it.
    fatal: Option<(Instant, Arc<DatabaseError>)>,
    /// The last cause and its time.
    cause: Option<(Instant, Arc<DatabaseError>)>,
    /// The current outage lasts until a call succeeds, even if the gate opens and closes in between.
    outages: OutageLog,
}

/// An outage in progress, for displays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutageProgress {
    pub kind: OutageKind,
    /// The last cause, in a text that is safe to publish.
    pub cause: String,
    /// The time since it began.
    pub elapsed: Duration,
    /// The number of attempts to reach the database.
    pub attempts: u32,
    /// The time until the next attempt; none during one.
    pub next_try: Option<Duration>,
    /// The time until a load gives up.
    pub left: Duration,
}

/// A time in minutes, or in seconds if it is no whole number of minutes.
pub(crate) fn span(time: Duration) -> String {
    // Rounded first, because some milliseconds of a limit have passed when it is shown.
    match time.as_secs() + u64::from(time.subsec_nanos() > 0) {
        seconds if seconds >= 120 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[derive(Debug)]
struct GateOutage {
    /// Dropped when the gate opens, which wakes all waiting callers.
    _opening: Sender<()>,
    opened: Receiver<()>,
}

impl AvailabilityGate {
    /// An open gate, and the channel on which it notifies the watchdog of closing.
    pub(crate) fn new(away_timeout: Duration) -> (Self, Receiver<()>) {
        let (closings, closed) = bounded(1);
        let state = GateState {
            closed: None,
            closed_last: None,
            failures: 0,
            next_probe: None,
            success: Instant::now(),
            fatal: None,
            cause: None,
            outages: OutageLog::default(),
        };
        (Self { state: Mutex::new(state), closings, away_timeout }, closed)
    }

    /// Waits until the gate is open. `since` is when the caller first found the database unreachable.
    pub(crate) fn wait(&self, since: Option<Instant>, deadline: &Deadline) -> Result<(), GateError> {
        loop {
            let (opened, left) = {
                let state = lock(&self.state);
                if let (Some((seen, fatal)), Some(since)) = (&state.fatal, since)
                    && *seen >= since
                {
                    return Err(GateError::Fatal(Arc::clone(fatal)));
                }
                let since = since.or(state.closed.as_ref().and(state.outages.since()));
                let away = since.map_or(Duration::ZERO, |since| since.max(state.success).elapsed());
                if away >= self.away_timeout {
                    let cause = state.cause.as_ref().map(|(_, cause)| Arc::clone(cause));
                    return Err(GateError::OutageTooLong(away, cause));
                }
                let Some(closed) = &state.closed else { return Ok(()) };
                (closed.opened.clone(), self.away_timeout.saturating_sub(away))
            };
            if let Waited::Aborted = deadline.wait_during_outage::<()>(&opened, left) {
                return Err(GateError::Aborted);
            }
        }
    }

    /// Closes the gate, because the database was found unreachable.
    pub(crate) fn close(&self, cause: DatabaseError) {
        let mut state = lock(&self.state);
        if state.closed.is_none() {
            let (opening, opened) = bounded(0);
            state.closed = Some(GateOutage { _opening: opening, opened });
            // One pending message is enough for the watchdog.
            let _ = self.closings.try_send(());
        }
        state.outages.begin(&cause);
        state.closed_last = Some(Instant::now());
        state.cause = Some((Instant::now(), Arc::new(cause)));
    }

    /// The time of the last failure.
    pub(crate) fn closed_last(&self) -> Option<Instant> {
        lock(&self.state).closed_last
    }

    /// Records a success, which ends an outage.
    pub(crate) fn succeeded(&self) {
        let mut state = lock(&self.state);
        state.failures = 0;
        state.success = Instant::now();
        state.closed = None;
        let ended = state.outages.end(SHORT_OUTAGE_MAX);
        drop(state);
        // Logs without the lock, which others wait for.
        if let Some((length, kind)) = ended {
            log::warn!("database {} after {:.0} s", kind.end(), length.as_secs_f64());
        }
    }

    /// The last cause and its time.
    pub(crate) fn cause(&self) -> Option<(Instant, Arc<DatabaseError>)> {
        lock(&self.state).cause.clone()
    }

    pub(crate) fn outages(&self) -> Outages {
        let state = lock(&self.state);
        state.outages.outages(state.closed.is_some())
    }

    /// The time since the last success.
    pub(crate) fn idle(&self) -> Duration {
        lock(&self.state).success.elapsed()
    }

    /// Logs that a caller has waited for a connection since `since` and continues, unless an outage is the reason, which
    /// is logged already.
    pub(crate) fn log_wait(&self, since: Instant, error: &(dyn Error + 'static)) {
        if self.away().is_none() {
            log::warn!("still waiting, {}: {}", self.reason_to_wait(since), in_full(error));
        }
    }

    /// Why a caller that has waited for a connection since `since` continues to wait, for the log.
    fn reason_to_wait(&self, since: Instant) -> String {
        // The time of the start of the gate is no success, and before `since`.
        let success = lock(&self.state).success;
        if success >= since {
            return "because other calls succeed".to_owned();
        }
        let (idle, limit) = (span(success.elapsed()), span(self.away_timeout));
        format!("although no call has succeeded for {idle} (limit {limit})")
    }

    /// The time limit for waits without a success.
    pub(crate) fn away_timeout(&self) -> Duration {
        self.away_timeout
    }

    /// Counts a failure. Returns the number of failures in a row. None if the gate is open.
    pub(crate) fn count_failure(&self) -> Option<u32> {
        let mut state = lock(&self.state);
        state.closed.as_ref()?;
        state.failures = state.failures.saturating_add(1);
        Some(state.failures)
    }

    pub(crate) fn probe_at(&self, time: Instant) {
        lock(&self.state).next_probe = Some(time);
    }

    /// The current outage. None if the gate is open.
    pub(crate) fn away(&self) -> Option<OutageProgress> {
        let state = lock(&self.state);
        let since = state.closed.as_ref().and(state.outages.since())?;
        let cause = state.cause.as_ref().map(|(_, cause)| Arc::clone(cause));
        Some(OutageProgress {
            kind: cause.as_ref().map_or(OutageKind::Unreachable, |cause| OutageKind::of(cause)),
            cause: cause.map(|cause| in_public(&*cause)).unwrap_or_default(),
            elapsed: since.elapsed(),
            attempts: state.failures,
            next_try: state.next_probe.and_then(|next| next.checked_duration_since(Instant::now())),
            left: self.away_timeout.saturating_sub(since.max(state.success).elapsed()),
        })
    }

    /// Logs the current outage, once.
    pub(crate) fn log_outage(&self) {
        let mut state = lock(&self.state);
        let Some(cause) = state.cause.as_ref().map(|(_, cause)| Arc::clone(cause)) else { return };
        let kind = OutageKind::of(&cause);
        let is_first = state.outages.log_once(kind);
        drop(state);
        if is_first {
            let cause = in_full(&*cause);
            let retrying = format!("; retrying for {}", span(self.away_timeout));
            log::warn!("database {kind}: {}", with_note(&cause, &retrying));
        }
    }

    /// Opens the gate, because the database responds. Until a call succeeds, another closing counts as the same
    /// outage.
    pub(crate) fn open(&self) {
        lock(&self.state).closed = None;
    }

    /// Records a failed probe. A permanent cause ends all waits.
    pub(crate) fn note(&self, error: DatabaseError) {
        let error = Arc::new(error);
        let mut state = lock(&self.state);
        if error.class() == ErrorClass::Fatal {
            state.fatal = Some((Instant::now(), Arc::clone(&error)));
            state.closed = None;
        }
        state.outages.note(&*error);
        state.cause = Some((Instant::now(), error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn a_stop_request_ends_only_the_wait_for_an_unreachable_database() {
        let (gate, _closings) = AvailabilityGate::new(Duration::from_mins(5));
        let (request, stopped) = bounded(0);
        let deadline = Deadline::unbounded().without_outages_after(stopped);
        drop(request);
        assert!(gate.wait(None, &deadline).is_ok(), "the database is reachable");
        assert!(!deadline.is_over(), "a call continues");
        gate.close(DatabaseError::Aborted);
        assert!(matches!(gate.wait(None, &deadline.at_most_for(Duration::MAX)), Err(GateError::Aborted)));
        gate.succeeded();
        assert!(gate.wait(None, &deadline).is_ok(), "it is reachable again");
    }

    #[test]
    fn the_rest_of_a_limit_has_the_unit_of_the_limit() {
        for (milliseconds, expected) in [
            (300_000, "5 min"),
            (299_980, "5 min"),
            (119_980, "2 min"),
            (60_000, "60 s"),
            (980, "1 s"),
            (0, "0 s"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), expected);
        }
    }

    #[test]
    fn the_reason_to_wait_is_true() {
        let (gate, _closings) = AvailabilityGate::new(Duration::from_mins(5));
        let since = Instant::now();
        let reason = gate.reason_to_wait(since);
        let is_true = reason.starts_with("although no call has succeeded for ");
        assert!(is_true && reason.ends_with(" s (limit 5 min)"), "{reason}");
        gate.succeeded();
        assert_eq!(gate.reason_to_wait(since), "because other calls succeed");
        // A success before the wait is no reason.
        let later = Instant::now();
        assert!(gate.reason_to_wait(later).starts_with("although no call has succeeded for "));
    }

    #[test]
    fn an_outage_has_the_last_cause_everywhere() {
        let (gate, _closings) = AvailabilityGate::new(Duration::from_mins(5));
        let error = |errno: Errno| DatabaseError::Io(errno.into());
        gate.close(error(Errno::ECONNRESET));
        gate.note(error(Errno::ECONNREFUSED));
        let known = gate.outages().recent.pop().expect("an outage");
        assert_eq!(known.cause, "Connection refused");
        assert_eq!(gate.away().map(|outage| outage.cause), Some(known.cause));
    }
}

#[cfg(all(test, shuttle))]
mod schedules {
    use super::*;
    use crate::sync::explored::explore;
    use crate::sync::thread;

    fn unreachable() -> DatabaseError {
        DatabaseError::Io(std::io::ErrorKind::ConnectionReset.into())
    }

    /// Several callers find the database unreachable at any moment. The watchdog opens the gate after its second probe.
    #[test]
    fn each_closing_wakes_the_watchdog_and_each_opening_all_callers() {
        explore(|| {
            let (gate, closings) = AvailabilityGate::new(Duration::from_mins(5));
            let gate = &gate;
            let (alive, ended) = bounded::<()>(0);
            thread::scope(|scope| {
                let watch = move || {
                    let deadline = Deadline::until_cancelled(ended);
                    while let Waited::Got(()) = deadline.wait(&closings, Duration::from_mins(5)) {
                        while let Some(failures) = gate.count_failure() {
                            if failures > 1 { gate.open() } else { gate.note(unreachable()) }
                        }
                    }
                };
                thread::Builder::new().name("watchdog".to_owned()).spawn_scoped(scope, watch).unwrap();
                thread::scope(|scope| {
                    for number in 0..3 {
                        let call = move || {
                            for _ in 0..2 {
                                gate.wait(None, &Deadline::unbounded()).unwrap();
                                let since = Instant::now();
                                gate.close(unreachable());
                                gate.wait(Some(since), &Deadline::unbounded()).unwrap();
                                gate.succeeded();
                            }
                        };
                        let caller = thread::Builder::new().name(format!("caller-{number}"));
                        caller.spawn_scoped(scope, call).unwrap();
                    }
                });
                drop(alive);
            });
            assert!(gate.away().is_none());
        });
    }

    #[test]
    fn a_permanent_error_and_an_abort_end_all_waits() {
        explore(|| {
            let (gate, _closings) = AvailabilityGate::new(Duration::from_mins(5));
            let (abort, aborted) = bounded::<()>(0);
            let (gate, deadline) = (&gate, Deadline::until_cancelled(aborted));
            gate.close(unreachable());
            thread::scope(|scope| {
                for deadline in [deadline.clone(), Deadline::unbounded()] {
                    let call =
                        move || gate.wait(Some(Instant::now()), &deadline).map_err(|error| error.to_string());
                    thread::Builder::new().name("caller".to_owned()).spawn_scoped(scope, call).unwrap();
                }
                drop(abort);
                gate.note(DatabaseError::LedgerDrops);
            });
        });
    }
}
