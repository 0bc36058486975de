//! Writes whose sessions the server ends, although it accepts new sessions.
//!
//! A trigger may end its own session, or crash its backend, for one event. To the loader this looks like an outage, and it
//! retries as in an outage: no event is rejected for a session that an operator or a crash of the server ends.

use crate::database::failure::error::DatabaseError;
use crate::database::failure::gate_error::GateError;
use crate::database::pool::gate::AvailabilityGate;
use crate::database::store::StoreError;

/// Fewer lost writes in a row can be those of an outage.
const LOST_MIN: u32 = 3;

/// The last attempts of a call, if all ended together with their session during a write, and none at another event.
#[derive(Debug, Default)]
pub(crate) struct LostWrites {
    count: u32,
    /// The event at which they ended, if the server has named it.
    event: Option<usize>,
}

impl LostWrites {
    pub(crate) fn note(&mut self, error: &DatabaseError) {
        *self = match (self.event, error.event()) {
            _ if !error.is_lost_write() => Self::default(),
            (Some(known), Some(event)) if known != event => Self { count: 1, event: Some(event) },
            (known, event) => Self { count: self.count.saturating_add(1), event: known.or(event) },
        };
    }

    /// The failure of the call `what` after an outage that was too long. If the server accepted a session for each of several
    /// attempts, the failure says so, and other calls need not wait.
    pub(crate) fn explain(&self, what: &str, error: GateError, gate: &AvailabilityGate) -> StoreError {
        match error {
            // After a failed probe, the cause is that of the probe.
            GateError::OutageTooLong(_, Some(cause)) if self.count >= LOST_MIN && cause.is_lost_write() => {
                gate.open();
                GateError::SessionsEnded(self.count, cause).into_failure(what).at_batch(self.event)
            }
            error => error.into_failure(what),
        }
    }
}
