//! A transaction whose every step tells the watchdog that it gets on.

use super::call::Progress;
use super::client::{Client, ClientTransaction, GenericClient as _};
use super::error::{DatabaseError, copy_error};
use crate::layout::{COPY_HEADER, COPY_TRAILER, Rows};
use postgres::Row;
use postgres::types::ToSql;
use std::io::{BufRead as _, Write as _};

/// How much is sent in one message: `CopyInWriter` makes a message of each write that is over 4 KiB.
const COPY_CHUNK_BYTES: usize = 128 << 10;

/// A transaction or a savepoint. Dropped, it is rolled back.
pub(super) struct Transaction<'t> {
    inner: ClientTransaction<'t>,
    progress: &'t Progress,
}

type Result<T> = std::result::Result<T, DatabaseError>;

impl<'t> Transaction<'t> {
    pub(super) fn begin(client: &'t mut Client, progress: &'t Progress) -> Result<Self> {
        let inner = client.transaction()?;
        progress.tick();
        Ok(Self { inner, progress })
    }

    /// A transaction that only reads, and sees what was committed when it began.
    pub(super) fn snapshot(client: &'t mut Client, progress: &'t Progress) -> Result<Self> {
        let inner = client.snapshot()?;
        progress.tick();
        Ok(Self { inner, progress })
    }

    pub(super) fn savepoint(&mut self) -> Result<Transaction<'_>> {
        let inner = self.inner.transaction()?;
        self.progress.tick();
        Ok(Transaction { inner, progress: self.progress })
    }

    pub(super) fn commit(self) -> Result<()> {
        let timer = self.progress.figures.commit_seconds.start_timer();
        self.inner.commit()?;
        timer.observe_duration();
        self.progress.tick();
        Ok(())
    }

    pub(super) fn rollback(self) -> Result<()> {
        self.inner.rollback()?;
        self.progress.tick();
        Ok(())
    }

    pub(super) fn batch_execute(&mut self, sql: &str) -> Result<()> {
        let result = self.inner.batch_execute(sql);
        self.progress.tick();
        Ok(result?)
    }

    pub(super) fn execute(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        let result = self.inner.execute(sql, values);
        self.progress.tick();
        Ok(result?)
    }

    pub(super) fn query(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let result = self.inner.query(sql, values);
        self.progress.tick();
        Ok(result?)
    }

    pub(super) fn query_opt(&mut self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>> {
        let result = self.inner.query_opt(sql, values);
        self.progress.tick();
        Ok(result?)
    }

    /// Sends the rows of `events` in one table, and returns how many the database took.
    pub(super) fn copy(&mut self, sql: &str, rows: &Rows, table: usize, events: &[usize]) -> Result<u64> {
        let timer = self.progress.figures.copy_seconds.start_timer();
        let mut writer = self.inner.copy_in(sql)?;
        let mut chunk = Vec::with_capacity(COPY_CHUNK_BYTES * 2);
        chunk.extend_from_slice(COPY_HEADER);
        for &event in events {
            chunk.extend_from_slice(rows.of(event, table));
            if chunk.len() >= COPY_CHUNK_BYTES {
                writer.write_all(&chunk).map_err(copy_error)?;
                self.progress.tick();
                chunk.clear();
            }
        }
        chunk.extend_from_slice(COPY_TRAILER);
        writer.write_all(&chunk).map_err(copy_error)?;
        let copied = writer.finish()?;
        timer.observe_duration();
        self.progress.tick();
        Ok(copied)
    }

    /// What `COPY … TO STDOUT` sends, put at the end of `answer`.
    pub(super) fn copy_out(&mut self, sql: &str, answer: &mut Vec<u8>) -> Result<()> {
        let mut reader = self.inner.copy_out(sql)?;
        loop {
            let message = reader.fill_buf().map_err(copy_error)?;
            if message.is_empty() {
                break;
            }
            answer.extend_from_slice(message);
            let length = message.len();
            reader.consume(length);
            self.progress.tick();
        }
        drop(reader);
        self.progress.tick();
        Ok(())
    }
}
