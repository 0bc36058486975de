//! The question whether the segments that a run has reported as stored are still there, and their events.
//!
//! Invariant: each message looks up rows of events before the ledger's rows, and the mark of `delete` after both. `delete`
//! writes all of them in one transaction, so it has not deleted events that are missing while the row of their segment
//! exists, and its mark includes each row that it has deleted.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::claims::QUESTION_MAX;
use crate::database::ledger::deletions::DeletionMark;
use crate::database::ledger::entries::{Entries, LedgerScope};
use crate::database::ledger::segments::SERVER_START;
use crate::database::ledger::stored::{Expected, ReportedSegment, StoredCounts};
use crate::database::session::client::Client;
use crate::database::store::SegmentHash;
use crate::layout::rows::TABLES_MAX;
use postgres::SimpleQueryMessage;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug)]
pub(crate) struct StoredQuestion {
    scope: Arc<LedgerScope>,
    /// For each table of the layout, the statement that selects the ids among its parameter that have a row. Empty on Citus,
    /// where events can appear a minute after their COMMIT.
    tables: Vec<String>,
    run: Uuid,
    /// `kill_load_run` with its schema.
    run_table: String,
    /// Selects the schemas and names of unlogged tables.
    unlogged: String,
}

/// The state of the reported segments.
#[derive(Debug, Default)]
pub(crate) struct StoredAnswer {
    /// The segments that have a row.
    found: HashSet<SegmentHash>,
    /// The segments whose row is of this run or a later one.
    current: HashSet<SegmentHash>,
    /// For each table, the ids of the samples that have a row there.
    ids: [HashSet<i64>; TABLES_MAX],
    /// What `delete` has removed from the ledger.
    deleted: DeletionMark,
    /// Whether a run has rewritten events since this run began. The rows that it has removed are not missing.
    has_updates: bool,
    /// The schemas and names of the unlogged tables and partitions beside a logged ledger.
    pub(crate) unlogged: BTreeSet<(String, String)>,
    /// The start time of the server, in microseconds since 1970.
    pub(crate) server_start: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentState {
    /// It has its row in the ledger, and the rows of its sample.
    Stored,
    /// It has no row in the ledger, but the rows of its sample.
    Forgotten,
    /// It has no row in the ledger, and events of its sample are missing or unknown.
    Removed,
    /// It has its row in the ledger, but events of its sample are missing.
    Emptied,
    /// Events of its sample are stored without rows in another table.
    Stripped,
}

/// The segments that the run has reported as stored, and that are not.
#[derive(Debug, Clone, Default)]
pub(crate) struct MissingSegments {
    /// Segments whose commits a failover or crash has lost.
    pub(crate) lost: StoredCounts,
    /// Segments without a row in the ledger, and without some of their events.
    pub(crate) removed: StoredCounts,
    /// Segments with a row in the ledger, and without some of their events.
    pub(crate) emptied: StoredCounts,
    /// Segments with events that lack rows in another table.
    pub(crate) stripped: StoredCounts,
    /// The schemas and names of unlogged tables, which a crash of the server empties.
    pub(crate) unlogged: BTreeSet<(String, String)>,
    /// Sentences about triggers and rules of the tables. Only looked up if rows are missing.
    pub(crate) user_code: Vec<String>,
}

impl MissingSegments {
    /// The counts of all missing segments.
    pub(crate) fn all(&self) -> StoredCounts {
        let mut all = self.lost;
        for counts in [self.removed, self.emptied, self.stripped] {
            all.add(counts);
        }
        all
    }
}

impl StoredQuestion {
    /// `tables` are statements that select the ids among their parameter that have a row in a table. `unlogged` selects the
    /// schemas and names of unlogged tables.
    pub(crate) fn new(
        scope: Arc<LedgerScope>,
        tables: Vec<String>,
        run: Uuid,
        run_table: String,
        unlogged: String,
    ) -> Self {
        Self { scope, tables, run, run_table, unlogged }
    }

    pub(crate) fn ask(
        &self,
        client: &mut Client,
        segments: &[ReportedSegment],
    ) -> Result<StoredAnswer, DatabaseError> {
        let Self { run, run_table, unlogged, .. } = self;
        let mut answer = StoredAnswer::default();
        for segments in segments.chunks(QUESTION_MAX) {
            let hashes: Vec<SegmentHash> = segments.iter().map(|segment| segment.hash).collect();
            let rows = self.scope.question(&hashes);
            let is_current =
                format!("run = '{run}' OR loaded_at >= (SELECT started FROM {run_table} WHERE id = '{run}')");
            let mut statements: Vec<String> =
                (0..self.tables.len()).map(|table| self.look_up(table, segments)).collect();
            statements.extend([
                rows.clone(),
                format!("{rows} AND ({is_current})"),
                format!("SELECT error FROM {run_table} WHERE id = '{run}'"),
                format!("SELECT {SERVER_START} AS server_start"),
                unlogged.clone(),
            ]);
            let messages = client.simple_query(&statements.join("; "))?;
            let is_end =
                |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::CommandComplete(_));
            let mut parts = messages.split(is_end);
            let mut next = || parts.next().unwrap_or_default();
            for ids in answer.ids.iter_mut().take(self.tables.len()) {
                ids.extend(next().iter().filter_map(number));
            }
            answer.found.extend(Entries::read(next(), &hashes).hashes());
            answer.current.extend(Entries::read(next(), &hashes).hashes());
            if let Some(error) = next().iter().find_map(text) {
                answer.deleted = DeletionMark::read(error);
            }
            if let Some(start) = next().iter().find_map(number) {
                answer.server_start = start;
            }
            answer.unlogged.extend(next().iter().filter_map(qualified_name));
        }
        Ok(answer)
    }

    /// Asks again about segments of which rows are missing, and whether a run has rewritten events in the meantime.
    pub(crate) fn ask_again(
        &self,
        client: &mut Client,
        segments: &[ReportedSegment],
    ) -> Result<StoredAnswer, DatabaseError> {
        let mut answer = self.ask(client, segments)?;
        // After the look-up of the rows: an update that removed some has committed its ledger row. An update in progress may
        // have begun before this run.
        let updates = format!(
            "SELECT 1 FROM {} WHERE updated > 0 AND loaded_at >= (SELECT started FROM {} WHERE id = '{}') - interval '1 hour' LIMIT 1",
            self.scope.segment_table(),
            self.run_table,
            self.run
        );
        answer.has_updates = client.simple_query(&updates)?.iter().any(|message| number(message).is_some());
        Ok(answer)
    }

    /// The statement that selects the ids of the samples that have a row in a table. It has no parameters.
    fn look_up(&self, table: usize, segments: &[ReportedSegment]) -> String {
        let samples = segments.iter().map(|segment| segment.sample);
        let ids: BTreeSet<i64> = if table == 0 {
            samples.flat_map(|sample| sample.events().collect::<Vec<_>>()).collect()
        } else {
            samples.flat_map(|sample| sample.in_table(table).collect::<Vec<_>>()).collect()
        };
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        // The parameter comes first. The name of a schema may contain the same characters.
        self.tables[table].replacen("$1", &format!("'{{{}}}'", ids.join(",")), 1)
    }

    pub(crate) fn state(&self, answer: &StoredAnswer, segment: &ReportedSegment) -> SegmentState {
        let sample = &segment.sample;
        let is_stored = |id: &i64| answer.ids[0].contains(id);
        let lacks_rows = |table: usize| {
            sample.in_table(table).any(|id| is_stored(&id) && !answer.ids[table].contains(&id))
        };
        let is_stripped = !answer.has_updates && (1..self.tables.len()).any(lacks_rows);
        let lacks_events = !sample.events().all(|id| is_stored(&id));
        if answer.has_row(segment) {
            return match segment.expected {
                Expected::OwnRow if is_stripped => SegmentState::Stripped,
                Expected::OwnRow if lacks_events && !self.tables.is_empty() => SegmentState::Emptied,
                // The ledger decides about events of earlier loads, which users may have deleted.
                Expected::OwnRow | Expected::AnyRow => SegmentState::Stored,
            };
        }
        let is_unknown = sample.is_empty() && segment.counts.events() > 0;
        if is_stripped {
            SegmentState::Stripped
        } else if lacks_events || is_unknown {
            SegmentState::Removed
        } else {
            SegmentState::Forgotten
        }
    }

    /// Whether rows of events are missing.
    pub(crate) fn lacks_rows(&self, answer: &StoredAnswer, segments: &[ReportedSegment]) -> bool {
        let is_whole = |segment: &ReportedSegment| {
            matches!(self.state(answer, segment), SegmentState::Stored | SegmentState::Forgotten)
        };
        !segments.iter().all(is_whole)
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

    /// Adds the rows of events that an earlier answer had.
    pub(crate) fn add_rows(&mut self, earlier: Self) {
        for (ids, earlier) in self.ids.iter_mut().zip(earlier.ids) {
            ids.extend(earlier);
        }
    }

    /// Whether `delete` can have removed all segments that have no row, by their number.
    pub(crate) fn is_by_delete(&self, segments: &[ReportedSegment]) -> bool {
        let (mut own_gone, mut all_gone) = (HashSet::new(), HashSet::new());
        for segment in segments.iter().filter(|segment| !self.has_row(segment)) {
            all_gone.insert(segment.hash);
            if segment.expected == Expected::OwnRow {
                own_gone.insert(segment.hash);
            }
        }
        let DeletionMark { own, earlier } = self.deleted;
        own_gone.len() as u64 <= own && all_gone.len() as u64 <= own.saturating_add(earlier)
    }
}

/// The text in the first column of a row.
fn text(message: &SimpleQueryMessage) -> Option<&str> {
    match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok()?,
        _ => None,
    }
}

/// The schema and the name in the first two columns of a row.
fn qualified_name(message: &SimpleQueryMessage) -> Option<(String, String)> {
    match message {
        SimpleQueryMessage::Row(row) => {
            let (schema, name) = (row.try_get(0).ok()??, row.try_get(1).ok()??);
            Some((schema.to_owned(), name.to_owned()))
        }
        _ => None,
    }
}

/// The number in the first column of a row.
fn number(message: &SimpleQueryMessage) -> Option<i64> {
    text(message)?.parse().ok()
}
