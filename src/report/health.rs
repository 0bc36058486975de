//! The health of the database, for scripts and for people, with what to change.

use crate::database::{HealthStatus, Inspection, PoolSettings, ServerHealth};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// What a health check found, and what follows from it.
#[derive(Debug)]
pub struct HealthReport {
    /// What the check found.
    pub status: HealthStatus,
    /// What the tables look like; none where that is not known.
    pub inspection: Option<Inspection>,
    /// The pool's settings.
    pub pool: PoolSettings,
    /// Writer threads.
    pub workers: usize,
    /// Connections that were lost or could not be opened.
    pub connection_errors: u64,
    /// Whether this process has connections of its pool open, which are then among those that are used.
    pub pool_total: u32,
}

/// An answer that takes longer costs a load with small segments more than the work itself.
const LATENCY_HIGH: Duration = Duration::from_millis(20);

/// What goes well with a number of workers.
struct Recommended {
    workers_max: usize,
    pool_min: u32,
    pool_max: u32,
}

/// By the experience of those who run Albion Aegis; the last row is for all above.
const RECOMMENDED: [Recommended; 4] = [
    Recommended { workers_max: 2, pool_min: 2, pool_max: 5 },
    Recommended { workers_max: 5, pool_min: 3, pool_max: 10 },
    Recommended { workers_max: 10, pool_min: 5, pool_max: 15 },
    Recommended { workers_max: usize::MAX, pool_min: 8, pool_max: 20 },
];

impl HealthReport {
    fn recommended(&self) -> &'static Recommended {
        let fits = |row: &&Recommended| self.workers <= row.workers_max;
        RECOMMENDED.iter().find(fits).unwrap_or(&RECOMMENDED[RECOMMENDED.len() - 1])
    }

    /// What to change, most pressing first.
    pub fn recommendations(&self) -> Vec<String> {
        let mut words = Vec::new();
        let (pool, recommended) = (self.pool, self.recommended());
        if let Some(server) = &self.status.server {
            self.recommend_of_server(server, &mut words);
        }
        if self.workers > pool.max as usize {
            words.push(format!(
                "{} workers share {} connections: set DATABASE_POOL_MAX to {} or more, or KILLS_WORKER_CONCURRENCY to {} or less",
                self.workers, pool.max, recommended.pool_max, pool.max
            ));
        }
        if pool.max < recommended.pool_max {
            words.push(format!(
                "Pool max is smaller than recommended for your worker concurrency: set DATABASE_POOL_MAX={}",
                recommended.pool_max
            ));
        }
        if pool.min < 2 {
            words.push(format!(
                "Pool min is very low, consider increasing to 2+: set DATABASE_POOL_MIN={}",
                recommended.pool_min
            ));
        }
        if let Some(inspection) = &self.inspection {
            words.extend(inspection.index_faults.iter().cloned());
        }
        words
    }

    fn recommend_of_server(&self, server: &ServerHealth, words: &mut Vec<String>) {
        let room = server.connections_free() + self.pool_total;
        if self.pool.max > room {
            words.push(format!(
                "The pool may open {} connections, and the server has room for {room}: set DATABASE_POOL_MAX to {} or \
                 less, or raise the server's max_connections",
                self.pool.max,
                room.max(1)
            ));
        }
        if server.latency > LATENCY_HIGH {
            words.push(format!(
                "An answer takes {:.1} ms: run the loader nearer to the database, or raise KILLS_SEGMENT_BYTES",
                milliseconds(server.latency)
            ));
        }
    }

    /// The report as JSON, in the form that `health --json` and `/health` promise.
    pub fn to_json(&self) -> Value {
        let server = self.status.server.as_ref();
        let connections = server.map(|server| ServerConnections {
            max: server.connections_max,
            reserved: server.connections_reserved,
            used: server.connections_used,
            free: server.connections_free(),
        });
        json!({
            "healthy": self.status.is_healthy(),
            "error": self.status.error,
            "server_version": server.map(|server| &server.version),
            "latency_ms": server.map(|server| milliseconds(server.latency)),
            "read_only": server.map(|server| server.read_only),
            "in_recovery": server.map(|server| server.in_recovery),
            "pool": {
                "min": self.pool.min,
                "max": self.pool.max,
                "connection_timeout_ms": whole_milliseconds(self.pool.connection_timeout),
                "idle_timeout_ms": whole_milliseconds(self.pool.idle_timeout),
            },
            "workers": self.workers,
            "server_connections": connections,
            "connection_errors": self.connection_errors,
            "last_check": self.status.last_check.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "last_run": self.inspection.as_ref().and_then(|inspection| inspection.last_run.as_ref()),
            "recommendations": self.recommendations(),
        })
    }
}

#[derive(Serialize)]
struct ServerConnections {
    max: u32,
    reserved: u32,
    used: u32,
    free: u32,
}

impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.status.error, &self.status.server) {
            (None, _) => writeln!(f, "Healthy: the database answers, and can be written.")?,
            (Some(error), Some(_)) => writeln!(f, "Unhealthy: {error}.")?,
            (Some(error), None) => writeln!(f, "Unhealthy: not connected: {error}.")?,
        }
        if let Some(server) = &self.status.server {
            let role = if server.in_recovery { "standby" } else { "primary" };
            let access = if server.read_only { "read-only" } else { "read and write" };
            writeln!(f, "  server       PostgreSQL {}, {role}, {access}", server.version)?;
            writeln!(f, "  latency      {:.2} ms", milliseconds(server.latency))?;
            writeln!(
                f,
                "  connections  {} of {} in use, {} reserved, {} free",
                server.connections_used,
                server.connections_max,
                server.connections_reserved,
                server.connections_free()
            )?;
        }
        let pool = self.pool;
        writeln!(
            f,
            "  pool         min={}, max={}, connection timeout {} ms, idle timeout {} ms, for {} workers",
            pool.min,
            pool.max,
            whole_milliseconds(pool.connection_timeout),
            whole_milliseconds(pool.idle_timeout),
            self.workers
        )?;
        writeln!(f, "  errors       {} of connections", self.connection_errors)?;
        writeln!(f, "  checked      {}", self.status.last_check.strftime("%Y-%m-%d %H:%M:%S UTC"))?;
        if let Some(run) = self.inspection.as_ref().and_then(|inspection| inspection.last_run.as_ref()) {
            let text = |name: &str| run[name].as_str().unwrap_or("-").to_owned();
            let (status, started, inserted) = (text("status"), text("started"), &run["inserted"]);
            writeln!(f, "  last run     {status}, started {started}, {inserted} events inserted")?;
        }
        let recommendations = self.recommendations();
        if recommendations.is_empty() {
            return write!(f, "No recommendations.");
        }
        writeln!(f, "Recommendations:")?;
        for words in &recommendations {
            writeln!(f, "  - {words}")?;
        }
        self.write_settings(f)
    }
}

impl HealthReport {
    /// Lines to copy into `.env`.
    fn write_settings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recommended { pool_min, pool_max, .. } = self.recommended();
        write!(
            f,
            "Recommended for {} workers, in .env:\n  DATABASE_POOL_MIN={pool_min}\n  DATABASE_POOL_MAX={pool_max}\n  \
             DATABASE_CONNECTION_TIMEOUT=30000\n  DATABASE_IDLE_TIMEOUT=60000",
            self.workers
        )
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn report(workers: usize, min: u32, max: u32, used: u32) -> HealthReport {
        let server = ServerHealth {
            version: "15.18".to_owned(),
            latency: Duration::from_millis(1),
            read_only: false,
            in_recovery: false,
            connections_max: 100,
            connections_reserved: 3,
            connections_used: used,
        };
        HealthReport {
            status: HealthStatus { error: None, server: Some(server), last_check: Timestamp::UNIX_EPOCH },
            inspection: None,
            pool: PoolSettings { min, max, ..PoolSettings::default() },
            workers,
            connection_errors: 0,
            pool_total: 0,
        }
    }

    #[test]
    fn recommendations_follow_the_workers() {
        let check = |report: HealthReport, wanted: &[&str]| {
            let found = report.recommendations();
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(found.contains(wanted), "{found:?} {wanted}");
            }
        };
        check(report(3, 2, 10, 5), &[]);
        check(report(1, 2, 5, 5), &[]);
        check(report(3, 1, 10, 5), &["Pool min is very low, consider increasing to 2+"]);
        check(
            report(8, 5, 10, 5),
            &["Pool max is smaller than recommended for your worker concurrency: set DATABASE_POOL_MAX=15"],
        );
        check(report(30, 8, 20, 5), &["30 workers share 20 connections"]);
        check(report(3, 2, 10, 95), &["the server has room for 2: set DATABASE_POOL_MAX to 2"]);
        let mut slow = report(3, 2, 10, 5);
        slow.status.server.as_mut().expect("a server").latency = Duration::from_millis(80);
        check(slow, &["An answer takes 80.0 ms"]);
    }
}
