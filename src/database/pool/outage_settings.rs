//! Settings for outages, retries and stalled statements.

use crate::database::pool::retry::RetryPolicy;
use std::time::Duration;

/// The handling of outages, failed attempts and stalled statements. The default is that of the settings of the
/// program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutageSettings {
    /// The retries of transient errors.
    pub retry: RetryPolicy,
    /// The time for which an unreachable database is retried.
    pub away_timeout: Duration,
    /// The time without progress after which a statement is cancelled, then its backend terminated, then its
    /// connection abandoned.
    pub stall_timeout: Duration,
    /// The interval of health checks. It is at most 5 s while the database is unhealthy.
    pub health_interval: Duration,
}

impl Default for OutageSettings {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            away_timeout: Duration::from_mins(5),
            stall_timeout: Duration::from_mins(1),
            health_interval: Duration::from_mins(5),
        }
    }
}
