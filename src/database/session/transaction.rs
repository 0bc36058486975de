//! A transaction that reports progress to the watchdog at each step.

use crate::database::failure::error::{DatabaseError, copy_error, copy_line};
use crate::database::session::client::Client;
use crate::database::session::client_transaction::{ClientTransaction, GenericClient as _};
use crate::database::session::progress::CallProgress;
use crate::layout::copy::{COPY_CHUNK_BYTES, COPY_HEADER, COPY_TRAILER};
use crate::layout::rows::Rows;
use postgres::Row;
use postgres::types::ToSql;
use std::io::{BufRead as _, Write as _};

/// A transaction or a savepoint. It is rolled back on drop.
pub(crate) struct Transaction<'t> {
    inner: ClientTransaction<'t>,
    progress: &'t CallProgress,
}

type DatabaseResult<T> = std::result::Result<T, DatabaseError>;

impl<'t> Transaction<'t> {
    pub(crate) fn begin(client: &'t mut Client, progress: &'t CallProgress) -> DatabaseResult<Self> {
        let inner = client.transaction()?;
        progress.tick();
        Ok(Self { inner, progress })
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
        let result = self.inner.batch_execute(sql);
        self.progress.tick();
        Ok(result?)
    }

    pub(crate) fn execute(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> DatabaseResult<u64> {
        let result = self.inner.execute(sql, values);
        self.progress.tick();
        Ok(result?)
    }

    pub(crate) fn query(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> DatabaseResult<Vec<Row>> {
        let result = self.inner.query(sql, values);
        self.progress.tick();
        Ok(result?)
    }

    /// Runs a statement that moves rows of events, and returns their number.
    pub(crate) fn move_rows(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> DatabaseResult<u64> {
        let result = self.inner.execute(sql, values);
        self.progress.tick();
        result.map_err(DatabaseError::of_rows)
    }

    /// Runs a statement that moves rows of events, and returns its result rows.
    pub(crate) fn move_returning(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> DatabaseResult<Vec<Row>> {
        let result = self.inner.query(sql, values);
        self.progress.tick();
        result.map_err(DatabaseError::of_rows)
    }

    pub(crate) fn query_opt(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> DatabaseResult<Option<Row>> {
        let result = self.inner.query_opt(sql, values);
        self.progress.tick();
        Ok(result?)
    }

    /// Sends the rows of `events` for one table of their layout. Returns the number of rows that the database stored.
    /// `target` is the name of the destination table in the database.
    pub(crate) fn copy(
        &mut self,
        sql: &str,
        target: &str,
        rows: &Rows,
        table: usize,
        events: &[usize],
    ) -> DatabaseResult<u64> {
        let timer = self.progress.figures.copy_seconds.start_timer();
        let copied = self.send(sql, rows, table, events);
        self.progress.tick();
        timer.observe_duration();
        copied.map_err(|error| match error {
            DatabaseError::Rows { source, .. } => {
                let event = copy_line(&source, target).and_then(|line| rows.event_at(table, events, line));
                DatabaseError::Rows { event, source }
            }
            error => error,
        })
    }

    fn send(&mut self, sql: &str, rows: &Rows, table: usize, events: &[usize]) -> DatabaseResult<u64> {
        let mut writer = self.inner.copy_in(sql).map_err(DatabaseError::of_rows)?;
        let mut chunk = Vec::with_capacity(COPY_CHUNK_BYTES * 2);
        chunk.extend_from_slice(COPY_HEADER);
        for &event in events {
            // One event may have megabytes, so pieces are copied only once.
            for piece in rows.get(event, table).chunks(COPY_CHUNK_BYTES) {
                chunk.extend_from_slice(piece);
                if chunk.len() >= COPY_CHUNK_BYTES {
                    writer.write_all(&chunk).map_err(copy_error)?;
                    self.progress.tick();
                    chunk.clear();
                }
            }
        }
        chunk.extend_from_slice(COPY_TRAILER);
        writer.write_all(&chunk).map_err(copy_error)?;
        writer.finish().map_err(DatabaseError::of_rows)
    }

    /// Appends the output of `COPY … TO STDOUT` to `output`.
    pub(crate) fn copy_out(&mut self, sql: &str, output: &mut Vec<u8>) -> DatabaseResult<()> {
        let mut reader = self.inner.copy_out(sql)?;
        loop {
            let message = reader.fill_buf().map_err(copy_error)?;
            if message.is_empty() {
                break;
            }
            output.extend_from_slice(message);
            let length = message.len();
            reader.consume(length);
            self.progress.tick();
        }
        drop(reader);
        self.progress.tick();
        Ok(())
    }
}
