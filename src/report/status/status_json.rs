//! What the JSON of a run's status says, and the words for its state.

use crate::database::pool::liveness::HealthStatus;
use crate::database::pool::manager::DatabaseManager;
use crate::database::pool::outages::Outages;
use crate::database::pool::state::DatabaseState;
use crate::pipeline::account::activity::{Activity, WriterActivity};
use crate::pipeline::account::counts::Counts;
use crate::pipeline::rejects::kinds::{RejectKind, RejectKinds};
use crate::report::format::rfc3339;
use crate::report::status::history::tenths;
use crate::report::status::{Live, RunOutcome, lock};
use crate::report::summary::RunStatus;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// An error is told by so many letters.
const ERROR_LETTERS_MAX: usize = 500;

impl Live {
    /// The status; with the outcome once the run has ended.
    pub(crate) fn to_json(&self, outcome: Option<&RunOutcome>) -> Value {
        let counts = self.run.monitor.counts();
        let database = self.run.manager.as_ref();
        let outages = database.map(DatabaseManager::outages).unwrap_or_default();
        let (state, title) = self.state(outcome, &counts);
        let seen = lock(&self.seen);
        let pace = seen.pace;
        let seconds_left = pace.left.filter(|_| state == "loading").map(|left| left.as_secs());
        let rejects = for_all_to_see(self.run.monitor.reject_kinds());
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
            "started": rfc3339(self.started),
            "now": rfc3339(Timestamp::now()),
            "elapsed_seconds": tenths(self.begun.elapsed().as_secs_f64()),
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
            "bytes_total": self.run.bytes_total,
            "bytes_uncompressed": self.run.monitor.bytes_uncompressed(),
            "rates": {
                "events_per_second": tenths(pace.events_per_second),
                "bytes_read_per_second": pace.bytes_read_per_second.round(),
                "bytes_uncompressed_per_second": pace.bytes_per_second.round(),
            },
            "queue_depth": self.run.monitor.queue_depth(),
            "segments_awaited": self.run.monitor.segments_claimed_elsewhere(),
            "writers": self.run.monitor.writers().iter().map(writer).collect::<Vec<_>>(),
            "database": database.map(|manager| self.of_database(manager, &outages)),
            "rejects": {"kinds": kinds, "others": rejects.others},
            "history": seen.history.to_json(),
        })
    }

    /// A name for programs, and a sentence that stays the same for as long as the state does.
    fn state(&self, outcome: Option<&RunOutcome>, counts: &Counts) -> (&'static str, String) {
        let sources = &self.facts.sources;
        let is_dry = self.run.manager.is_none();
        if let Some(outcome) = outcome {
            return (outcome.status.name(), ended(outcome.status, counts, is_dry).to_owned());
        }
        match self.run.manager.as_ref().map(DatabaseManager::state) {
            Some(DatabaseState::Building { index, .. }) => {
                return ("indexes", format!("What was read is stored; the index {index} is being built"));
            }
            Some(DatabaseState::Away { .. }) => {
                return ("away", "The database is away; the load goes on when it is back".to_owned());
            }
            Some(DatabaseState::Present) | None => {}
        }
        let monitor = &self.run.monitor;
        let awaits = monitor.segments_claimed_elsewhere() > 0 && monitor.queue_depth() == 0;
        match (self.run.shutdown.stopping().is_some(), is_dry) {
            (false, false) if awaits => {
                ("waiting", "Waiting for segments that other loads have taken".to_owned())
            }
            (true, _) => ("stopping", "Stopping: what was read is being written".to_owned()),
            (false, true) => ("loading", format!("Checking {sources}, without a database")),
            (false, false) => ("loading", format!("Loading {sources}")),
        }
    }

    fn of_database(&self, manager: &DatabaseManager, outages: &Outages) -> Value {
        let (pool, settings) = (manager.pool_state(), manager.pool_settings());
        let health = manager.health_status();
        let server = health.as_ref().and_then(|health| health.server.as_ref());
        let away = outages.recent.last().filter(|outage| outages.is_away && !outage.is_over);
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
            "healthy": !outages.is_away && health.as_ref().is_none_or(HealthStatus::is_healthy),
            "error": health.as_ref().and_then(|health| health.error.as_deref()).map(shortened),
            "server_version": server.map(|server| &server.version),
            "latency_ms": server.map(|server| server.latency.as_secs_f64() * 1000.0),
            "last_check": health.as_ref().map(|health| rfc3339(health.last_check)),
            "away_seconds": away.map(|away| in_tenths(away.length)),
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

fn ended(status: RunStatus, counts: &Counts, is_dry: bool) -> &'static str {
    match status {
        RunStatus::Complete if is_dry => "Done: every event can be loaded",
        RunStatus::Complete if counts.events == 0 => "Done: there was no event to load",
        RunStatus::Complete => "Done: every event is in the database",
        RunStatus::Rejects if is_dry => "Done: all but the rejects can be loaded",
        RunStatus::Rejects => "Done: all but the rejects are in the database",
        RunStatus::Interrupted => "Interrupted: what was read is stored, but for what is unfinished",
        RunStatus::Failed => "Failed: the same command goes on where it was",
        RunStatus::RejectLimit => "Stopped: there are more rejects than allowed",
    }
}

fn writer(writer: &WriterActivity) -> Value {
    let doing = match writer.activity {
        Activity::Waiting => "waiting",
        Activity::WaitingForTurn => "waiting_for_turn",
        Activity::Writing => "writing",
        Activity::Ended => "ended",
    };
    let seconds = in_tenths(writer.since.elapsed());
    // People count segments from 1.
    let segment = writer.segment.map(|number| number + 1);
    json!({"doing": doing, "seconds": seconds, "segment": segment, "events": writer.events})
}

/// So many kinds of rejects are told.
const KINDS_MAX: usize = 32;

/// The most frequent kinds, with words of our own in place of the database's, which may quote what it was given.
fn for_all_to_see(rejects: RejectKinds) -> RejectKinds {
    let mut told = RejectKinds { kinds: Vec::new(), others: rejects.others };
    for mut kind in rejects.kinds {
        if let Some(sqlstate) = &kind.sqlstate {
            refusal(sqlstate).clone_into(&mut kind.reason);
        } else {
            kind.reason = without_quotations(&kind.reason);
        }
        let same = |told: &&mut RejectKind| {
            (&told.reason, &told.field, &told.sqlstate) == (&kind.reason, &kind.field, &kind.sqlstate)
        };
        if let Some(told) = told.kinds.iter_mut().find(same) {
            told.count += kind.count;
        } else if told.kinds.len() < KINDS_MAX {
            told.kinds.push(kind);
        } else {
            told.others += kind.count;
        }
    }
    told
}

/// A reason with `…` for each name in quotation marks, which may be a key of the dump.
fn without_quotations(reason: &str) -> String {
    let mut shown = String::with_capacity(reason.len());
    let mut rest = reason;
    while let Some((before, quoted)) = rest.split_once(" '") {
        shown.push_str(before);
        let Some((_, after)) = quoted.split_once('\'') else {
            shown.push_str(" …");
            return shown;
        };
        shown.push_str(" …");
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// What a SQLSTATE that refuses a row says, in words.
fn refusal(sqlstate: &str) -> &'static str {
    match sqlstate {
        "22001" => "the database refused it: a text is too long for its column",
        "22003" => "the database refused it: a number is out of its column's range",
        "22P05" | "22021" => "the database refused it: a character that it can't hold",
        "23502" => "the database refused it: a column that must not be empty",
        "23503" => "the database refused it: a foreign key",
        "23505" => "the database refused it: a unique constraint",
        "23514" => "the database refused it: a check constraint",
        "P0001" => "the database refused it: a trigger or function raised an error",
        _ => "the database refused it",
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
    match text.char_indices().nth(ERROR_LETTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn in_tenths(time: Duration) -> f64 {
    tenths(time.as_secs_f64())
}
