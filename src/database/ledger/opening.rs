//! The first statements of the transaction of a segment, in one message: the segment's row, and the look-up of its
//! stored events.
//!
//! Invariant: the row is written before the look-up begins. So a second load of the same segment, or a deletion, has
//! ended before the look-up sees the tables.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::entries::hex;
use crate::database::ledger::segments::{Attempt, Extent, Ledger, SERVER_START, SegmentOutcome, signed};
use crate::database::session::client::Client;
use crate::database::session::client_transaction::NamedStatement;
use crate::database::session::progress::CallProgress;
use crate::database::session::transaction::Transaction;
use crate::database::store::{Batch, SegmentHash};
use postgres::{SimpleQueryMessage, SimpleQueryRow};
use std::collections::HashSet;
use std::fmt::Write as _;

/// The statements, for one server.
#[derive(Debug)]
pub(crate) struct SegmentOpening {
    claim: NamedStatement,
    look: NamedStatement,
    /// The literals of the game server and the layout, and of the run.
    scope: [String; 2],
    run: String,
    outcome: OutcomeTime,
}

/// When the outcome of a segment is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutcomeTime {
    /// With the look-up, because stored events are kept. The row gets the outcome at once.
    AtLookup,
    /// After the events are written.
    AtEnd,
}

/// A segment that this transaction writes.
#[derive(Debug)]
pub(crate) struct OpenedSegment {
    /// The ids of its events that are stored.
    pub(crate) known: HashSet<i64>,
    /// The outcome, if the row has it, and the marks of this attempt.
    pub(crate) tried: Option<Attempt>,
}

impl SegmentOpening {
    /// `stored` selects the stored ids among its parameter.
    pub(crate) fn new(ledger: &Ledger, stored: &str, outcome: OutcomeTime) -> Self {
        let claim = NamedStatement {
            name: "aegis_kills_claim",
            types: &[
                "bytea", "text", "text", "uuid", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint",
                "bigint", "bigint", "bigint", "bigint",
            ],
            sql: format!("{} RETURNING true AS claimed", ledger.insertion()),
        };
        // Only the row of this transaction: if another one exists, its outcome stays.
        let settled = match outcome {
            OutcomeTime::AtLookup => format!(
                "UPDATE {}.kill_load_segment SET inserted = $5 - (SELECT count(*) FROM known),
                   duplicate = $6 + (SELECT count(*) FROM known)
                 WHERE hash = $2 AND server = $3 AND layout = $4
                   AND xmin::text::bigint = txid_current() & 4294967295 RETURNING true",
                ledger.schema
            ),
            OutcomeTime::AtEnd => "SELECT $2::bytea, $3::text, $4::text, $5::bigint, $6::bigint".to_owned(),
        };
        let look = NamedStatement {
            name: "aegis_kills_look",
            types: &["bigint[]", "bytea", "text", "text", "bigint", "bigint"],
            sql: format!(
                "WITH known (id) AS MATERIALIZED ({stored}), settled AS ({settled})
                 SELECT (SELECT count(*) FROM settled) AS settled, txid_current_if_assigned() AS transaction,
                   {SERVER_START} AS server_start, (SELECT string_agg(id::text, ',') FROM known) AS known"
            ),
        };
        let scope = [ledger.server, ledger.layout].map(|name| format!("'{name}'"));
        Self { claim, look, scope, run: format!("'{}'", ledger.run), outcome }
    }

    /// Begins the transaction of a batch. `path` is a statement that sets its search path, or empty. Returns none if the
    /// segment has a row, so that its state decides.
    pub(crate) fn begin<'t>(
        &self,
        client: &'t mut Client,
        progress: &'t CallProgress,
        batch: &Batch,
        path: &str,
    ) -> Result<(Transaction<'t>, Option<OpenedSegment>), DatabaseError> {
        let (prepare_claim, claim) = client.with_values(&self.claim, &self.claim_values(batch));
        let (prepare_look, look) = client.with_values(&self.look, &self.look_values(batch));
        let statements = [path, &prepare_claim, &prepare_look, &claim, &look];
        let statements: Vec<&str> = statements.into_iter().filter(|sql| !sql.is_empty()).collect();
        let (transaction, answers) = Transaction::begin_with(client, progress, &statements.join("; "))?;
        let rows = || {
            answers.iter().filter_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
        };
        if !rows().any(|row| text(row, "claimed").is_some()) {
            return Ok((transaction, None));
        }
        let look = rows().find(|row| text(row, "settled").is_some()).ok_or(DatabaseError::LedgerDrops)?;
        let number = |name| text(look, name).and_then(|number| number.parse::<i64>().ok());
        let known = text(look, "known").unwrap_or_default();
        let known: HashSet<i64> = known.split(',').filter_map(|id| id.parse().ok()).collect();
        let tried = match self.outcome {
            OutcomeTime::AtEnd => None,
            // A trigger or a rule has dropped the outcome.
            OutcomeTime::AtLookup if number("settled") != Some(1) => return Err(DatabaseError::LedgerDrops),
            OutcomeTime::AtLookup => {
                let inserted = (batch.order.len() - known.len()) as u64;
                let duplicate = batch.versions.len() as u64 - inserted;
                let outcome = SegmentOutcome { inserted, updated: 0, duplicate, rejected: batch.rejected };
                let server_start = number("server_start").unwrap_or_default();
                Some(Attempt::new(number("transaction"), server_start, outcome))
            }
        };
        Ok((transaction, Some(OpenedSegment { known, tried })))
    }

    fn claim_values(&self, batch: &Batch) -> Vec<String> {
        let Extent { first_id, last_id, oldest_us } = Extent::of(batch);
        let optional =
            |number: Option<i64>| number.map_or_else(|| "NULL".to_owned(), |number| number.to_string());
        let count = |number: u64| signed(number).to_string();
        let none = || "0".to_owned();
        let [server, layout] = self.scope.clone();
        vec![
            bytes(&batch.hash),
            server,
            layout,
            self.run.clone(),
            count(batch.number),
            count(batch.counts.lines),
            count(batch.counts.events),
            none(),
            none(),
            none(),
            count(batch.rejected),
            optional(first_id),
            optional(last_id),
            optional(oldest_us),
        ]
    }

    fn look_values(&self, batch: &Batch) -> Vec<String> {
        let mut ids = String::with_capacity(batch.order.len() * 12);
        for id in batch.rows.ids(&batch.order) {
            // Writing to a String can't fail.
            let _ = write!(ids, "{}{id}", if ids.is_empty() { "" } else { "," });
        }
        let [server, layout] = self.scope.clone();
        let repeated = batch.versions.len() - batch.order.len();
        let (new, repeated) = (batch.order.len().to_string(), repeated.to_string());
        vec![format!("'{{{ids}}}'"), bytes(&batch.hash), server, layout, new, repeated]
    }
}

/// A hash as an expression that no setting changes.
fn bytes(hash: &SegmentHash) -> String {
    format!("pg_catalog.decode('{}', 'hex')", hex(hash))
}

fn text<'r>(row: &'r SimpleQueryRow, column: &str) -> Option<&'r str> {
    row.try_get(column).ok().flatten()
}
