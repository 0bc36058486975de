//! The ledger's rows of loaded segments.
//!
//! Invariant: a segment's row commits with its events. It is the first write of their transaction, so that a second
//! load of the same segment waits for the first one's outcome instead of repeating its work.
//!
//! Invariant: a row marks its rejects as reported only after they are on disk, in the reject file of its run. Until then,
//! another load of the segment repeats the work.
//!
//! On Citus, the ledger is on all nodes. There, an insert that may conflict blocks all other writers of the table until
//! the transaction ends. So on Citus the second load waits for a lock on the coordinator, and the row is written last.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::crashes::keep_counts;
use crate::database::options::LoadedSegments;
use crate::database::session::transaction::Transaction;
use crate::database::store::{Batch, LoadedSegment, SegmentCounts, StoreError};
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::Distribution;
use postgres::types::ToSql;
use postgres::{Error, Row};
use uuid::Uuid;

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(super) schema: String,
    pub(super) server: &'static str,
    pub(super) layout: &'static str,
    pub(super) run: Uuid,
    held: LoadedSegments,
    distribution: Distribution,
}

/// The state of a segment in the ledger before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LedgerClaim {
    /// This transaction writes the segment.
    Taken(SegmentRow),
    /// An earlier attempt of this run committed it, but the answer was lost.
    CommittedBefore(SegmentOutcome),
    Held(LoadedSegment),
}

/// A segment's row, before its outcome is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentRow {
    /// It exists, from this transaction.
    Written,
    /// It exists, from another load.
    OfOther,
    /// It does not exist yet.
    ToCome,
    /// It exists, for another segment of this run with the same bytes.
    OfTwin,
}

/// An attempt that reached its COMMIT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// The transaction id, if it has one and it is known.
    transaction: Option<i64>,
    /// The start time of the server, in microseconds since 1970.
    server_start: i64,
    outcome: SegmentOutcome,
}

/// Attempts to write a row that is neither inserted nor found. After that, a trigger or rule must be dropping it.
const CLAIM_ATTEMPTS_MAX: u32 = 5;

/// The start time of the server. It changes if the server is replaced or restarted after a crash of the postmaster.
pub(crate) const SERVER_START: &str = "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";

/// The end of the statement that writes a segment's row.
const ON_CONFLICT: &str = " ON CONFLICT (hash, server, layout) DO NOTHING";

/// Takes the lock of a segment on Citus. The parameter names the segment; the number is an arbitrary unique seed. The
/// key must differ from that of the load's claim, which another session of the same load holds at that time.
const SEGMENT_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 2893472349837451120))";

/// The counts of a segment's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SegmentOutcome {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) duplicate: u64,
    pub(crate) rejected: u64,
}

impl Ledger {
    pub(crate) fn new(
        schema: &str,
        server: Server,
        layout: Layout,
        run: Uuid,
        held: LoadedSegments,
        distribution: Distribution,
    ) -> Self {
        let (server, layout) = (server.name(), layout.name());
        Self { schema: quote_identifier(schema), server, layout, run, held, distribution }
    }

    /// Writes or finds the row of a segment. Waits for other transactions that write the same row. `tried` is the
    /// attempt of this batch that last reached its COMMIT, if its answer was lost.
    pub(crate) fn claim(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        tried: Option<Attempt>,
    ) -> Result<LedgerClaim, DatabaseError> {
        if self.distribution == Distribution::Citus {
            let segment = format!("{} {} {} {:?}", self.schema, self.server, self.layout, batch.hash.0);
            transaction.execute(SEGMENT_LOCK, &[&segment])?;
            let found = self.find(transaction, batch, tried)?;
            return Ok(found.unwrap_or(LedgerClaim::Taken(SegmentRow::ToCome)));
        }
        let counts = SegmentOutcome::default();
        for _ in 0..CLAIM_ATTEMPTS_MAX {
            if self.insert(transaction, batch, counts)? == 1 {
                return Ok(LedgerClaim::Taken(SegmentRow::Written));
            }
            if let Some(claim) = self.find(transaction, batch, tried)? {
                return Ok(claim);
            }
            // Another session may have deleted the row in the meantime.
        }
        Err(DatabaseError::LedgerDrops)
    }

    /// The statement that writes the row of a segment, unless it exists.
    pub(super) fn insertion(&self) -> String {
        format!(
            "INSERT INTO {}.kill_load_segment
               (hash, server, layout, run, number, lines, events, inserted, updated, duplicate, rejected,
                first_event_id, last_event_id, oldest_event)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, {}){ON_CONFLICT}",
            self.schema,
            time_of(14)
        )
    }

    /// Writes the row of a segment, and returns the number of rows written.
    fn insert(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        outcome: SegmentOutcome,
    ) -> Result<u64, DatabaseError> {
        let mut sql = self.insertion();
        if self.distribution == Distribution::Citus {
            // The transaction holds the segment's lock and has found no row.
            sql.truncate(sql.len() - ON_CONFLICT.len());
        }
        let Extent { first_id, last_id, oldest_us } = Extent::of(batch);
        let (lines, events) = (signed(batch.counts.lines), signed(batch.counts.events));
        let (hash, number) = (&batch.hash.0[..], signed(batch.number));
        let [inserted, updated, duplicate, rejected] = outcome.signed();
        let values: [&(dyn ToSql + Sync); 14] = [
            &hash,
            &self.server,
            &self.layout,
            &self.run,
            &number,
            &lines,
            &events,
            &inserted,
            &updated,
            &duplicate,
            &rejected,
            &first_id,
            &last_id,
            &oldest_us,
        ];
        transaction.execute(&sql, &values)
    }

    /// The state of the segment's existing row, if there is one.
    fn find(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        tried: Option<Attempt>,
    ) -> Result<Option<LedgerClaim>, DatabaseError> {
        let lock = match self.distribution {
            Distribution::OneServer => "FOR UPDATE",
            // The transaction already holds the segment's lock.
            Distribution::Citus => "",
        };
        let sql = format!(
            "SELECT run, number, lines, events, inserted, updated, duplicate, rejected, reported
             FROM {}.kill_load_segment
             WHERE hash = $1 AND server = $2 AND layout = $3 {lock}",
            self.schema
        );
        let key: [&(dyn ToSql + Sync); 3] = [&&batch.hash.0[..], &self.server, &self.layout];
        let Some(row) = transaction.query_opt(&sql, &key)? else { return Ok(None) };
        let found = FoundRow::read(&row).map_err(misfit)?;
        if found.run == self.run && found.number == signed(batch.number) {
            return Ok(Some(LedgerClaim::CommittedBefore(found.outcome)));
        }
        if let Some(tried) = tried
            && Self::has_committed(transaction, tried, found.outcome)?
        {
            return Ok(Some(LedgerClaim::CommittedBefore(tried.outcome)));
        }
        let FoundRow { run, counts, outcome: SegmentOutcome { rejected, .. }, .. } = found;
        if self.held == LoadedSegments::Skip && (rejected == 0 || found.is_reported) {
            return Ok(Some(LedgerClaim::Held(LoadedSegment { counts, rejected, run })));
        }
        // If a run has several equal segments, the row keeps the outcome of the first.
        let row = if found.run == self.run { SegmentRow::OfTwin } else { SegmentRow::OfOther };
        Ok(Some(LedgerClaim::Taken(row)))
    }

    /// Whether an attempt committed, although another load has since written the segment's row, with the outcome `found`.
    ///
    /// The server's transaction status is not sufficient. After a crash, another transaction may have reused the id of
    /// a lost one. In that case the other load has stored the events that the attempt did not.
    fn has_committed(
        transaction: &mut Transaction<'_>,
        tried: Attempt,
        found: SegmentOutcome,
    ) -> Result<bool, DatabaseError> {
        // txid_status fails for ids that the server has not assigned yet.
        const STATUS: &str = "SELECT CASE WHEN $1 < txid_snapshot_xmax(txid_current_snapshot())
            THEN txid_status($1) = 'committed' AND $2 =";
        let Some(number) = tried.transaction else { return Ok(false) };
        if found.inserted > 0 || found.updated > 0 {
            return Ok(false);
        }
        let sql = format!("{STATUS} {SERVER_START} END");
        let row = transaction.query_opt(&sql, &[&number, &tried.server_start])?;
        let status: Option<bool> = row.map(|row| row.try_get(0)).transpose()?.flatten();
        Ok(status == Some(true))
    }

    /// Writes the outcome into a segment's row, as the last step before COMMIT. The returned attempt serves to resolve an
    /// unanswered COMMIT.
    pub(crate) fn settle(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
        row: SegmentRow,
        outcome: SegmentOutcome,
    ) -> Result<Attempt, DatabaseError> {
        match row {
            SegmentRow::OfOther if self.distribution == Distribution::OneServer => {
                let key: [&(dyn ToSql + Sync); 3] = [&&batch.hash.0[..], &self.server, &self.layout];
                transaction.execute(&keep_counts(&self.schema), &key)?;
            }
            SegmentRow::Written | SegmentRow::OfOther => {}
            SegmentRow::OfTwin => return Ok(Attempt::unnumbered(outcome)),
            SegmentRow::ToCome => {
                self.insert(transaction, batch, outcome)?;
                return Ok(Attempt::unnumbered(outcome));
            }
        }
        let returning = match self.distribution {
            Distribution::OneServer => format!("txid_current_if_assigned(), {SERVER_START}"),
            // A node would answer instead of the coordinator.
            Distribution::Citus => "NULL::bigint, 0::bigint".to_owned(),
        };
        let sql = format!(
            "UPDATE {}.kill_load_segment
             SET run = $4, number = $5, inserted = $6, updated = $7, duplicate = $8, rejected = $9, reported = false,
               loaded_at = now(), first_event_id = $10, last_event_id = $11, oldest_event = {}
             WHERE hash = $1 AND server = $2 AND layout = $3 RETURNING {returning}",
            self.schema,
            time_of(12)
        );
        let Extent { first_id, last_id, oldest_us } = Extent::of(batch);
        let number = signed(batch.number);
        let [inserted, updated, duplicate, rejected] = outcome.signed();
        let values: [&(dyn ToSql + Sync); 12] = [
            &&batch.hash.0[..],
            &self.server,
            &self.layout,
            &self.run,
            &number,
            &inserted,
            &updated,
            &duplicate,
            &rejected,
            &first_id,
            &last_id,
            &oldest_us,
        ];
        let Some(row) = transaction.query_opt(&sql, &values)? else { return Err(DatabaseError::LedgerDrops) };
        Ok(Attempt { transaction: row.try_get(0)?, server_start: row.try_get(1)?, outcome })
    }

    /// Rewrites a found row unchanged, so that this COMMIT waits for everything that the row's own COMMIT may not have
    /// waited for, such as a standby.
    pub(crate) fn confirm(
        &self,
        transaction: &mut Transaction<'_>,
        batch: &Batch,
    ) -> Result<(), DatabaseError> {
        let sql = format!(
            "UPDATE {}.kill_load_segment SET loaded_at = loaded_at
             WHERE hash = $1 AND server = $2 AND layout = $3",
            self.schema
        );
        transaction.execute(&sql, &[&&batch.hash.0[..], &self.server, &self.layout]).map(drop)
    }
}

/// The range of a segment's events, for `delete`. Rows of earlier versions do not have it.
pub(super) struct Extent {
    pub(super) first_id: Option<i64>,
    pub(super) last_id: Option<i64>,
    /// In microseconds since 1970, truncated to the precision of the coarsest layout (milliseconds).
    pub(super) oldest_us: Option<i64>,
}

impl Extent {
    pub(super) fn of(batch: &Batch) -> Self {
        let id = |event: &usize| batch.rows.events()[*event].id;
        Self {
            first_id: batch.order.first().map(id),
            last_id: batch.order.last().map(id),
            oldest_us: batch.rows.oldest_us().map(|us| us.div_euclid(1000) * 1000),
        }
    }
}

/// SQL for the time of a parameter in microseconds since 1970.
pub(super) fn time_of(parameter: usize) -> String {
    format!("timestamptz 'epoch' + ${parameter} * interval '1 microsecond'")
}

/// A row of `kill_load_segment`.
struct FoundRow {
    run: Uuid,
    number: i64,
    counts: SegmentCounts,
    outcome: SegmentOutcome,
    is_reported: bool,
}

impl FoundRow {
    fn read(row: &Row) -> Result<Self, Error> {
        let number = |column: usize| row.try_get(column).map(count);
        Ok(Self {
            run: row.try_get(0)?,
            number: row.try_get(1)?,
            counts: SegmentCounts { lines: number(2)?, events: number(3)? },
            outcome: SegmentOutcome {
                inserted: number(4)?,
                updated: number(5)?,
                duplicate: number(6)?,
                rejected: number(7)?,
            },
            is_reported: row.try_get(8)?,
        })
    }
}

fn misfit(source: Error) -> DatabaseError {
    StoreError::new("table kill_load_segment does not have the columns of this program's ledger", source)
        .into()
}

impl Attempt {
    pub(super) fn new(transaction: Option<i64>, server_start: i64, outcome: SegmentOutcome) -> Self {
        Self { transaction, server_start, outcome }
    }

    /// The outcome that it commits.
    pub(crate) fn outcome(&self) -> SegmentOutcome {
        self.outcome
    }

    /// The start time of the attempt's server, in microseconds since 1970, if known.
    pub(crate) fn server_start(&self) -> Option<i64> {
        (self.server_start > 0).then_some(self.server_start)
    }

    fn unnumbered(outcome: SegmentOutcome) -> Self {
        Self { transaction: None, server_start: 0, outcome }
    }
}

impl SegmentOutcome {
    /// Inserted, updated, duplicate, rejected.
    fn signed(self) -> [i64; 4] {
        [self.inserted, self.updated, self.duplicate, self.rejected].map(signed)
    }
}

pub(crate) fn count(value: i64) -> u64 {
    // `signed` writes these columns, so they are never negative.
    u64::try_from(value).unwrap_or_default()
}

pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
