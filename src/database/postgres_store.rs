//! The store that is a PostgreSQL: the modes of writing, each tried until it succeeds or can't.

use super::call::Progress;
use super::claims::{Answer, Claims, QUESTION_MAX};
use super::classify::ErrorClass;
use super::client::{Client, GenericClient as _};
use super::entries::{Entries, Entry, Shelf};
use super::error::DatabaseError;
use super::indexes::PutOff;
use super::ledger::{Held, Ledger, SERVER_START};
use super::manager::DatabaseManager;
use super::patience::Patience;
use super::reports::Reports;
use super::runs::OtherRuns;
use super::schemas::Schemas;
use super::store::{Batch, SegmentHash, Standing, Store, StoreError, Written};
use super::stored::{StoredCounts, StoredSegments, WrittenTo};
use super::update::OnConflict;
use super::write::{Mode, Refusals, Writer};
use crate::causes::in_full;
use crate::kill::Server;
use crate::layout::{Distribution, Layout, quote_identifier};
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use uuid::Uuid;

/// What a load stores, and where.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The tables.
    pub layout: Layout,
    /// The schemas that they and the ledger are in.
    pub schemas: Schemas,
    /// The game server that the events are of.
    pub server: Server,
    /// What is done with events that are stored already.
    pub on_conflict: OnConflict,
    /// What is done with segments that were loaded before.
    pub held: Held,
    /// Where the rows of the tables are.
    pub distribution: Distribution,
    /// The command that makes what is missing.
    pub schema_apply: String,
}

/// So many of them are claimed at most: each is a lock of the server's, whose table of locks all share.
const CLAIMS_MAX: usize = 64;

/// Stores segments in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    manager: DatabaseManager,
    writer: Arc<Writer>,
    patience: Patience,
    /// For what is done when there is time for it.
    leisure: Patience,
    put_off: PutOff,
    held: Held,
    shelf: Arc<Shelf>,
    claims: Claims,
    /// Held for writing while indexes are built: rows that wait for that within the database would look stuck.
    writing: RwLock<()>,
    stored: StoredSegments,
    reports: Reports,
    written_to: WrittenTo,
    /// What was asked for at the end of the run.
    confirm: String,
    run: Uuid,
    schema_apply: String,
}

impl PostgresStore {
    /// A store for the run `run`, which waits for the database as long as `patience` lasts, and leaves building indexes to
    /// the next run once `leisure` is over. The tables must be there.
    pub fn new(
        manager: DatabaseManager,
        settings: &StoreSettings,
        run: Uuid,
        patience: Patience,
        leisure: Patience,
    ) -> Self {
        let StoreSettings { layout, ref schemas, server, on_conflict, held, distribution, ref schema_apply } =
            *settings;
        let ledger_schema = &schemas.ledger;
        let ledger = Ledger::new(ledger_schema, server, layout, run, held, distribution);
        let writer = Writer::new(ledger, layout, schemas, server, on_conflict, distribution);
        let put_off = PutOff::new(layout, schemas, run);
        let shelf = Arc::new(Shelf::new(ledger_schema, server, layout));
        let claims = Claims::new(manager.caller().clone(), Arc::clone(&shelf));
        if held == Held::Skip {
            claims.begin();
        }
        Self {
            manager,
            writer: Arc::new(writer),
            patience,
            leisure,
            put_off,
            held,
            shelf,
            claims,
            writing: RwLock::default(),
            stored: StoredSegments::default(),
            reports: Reports::new(ledger_schema, server, layout, run),
            written_to: WrittenTo::default(),
            // It changes nothing, and its COMMIT waits for all that a standby has yet to receive.
            confirm: format!(
                "UPDATE {}.kill_load_run SET status = status WHERE id = $1",
                quote_identifier(ledger_schema)
            ),
            run,
            schema_apply: schema_apply.clone(),
        }
    }

    /// Builds the indexes that are missing, at the run's end, unless another run goes on, which then does.
    pub fn build_indexes(&self) {
        self.build_unless(OtherRuns::All);
    }

    /// The reject files of runs, as absolute paths, those of the last runs first.
    pub fn reject_files(&self, runs: &[Uuid]) -> Result<Vec<String>, StoreError> {
        self.reports.files_of(&self.manager, runs, &self.patience)
    }

    /// Asks the server, in a session that is opened for it, whether all segments are there that were reported as stored, and
    /// waits until a synchronous standby has them. Returns what was counted of those that are not: a failover or a crash has
    /// lost them.
    pub fn confirm(&self) -> Result<StoredCounts, StoreError> {
        let hashes: Arc<Vec<SegmentHash>> = Arc::new(self.stored.hashes());
        if hashes.is_empty() {
            return Ok(StoredCounts::default());
        }
        let asked = Arc::clone(&self.shelf);
        let (found, server_start): (HashSet<SegmentHash>, i64) =
            self.manager.ask_apart("asking for the stored segments", &self.patience, move |client| {
                let mut found = HashSet::new();
                for hashes in hashes.chunks(QUESTION_MAX) {
                    let answer = client.simple_query(&asked.question(hashes))?;
                    found.extend(Entries::read(&answer, hashes).hashes());
                }
                let row = client.query_opt(&format!("SELECT {SERVER_START}"), &[])?;
                Ok((found, row.map_or(Ok(0), |row| row.try_get(0))?))
            })?;
        let (confirm, run) = (self.confirm.clone(), self.run);
        self.manager.run("confirming the stored segments", &self.patience, move |client, _| {
            client.execute(&confirm, &[&run])?;
            if client.take_standby_wait_cancelled() { Err(DatabaseError::Unreplicated) } else { Ok(()) }
        })?;
        let missing = self.stored.take_missing(|hash| found.contains(hash));
        if missing.segments > 0 && self.written_to.was(server_start) {
            // The server has lost nothing that it committed.
            log::warn!(
                "'delete' has removed {} segments of this load from the ledger while it ran; events of it that are deleted, the \
                 next load of the same input stores again",
                missing.segments
            );
            return Ok(StoredCounts::default());
        }
        Ok(missing)
    }

    /// Asks for segments, most of which are loaded by now, and claims some of those that are not. None where no claims can
    /// be had.
    fn claim_some(&self, hashes: &[SegmentHash], most: usize) -> Option<Answer> {
        let mut answer = self.claims.ask(hashes, 0, &self.patience)?;
        let is_open = |hash: &&SegmentHash| answer.entries.get(hash).is_none();
        let open: Vec<SegmentHash> = hashes.iter().filter(is_open).copied().collect();
        if !open.is_empty() && most > 0 {
            let Answer { entries, claimed } = self.claims.ask(&open, most, &self.patience)?;
            answer.entries.add(entries);
            answer.claimed = claimed;
        }
        Some(answer)
    }

    fn ask_without_claims(&self, hashes: &[SegmentHash]) -> Result<Answer, StoreError> {
        let (question, hashes) = (self.shelf.question(hashes), hashes.to_vec());
        self.manager.run("looking up the ledger", &self.patience, move |client, _| {
            let entries = Entries::read(&client.simple_query(&question)?, &hashes);
            Ok(Answer { entries, claimed: None })
        })
    }

    fn standing(&self, answer: &Answer, hash: &SegmentHash) -> Standing {
        match (answer.entries.get(hash), &answer.claimed) {
            (Some(Entry::Loaded(loaded)), _) => {
                self.claims.release(hash);
                self.stored.note(*hash, StoredCounts::already_loaded(loaded.stored()));
                Standing::Loaded(loaded)
            }
            // Its rejects have to be reported, so that there is no work to save.
            (Some(Entry::Unreported), _) | (None, None) => Standing::Free,
            (None, Some(claimed)) if claimed.contains(hash) => Standing::Free,
            (None, Some(_)) => Standing::Taken,
        }
    }

    fn build_unless(&self, others: OtherRuns) {
        let _nobody_writes = self.writing.write();
        if let Err(error) = self.put_off.build(&self.manager, others, &self.leisure) {
            log::warn!(
                "{}; queries are slow until the next load has built the missing indexes, or: {}",
                in_full(&error),
                self.schema_apply
            );
        }
    }
}

impl Store for PostgresStore {
    fn look(&self, hash: &SegmentHash) -> Result<Standing, StoreError> {
        if self.held == Held::LoadAgain {
            return Ok(Standing::Free);
        }
        let answer = self.claims.ask(&[*hash], 1, &self.patience);
        let answer = answer.map_or_else(|| self.ask_without_claims(&[*hash]), Ok)?;
        Ok(self.standing(&answer, hash))
    }

    fn look_again(&self, hashes: &[SegmentHash], waited: Duration) -> Result<Vec<Standing>, StoreError> {
        let is_overdue = waited >= self.manager.caller().stall_timeout;
        let mut standings = Vec::with_capacity(hashes.len());
        let mut room = CLAIMS_MAX;
        for hashes in hashes.chunks(QUESTION_MAX) {
            let claimed = if is_overdue { None } else { self.claim_some(hashes, room) };
            let answer = claimed.map_or_else(|| self.ask_without_claims(hashes), Ok)?;
            room -= answer.claimed.as_ref().map_or(0, HashSet::len);
            standings.extend(hashes.iter().map(|hash| self.standing(&answer, hash)));
        }
        Ok(standings)
    }

    fn done(&self, hash: &SegmentHash) {
        self.claims.release(hash);
    }

    fn note_reported(&self, segments: &[SegmentHash], rejects_file: &Path) -> Result<(), StoreError> {
        self.reports.note(&self.manager, segments, rejects_file, &self.patience)
    }

    fn catch_up(&self) {
        if self.put_off.is_due() {
            self.build_unless(OtherRuns::Young);
        }
    }

    fn write(&self, batch: &Arc<Batch>) -> Result<Written, StoreError> {
        let _writes = self.writing.read();
        let (writer, batch, refusals) =
            (Arc::clone(&self.writer), Arc::clone(batch), Arc::<Refusals>::default());
        let (hash, tries) = (batch.hash, Arc::clone(&refusals));
        let written = self.manager.run("writing a segment", &self.patience, move |client, progress| {
            write_once(&writer, client, progress, &batch, &refusals)
        })?;
        if let Some(start) = tries.tried().and_then(|tried| tried.server_start()) {
            self.written_to.note(start);
        }
        self.stored.note(hash, StoredCounts::of(&written));
        Ok(written)
    }
}

/// One try of one batch: each mode gives way to the next one where the tables ask for it.
fn write_once(
    writer: &Writer,
    client: &mut Client,
    progress: &Progress,
    batch: &Batch,
    refusals: &Refusals,
) -> Result<Written, DatabaseError> {
    let mut mode = Mode::Direct;
    loop {
        mode = match writer.attempt(client, progress, batch, mode, refusals) {
            Ok(written) => return Ok(written),
            Err(error) if mode == Mode::Direct && writer.may_merge(&error) => Mode::Merge,
            Err(error) if error.class() != ErrorClass::Data || mode == Mode::Narrow => return Err(error),
            Err(_) => Mode::Narrow,
        };
    }
}
