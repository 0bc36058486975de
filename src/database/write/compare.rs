//! Compares the events of a dump with the stored events.
//!
//! Invariant: the rows of an event are read in one snapshot. If another session writes an event meanwhile, all or none
//! of its rows are visible.
//!
//! Invariant: memory is bounded by [`ANSWER_BYTES_MAX`] and the rows of one event, whatever the dump contains and the
//! database has stored: a few kilobytes of text can become megabytes of rows. The events of a batch are read in as many
//! parts as that takes.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::citus;
use crate::database::session::deadline::Deadline;
use crate::database::session::transaction::Transaction;
use crate::database::store::{Batch, StoreError};
use crate::database::write::exists::advised;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::compare::{Difference, MalformedRows, StoredRows};
use crate::layout::identifier::quote_identifier;
use crate::layout::rows::TABLES_MAX;
use crate::layout::table::{Distribution, Table};
use std::ops::Range;
use std::sync::Arc;

/// The expected size of the rows that are read at once, in bytes. Those of a segment of real events are smaller.
const PART_BYTES: usize = 8 << 20;

/// Rows of several events beyond this size, in bytes, are not held. Then the events are read again in smaller parts.
const ANSWER_BYTES_MAX: usize = 2 * PART_BYTES;

/// The capacity of an answer. glibc always maps allocations of more than 32 MiB, so freed memory returns to the system.
/// Each thread can retain a part of smaller allocations. Unwritten pages use no memory.
const ANSWER_CAPACITY: usize = 33 << 20;

/// The stored state of an event of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredEvent {
    Missing,
    /// Its rows equal those of the dump. If the dump has several versions of the event, they equal those of one version.
    Same,
    /// A row is missing or superfluous, or a column has another value. Holds the first difference from the version that
    /// a load would store.
    Different(Box<Difference>),
}

/// Compares the events of batches with the stored events, for one layout, schema and game server.
#[derive(Debug)]
pub(crate) struct Comparer {
    distribution: Distribution,
    schema: String,
    tables: Arc<[(&'static Table, String)]>,
}

impl Comparer {
    pub(crate) fn new(layout: Layout, schema: &str, server: Server, distribution: Distribution) -> Self {
        let quoted = quote_identifier(schema);
        let select = |table: &'static Table| {
            let columns: Vec<String> =
                table.columns.iter().map(|column| quote_identifier(column.name)).collect();
            (table, table.select_stored(&quoted, server, &columns.join(", "), distribution))
        };
        Self { distribution, schema: schema.to_owned(), tables: layout.tables().iter().map(select).collect() }
    }

    /// The stored state of each event of the batch, by id in ascending order.
    pub(crate) fn compare(
        &self,
        manager: &DatabaseManager,
        deadline: &Deadline,
        batch: &Arc<Batch>,
    ) -> Result<Vec<(i64, StoredEvent)>, StoreError> {
        let count = batch.order.len();
        let mut states = Vec::with_capacity(count);
        let expected_bytes = batch.rows.encoded_len() / batch.rows.events().len().max(1) * count;
        let mut pending = parts(0..count, expected_bytes);
        while let Some(part) = pending.pop() {
            match self.read(manager, deadline, batch, part.clone())? {
                // Outside the call: the time for it says nothing about the server, holds no connection and is never repeated.
                PartRows::Held(answers) => judge(&self.tables, &answers, batch, part, &mut states)?,
                PartRows::TooLong(bytes) => pending.extend(parts(part, bytes)),
            }
        }
        Ok(states)
    }

    /// Reads the rows of the events in this range of the batch's order.
    fn read(
        &self,
        manager: &DatabaseManager,
        deadline: &Deadline,
        batch: &Arc<Batch>,
        part: Range<usize>,
    ) -> Result<PartRows, StoreError> {
        let (tables, schema, batch) = (Arc::clone(&self.tables), self.schema.clone(), Arc::clone(batch));
        let distribution = self.distribution;
        manager.run("reading stored events", deadline, move |client, progress| {
            let mut transaction = Transaction::snapshot(client, progress)?;
            if distribution == Distribution::Citus {
                transaction.batch_execute(citus::NODE_SETTINGS)?;
            }
            let events = &batch.order[part.clone()];
            let rows = read(&mut transaction, &tables, &batch.rows.ids(events), distribution);
            let rows = rows.map_err(|error| match error {
                DatabaseError::Postgres(error) => advised(&schema, error),
                error => error,
            })?;
            transaction.rollback()?;
            Ok(rows)
        })
    }
}

/// Divides a range of events, whose rows have `bytes` bytes in total, into parts to read at once. The last part comes first.
fn parts(events: Range<usize>, bytes: usize) -> Vec<Range<usize>> {
    let (count, end) = (events.len(), events.end);
    let parts = bytes.div_ceil(PART_BYTES).clamp(1, count.max(1));
    let size = count.div_ceil(parts).max(1);
    events.step_by(size).rev().map(|start| start..end.min(start + size)).collect()
}

type Answers = [Vec<u8>; TABLES_MAX];

/// The stored rows of some events.
enum PartRows {
    Held(Answers),
    /// They are not held, because they have this many bytes.
    TooLong(usize),
}

/// Reads the rows of the events with these ids in each table. Those of one event are held whatever their size.
fn read(
    transaction: &mut Transaction<'_>,
    tables: &[(&'static Table, String)],
    ids: &[i64],
    distribution: Distribution,
) -> Result<PartRows, DatabaseError> {
    let bytes_max = if ids.len() > 1 { ANSWER_BYTES_MAX } else { usize::MAX };
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    let ids = format!("'{{{}}}'", ids.join(","));
    let (mut answers, mut total) = (Answers::default(), 0_usize);
    for ((_, select), answer) in tables.iter().zip(&mut answers) {
        let select = with_ids(select, distribution, &ids);
        answer.reserve_exact(ANSWER_CAPACITY);
        let left = bytes_max.saturating_sub(total);
        total += transaction.copy_out(&format!("COPY ({select}) TO STDOUT (FORMAT binary)"), answer, left)?;
    }
    Ok(if total > bytes_max { PartRows::TooLong(total) } else { PartRows::Held(answers) })
}

/// Replaces the parameter of a statement by the ids, because COPY has no parameters. Names in the statement may look
/// like a parameter. On one server the parameter precedes the table's name; on Citus it follows it.
fn with_ids(select: &str, distribution: Distribution, ids: &str) -> String {
    const PARAMETER: &str = "($1";
    let found = match distribution {
        Distribution::OneServer => select.find(PARAMETER),
        Distribution::Citus => select.rfind(PARAMETER),
    };
    match found {
        Some(at) => format!("{}({ids}{}", &select[..at], &select[at + PARAMETER.len()..]),
        None => select.to_owned(),
    }
}

/// Adds the states of the events in this range of the batch's order to `states`.
fn judge(
    tables: &[(&'static Table, String)],
    answers: &Answers,
    batch: &Batch,
    part: Range<usize>,
    states: &mut Vec<(i64, StoredEvent)>,
) -> Result<(), StoreError> {
    let malformed = |error| StoreError::new("stored rows cannot be compared", error);
    let stored: Vec<StoredRows<'_>> = tables
        .iter()
        .zip(answers)
        .map(|((table, _), answer)| StoredRows::of_answer(table, answer))
        .collect::<Result<_, _>>()
        .map_err(malformed)?;
    let id = |event: usize| batch.rows.events()[event].id;
    let difference = |event: usize| {
        stored.iter().enumerate().find_map(|(number, rows)| {
            rows.first_difference(id(event), &batch.rows.get(event, number)).transpose()
        })
    };
    let is_same = |event: usize| {
        for (number, rows) in stored.iter().enumerate() {
            if !rows.is_same(id(event), &batch.rows.get(event, number))? {
                return Ok(false);
            }
        }
        Ok::<bool, MalformedRows>(true)
    };
    let versions = match batch.order[part] {
        [first, .., last] => versions_of(batch, id(first), id(last)),
        [only] => versions_of(batch, id(only), id(only)),
        [] => &[],
    };
    for versions in versions.chunk_by(|&a, &b| id(a) == id(b)) {
        let (first, others) = (versions[0], &versions[1..]);
        if !stored[0].contains(id(first)) {
            states.push((id(first), StoredEvent::Missing));
            continue;
        }
        let mut found = StoredEvent::Same;
        if let Some(difference) = difference(first).transpose().map_err(malformed)? {
            found = StoredEvent::Different(Box::new(difference));
            for &version in others {
                if is_same(version).map_err(malformed)? {
                    found = StoredEvent::Same;
                    break;
                }
            }
        }
        states.push((id(first), found));
    }
    Ok(())
}

/// All events of the batch whose ids are between these two, both included.
fn versions_of(batch: &Batch, first_id: i64, last_id: i64) -> &[usize] {
    let id = |event: usize| batch.rows.events()[event].id;
    let start = batch.versions.partition_point(|&event| id(event) < first_id);
    let end = batch.versions.partition_point(|&event| id(event) <= last_id);
    &batch.versions[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_limited_by_the_size_of_their_rows() {
        let check = |(start, end), bytes, expected: &[(usize, usize)]| {
            let found: Vec<_> = parts(start..end, bytes).iter().map(|part| (part.start, part.end)).collect();
            assert_eq!(found, expected, "{start} to {end}, {bytes} bytes");
        };
        check((0, 0), 0, &[]);
        check((0, 7), 0, &[(0, 7)]);
        check((0, 7), PART_BYTES, &[(0, 7)]);
        check((10, 17), PART_BYTES + 1, &[(14, 17), (10, 14)]);
        check((3, 6), 100 * PART_BYTES, &[(5, 6), (4, 5), (3, 4)]);
        // Several events beyond the limit always become smaller parts.
        check((0, 2), ANSWER_BYTES_MAX + 1, &[(1, 2), (0, 1)]);
    }
}
