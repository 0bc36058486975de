//! Finds the events that the database refuses and stores the rest of the batch, in one transaction.
//!
//! An error of COPY names the line, and therefore the event. Errors of deferred and AFTER triggers name none; then the
//! batch is bisected until one event is left. After an error that names an event, a few events before it are sent again with those
//! after it if the network takes longer than the rows, because a separate attempt for them needs more round trips.
//!
//! Triggers and rules that drop or alter rows cause no error. One query per attempt and table finds the events of all such
//! rows. Whether a row is dropped may depend on others, so these events are written again after the others. They are rejected once all
//! events of an attempt are dropped. If that does not end soon, each is written alone.
//!
//! An error of a user's function whose SQLSTATE is that of the database, such as a missing privilege or an outage, is the
//! event's if the database accepts another event of the batch. Otherwise it is the database's, and nothing of the batch is
//! stored.
//!
//! Stored events of a batch are compared once, not for each attempt: staging tables take longer than the rows.
//!
//! Invariant: the search is limited by [`SEARCH_MAX`]. Beyond this limit, nothing of the batch is stored, and the error
//! includes a remedy.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::{DatabaseError, SearchEnd};
use crate::database::session::transaction::Transaction;
use crate::database::store::{Batch, RefusalReason, Refused};
use crate::database::write::exists::split;
use crate::database::write::refusals::Refusals;
use crate::database::write::table_statements::WriteMode;
use crate::database::write::writer::{BatchWriter, Put};
use crate::layout::Layout;
use postgres::error::DbError;
use std::mem;
use std::time::{Duration, Instant};

/// Time limit of the search for refused events.
const SEARCH_MAX: Duration = Duration::from_secs(30);

/// The number of events that may fail with an error of the database itself before any other event is stored.
const UNPROVEN_MAX: u32 = 64;

/// The number of events per attempt after a refused one, because the next may be refused as well. It grows with each
/// success.
const STEP_AFTER_REFUSAL: usize = 16;

/// Fewer accepted events before a refused one may be sent again. Each attempt then has at least one new event.
const RESENT_MAX: usize = STEP_AFTER_REFUSAL;

/// The number of times that events are written together again because some of their rows were dropped.
const ROUNDS_MAX: u32 = 3;

/// The way to write events that may be refused.
#[derive(Debug, Clone, Copy)]
enum Action {
    Insert,
    /// Compares the events and rewrites those that differ.
    Update,
    /// Rewrites events that differ. They were compared with others.
    Rewrite,
}

struct Search<'s> {
    batch: &'s Batch,
    refused: &'s mut Vec<Refused>,
    /// Earlier attempts to write the batch.
    refusals: &'s Refusals,
    /// Events of whose rows one was not written in [`Action::Rewrite`]. A trigger may have changed them after the comparison.
    changed: Vec<usize>,
    begun: Instant,
    /// The time of an attempt without rows.
    idle: Duration,
    /// The number of events that the database has accepted. A rewritten event can count twice.
    accepted: usize,
    /// Whether the database has stored an event.
    has_stored: bool,
    /// The last error that is the event's in any case.
    last: Option<DatabaseError>,
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
        refusals: &Refusals,
    ) -> Result<Put, DatabaseError> {
        // Deferred constraints must fail at each step, not at COMMIT, to find the event.
        transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
        self.take_turn(transaction)?;
        let begun = Instant::now();
        self.refuse_without_rows(transaction, batch)?;
        let mut search = Search {
            batch,
            refused,
            refusals,
            changed: Vec::new(),
            begun,
            idle: begun.elapsed(),
            accepted: 0,
            has_stored: false,
            last: None,
            unproven: None,
        };
        let mut put = Put::default();
        let mut events = batch.order.clone();
        while !events.is_empty() {
            search.check_limit()?;
            let seen = search.refused.len();
            let (known, new) = self.known_and_new(transaction, &batch.rows, &events)?;
            put.inserted += self.search(transaction, &mut search, &new, Action::Insert)?;
            put.updated += self.search_updates(transaction, &mut search, &known)?;
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

    /// Rewrites `events`, which are all stored, and records those that the database refuses. Returns the number of rewritten
    /// events.
    fn search_updates(
        &self,
        transaction: &mut Transaction<'_>,
        search: &mut Search<'_>,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        let Some(updater) = self.updater_in_parts() else {
            return self.search(transaction, search, events, Action::Update);
        };
        let (mut pending, mut rewritten) = (events, 0);
        while !pending.is_empty() {
            let batch = search.batch;
            let begun = attempt(transaction, search, |savepoint| {
                let has_code = self.table_code(savepoint)?.is_some();
                updater.begin_parts(savepoint, &batch.rows, pending, has_code)
            })?;
            let error = match begun {
                Ok(()) => {
                    rewritten += self.search(transaction, search, pending, Action::Rewrite)?;
                    updater.drop_stages(transaction)?;
                    let changed = mem::take(&mut search.changed);
                    rewritten += self.search(transaction, search, &changed, Action::Update)?;
                    break;
                }
                Err(error) => error,
            };
            if let Some(at) = culprit(pending, &error) {
                rewritten += self.search_updates(transaction, search, &pending[..at])?;
                self.record_refusal(transaction, search, pending[at], Action::Update, error)?;
                pending = &pending[at + 1..];
            } else {
                let (first, second) = pending.split_at(pending.len() / 2);
                rewritten += self.search_updates(transaction, search, first)?;
                pending = second;
            }
        }
        Ok(rewritten)
    }

    /// Stores or rewrites `events`, and records those that the database refuses. Returns the number of stored events.
    fn search(
        &self,
        transaction: &mut Transaction<'_>,
        search: &mut Search<'_>,
        events: &[usize],
        action: Action,
    ) -> Result<u64, DatabaseError> {
        // Events with a dropped row wait for the next round.
        let (mut pending, mut with_dropped, mut round) = (events.to_vec(), Vec::new(), 1);
        let (mut step, mut step_max, mut stored) = (events.len(), usize::MAX, 0);
        while !pending.is_empty() {
            let after = pending.split_off(step.min(step_max).clamp(1, pending.len()));
            let part = mem::replace(&mut pending, after);
            let begun = Instant::now();
            match self.attempt_part(transaction, search, &part, action)? {
                Ok(count) => {
                    stored += count;
                    step = step.saturating_mul(4);
                }
                Err(error) => {
                    let (named, others) = split(&search.batch.rows, &part, &error.dropped());
                    if others.is_empty() {
                        let is_altered = matches!(error, DatabaseError::Altered(_));
                        let of_one = if is_altered { DatabaseError::Altered } else { DatabaseError::Dropped };
                        for event in named {
                            let error = of_one(Vec::new());
                            self.record_refusal(transaction, search, event, action, error)?;
                        }
                        step = step.saturating_mul(4);
                    } else if !named.is_empty() && round < ROUNDS_MAX {
                        with_dropped.extend(named);
                        step = STEP_AFTER_REFUSAL.max(others.len() / 2);
                        pending = [others, pending].concat();
                    } else if !named.is_empty() {
                        // Which rows are dropped depends on the others of the attempt.
                        step_max = 1;
                        pending = [part, pending].concat();
                    } else if let Some(at) = culprit(&part, &error) {
                        // The events before it were not refused. One that is stored shows that refusals are of events.
                        let is_cheap = at < RESENT_MAX && search.has_stored && begun.elapsed() <= search.idle;
                        let resent: &[usize] = if is_cheap { &part[..at] } else { &[] };
                        if !is_cheap {
                            stored += self.search(transaction, search, &part[..at], action)?;
                        }
                        if matches!((action, &error), (Action::Rewrite, DatabaseError::Dropped(_))) {
                            search.changed.push(part[at]);
                        } else {
                            self.record_refusal(transaction, search, part[at], action, error)?;
                        }
                        pending = [resent, &part[at + 1..], pending.as_slice()].concat();
                        step = STEP_AFTER_REFUSAL;
                    } else {
                        step = part.len() / 2;
                        pending = [part, pending].concat();
                    }
                }
            }
            if pending.is_empty() {
                pending = mem::take(&mut with_dropped);
                round += 1;
            }
        }
        Ok(stored)
    }

    /// Writes events. If one of them is at fault, the inner result is that error.
    fn attempt_part(
        &self,
        transaction: &mut Transaction<'_>,
        search: &mut Search<'_>,
        events: &[usize],
        action: Action,
    ) -> Result<Result<u64, DatabaseError>, DatabaseError> {
        let batch = search.batch;
        let rows = &batch.rows;
        let written = attempt(transaction, search, |savepoint| match (action, self.updater_in_parts()) {
            (Action::Insert, _) => self.insert(savepoint, rows, events, WriteMode::Bisect),
            (Action::Rewrite, Some(updater)) => self.rewrite(savepoint, updater, rows, events),
            (Action::Rewrite | Action::Update, _) => self.update(savepoint, rows, events),
        })?;
        if written.is_ok() {
            search.accepted += events.len();
        }
        search.has_stored |= written.as_ref().is_ok_and(|count| *count > 0);
        Ok(written)
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
        search.refused.push(refusal(event, action, &error));
        if error.class() == ErrorClass::Data {
            search.last = Some(error);
        } else {
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
    /// Fails if the search has reached its limit.
    fn check_limit(&mut self) -> Result<(), DatabaseError> {
        if self.begun.elapsed() <= SEARCH_MAX {
            return Ok(());
        }
        let (refused, events) = (self.refused.len(), self.batch.versions.len());
        let end = SearchEnd {
            limit: SEARCH_MAX,
            refused,
            checked: (self.accepted + refused).min(events),
            events,
            text_bytes: self.batch.text_bytes,
        };
        let last = self.last.take().or_else(|| self.unproven.take().map(|(error, _)| error));
        Err(DatabaseError::SearchEnded(end, last.map(Box::new)))
    }
}

/// Runs `write` in a savepoint. If an event is at fault, rolls back to the savepoint and returns that error as the inner one.
fn attempt<T>(
    transaction: &mut Transaction<'_>,
    search: &mut Search<'_>,
    write: impl FnOnce(&mut Transaction<'_>) -> Result<T, DatabaseError>,
) -> Result<Result<T, DatabaseError>, DatabaseError> {
    search.check_limit()?;
    let mut savepoint = transaction.savepoint()?;
    match write(&mut savepoint) {
        Ok(value) => {
            savepoint.commit()?;
            Ok(Ok(value))
        }
        Err(error) if search.refusals.is_of_row(&error) => {
            savepoint.rollback()?;
            Ok(Err(error))
        }
        Err(error) => Err(error),
    }
}

/// The place among `events` of the event at fault, if it is known.
fn culprit(events: &[usize], error: &DatabaseError) -> Option<usize> {
    let named = error.event().and_then(|event| events.iter().position(|&other| other == event));
    named.or((events.len() == 1).then_some(0))
}

/// The server's message names the constraint or the value, never the whole row, which is in the detail.
fn refusal(event: usize, action: Action, error: &DatabaseError) -> Refused {
    let reason = match error {
        DatabaseError::Rows { source, .. } => match source.as_db_error() {
            Some(refused) => match kept_by_reference(refused) {
                Some(remedy) => RefusalReason::new(&remedy),
                None => RefusalReason::new(refused.message()),
            },
            None => RefusalReason::new(&source.to_string()),
        },
        DatabaseError::Dropped(_) if !matches!(action, Action::Insert) => {
            RefusalReason::new("a trigger or rule of the table undid the update of the event")
        }
        error => RefusalReason::new(&error.to_string()),
    };
    Refused { event, sqlstate: error.sqlstate().map(str::to_owned), reason }
}

/// The cause and the remedy, if a foreign key of the user keeps a row that the load deletes.
fn kept_by_reference(refused: &DbError) -> Option<String> {
    let is_foreign_key = ["23503", "23001"].contains(&refused.code().code());
    // The error names the table with the foreign key. If that is one of these tables, the row to which it refers is missing.
    let (table, constraint) = (refused.table()?, refused.constraint()?);
    let mut tables = Layout::ALL.into_iter().flat_map(Layout::tables);
    // The statement of a function has a context.
    if !is_foreign_key || refused.where_().is_some() || tables.any(|ours| ours.name == table) {
        return None;
    }
    Some(format!(
        "rows of the table \"{table}\" refer to a row that is not in the dump: delete them, or give the constraint \
         \"{constraint}\" ON DELETE CASCADE"
    ))
}
