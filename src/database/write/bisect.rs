//! Finds the events that the database refuses and stores the rest of the batch, in one transaction.
//!
//! An error of COPY names the line, and therefore the event. Errors of deferred and AFTER triggers name none; then the
//! batch is bisected until one event is left.
//!
//! An error whose SQLSTATE is that of a permanent error, such as a missing privilege, is the event's if the database
//! accepts another event of the batch. Otherwise it is the database's, and nothing of the batch is stored.
//!
//! Invariant: the search is limited by [`SEARCH_MAX`] and [`ATTEMPTS_MAX`]. Beyond these limits, nothing of the batch
//! is stored, and the error includes a remedy.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::session::transaction::Transaction;
use crate::database::store::{Batch, Refused, StoreError};
use crate::database::write::table_statements::WriteMode;
use crate::database::write::writer::{BatchWriter, Put};
use std::time::{Duration, Instant};

/// Time limit of the search for refused events.
const SEARCH_MAX: Duration = Duration::from_secs(30);

/// The most attempts to write a part of the batch during the search.
const ATTEMPTS_MAX: u32 = 5_000;

/// The number of events that may fail with an error of the database itself before any other event is stored.
const UNPROVEN_MAX: u32 = 64;

/// The number of events per attempt after a refused one, because the next may be refused as well. It grows with each
/// success.
const STEP_AFTER_REFUSAL: usize = 16;

/// The way to write events that may be refused.
#[derive(Debug, Clone, Copy)]
enum Action {
    Insert,
    Update,
}

/// The search in one batch.
struct Search<'s> {
    batch: &'s Batch,
    refused: &'s mut Vec<Refused>,
    begun: Instant,
    attempts: u32,
    /// Whether the database has accepted an event.
    has_stored: bool,
    /// The first error that is the event's only if the database accepts another event, and the number of such errors.
    unproven: Option<(DatabaseError, u32)>,
}

impl BatchWriter {
    /// Stores the events of a batch that the database accepts, and adds the others to `refused`.
    pub(crate) fn bisect(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        refused: &mut Vec<Refused>,
    ) -> Result<Put, DatabaseError> {
        // Deferred constraints must fail at each step, not at COMMIT, to find the event.
        transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
        self.take_turn(transaction)?;
        self.refuse_without_rows(transaction, batch)?;
        let mut search =
            Search { batch, refused, begun: Instant::now(), attempts: 0, has_stored: false, unproven: None };
        let mut put = Put::default();
        let mut events = batch.order.clone();
        while !events.is_empty() {
            search.count_attempt()?;
            let seen = search.refused.len();
            let (known, new) = self.known_and_new(transaction, &batch.rows, &events)?;
            put.inserted += self.search(transaction, &mut search, &new, Action::Insert)?;
            put.updated += self.search(transaction, &mut search, &known, Action::Update)?;
            // If an event was refused, the database may accept another version of it in the segment.
            let refused = search.refused[seen..].iter();
            events = refused.filter_map(|refused| batch.next_version(refused.event)).collect();
            events.sort_unstable_by_key(|&event| batch.rows.events()[event].id);
        }
        match search.unproven {
            // A trigger that raises an error for the only event of a batch decides about that event.
            Some((error, _)) if batch.order.len() == 1 && error.is_raised() => Ok(put),
            Some((error, _)) if !search.has_stored => Err(error),
            _ => Ok(put),
        }
    }

    /// Sends a COPY without rows. If a statement trigger refuses it, no event is at fault.
    fn refuse_without_rows(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
    ) -> Result<(), DatabaseError> {
        let mut savepoint = transaction.savepoint()?;
        match self.insert_none(&mut savepoint, &batch.rows) {
            Ok(()) => savepoint.rollback(),
            Err(DatabaseError::Rows { source, .. }) => Err(DatabaseError::Postgres(source)),
            Err(error) => Err(error),
        }
    }

    /// Stores or rewrites `events`, and records those that the database refuses. Returns the number of stored events.
    fn search(
        &self,
        transaction: &mut Transaction<'_>,
        search: &mut Search<'_>,
        events: &[usize],
        action: Action,
    ) -> Result<u64, DatabaseError> {
        let (mut pending, mut step, mut stored) = (events, events.len(), 0);
        while !pending.is_empty() {
            let (part, after) = pending.split_at(step.clamp(1, pending.len()));
            let error = match self.attempt_part(transaction, search, part, action)? {
                Ok(count) => {
                    stored += count;
                    pending = after;
                    step = step.saturating_mul(4);
                    continue;
                }
                Err(error) => error,
            };
            let culprit = error.event().and_then(|event| part.iter().position(|&other| other == event));
            match culprit.or((part.len() == 1).then_some(0)) {
                Some(at) => {
                    // The events before it were not refused.
                    stored += self.search(transaction, search, &part[..at], action)?;
                    self.record_refusal(transaction, search, part[at], action, error)?;
                    pending = &pending[at + 1..];
                    step = STEP_AFTER_REFUSAL;
                }
                None => step = part.len() / 2,
            }
        }
        Ok(stored)
    }

    /// Writes events. If one of them is at fault, rolls back to the savepoint and returns that error as the inner one.
    fn attempt_part(
        &self,
        transaction: &mut Transaction<'_>,
        search: &mut Search<'_>,
        events: &[usize],
        action: Action,
    ) -> Result<Result<u64, DatabaseError>, DatabaseError> {
        search.count_attempt()?;
        let mut savepoint = transaction.savepoint()?;
        let rows = &search.batch.rows;
        let result = match action {
            Action::Insert => self.insert(&mut savepoint, rows, events, WriteMode::Bisect),
            Action::Update => self.update(&mut savepoint, rows, events),
        };
        match result {
            Ok(count) => {
                savepoint.commit()?;
                search.has_stored |= count > 0;
                Ok(Ok(count))
            }
            Err(error) if error.class() == ErrorClass::Data || error.may_be_of_row() => {
                savepoint.rollback()?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    fn record_refusal(
        &self,
        transaction: &mut Transaction<'_>,
        search: &mut Search<'_>,
        event: usize,
        action: Action,
        error: DatabaseError,
    ) -> Result<(), DatabaseError> {
        // Another session may have stored the event in the meantime; then it is a duplicate.
        const UNIQUE_VIOLATION: &str = "23505";
        if matches!(action, Action::Insert) && error.sqlstate() == Some(UNIQUE_VIOLATION) {
            let (known, _) = self.known_and_new(transaction, &search.batch.rows, &[event])?;
            if !known.is_empty() {
                return Ok(());
            }
        }
        search.refused.push(refusal(event, &error));
        if error.class() != ErrorClass::Data {
            let (error, count) = search.unproven.take().unwrap_or((error, 0));
            if count >= UNPROVEN_MAX && !search.has_stored {
                return Err(error);
            }
            search.unproven = Some((error, count + 1));
        }
        Ok(())
    }
}

impl Search<'_> {
    /// Fails if the search has reached its limits.
    fn count_attempt(&mut self) -> Result<(), DatabaseError> {
        self.attempts += 1;
        let elapsed = self.begun.elapsed();
        if self.attempts <= ATTEMPTS_MAX && elapsed <= SEARCH_MAX {
            return Ok(());
        }
        let last = self.refused.last().map(|refused| format!(", the last one for: {}", refused.reason));
        let what = format!(
            "the database refuses too many events of one segment: the search for them ended after {} s ({} so far{})\nhint: \
             lower KILLS_SEGMENT_BYTES, for example to 64KiB, so that fewer are in one transaction",
            elapsed.as_secs(),
            self.refused.len(),
            last.unwrap_or_default()
        );
        Err(StoreError::plain(what).into())
    }
}

/// The server's message names the constraint or the value, never the whole row, which is in the detail.
fn refusal(event: usize, error: &DatabaseError) -> Refused {
    let reason = match error {
        DatabaseError::Rows { source: error, .. } => {
            error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
        }
        error => error.to_string(),
    };
    Refused { event, sqlstate: error.sqlstate().map(str::to_owned), reason }
}
