//! A transaction that reports progress to the watchdog at each step.

use crate::database::failure::error::DatabaseError;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::{
    ClientTransaction, GenericClient as _, PostgresResult, SqlValues,
};
use crate::database::session::progress::CallProgress;
use postgres::{Row, SimpleQueryMessage};

/// A transaction or a savepoint. It is rolled back on drop.
pub(crate) struct Transaction<'t> {
    pub(crate) inner: ClientTransaction<'t>,
    pub(crate) progress: &'t CallProgress,
}

pub(crate) type DatabaseResult<T> = std::result::Result<T, DatabaseError>;

impl<'t> Transaction<'t> {
    /// Begins a transaction, and runs `statements` in the same message, if there are any. Returns their answers, too.
    pub(crate) fn begin_with(
        client: &'t mut Client,
        progress: &'t CallProgress,
        statements: &str,
    ) -> DatabaseResult<(Self, Vec<SimpleQueryMessage>)> {
        let (inner, answers) = client.transaction_with("BEGIN", statements)?;
        progress.tick();
        Ok((Self { inner, progress }, answers))
    }

    /// A read-only transaction, which sees the commits before its start.
    pub(crate) fn snapshot(client: &'t mut Client, progress: &'t CallProgress) -> DatabaseResult<Self> {
        let inner = client.snapshot()?;
        progress.tick();
        Ok(Self { inner, progress })
    }

    pub(crate) fn savepoint(&mut self) -> DatabaseResult<Transaction<'_>> {
        let inner = self.inner.transaction()?;
        self.progress.tick();
        Ok(Transaction { inner, progress: self.progress })
    }

    /// Commits. An error of a deferred check, such as a deferred trigger, is an error of the moved rows.
    pub(crate) fn commit(self) -> DatabaseResult<()> {
        let timer = self.progress.figures.commit_seconds.start_timer();
        let notices = self.inner.notices();
        self.inner.commit().map_err(DatabaseError::of_rows)?;
        if notices.take_standby_wait_cancelled() {
            return Err(DatabaseError::Unreplicated);
        }
        timer.observe_duration();
        self.progress.tick();
        Ok(())
    }

    pub(crate) fn rollback(self) -> DatabaseResult<()> {
        self.inner.rollback()?;
        self.progress.tick();
        Ok(())
    }

    pub(crate) fn batch_execute(&mut self, sql: &str) -> DatabaseResult<()> {
        Ok(self.step(|inner| inner.batch_execute(sql))?)
    }

    pub(crate) fn execute(&mut self, sql: &str, values: &SqlValues<'_>) -> DatabaseResult<u64> {
        Ok(self.step(|inner| inner.execute(sql, values))?)
    }

    pub(crate) fn query(&mut self, sql: &str, values: &SqlValues<'_>) -> DatabaseResult<Vec<Row>> {
        Ok(self.step(|inner| inner.query(sql, values))?)
    }

    pub(crate) fn query_opt(&mut self, sql: &str, values: &SqlValues<'_>) -> DatabaseResult<Option<Row>> {
        Ok(self.step(|inner| inner.query_opt(sql, values))?)
    }

    /// Runs a statement that moves rows of events, and returns their number.
    pub(crate) fn move_rows(&mut self, sql: &str, values: &SqlValues<'_>) -> DatabaseResult<u64> {
        self.step(|inner| inner.execute(sql, values)).map_err(DatabaseError::of_rows)
    }

    /// Runs a statement that moves rows of events, and returns its result rows.
    pub(crate) fn move_returning(&mut self, sql: &str, values: &SqlValues<'_>) -> DatabaseResult<Vec<Row>> {
        self.step(|inner| inner.query(sql, values)).map_err(DatabaseError::of_rows)
    }

    fn step<T>(
        &mut self,
        run: impl FnOnce(&mut ClientTransaction<'t>) -> PostgresResult<T>,
    ) -> PostgresResult<T> {
        let result = run(&mut self.inner);
        self.progress.tick();
        result
    }
}
