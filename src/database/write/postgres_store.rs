//! The [`Store`] for PostgreSQL. Falls back from one write mode to the next.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::claims::{Answer, Claims, QUESTION_MAX};
use crate::database::ledger::confirmation::{MissingSegments, SegmentState, StoredAnswer, StoredQuestion};
use crate::database::ledger::entries::{Entries, LedgerEntry, LedgerScope};
use crate::database::ledger::kept_rows::code_query;
use crate::database::ledger::reports::Reports;
use crate::database::ledger::runs::OtherRuns;
use crate::database::ledger::segments::Ledger;
use crate::database::ledger::stored::{ReportedSegment, StoredSegments, WrittenTo};
use crate::database::options::{LoadedSegments, OnConflict, StoreSettings};
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::access::is_missing_privilege;
use crate::database::schema::deferred_indexes::{DeferredIndexes, IndexBuild};
use crate::database::schema::trust::{unlogged_fault, unlogged_query};
use crate::database::schema::user_code::UserCode;
use crate::database::schemas::Schemas;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::{GenericClient as _, first_column};
use crate::database::session::deadline::Deadline;
use crate::database::session::progress::CallProgress;
use crate::database::store::{Batch, SegmentHash, SegmentStatus, Store, StoreError, Written};
use crate::database::write::exists::confirming_queries;
use crate::database::write::refusals::Refusals;
use crate::database::write::table_statements::WriteMode;
use crate::database::write::writer::BatchWriter;
use crate::error_chain::{in_full, without_hint};
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use uuid::Uuid;

/// The most claims per [`Store::look_again`]. Each claim is an entry in the server's shared lock table.
const CLAIMS_MAX: usize = 64;

/// A look-up of the reported segments.
type Ask = fn(&StoredQuestion, &mut Client, &[ReportedSegment]) -> Result<StoredAnswer, DatabaseError>;

/// Stores segments in PostgreSQL.
#[derive(Debug)]
pub(crate) struct PostgresStore {
    manager: DatabaseManager,
    writer: Arc<BatchWriter>,
    deadline: Deadline,
    /// For building indexes.
    idle_deadline: Deadline,
    deferred_indexes: DeferredIndexes,
    held: LoadedSegments,
    on_conflict: OnConflict,
    layout: Layout,
    schemas: Schemas,
    scope: Arc<LedgerScope>,
    claims: Claims,
    /// Locked exclusively while indexes are built. Otherwise, writes would block in the database and look stalled.
    writing: RwLock<()>,
    /// Whether a batch has arrived.
    has_written: AtomicBool,
    stored: StoredSegments,
    question: Arc<StoredQuestion>,
    reports: Reports,
    written_to: WrittenTo,
    /// `kill_load_run` with its schema.
    run_table: String,
    run: Uuid,
    schema_apply: String,
    owner_apply: String,
}

impl PostgresStore {
    /// A store for the run `run`, whose ledger row is in the server that started at `server_start`. It waits for the
    /// database until `deadline`. After `idle_deadline` it leaves building indexes to the next run. The tables must exist.
    pub(crate) fn new(
        manager: DatabaseManager,
        settings: &StoreSettings,
        run: Uuid,
        server_start: i64,
        deadline: Deadline,
        idle_deadline: Deadline,
    ) -> Self {
        let StoreSettings { layout, ref schemas, server, on_conflict, held, distribution, .. } = *settings;
        let ledger_schema = &schemas.ledger;
        let ledger = Ledger::new(ledger_schema, server, layout, run, held, distribution);
        let writer = BatchWriter::new(
            ledger,
            layout,
            schemas,
            server,
            on_conflict,
            distribution,
            UserCode::known(layout, schemas, settings.has_user_code),
        );
        let deferred_indexes = DeferredIndexes::new(layout, schemas, run);
        let scope = Arc::new(LedgerScope::new(ledger_schema, server, layout));
        let claims = Claims::new(manager.caller().clone(), Arc::clone(&scope));
        if held == LoadedSegments::Skip {
            claims.begin();
        }
        let run_table = format!("{}.kill_load_run", quote_identifier(ledger_schema));
        let tables = confirming_queries(layout, &schemas.tables, server, distribution);
        let unlogged = unlogged_query(layout, schemas);
        let question = StoredQuestion::new(Arc::clone(&scope), tables, run, run_table.clone(), unlogged);
        Self {
            manager,
            writer: Arc::new(writer),
            deadline,
            idle_deadline,
            deferred_indexes,
            held,
            on_conflict,
            layout,
            schemas: schemas.clone(),
            scope,
            claims,
            writing: RwLock::default(),
            has_written: AtomicBool::default(),
            stored: StoredSegments::default(),
            question: Arc::new(question),
            reports: Reports::new(ledger_schema, server, layout, run),
            written_to: WrittenTo::new(server_start),
            run_table,
            run,
            schema_apply: settings.schema_apply.clone(),
            owner_apply: settings.owner_apply.clone(),
        }
    }

    /// Builds missing indexes at the run's end. If another run is live, leaves them to it.
    pub(crate) fn build_indexes(&self) {
        match self.build_unless(OtherRuns::All) {
            Some(IndexBuild::Locked(missing)) => log::warn!(
                "missing indexes: {}; another session builds indexes, or holds the lock for it; queries are slow until they are \
                 built\nhint: the next load builds those that are missing then, or run: {}",
                missing.join(", "),
                self.schema_apply
            ),
            Some(IndexBuild::LeftToRun) => {
                log::info!("another load still runs: the last one to end builds the missing indexes");
            }
            _ => {}
        }
    }

    /// The reject files of runs, as absolute paths, latest runs first.
    pub(crate) fn reject_files(&self, runs: &[Uuid]) -> Result<Vec<String>, StoreError> {
        self.reports.files_of(&self.manager, runs, &self.deadline)
    }

    /// Checks in a new session that the server has all segments that were reported as stored, and of each the first and the
    /// last event with a row in each table. Then waits until a synchronous standby has them. Returns the counts of the missing
    /// segments. After `deadline` the error is that of an aborted call.
    pub(crate) fn confirm(&self, deadline: &Deadline) -> Result<MissingSegments, StoreError> {
        let reported = Arc::new(self.stored.all());
        if reported.is_empty() {
            return Ok(MissingSegments::default());
        }
        let mut answer = self.ask_stored(StoredQuestion::ask, &reported, deadline)?;
        if self.question.lacks_rows(&answer, &reported) {
            // Another load may have stored deleted events again between two look-ups.
            let earlier = answer;
            answer = self.ask_stored(StoredQuestion::ask_again, &reported, deadline)?;
            answer.add_rows(earlier);
        }
        // Changes no value. Its COMMIT waits until synchronous standbys have all earlier commits.
        let confirm = format!("UPDATE {} SET status = status WHERE id = $1", self.run_table);
        let (has_row, run) = (format!("SELECT FROM {} WHERE id = $1", self.run_table), self.run);
        self.manager.run("confirming the stored segments", deadline, move |client, _| {
            if client.execute(&confirm, &[&run])? == 0 && client.query_opt(&has_row, &[&run])?.is_some() {
                return Err(DatabaseError::LedgerDrops);
            }
            if client.take_standby_wait_cancelled() { Err(DatabaseError::Unreplicated) } else { Ok(()) }
        })?;
        Ok(self.missing(&answer, &reported, deadline))
    }

    /// The counts of the missing segments. Warns about others that the ledger lacks.
    fn missing(
        &self,
        answer: &StoredAnswer,
        reported: &[ReportedSegment],
        deadline: &Deadline,
    ) -> MissingSegments {
        let mut missing = MissingSegments::default();
        // The same server has not lost commits.
        let is_same = self.written_to.was(answer.server_start);
        if is_same && answer.is_by_delete(reported) {
            let deleted = self.stored.take_missing(|segment| answer.has_row(segment));
            if deleted.segments > 0 {
                log::warn!(
                    "'delete' removed {} of this load from the ledger while it ran; the next load of the same input \
                     stores the deleted events again",
                    deleted.segments_text()
                );
            }
        }
        let take = |state: SegmentState| {
            self.stored.take_missing(|segment| self.question.state(answer, segment) != state)
        };
        missing.stripped = take(SegmentState::Stripped);
        missing.emptied = take(SegmentState::Emptied);
        if is_same {
            missing.removed = take(SegmentState::Removed);
            let forgotten = take(SegmentState::Forgotten);
            if forgotten.segments > 0 {
                log::warn!(
                    "another session removed {} of this load from the ledger while it ran, but not their first and last \
                     events; the next load of the same input reads them again",
                    forgotten.segments_text()
                );
            }
        } else {
            missing.lost = self.stored.take_missing(|segment| answer.has_row(segment));
        }
        if !answer.unlogged.contains("kill_load_segment") {
            let unlogged = answer.unlogged.iter();
            missing.unlogged = unlogged.map(|name| unlogged_fault(&self.schemas, name)).collect();
        }
        if missing.stripped.segments + missing.emptied.segments > 0 {
            missing.user_code = self.user_code(deadline);
        }
        missing
    }

    /// Sentences about triggers and rules of the tables. A failed look-up is only logged.
    fn user_code(&self, deadline: &Deadline) -> Vec<String> {
        let query = code_query(self.layout, &self.schemas.tables);
        let found = self.manager.run("looking up triggers", deadline, move |client, _| {
            Ok(first_column(&client.query(&query, &[])?)?)
        });
        found.unwrap_or_else(|error| {
            log::debug!("{}", in_full(&error));
            Vec::new()
        })
    }

    fn ask_stored(
        &self,
        ask: Ask,
        reported: &Arc<Vec<ReportedSegment>>,
        deadline: &Deadline,
    ) -> Result<StoredAnswer, StoreError> {
        let (question, reported) = (Arc::clone(&self.question), Arc::clone(reported));
        self.manager.ask_apart("checking the stored segments", deadline, move |client| {
            ask(&question, client, &reported)
        })
    }

    /// Looks up segments, most of which are loaded by now, and claims some of the others. Returns `None` while claims are
    /// unavailable.
    fn claim_some(&self, hashes: &[SegmentHash], most: usize) -> Option<Answer> {
        let mut answer = self.claims.ask(hashes, 0, &self.deadline)?;
        let is_open = |hash: &&SegmentHash| answer.entries.get(hash).is_none();
        let open: Vec<SegmentHash> = hashes.iter().filter(is_open).copied().collect();
        if !open.is_empty() && most > 0 {
            let Answer { entries, claimed } = self.claims.ask(&open, most, &self.deadline)?;
            answer.entries.add(entries);
            answer.claimed = claimed;
        }
        Some(answer)
    }

    fn look_up_without_claims(&self, hashes: &[SegmentHash]) -> Result<Answer, StoreError> {
        let (question, hashes) = (self.scope.question(hashes), hashes.to_vec());
        self.manager.run("looking up the ledger", &self.deadline, move |client, _| {
            let entries = Entries::read(&client.simple_query(&question)?, &hashes);
            Ok(Answer { entries, claimed: None })
        })
    }

    fn status(&self, answer: &Answer, hash: &SegmentHash) -> SegmentStatus {
        match (answer.entries.get(hash), &answer.claimed) {
            (Some(LedgerEntry::Loaded(loaded, ends)), _) => {
                self.claims.release(hash);
                self.stored.note(ReportedSegment::skipped(*hash, loaded.stored(), ends));
                SegmentStatus::Loaded(loaded)
            }
            // Its rejects must be reported, so a claim would save no work.
            (Some(LedgerEntry::Unreported), _) | (None, None) => SegmentStatus::Free,
            (None, Some(claimed)) if claimed.contains(hash) => SegmentStatus::Free,
            (None, Some(_)) => SegmentStatus::Taken,
        }
    }

    /// Returns the outcome, unless a failure was logged.
    fn build_unless(&self, others: OtherRuns) -> Option<IndexBuild> {
        let _no_writes = self.writing.write();
        let (error, missing) = match self.deferred_indexes.build(&self.manager, others, &self.idle_deadline) {
            Ok(IndexBuild::Failed(error, missing)) => {
                (error, format!("; missing indexes: {}", missing.join(", ")))
            }
            Ok(built) => return Some(built),
            Err(error) => (error, String::new()),
        };
        let remedy = if is_missing_privilege(&error) {
            format!("run {}", self.owner_apply)
        } else {
            format!("the next load retries, or run: {}", self.schema_apply)
        };
        log::warn!(
            "{}{missing}; queries are slow until they are built\nhint: {remedy}",
            without_hint(&in_full(&error))
        );
        None
    }
}

impl Store for PostgresStore {
    fn look(&self, hash: &SegmentHash) -> Result<SegmentStatus, StoreError> {
        if self.held == LoadedSegments::LoadAgain {
            return Ok(SegmentStatus::Free);
        }
        let answer = self.claims.ask(&[*hash], 1, &self.deadline);
        let answer = answer.map_or_else(|| self.look_up_without_claims(&[*hash]), Ok)?;
        Ok(self.status(&answer, hash))
    }

    fn look_again(&self, hashes: &[SegmentHash], waited: Duration) -> Result<Vec<SegmentStatus>, StoreError> {
        let is_overdue = waited >= self.manager.caller().stall_timeout;
        let mut statuses = Vec::with_capacity(hashes.len());
        let mut room = CLAIMS_MAX;
        for hashes in hashes.chunks(QUESTION_MAX) {
            let claimed = if is_overdue { None } else { self.claim_some(hashes, room) };
            let answer = claimed.map_or_else(|| self.look_up_without_claims(hashes), Ok)?;
            room -= answer.claimed.as_ref().map_or(0, HashSet::len);
            statuses.extend(hashes.iter().map(|hash| self.status(&answer, hash)));
        }
        Ok(statuses)
    }

    fn done(&self, hash: &SegmentHash) {
        self.claims.release(hash);
    }

    fn note_reported(&self, segments: &[SegmentHash], rejects_file: &Path) -> Result<(), StoreError> {
        self.reports.note(&self.manager, segments, rejects_file, &self.deadline)
    }

    fn catch_up(&self) {
        if self.deferred_indexes.is_due() {
            // The end of the run reports what is missing then.
            let _ = self.build_unless(OtherRuns::Young);
        }
    }

    fn write(&self, batch: &Arc<Batch>) -> Result<Written, StoreError> {
        let _no_index_build = self.writing.read();
        // A load of one segment needs no further connection.
        if self.has_written.swap(true, Ordering::Relaxed) {
            self.manager.open_minimum();
        }
        let refusals = Arc::new(Refusals::new(self.manager.attempts_max()));
        let (writer, batch) = (Arc::clone(&self.writer), Arc::clone(batch));
        let (reported, attempts) = (Arc::clone(&batch), Arc::clone(&refusals));
        let written = self.manager.run("writing a segment", &self.deadline, move |client, progress| {
            write_once(&writer, client, progress, &batch, &refusals)
        })?;
        if let Some(start) = attempts.tried().and_then(|tried| tried.server_start()) {
            self.written_to.note(start);
        }
        self.stored.note(ReportedSegment::of(&reported, &written, self.on_conflict));
        Ok(written)
    }
}

/// One attempt to write a batch, with a fallback to the next mode on certain errors.
fn write_once(
    writer: &BatchWriter,
    client: &mut Client,
    progress: &CallProgress,
    batch: &Batch,
    refusals: &Refusals,
) -> Result<Written, DatabaseError> {
    let mut mode = WriteMode::Direct;
    loop {
        mode = match writer.attempt(client, progress, batch, mode, refusals) {
            Ok(written) => return Ok(written),
            Err(error) if mode == WriteMode::Direct && writer.may_merge(&error) => WriteMode::Merge,
            Err(error) if mode != WriteMode::Bisect && refusals.is_of_row(&error) => WriteMode::Bisect,
            Err(error) => {
                refusals.note_failure(&error);
                return Err(error);
            }
        };
    }
}
