//! The JSON of a run's status, with a text for its state.

use crate::database::failure::outage_kind::OutageKind;
use crate::database::pool::gate::OutageProgress;
use crate::database::pool::liveness::HealthStatus;
use crate::database::pool::manager::DatabaseManager;
use crate::database::pool::outages::Outages;
use crate::database::pool::state::DatabaseState;
use crate::input::decode::raw::CurrentSource;
use crate::pipeline::account::activity::{Activity, WriterActivity};
use crate::pipeline::account::counts::Counts;
use crate::pipeline::rejects::kinds::{RejectKind, RejectKinds};
use crate::report::format::{list_rejects_command, rfc3339};
use crate::report::status::history::tenths;
use crate::report::status::{Live, RunOutcome, lock};
use crate::report::summary::RunStatus;
use crate::shell::shell_quoted;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// Errors are truncated to this number of characters.
const ERROR_CHARS_MAX: usize = 500;

impl Live {
    /// The status, with the outcome of a finished run.
    pub(crate) fn to_json(&self, outcome: Option<&RunOutcome>) -> Value {
        let counts = self.run.monitor.counts();
        let database = self.run.manager.as_ref();
        let outages = database.map(DatabaseManager::outages).unwrap_or_default();
        let (state, title) = self.state(outcome, &counts);
        let seen = lock(&self.seen);
        let pace = seen.pace;
        let seconds_left = pace.left.filter(|_| state == "loading").map(|left| left.as_secs());
        let rejects = publishable(self.run.monitor.reject_kinds());
        let is_outage = state == "away";
        let kinds: Vec<Value> = rejects.kinds.iter().map(reject_kind).collect();
        json!({
            "state": state,
            "title": title,
            "finished": outcome.is_some(),
            "error": outcome.and_then(|outcome| outcome.error.as_deref()).map(shortened),
            "version": env!("CARGO_PKG_VERSION"),
            "run": self.facts.run.to_string(),
            "server": self.facts.server.name(),
            "layout": self.facts.layout.name(),
            "sources": self.facts.sources,
            "source": self.run.monitor.source().map(|source| source_in_progress(&source)),
            "started": rfc3339(self.started),
            "now": rfc3339(Timestamp::now()),
            "elapsed_seconds": tenths(self.run.begun.elapsed().as_secs_f64()),
            "seconds_left": seconds_left,
            "lines": counts.lines,
            "events": counts.events,
            "inserted": counts.inserted,
            "updated": counts.updated,
            "duplicate": counts.duplicate,
            "already_loaded": counts.already_loaded,
            "rejected": counts.rejected,
            "unfinished": counts.unfinished(),
            "segments": counts.segments,
            "segments_skipped": counts.segments_skipped,
            "bytes_read": self.run.monitor.bytes_read(),
            "bytes_total": self.run.figures().bytes_total,
            "bytes_uncompressed": self.run.monitor.bytes_uncompressed(),
            "rates": {
                "events_per_second": tenths(pace.events_per_second),
                "bytes_read_per_second": pace.bytes_read_per_second.round(),
                "bytes_uncompressed_per_second": pace.bytes_per_second.round(),
            },
            "queue_depth": self.run.monitor.queue_depth(),
            "segments_awaited": self.run.monitor.segments_claimed_elsewhere(),
            "writers": self.run.monitor.writers().iter().map(|writer| of_writer(writer, is_outage)).collect::<Vec<_>>(),
            "database": database.map(|manager| self.of_database(manager, &outages)),
            "rejects": {"kinds": kinds, "others": rejects.others, "file": self.rejects_file(&counts)},
            "history": seen.history.to_json(),
        })
    }

    /// The state's name for programs, and a title. The title changes only with the state.
    fn state(&self, outcome: Option<&RunOutcome>, counts: &Counts) -> (&'static str, String) {
        let sources = &self.facts.sources;
        let is_dry = self.run.manager.is_none();
        if let Some(outcome) = outcome {
            return (outcome.status.name(), final_title(outcome.status, counts, is_dry).to_owned());
        }
        match self.run.manager.as_ref().map(DatabaseManager::state) {
            Some(DatabaseState::Building { index, .. }) => {
                return ("indexes", format!("Events stored; building index {index}"));
            }
            Some(DatabaseState::Stalled(_)) => {
                return ("stalled", "No answer from the database".to_owned());
            }
            Some(DatabaseState::Away(OutageProgress { kind, .. })) => {
                return (
                    "away",
                    format!("Database {kind}; the load resumes when it {}", end_of_outage(kind)),
                );
            }
            Some(DatabaseState::Present) | None => {}
        }
        let monitor = &self.run.monitor;
        let awaits = monitor.segments_claimed_elsewhere() > 0 && monitor.queue_depth() == 0;
        if monitor.is_settled() && !is_dry {
            return ("stopping", "Ending: checking that the events are stored".to_owned());
        }
        match (self.run.shutdown.stopping().is_some(), is_dry) {
            (false, false) if awaits => ("waiting", "Waiting for segments claimed by other loads".to_owned()),
            (true, _) => ("stopping", "Stopping: writing the events read so far".to_owned()),
            (false, true) => ("loading", format!("Checking {sources} without a database")),
            (false, false) => ("loading", format!("Loading {sources}")),
        }
    }

    /// The reject file, if this run has written it, and a command that lists its rejects.
    fn rejects_file(&self, counts: &Counts) -> Option<Value> {
        let name = &self.facts.rejects_file;
        let list = list_rejects_command(&shell_quoted(name));
        (counts.rejected_new() > 0).then(|| json!({"name": name, "list_command": list}))
    }

    fn of_database(&self, manager: &DatabaseManager, outages: &Outages) -> Value {
        let (pool, settings) = (manager.pool_state(), manager.pool_settings());
        let (health, state) = (manager.health_status(), manager.state());
        let server = health.as_ref().and_then(|health| health.server.as_ref());
        let away = outages.recent.last().filter(|outage| outages.is_unreachable && !outage.is_over);
        let recent: Vec<Value> = outages
            .recent
            .iter()
            .map(|outage| {
                json!({
                    "began": rfc3339(outage.began),
                    "run_seconds": in_tenths(outage.began.duration_since(self.started).unsigned_abs()),
                    "seconds": in_tenths(outage.length),
                    "cause": shortened(&outage.cause),
                    "over": outage.is_over,
                })
            })
            .collect();
        let retries: serde_json::Map<String, Value> = manager
            .figures()
            .retries_by_class()
            .iter()
            .map(|(class, count)| ((*class).to_owned(), (*count).into()))
            .collect();
        json!({
            "healthy": !outages.is_unreachable && health.as_ref().is_none_or(HealthStatus::is_healthy),
            "error": health.as_ref().and_then(|health| health.error.as_deref()).map(shortened),
            "server_version": server.map(|server| &server.version),
            "latency_ms": server.map(|server| server.latency.as_secs_f64() * 1000.0),
            "last_check": health.as_ref().map(|health| rfc3339(health.last_check)),
            "away_seconds": away.map(|away| in_tenths(away.length)),
            "outage": outage_in_progress(&state),
            "stall": stall_in_progress(&state, manager.caller().stall_timeout),
            "outages": recent,
            "outages_total": outages.count,
            "outages_seconds": in_tenths(outages.length),
            "pool": {
                "total": pool.total,
                "active": pool.active,
                "idle": pool.idle,
                "waiting": pool.waiting,
                "min": settings.min,
                "max": settings.max,
            },
            "retries": retries,
            "connection_errors": manager.figures().connection_errors(),
        })
    }
}

fn final_title(status: RunStatus, counts: &Counts, is_dry: bool) -> &'static str {
    let all_rejected = counts.rejected >= counts.events;
    match status {
        RunStatus::Complete if counts.events == 0 => "Done: 0 events in the input",
        RunStatus::Complete if is_dry => "Done: every event can be loaded",
        RunStatus::Complete if all_rejected => "Done: nothing new; earlier runs rejected every event",
        RunStatus::Complete if counts.rejected > 0 => "Done: all but the rejects of earlier runs are stored",
        RunStatus::Complete => "Done: every event is stored",
        RunStatus::Rejects if is_dry && all_rejected => "Done: every event would be rejected",
        RunStatus::Rejects if is_dry => "Done: all but the rejects can be loaded",
        RunStatus::Rejects if all_rejected => "Nothing loaded: every event was rejected",
        RunStatus::Rejects => "Done: all but the rejects are stored",
        RunStatus::Interrupted if is_dry => "Interrupted: the input was not read completely",
        RunStatus::Interrupted if counts.unfinished() > 0 => "Interrupted: some events read are unfinished",
        RunStatus::Interrupted => "Interrupted: no event read is unfinished",
        RunStatus::Failed => "Failed: the load is incomplete",
        RunStatus::RejectLimit => "Stopped: more rejects than allowed",
    }
}

fn source_in_progress(source: &CurrentSource) -> Value {
    let CurrentSource { number, count, file_name } = source;
    json!({"number": number, "count": count, "name": file_name.as_deref().map(shortened)})
}

fn outage_in_progress(state: &DatabaseState) -> Option<Value> {
    let DatabaseState::Away(outage) = state else { return None };
    Some(json!({
        "kind": outage.kind.to_string(),
        "cause": shortened(&outage.cause),
        "seconds": in_tenths(outage.elapsed),
        "attempts": outage.attempts,
        "next_attempt_seconds": outage.next_try.map(in_tenths),
        "gives_up_seconds": in_tenths(outage.left),
        "ends_when": end_of_outage(outage.kind),
    }))
}

/// The condition that ends an outage, after `it` or `the database`.
fn end_of_outage(kind: OutageKind) -> String {
    match kind {
        OutageKind::ReadOnly | OutageKind::OutOfDiskSpace => "can be written again".to_owned(),
        OutageKind::AwaitsStandby => "is available again".to_owned(),
        _ => format!("is {}", kind.end()),
    }
}

/// The time without an answer, and the time after which a statement is cancelled.
fn stall_in_progress(state: &DatabaseState, timeout: Duration) -> Option<Value> {
    let DatabaseState::Stalled(time) = state else { return None };
    Some(json!({"seconds": in_tenths(*time), "cancel_seconds": in_tenths(timeout)}))
}

fn of_writer(writer: &WriterActivity, is_outage: bool) -> Value {
    let doing = match writer.activity {
        Activity::Writing if is_outage => "waiting_for_database",
        Activity::Waiting => "waiting",
        Activity::WaitingForTurn => "waiting_for_turn",
        Activity::Writing => "writing",
        Activity::WritingRejects => "writing_rejects",
        Activity::Ended => "ended",
    };
    let seconds = in_tenths(writer.since.elapsed());
    // Users count segments from 1.
    let segment = writer.segment.map(|number| number + 1);
    json!({"doing": doing, "seconds": seconds, "segment": segment, "events": writer.events})
}

/// The maximum number of reject kinds.
const KINDS_MAX: usize = 32;

/// The most frequent kinds, without text of the dump. A database message can quote the dump, so a fixed text replaces it.
fn publishable(rejects: RejectKinds) -> RejectKinds {
    let mut published = RejectKinds { others: rejects.others, ..RejectKinds::default() };
    for mut kind in rejects.kinds {
        if let Some(sqlstate) = &kind.sqlstate {
            refusal(sqlstate).clone_into(&mut kind.reason);
        } else {
            kind.reason = without_quotations(&kind.reason);
        }
        let same = |other: &&mut RejectKind| {
            (&other.reason, &other.field, &other.sqlstate) == (&kind.reason, &kind.field, &kind.sqlstate)
        };
        if let Some(other) = published.kinds.iter_mut().find(same) {
            other.count += kind.count;
        } else if published.kinds.len() < KINDS_MAX {
            published.kinds.push(kind);
        } else {
            published.others += kind.count;
        }
    }
    published
}

/// Replaces each name in quotation marks by `…`, because it can be a key of the dump.
fn without_quotations(reason: &str) -> String {
    let mut shown = String::with_capacity(reason.len());
    let mut remaining = reason;
    while let Some((before, quoted)) = remaining.split_once(" '") {
        shown.push_str(before);
        let Some((_, after)) = quoted.split_once('\'') else {
            shown.push_str(" …");
            return shown;
        };
        shown.push_str(" …");
        remaining = after;
    }
    shown.push_str(remaining);
    shown
}

/// The text for the SQLSTATE with which the database refused a row.
fn refusal(sqlstate: &str) -> &'static str {
    match sqlstate {
        "22001" => "refused by the database: string too long for its column",
        "22003" => "refused by the database: number out of range for its column",
        "22P05" | "22021" => "refused by the database: unsupported character",
        "23502" => "refused by the database: not-null constraint",
        "23503" => "refused by the database: foreign key constraint",
        "23505" => "refused by the database: unique constraint",
        "23514" => "refused by the database: check constraint",
        "P0001" => "refused by the database: a trigger or function raised an error",
        _ => "refused by the database",
    }
}

fn reject_kind(kind: &RejectKind) -> Value {
    json!({
        "reason": kind.reason,
        "field": kind.field,
        "sqlstate": kind.sqlstate,
        "count": kind.count,
        "last": {"source": shortened(&kind.source), "line": kind.line, "index": kind.index},
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(ERROR_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn in_tenths(time: Duration) -> f64 {
    tenths(time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_writer_waits_during_an_outage() {
        let doing = |activity, is_outage| {
            let writer = WriterActivity { activity, since: Instant::now(), segment: Some(50), events: 9 };
            let value = of_writer(&writer, is_outage);
            assert_eq!(value["segment"], 51);
            value["doing"].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(doing(Activity::Writing, false), "writing");
        assert_eq!(doing(Activity::Writing, true), "waiting_for_database");
        assert_eq!(doing(Activity::WritingRejects, true), "writing_rejects");
    }

    #[test]
    fn the_end_of_an_outage_fits_its_kind() {
        assert_eq!(end_of_outage(OutageKind::Unreachable), "is reachable again");
        assert_eq!(end_of_outage(OutageKind::AwaitsStandby), "is available again");
        assert_eq!(end_of_outage(OutageKind::ReadOnly), "can be written again");
    }
}
