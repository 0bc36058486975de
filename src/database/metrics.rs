//! Counters and histograms of database calls, for the metrics and the summary.

use crate::database::active_calls::ActiveCalls;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Bounds in seconds, from a small batch on a fast disk to a statement that the watchdog is about to cancel.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The classes of errors that cause retries.
const RETRY_CLASSES: [&str; 2] = ["away", "transient"];

/// Counters and histograms of one pool.
#[derive(Debug, Clone)]
pub struct PoolMetrics {
    pub(crate) retries: IntCounterVec,
    pub(crate) connection_errors: IntCounter,
    pub(crate) timeouts: IntCounter,
    pub(crate) waiting: IntGauge,
    pub(crate) copy_seconds: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) calls: ActiveCalls,
}

impl PoolMetrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let histogram =
            |name, help| Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()));
        let retries = IntCounterVec::new(
            Opts::new(
                "aegis_kills_retries_total",
                "Operations retried because of an outage or a transient error.",
            ),
            &["class"],
        )?;
        // A rate needs a sample of 0 before the first event.
        for class in RETRY_CLASSES {
            retries.with_label_values(&[class]);
        }
        Ok(Self {
            retries,
            connection_errors: IntCounter::new(
                "aegis_kills_connection_errors_total",
                "Connections that were lost or could not be opened.",
            )?,
            timeouts: IntCounter::new(
                "aegis_kills_pool_timeouts_total",
                "Waits for a connection that took longer than the connection time-out.",
            )?,
            waiting: IntGauge::new("aegis_kills_pool_waiting", "Threads that wait for a connection.")?,
            copy_seconds: histogram("aegis_kills_copy_seconds", "How long one COPY into one table took.")?,
            commit_seconds: histogram("aegis_kills_commit_seconds", "How long one COMMIT took.")?,
            calls: ActiveCalls::default(),
        })
    }

    pub fn retries(&self) -> u64 {
        self.retries_by_class().iter().map(|(_, count)| count).sum()
    }

    /// The number of retries because of outages, and because of transient errors.
    pub fn retries_by_class(&self) -> [(&'static str, u64); 2] {
        RETRY_CLASSES.map(|class| (class, self.retries.with_label_values(&[class]).get()))
    }

    /// The number of connections that were lost or could not be opened.
    pub fn connection_errors(&self) -> u64 {
        self.connection_errors.get()
    }

    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.retries.clone()))?;
        registry.register(Box::new(self.connection_errors.clone()))?;
        registry.register(Box::new(self.timeouts.clone()))?;
        registry.register(Box::new(self.waiting.clone()))?;
        registry.register(Box::new(self.copy_seconds.clone()))?;
        registry.register(Box::new(self.commit_seconds.clone()))
    }
}
