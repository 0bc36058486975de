//! Checks within the transaction of a batch that the tables have its rows. Only tables with triggers or rules need them.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::kept_rows::KeptRows;
use crate::database::session::transaction::Transaction;
use crate::database::write::update::OneServerUpdater;
use crate::database::write::writer::BatchWriter;
use crate::layout::rows::Rows;

impl BatchWriter {
    /// The triggers and rules of the tables. None if there are none, and on Citus.
    pub(crate) fn table_code(
        &self,
        transaction: &mut Transaction<'_>,
    ) -> Result<Option<&KeptRows>, DatabaseError> {
        let Some(kept) = &self.kept_rows else { return Ok(None) };
        Ok(kept.exist(transaction)?.then_some(kept))
    }

    /// Fails if a trigger or rule has removed or changed rows of `events`, which were inserted or updated.
    pub(crate) fn check_kept(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<(), DatabaseError> {
        let Some(kept) = self.table_code(transaction)? else { return Ok(()) };
        kept.run_deferred(transaction)?;
        let mut altered = Vec::new();
        for table in &self.tables {
            altered.extend(table.incomplete(transaction, rows, events)?);
        }
        if altered.is_empty() { Ok(()) } else { Err(DatabaseError::Altered(altered)) }
    }

    /// Rewrites the differing events among `events`, which are all stored, if updates are enabled. Returns their number.
    pub(crate) fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        let Some(updater) = self.updater.as_ref().filter(|_| !events.is_empty()) else { return Ok(0) };
        let code = self.table_code(transaction)?;
        let rewritten = updater.update(transaction, rows, events, code)?;
        if rewritten > 0 {
            self.check_kept(transaction, rows, events)?;
        }
        Ok(rewritten)
    }

    /// Rewrites the differing events among `events`, which `updater` has compared. Returns their number.
    pub(crate) fn rewrite(
        &self,
        transaction: &mut Transaction<'_>,
        updater: &OneServerUpdater,
        rows: &Rows,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        let code = self.table_code(transaction)?;
        let rewritten = updater.rewrite_part(transaction, &rows.ids(events), code)?;
        if rewritten > 0 {
            self.check_kept(transaction, rows, events)?;
        }
        Ok(rewritten)
    }
}
