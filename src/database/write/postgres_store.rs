//! The [`Store`] for PostgreSQL. Falls back from one write mode to the next.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::claims::{Answer, Claims, QUESTION_MAX};
use crate::database::ledger::confirmation::StoredQuestion;
use crate::database::ledger::entries::{Entries, LedgerEntry, LedgerScope};
use crate::database::ledger::reports::Reports;
use crate::database::ledger::runs::OtherRuns;
use crate::database::ledger::segments::Ledger;
use crate::database::ledger::stored::{ReportedSegment, StoredSegments, WrittenTo};
use crate::database::options::{LoadedSegments, OnConflict, StoreSettings};
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::access::is_missing_privilege;
use crate::database::schema::deferred_indexes::{DeferredIndexes, IndexBuild};
use crate::database::schema::trust::unlogged_query;
use crate::database::schema::user_code::UserCode;
use crate::database::schemas::Schemas;
use crate::database::session::client::Client;
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

pub(crate) mod confirming;

/// The most claims per [`Store::look_again`]. Each claim is an entry in the server's shared lock table.
const CLAIMS_MAX: usize = 64;

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

    /// Notes segments of files that are not read, because the ledger has all of their segments.
    pub(crate) fn note_skipped(&self, segments: &[ReportedSegment]) {
        for segment in segments {
            self.stored.note(*segment);
        }
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
            // The end of the run is reported with its cause.
            Err(error) if error.is_aborted() => return None,
            Err(error) => (error, "; indexes may be missing".to_owned()),
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
