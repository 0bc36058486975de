//! The question whether the segments that a run has reported as stored are still there, and their events.
//!
//! Invariant: each message looks up the events before the ledger's rows. `delete` removes both in one transaction, so it has
//! not deleted events that are missing while the row of their segment exists.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::claims::QUESTION_MAX;
use crate::database::ledger::entries::{Entries, LedgerScope};
use crate::database::ledger::segments::SERVER_START;
use crate::database::ledger::stored::{Expected, ReportedSegment, StoredCounts};
use crate::database::session::client::Client;
use crate::database::store::SegmentHash;
use postgres::SimpleQueryMessage;
use std::collections::HashSet;
use std::sync::Arc;
use uuid::Uuid;

/// The question of one run.
#[derive(Debug)]
pub(crate) struct StoredQuestion {
    scope: Arc<LedgerScope>,
    /// Selects the stored ids among its parameter. None on Citus, where events can appear a minute after their COMMIT.
    events: Option<String>,
    run: Uuid,
    /// `kill_load_run` with its schema.
    run_table: String,
}

/// The state of the reported segments.
#[derive(Debug, Default)]
pub(crate) struct StoredAnswer {
    /// The segments that have a row.
    found: HashSet<SegmentHash>,
    /// The segments whose row is of this run or a later one.
    current: HashSet<SegmentHash>,
    /// The ids of the samples that are stored.
    ids: HashSet<i64>,
    /// The start time of the server, in microseconds since 1970.
    pub(crate) server_start: i64,
}

/// The segments that the run has reported as stored, and that are not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MissingSegments {
    /// Segments whose commits a failover or crash has lost.
    pub(crate) lost: StoredCounts,
    /// Segments with a row in the ledger and without some of their events.
    pub(crate) emptied: StoredCounts,
}

impl StoredQuestion {
    /// `events` selects the stored ids among its parameter.
    pub(crate) fn new(scope: Arc<LedgerScope>, events: Option<String>, run: Uuid, run_table: String) -> Self {
        Self { scope, events, run, run_table }
    }

    pub(crate) fn ask(
        &self,
        client: &mut Client,
        segments: &[ReportedSegment],
    ) -> Result<StoredAnswer, DatabaseError> {
        let Self { run, run_table, .. } = self;
        let mut answer = StoredAnswer::default();
        for segments in segments.chunks(QUESTION_MAX) {
            let hashes: Vec<SegmentHash> = segments.iter().map(|segment| segment.hash).collect();
            let rows = self.scope.question(&hashes);
            let is_current =
                format!("run = '{run}' OR loaded_at >= (SELECT started FROM {run_table} WHERE id = '{run}')");
            let messages = client.simple_query(&format!(
                "{}; {rows}; {rows} AND ({is_current}); SELECT {SERVER_START} AS server_start",
                self.look_up(segments)
            ))?;
            let is_end =
                |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::CommandComplete(_));
            let parts: Vec<&[SimpleQueryMessage]> = messages.split(is_end).collect();
            let part = |number: usize| parts.get(number).copied().unwrap_or_default();
            answer.ids.extend(part(0).iter().filter_map(number));
            answer.found.extend(Entries::read(part(1), &hashes).hashes());
            answer.current.extend(Entries::read(part(2), &hashes).hashes());
            if let Some(start) = part(3).iter().find_map(number) {
                answer.server_start = start;
            }
        }
        Ok(answer)
    }

    /// The statement that selects the ids of the samples that are stored. It has no parameters.
    fn look_up(&self, segments: &[ReportedSegment]) -> String {
        let Some(events) = &self.events else { return "SELECT NULL::bigint LIMIT 0".to_owned() };
        let ids = segments.iter().filter_map(|segment| segment.sample).flatten();
        let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
        // The parameter comes first. The name of a schema may contain the same characters.
        events.replacen("$1", &format!("'{{{}}}'", ids.join(",")), 1)
    }

    /// The segments with a row of this run or a later one, and without an event of their sample.
    pub(crate) fn emptied(
        &self,
        answer: &StoredAnswer,
        segments: &[ReportedSegment],
    ) -> HashSet<SegmentHash> {
        let is_emptied = |segment: &&ReportedSegment| {
            answer.current.contains(&segment.hash)
                && segment.sample.is_some_and(|sample| !sample.iter().all(|id| answer.ids.contains(id)))
        };
        let emptied = segments.iter().filter(|_| self.events.is_some()).filter(is_emptied);
        emptied.map(|segment| segment.hash).collect()
    }
}

impl StoredAnswer {
    /// Whether the ledger has the expected row of a segment.
    pub(crate) fn has_row(&self, segment: &ReportedSegment) -> bool {
        match segment.expected {
            Expected::AnyRow => self.found.contains(&segment.hash),
            Expected::OwnRow => self.current.contains(&segment.hash),
        }
    }
}

/// The number in the first column of a row.
fn number(message: &SimpleQueryMessage) -> Option<i64> {
    match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok()??.parse().ok(),
        _ => None,
    }
}
