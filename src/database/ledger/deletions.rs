//! The mark that `delete` leaves in the rows of running loads. At its end, a load recognizes by it whether `delete` or
//! another session has removed its segments from the ledger.
//!
//! Invariant: the mark commits with the deletion. The end of the run replaces it.

use crate::database::failure::error::DatabaseError;
use crate::database::session::transaction::Transaction;
use postgres::types::ToSql;

/// The statement that marks running loads.
#[derive(Debug)]
pub(crate) struct DeletionMarker {
    /// The ledger's schema, quoted.
    ledger: String,
    /// The condition that a row `run` of `kill_load_run` is of a load into the same tables.
    of_tables: String,
    /// Whether the role may write the mark.
    may_mark: bool,
}

/// The numbers of segments that `delete` has removed from the ledger since the start of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DeletionMark {
    /// Segments of the run, or of a later load of the same segment.
    pub(crate) own: u64,
    /// Segments of earlier runs.
    pub(crate) earlier: u64,
}

const OWN: &str = "'delete' removed from the ledger: of this run ";
const EARLIER: &str = ", of earlier runs ";

impl DeletionMarker {
    pub(crate) fn new(ledger: &str, of_tables: &str, may_mark: bool) -> Self {
        Self { ledger: ledger.to_owned(), of_tables: of_tables.to_owned(), may_mark }
    }

    /// Marks the running loads, before the rows of `kill_load_segment` under a condition are deleted. The table is locked.
    /// The first two parameters of the condition are the game server and the layout.
    pub(crate) fn mark(
        &self,
        transaction: &mut Transaction<'_>,
        condition: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<(), DatabaseError> {
        if self.may_mark {
            transaction.execute(&self.statement(condition), values)?;
        }
        Ok(())
    }

    /// Without a running load, it does not look for the segments.
    fn statement(&self, condition: &str) -> String {
        let Self { ledger, of_tables, .. } = self;
        let (own, earlier) = (OWN.replace('\'', "''"), EARLIER);
        let is_own = "gone.run = run.id OR gone.loaded_at >= run.started";
        let sum = |before: &str, which: &str| {
            format!(
                "(coalesce(substring(run.error FROM '{before}([0-9]+)')::bigint, 0)
                 + (SELECT count(*) FROM gone WHERE {which}))::text"
            )
        };
        format!(
            "WITH gone AS MATERIALIZED (SELECT run, loaded_at FROM {ledger}.kill_load_segment WHERE {condition})
             UPDATE {ledger}.kill_load_run AS run SET error = '{own}' || {} || '{earlier}' || {}
             WHERE run.status = 'running' AND run.server = $1 AND run.layout = $2 AND ({of_tables})
               AND EXISTS (SELECT FROM gone)",
            sum(&own, is_own),
            sum(earlier, &format!("NOT ({is_own})"))
        )
    }
}

impl DeletionMark {
    /// Reads the mark from the error in a run's row.
    pub(crate) fn read(error: &str) -> Self {
        let number = |before: &str| {
            let (_, rest) = error.split_once(before)?;
            rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
        };
        Self { own: number(OWN).unwrap_or(0), earlier: number(EARLIER).unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read() {
        let mark = DeletionMark { own: 3, earlier: 12 };
        assert_eq!(DeletionMark::read(&format!("{OWN}3{EARLIER}12")), mark);
        for other in ["", "the database refused", OWN] {
            assert_eq!(DeletionMark::read(other), DeletionMark::default(), "{other}");
        }
    }
}
