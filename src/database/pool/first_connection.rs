//! The first connection of a process, which shows whether the database is reachable. The pool takes it afterwards.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::failure::outage_kind::OutageKind;
use crate::database::metrics::PoolMetrics;
use crate::database::pool::connections::PoolSettings;
use crate::database::pool::gate::span;
use crate::database::pool::outage_settings::OutageSettings;
use crate::database::session::deadline::Deadline;
use crate::database::session::opener::{Opener, Session};
use crate::error_chain::{in_full, without_hint};
use std::thread;
use std::time::Instant;

/// Connects without the pool, whose errors would not show their cause. A server that reports that it is not ready is
/// retried for the outage time-out. An address where nothing responds may be mistyped, so it is retried only for the
/// connection time-out, and if it accepts connections in silence, for `connect_timeout` if that is shorter.
pub(crate) fn first_connection(
    opener: &Opener,
    pool: PoolSettings,
    trouble: OutageSettings,
    figures: &PoolMetrics,
) -> Result<Session, DatabaseError> {
    let begun = Instant::now();
    let (mut failures, mut logged) = (0, None);
    loop {
        let error = match opener.open(&Deadline::unbounded()) {
            Ok(session) => {
                if let Some(kind) = logged {
                    let seconds = begun.elapsed().as_secs_f64();
                    log::warn!("database {} after {seconds:.0} s", OutageKind::end(kind));
                }
                return Ok(session);
            }
            Err(error) => error,
        };
        failures += 1;
        figures.connection_errors.inc();
        let wait_max = match (error.class(), error.sqlstate()) {
            (ErrorClass::Away | ErrorClass::Transient, Some(_)) => trouble.away_timeout,
            _ if matches!(error, DatabaseError::NoAnswer(_)) => trouble.away_timeout.min(opener.time_max()),
            (ErrorClass::Away, None) => trouble.away_timeout.min(pool.connection_timeout),
            _ => return Err(error),
        };
        let left = wait_max.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(error);
        }
        let kind = OutageKind::of(&error);
        // The error at the end has the hint.
        if logged.replace(kind).is_none() {
            let cause = in_full(&error);
            log::warn!("database {kind}: {}; retrying for {}", without_hint(&cause), span(left));
        }
        thread::sleep(trouble.retry.delay(failures, fastrand::f64()).min(left));
    }
}
