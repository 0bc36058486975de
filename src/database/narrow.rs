//! What the database refuses is narrowed down to the event: what is refused is halved, and tried again, until
//! one event is left. The rest of the batch is stored, all in one transaction.

use super::classify::ErrorClass;
use super::error::DatabaseError;
use super::store::{Batch, Refused};
use super::transaction::Transaction;
use super::write::{Mode, Put, Writer};

/// What is done with events that may be refused.
#[derive(Debug, Clone, Copy)]
enum Action {
    Insert,
    Update,
}

impl Writer {
    /// Stores what can be stored of a batch; what can't is added to `refused`.
    pub(super) fn narrow(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        refused: &mut Vec<Refused>,
    ) -> Result<Put, DatabaseError> {
        // What would be checked at the end of the transaction is checked at each step, so that the event is found.
        transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
        self.take_turn(transaction)?;
        let mut put = Put::default();
        let mut events = batch.order.clone();
        while !events.is_empty() {
            let seen = refused.len();
            let (known, new) = self.known_and_new(transaction, &batch.rows, &events)?;
            self.delete_leftovers(transaction, &batch.rows, &new)?;
            put.inserted += self.halve(transaction, batch, &new, Action::Insert, refused)?;
            put.updated += self.halve(transaction, batch, &known, Action::Update, refused)?;
            // Of an event that was refused, another version in the segment may be taken.
            events = refused[seen..].iter().filter_map(|refused| batch.next_version(refused.event)).collect();
            events.sort_unstable_by_key(|&event| batch.rows.events()[event].id);
        }
        Ok(put)
    }

    /// Stores or rewrites `events`: all at once, or where the database refuses one of them each half by itself. Returns
    /// how many were.
    fn halve(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        events: &[usize],
        action: Action,
        refused: &mut Vec<Refused>,
    ) -> Result<u64, DatabaseError> {
        if events.is_empty() {
            return Ok(0);
        }
        let mut savepoint = transaction.savepoint()?;
        let result = match action {
            Action::Insert => self.insert(&mut savepoint, &batch.rows, events, Mode::Narrow),
            Action::Update => self.update(&mut savepoint, &batch.rows, events),
        };
        let error = match result {
            Ok(count) => {
                savepoint.commit()?;
                return Ok(count);
            }
            Err(error) if error.class() == ErrorClass::Data => error,
            Err(error) => return Err(error),
        };
        savepoint.rollback()?;
        if let [event] = events {
            // Another session may have stored the event in the meantime; then it is a duplicate.
            let (known, _) = self.known_and_new(transaction, &batch.rows, events)?;
            if matches!(action, Action::Update) || known.is_empty() {
                refused.push(refusal(*event, &error));
            }
            return Ok(0);
        }
        let (first, second) = events.split_at(events.len() / 2);
        Ok(self.halve(transaction, batch, first, action, refused)?
            + self.halve(transaction, batch, second, action, refused)?)
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
