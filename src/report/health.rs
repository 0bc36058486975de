//! The health of the database with recommendations, as text and as JSON.

use crate::database::health::Inspection;
use crate::database::pool::connections::PoolSettings;
use crate::database::pool::liveness::{HealthStatus, ServerHealth};
use crate::database::schema::citus::Node;
use crate::error_chain::{in_lines, without_hint};
use crate::layout::table::Distribution;
use crate::report::format::{bytes, counted, rfc3339, setting, utc};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// The result of a health check.
#[derive(Debug)]
pub(crate) struct HealthReport {
    pub status: HealthStatus,
    /// The state of the tables, if it is known.
    pub inspection: Option<Inspection>,
    pub pool: PoolSettings,
    /// Writer threads.
    pub workers: usize,
    /// Connections that were lost or could not be opened.
    pub connection_errors: u64,
    /// Open connections of this process's pool. The server counts them as used.
    pub pool_total: u32,
    /// The command that creates missing tables and indexes.
    pub schema_apply: String,
}

/// Above this latency, a load with small segments spends more time waiting than working.
const LATENCY_HIGH: Duration = Duration::from_millis(20);

struct RecommendedSettings {
    pool_min: u32,
    pool_max: u32,
    workers: u32,
}

impl HealthReport {
    /// The recommended settings for the number of workers, within the server's free connections.
    fn wanted(&self) -> RecommendedSettings {
        let workers = u32::try_from(self.workers).unwrap_or(u32::MAX);
        // From the operators of Albion Aegis.
        let (pool_min, pool_max) = match workers {
            0..=2 => (2, 5),
            3..=5 => (3, 10),
            6..=10 => (5, 15),
            _ => (8, 20),
        };
        let room = self.room().unwrap_or(u32::MAX).max(1);
        let pool_max = workers.max(pool_max).min(room);
        RecommendedSettings { pool_min: pool_max.min(pool_min), pool_max, workers: workers.min(pool_max) }
    }

    /// The connections available to the pool, if known.
    fn room(&self) -> Option<u32> {
        self.status.server.as_ref().map(|server| server.connections_free().saturating_add(self.pool_total))
    }

    /// The recommended changes, most urgent first.
    pub(crate) fn recommendations(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let (pool, wanted) = (self.pool, self.wanted());
        if let Some(server) = &self.status.server {
            self.recommend_for_server(server, &mut advice);
        }
        if self.workers > pool.max as usize {
            let more = match wanted.pool_max {
                max if max > pool.max => format!("DATABASE_POOL_MAX to {max} or more, or "),
                _ => String::new(),
            };
            advice.push(format!(
                "{} workers share {}: set {more}KILLS_WORKER_CONCURRENCY to {} or less",
                self.workers,
                counted(pool.max.into(), "connection"),
                pool.max.min(wanted.pool_max)
            ));
        }
        if pool.max < wanted.pool_max {
            advice.push(format!(
                "Pool max is smaller than recommended for your worker concurrency: set DATABASE_POOL_MAX={}",
                wanted.pool_max
            ));
        }
        if pool.min < 2 && pool.min < wanted.pool_min {
            advice.push(format!(
                "Pool min is very low, consider increasing to 2+: set DATABASE_POOL_MIN={}",
                wanted.pool_min
            ));
        }
        if let Some(inspection) = &self.inspection {
            advice.extend(inspection.index_faults.iter().cloned());
            if inspection.distribution == Distribution::OneServer && !inspection.nodes.is_empty() {
                advice.push(format!(
                    "The tables are only on the coordinator. To distribute them over {}, run: {} --distributed citus",
                    counted(inspection.nodes.len() as u64, "node"),
                    self.schema_apply
                ));
            }
        }
        advice
    }

    fn recommend_for_server(&self, server: &ServerHealth, advice: &mut Vec<String>) {
        if let Some(room) = self.room()
            && self.pool.max > room
        {
            advice.push(format!(
                "The pool may open {}, but the server has room for {room}: set DATABASE_POOL_MAX to {} or \
                 less, or raise the server's max_connections",
                counted(self.pool.max.into(), "connection"),
                room.max(1)
            ));
        }
        if server.latency > LATENCY_HIGH {
            advice.push(format!(
                "Latency is {:.1} ms: run the loader closer to the database, or raise KILLS_SEGMENT_BYTES",
                milliseconds(server.latency)
            ));
        }
    }

    /// The state in one line. It changes only if the health changes.
    pub(crate) fn state(&self) -> String {
        let error = self.status.error.as_ref();
        error.map_or_else(|| "healthy".to_owned(), |error| format!("unhealthy: {}", without_hint(error)))
    }

    pub(crate) fn line(&self) -> String {
        let mut line = format!("{}  {}", utc(self.status.last_check), self.state());
        if let Some(server) = &self.status.server {
            let latency = milliseconds(server.latency);
            let (used, max) = (server.connections_used, server.connections_max);
            let _ = write!(line, ", latency {latency:.2} ms, {used} of {max} connections in use");
        }
        if self.connection_errors > 0 {
            let _ = write!(line, ", {} so far", counted(self.connection_errors, "connection error"));
        }
        line
    }

    /// The JSON of `health --json` and `/health`.
    pub(crate) fn to_json(&self) -> Value {
        let server = self.status.server.as_ref();
        let connections = |server: &ServerHealth| {
            json!({
                "max": server.connections_max,
                "reserved": server.connections_reserved,
                "used": server.connections_used,
                "free": server.connections_free(),
            })
        };
        let mut json = json!({
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
            "server_connections": server.map(connections),
            "connection_errors": self.connection_errors,
            "last_check": rfc3339(self.status.last_check),
            "last_run": self.inspection.as_ref().and_then(|inspection| inspection.last_run.as_ref()),
            "recommendations": self.recommendations(),
        });
        // Only Citus has nodes.
        let nodes = self.inspection.as_ref().map(|inspection| &inspection.nodes);
        if let Some(nodes) = nodes.filter(|nodes| !nodes.is_empty()) {
            let nodes = nodes.iter().map(|node| json!({"name": node.name, "available": node.is_there}));
            json["nodes"] = nodes.collect();
        }
        json
    }
}

impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.status.error {
            None => writeln!(f, "Healthy: the database accepts connections and writes.")?,
            Some(error) => writeln!(f, "Unhealthy: {}", in_lines(error, ""))?,
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
        if let Some(inspection) = &self.inspection {
            write_inspection(inspection, f)?;
        }
        let pool = self.pool;
        writeln!(
            f,
            "  pool         min={}, max={}, connection timeout {}, idle timeout {}",
            pool.min,
            pool.max,
            setting(pool.connection_timeout),
            setting(pool.idle_timeout),
        )?;
        writeln!(f, "  workers      {}", self.workers)?;
        writeln!(f, "  errors       {}", counted(self.connection_errors, "connection error"))?;
        writeln!(f, "  checked      {}", utc(self.status.last_check))?;
        if let Some(run) = self.inspection.as_ref().and_then(|inspection| inspection.last_run.as_ref()) {
            let text = |name: &str| run[name].as_str().unwrap_or("-").to_owned();
            let inserted = counted(run["inserted"].as_u64().unwrap_or(0), "event");
            writeln!(
                f,
                "  last run     {}, started {}, {inserted} inserted",
                text("status"),
                in_utc(&text("started"))
            )?;
            if let Some(cause) = run["error"].as_str() {
                writeln!(f, "  cause        {cause}")?;
            }
        }
        let recommendations = self.recommendations();
        if recommendations.is_empty() {
            let advice = if self.status.is_healthy() {
                "No recommendations."
            } else {
                "Fix the problem above. There are no other recommendations."
            };
            return write!(f, "{advice}");
        }
        writeln!(f, "Recommendations:")?;
        for advice in &recommendations {
            writeln!(f, "  - {advice}")?;
        }
        // Lines to copy into `.env`.
        let RecommendedSettings { pool_min, pool_max, workers } = self.wanted();
        write!(
            f,
            "Recommended for {}, in .env:\n  DATABASE_POOL_MIN={pool_min}\n  DATABASE_POOL_MAX={pool_max}\n  \
             DATABASE_CONNECTION_TIMEOUT=30000\n  DATABASE_IDLE_TIMEOUT=60000\n  KILLS_WORKER_CONCURRENCY={workers}",
            counted(workers.into(), "worker"),
        )
    }
}

fn write_inspection(inspection: &Inspection, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !inspection.nodes.is_empty() {
        let state = |node: &Node| if node.is_there { "" } else { " (unreachable)" };
        let name = |node: &Node| format!("{}{}", node.name, state(node));
        let nodes: Vec<String> = inspection.nodes.iter().map(name).collect();
        writeln!(f, "  nodes        {}", nodes.join(", "))?;
    }
    match (inspection.table_bytes, inspection.distribution) {
        (None | Some(0), _) => Ok(()),
        (Some(size), Distribution::OneServer) => writeln!(f, "  tables       {}", bytes(size)),
        (Some(size), Distribution::Citus) => writeln!(f, "  tables       {}, distributed", bytes(size)),
    }
}

/// Converts a time in the database's format to the format of the other times.
fn in_utc(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), utc)
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

    fn report(workers: usize, min: u32, max: u32, used: u32) -> HealthReport {
        let server = ServerHealth {
            version: "15.18".to_owned(),
            latency: Duration::from_millis(1),
            read_only: false,
            in_recovery: false,
            lacks_standbys: false,
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
            schema_apply: "aegis-kills schema apply".to_owned(),
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
        check(
            report(30, 8, 20, 5),
            &[
                "30 workers share 20 connections: set DATABASE_POOL_MAX to 30 or more, or",
                "DATABASE_POOL_MAX=30",
            ],
        );
        check(report(3, 2, 10, 95), &["the server has room for 2: set DATABASE_POOL_MAX to 2"]);
        // No recommendation contradicts another.
        check(
            report(12, 1, 10, 91),
            &[
                "The pool may open 10 connections, but the server has room for 6",
                "12 workers share 10 connections: set KILLS_WORKER_CONCURRENCY to 6 or less",
                "Pool min is very low, consider increasing to 2+: set DATABASE_POOL_MIN=6",
            ],
        );
        check(report(1, 1, 1, 97), &["room for 0: set DATABASE_POOL_MAX to 1 or less"]);
        let mut slow = report(3, 2, 10, 5);
        slow.status.server.as_mut().expect("a server").latency = Duration::from_millis(80);
        check(slow, &["Latency is 80.0 ms"]);
    }
}
