//! Finds the events that the database refuses, stores all others of the batch, and does both in one transaction.
//!
//! COPY names the line that it was at, and so the event. Where an error names none, as that of a deferred or AFTER trigger, what
//! is refused is halved until one event is left.
//!
//! Invariant: the search ends: it takes [`SEARCH_MAX`] and [`ATTEMPTS_MAX`] at most. Where that is not enough nothing of the
//! batch is stored, and the error says what helps.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::session::transaction::Transaction;
use crate::database::store::{Batch, Refused, StoreError};
use crate::database::write::writer::{BatchWriter, Put, WriteMode};
use std::time::{Duration, Instant};

/// How long the events are looked for that the database refuses.
const SEARCH_MAX: Duration = Duration::from_secs(30);

/// How often a part of the batch is written for it.
const ATTEMPTS_MAX: u32 = 5_000;

/// After an event was refused the next ones may be refused as well: so many are sent at once, and more each time that none is.
const STEP_AFTER_REFUSAL: usize = 16;

/// What is done with events that may be refused.
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
}

impl BatchWriter {
    /// Stores what can be stored of a batch; what can't is added to `refused`.
    pub(crate) fn narrow(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        refused: &mut Vec<Refused>,
    ) -> Result<Put, DatabaseError> {
        // What would be checked at the end of the transaction is checked at each step, so that the event is found.
        transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
        self.take_turn(transaction)?;
        self.refuse_without_rows(transaction, batch)?;
        let mut search = Search { batch, refused, begun: Instant::now(), attempts: 0 };
        let mut put = Put::default();
        let mut events = batch.order.clone();
        while !events.is_empty() {
            search.count_attempt()?;
            let seen = search.refused.len();
            let (known, new) = self.known_and_new(transaction, &batch.rows, &events)?;
            self.delete_leftovers(transaction, &batch.rows, &new)?;
            put.inserted += self.search(transaction, &mut search, &new, Action::Insert)?;
            put.updated += self.search(transaction, &mut search, &known, Action::Update)?;
            // Of an event that was refused, another version in the segment may be taken.
            let refused = search.refused[seen..].iter();
            events = refused.filter_map(|refused| batch.next_version(refused.event)).collect();
            events.sort_unstable_by_key(|&event| batch.rows.events()[event].id);
        }
        Ok(put)
    }

    /// What refuses a COPY that has no rows, as a trigger of the statement may, is no fault of any event.
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

    /// Stores or rewrites `events`, and returns how many were; those that the database refuses are noted.
    fn search(
        &self,
        transaction: &mut Transaction<'_>,
        search: &mut Search<'_>,
        events: &[usize],
        action: Action,
    ) -> Result<u64, DatabaseError> {
        let (mut rest, mut step, mut stored) = (events, events.len(), 0);
        while !rest.is_empty() {
            let (part, after) = rest.split_at(step.clamp(1, rest.len()));
            let error = match self.attempt_part(transaction, search, part, action)? {
                Ok(count) => {
                    stored += count;
                    rest = after;
                    step = step.saturating_mul(4);
                    continue;
                }
                Err(error) => error,
            };
            let culprit = error.event().and_then(|event| part.iter().position(|&other| other == event));
            match culprit.or((part.len() == 1).then_some(0)) {
                Some(at) => {
                    // What comes before it was not refused.
                    stored += self.search(transaction, search, &part[..at], action)?;
                    self.note(transaction, search, part[at], action, &error)?;
                    rest = &rest[at + 1..];
                    step = STEP_AFTER_REFUSAL;
                }
                None => step = part.len() / 2,
            }
        }
        Ok(stored)
    }

    /// Writes events, or takes back what it wrote of them where one of them is at fault; that error is the inner one.
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
            Action::Insert => self.insert(&mut savepoint, rows, events, WriteMode::Narrow),
            Action::Update => self.update(&mut savepoint, rows, events),
        };
        match result {
            Ok(count) => {
                savepoint.commit()?;
                Ok(Ok(count))
            }
            Err(error) if error.class() == ErrorClass::Data => {
                savepoint.rollback()?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    fn note(
        &self,
        transaction: &mut Transaction<'_>,
        search: &mut Search<'_>,
        event: usize,
        action: Action,
        error: &DatabaseError,
    ) -> Result<(), DatabaseError> {
        // Another session may have stored the event in the meantime; then it is a duplicate.
        const UNIQUE_VIOLATION: &str = "23505";
        if matches!(action, Action::Insert) && error.sqlstate() == Some(UNIQUE_VIOLATION) {
            let (known, _) = self.known_and_new(transaction, &search.batch.rows, &[event])?;
            if !known.is_empty() {
                return Ok(());
            }
        }
        search.refused.push(refusal(event, error));
        Ok(())
    }
}

impl Search<'_> {
    /// Fails where the search has taken too long.
    fn count_attempt(&mut self) -> Result<(), DatabaseError> {
        self.attempts += 1;
        let elapsed = self.begun.elapsed();
        if self.attempts <= ATTEMPTS_MAX && elapsed <= SEARCH_MAX {
            return Ok(());
        }
        let last = self.refused.last().map(|refused| format!(", the last one for: {}", refused.reason));
        let what = format!(
            "the database refuses so many events of one segment that they were not all found within {} s ({} so far{}); a \
             smaller KILLS_SEGMENT_BYTES, such as 64KiB, has fewer of them in one transaction",
            elapsed.as_secs(),
            self.refused.len(),
            last.unwrap_or_default()
        );
        Err(StoreError::plain(what).into())
    }
}

/// The server's message names the constraint or the value, never the whole row, which is in its detail.
fn refusal(event: usize, error: &DatabaseError) -> Refused {
    let reason = match error {
        DatabaseError::Rows { source: error, .. } => {
            error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
        }
        error => error.to_string(),
    };
    Refused { event, sqlstate: error.sqlstate().map(str::to_owned), reason }
}
