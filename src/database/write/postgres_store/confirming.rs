//! The confirmation, at the end of a run, that the segments that it reported as stored are in the database.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::confirmation::{MissingSegments, SegmentState, StoredAnswer, StoredQuestion};
use crate::database::ledger::kept_rows::code_query;
use crate::database::ledger::stored::ReportedSegment;
use crate::database::schema::ledger_ddl::LEDGER;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::{GenericClient as _, first_column};
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::database::write::postgres_store::PostgresStore;
use crate::error_chain::in_full;
use std::sync::Arc;

/// A look-up of the reported segments.
type Ask = fn(&StoredQuestion, &mut Client, &[ReportedSegment]) -> Result<StoredAnswer, DatabaseError>;

impl PostgresStore {
    /// Checks in a new session that the server has all segments that were reported as stored, and of each the first and the
    /// last event with a row in each table. Then waits until a synchronous standby has them. Returns the counts of the missing
    /// segments. After `deadline` the error is that of an aborted call.
    pub(crate) fn confirm(&self, deadline: &Deadline) -> Result<MissingSegments, StoreError> {
        let reported = Arc::new(self.stored.all());
        if reported.is_empty() {
            return Ok(MissingSegments::default());
        }
        let mut answer = self.ask_stored(StoredQuestion::ask, &reported, deadline)?;
        if self.question.lacks_rows(&answer, &reported) {
            // Another load may have stored deleted events again between two look-ups.
            let earlier = answer;
            answer = self.ask_stored(StoredQuestion::ask_again, &reported, deadline)?;
            answer.add_rows(earlier);
        }
        // Changes no value. Its COMMIT waits until synchronous standbys have all earlier commits.
        let confirm = format!("UPDATE {} SET status = status WHERE id = $1", self.run_table);
        let (has_row, run) = (format!("SELECT FROM {} WHERE id = $1", self.run_table), self.run);
        self.manager.run("confirming the stored segments", deadline, move |client, _| {
            if client.execute(&confirm, &[&run])? == 0 && client.query_opt(&has_row, &[&run])?.is_some() {
                return Err(DatabaseError::LedgerDrops);
            }
            if client.take_standby_wait_cancelled() { Err(DatabaseError::Unreplicated) } else { Ok(()) }
        })?;
        Ok(self.missing(&answer, &reported, deadline))
    }

    /// The counts of the missing segments. Warns about others that the ledger lacks.
    fn missing(
        &self,
        answer: &StoredAnswer,
        reported: &[ReportedSegment],
        deadline: &Deadline,
    ) -> MissingSegments {
        let mut missing = MissingSegments::default();
        // The same server has not lost commits.
        let is_same = self.written_to.was(answer.server_start);
        if is_same && answer.is_by_delete(reported) {
            let deleted = self.stored.take_missing(|segment| answer.has_row(segment));
            if deleted.segments > 0 {
                log::warn!(
                    "'delete' removed {} of this load from the ledger while it ran; the next load of the same input \
                     stores the deleted events again",
                    deleted.segments_text()
                );
            }
        }
        let take = |state: SegmentState| {
            self.stored.take_missing(|segment| self.question.state(answer, segment) != state)
        };
        missing.stripped = take(SegmentState::Stripped);
        missing.emptied = take(SegmentState::Emptied);
        if is_same {
            missing.removed = take(SegmentState::Removed);
            let forgotten = take(SegmentState::Forgotten);
            if forgotten.segments > 0 {
                let code = self.ledger_code(deadline);
                let code = if code.is_empty() {
                    String::new()
                } else {
                    format!(", or a trigger or rule ({}),", code.join("; "))
                };
                log::warn!(
                    "another session{code} removed {} of this load from the ledger while it ran, but not their first and \
                     last events; the next load of the same input reads them again",
                    forgotten.segments_text()
                );
            }
        } else {
            missing.lost = self.stored.take_missing(|segment| answer.has_row(segment));
        }
        missing.unlogged.clone_from(&answer.unlogged);
        if missing.all().segments > missing.lost.segments {
            missing.user_code = self.table_code(deadline);
            missing.user_code.extend(self.ledger_code(deadline));
        }
        missing
    }

    /// Sentences about triggers and rules of the tables.
    fn table_code(&self, deadline: &Deadline) -> Vec<String> {
        let names: Vec<&str> = self.layout.tables().iter().map(|table| table.name).collect();
        self.code_of(code_query(&self.schemas.tables, &names), deadline)
    }

    /// Sentences about triggers and rules of the ledger.
    fn ledger_code(&self, deadline: &Deadline) -> Vec<String> {
        self.code_of(code_query(&self.schemas.ledger, &LEDGER), deadline)
    }

    /// The sentences that a query selects. A failed look-up is only logged.
    fn code_of(&self, query: String, deadline: &Deadline) -> Vec<String> {
        let found = self.manager.run("looking up triggers", deadline, move |client, _| {
            Ok(first_column(&client.query(&query, &[])?)?)
        });
        found.unwrap_or_else(|error| {
            log::debug!("{}", in_full(&error));
            Vec::new()
        })
    }

    fn ask_stored(
        &self,
        ask: Ask,
        reported: &Arc<Vec<ReportedSegment>>,
        deadline: &Deadline,
    ) -> Result<StoredAnswer, StoreError> {
        let (question, reported) = (Arc::clone(&self.question), Arc::clone(reported));
        self.manager.ask_apart("checking the stored segments", deadline, move |client| {
            ask(&question, client, &reported)
        })
    }
}
