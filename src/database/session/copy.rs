//! Rows sent and received by COPY.

use crate::database::failure::error::{DatabaseError, copy_error, copy_line};
use crate::database::session::transaction::{DatabaseResult, Transaction};
use crate::layout::copy::{COPY_HEADER, COPY_TRAILER};
use crate::layout::rows::Rows;
use std::io::{BufRead as _, Write as _};

/// Size of one message. `CopyInWriter` sends each write of more than 4 KiB as one message.
const COPY_CHUNK_BYTES: usize = 128 << 10;

impl Transaction<'_> {
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
            if rows.is_recoded() {
                // Encoding takes time in which the server is not at fault, also if the event has no rows in this table.
                self.progress.tick();
            }
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

    /// Reads the output of `COPY … TO STDOUT` into `output`, which is empty and stays so if the output is longer than
    /// `bytes_max`. Returns its length in any case.
    pub(crate) fn copy_out(
        &mut self,
        sql: &str,
        output: &mut Vec<u8>,
        bytes_max: usize,
    ) -> DatabaseResult<usize> {
        let mut reader = self.inner.copy_out(sql)?;
        let mut total = 0_usize;
        loop {
            let message = reader.fill_buf().map_err(copy_error)?;
            if message.is_empty() {
                break;
            }
            let length = message.len();
            total += length;
            if total <= bytes_max {
                output.extend_from_slice(message);
            } else if !output.is_empty() {
                *output = Vec::new();
            }
            reader.consume(length);
            self.progress.tick();
        }
        drop(reader);
        self.progress.tick();
        Ok(total)
    }
}
