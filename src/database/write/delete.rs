//! Deletes events, their child rows and the ledger rows of their segments.
//!
//! Invariant: each transaction begins by locking `kill_load_segment` against loads. The transaction of a load begins by
//! writing to that table, so it runs completely before or after a batch of deletions. The two cannot deadlock.
//!
//! Invariant: a ledger row is deleted no later than the first event of its segment. So no committed ledger row claims
//! deleted events, and a load after any crash stores them again.

use crate::database::failure::classify::ErrorClass;
use crate::database::failure::error::DatabaseError;
use crate::database::ledger::deletions::DeletionMarker;
use crate::database::ledger::segments::count;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::user_code::UserCode;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::{GenericClient as _, first_column};
use crate::database::session::deadline::Deadline;
use crate::database::session::transaction::Transaction;
use crate::database::store::{SegmentHash, StoreError};
use crate::database::write::deletable::{DeleteScope, LedgerColumns, check};
use crate::database::write::exists::advised;
use crate::error_chain::server_message;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::Distribution;
use postgres::types::ToSql;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The most events that one transaction deletes. Loads wait for it, some tenths of a second.
pub(crate) const DELETE_BATCH_MAX: usize = 2_000;

/// The number of rows deleted, or to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Deleted {
    pub events: u64,
    /// Rows of `kill_load_segment`.
    pub segments: u64,
    /// Rows of `kill_load_file`.
    pub files: u64,
}

/// Deletes events from the tables of one layout in one schema.
#[derive(Debug)]
pub(crate) struct Deleter {
    manager: DatabaseManager,
    deadline: Deadline,
    statements: Arc<Statements>,
}

#[derive(Debug)]
struct Statements {
    scope: DeleteScope,
    user_code: UserCode,
    marker: DeletionMarker,
    lock: String,
    /// Selects the stored ids among the parameter.
    stored: String,
    /// Selects ids and times from the second parameter (inclusive) to the first (exclusive).
    before: String,
    count_before: String,
    /// Child tables first: users may have given them foreign keys.
    tables: Vec<DeleteStatements>,
    /// The condition for ledger rows with the hashes `$3`, and for those that may hold events from `$4` to `$5`.
    of_ids: String,
    /// The condition for ledger rows that may hold events before `$3`, or the ascending ids `$4`.
    of_time: String,
    /// The same before a deletion. `$4` is whether there are events before `$3`.
    counted_of_time: String,
    segments: String,
    /// `None` if the ledger has no `kill_load_file`.
    files: Option<String>,
}

#[derive(Debug)]
struct DeleteStatements {
    name: &'static str,
    delete: String,
    /// Selects a remaining row.
    left: String,
}

/// The rows deleted by the attempts of one batch. An attempt with an unanswered COMMIT may have deleted its rows or
/// not, so the rows of all attempts are united.
#[derive(Debug, Default)]
struct DeletedRows {
    events: HashSet<i64>,
    segments: HashSet<Vec<u8>>,
    files: HashSet<String>,
}

/// Shared by the attempts of a batch.
type SharedAttempts = Arc<Mutex<DeletedRows>>;

impl Deleter {
    /// Checks that the role can delete from the tables of `scope`.
    pub(crate) fn open(
        manager: DatabaseManager,
        scope: DeleteScope,
        deadline: Deadline,
    ) -> Result<Self, StoreError> {
        let asked = scope.clone();
        let found = manager.run("checking the tables", &deadline, move |client, _| check(client, &asked))?;
        Ok(Self { manager, deadline, statements: Arc::new(Statements::new(scope, found)) })
    }

    /// Deletes the events with these ids, and the ledger rows of the segment `hash`. Takes at most [`DELETE_BATCH_MAX`]
    /// ids, ascending.
    ///
    /// An error means that none of these events is deleted, unless the COMMIT was not answered.
    pub(crate) fn delete_events(&self, hash: SegmentHash, ids: Vec<i64>) -> Result<Deleted, StoreError> {
        let (statements, tried) = (Arc::clone(&self.statements), SharedAttempts::default());
        self.manager.run("deleting events", &self.deadline, move |client, progress| {
            let mut transaction = statements.begin(client, progress)?;
            let stored: Vec<i64> = first_column(&transaction.query(&statements.stored, &[&ids])?)?;
            let (first, last) = (stored.iter().min().copied(), stored.iter().max().copied());
            let (server, layout) = statements.key();
            let abandoned = hash.abandoned();
            let hashes = [&hash.0[..], &abandoned.0[..]];
            let values: [&(dyn ToSql + Sync); 5] = [&server, &layout, &&hashes[..], &first, &last];
            let segments = statements.delete_segments(&mut transaction, &statements.of_ids, &values)?;
            // `ids`, not `stored`: this also deletes child rows whose event was deleted by hand.
            statements.delete(transaction, &ids, stored, segments, &tried)
        })
    }

    /// Deletes the oldest events before a time, at most [`DELETE_BATCH_MAX`], from the time `cursor` on. Returns the
    /// next cursor, or `None` if no events are left. Times are RFC 3339; the first cursor is `-infinity`.
    pub(crate) fn delete_before(
        &self,
        time: &str,
        cursor: &str,
    ) -> Result<(Deleted, Option<String>), StoreError> {
        let (statements, tried) = (Arc::clone(&self.statements), SharedAttempts::default());
        let (time, cursor) = (time.to_owned(), cursor.to_owned());
        self.manager.run("deleting events", &self.deadline, move |client, progress| {
            let mut transaction = statements.begin(client, progress)?;
            let rows = transaction
                .move_returning(&statements.before, &[&time, &cursor])
                .map_err(|error| statements.explained(error))?;
            let mut ids: Vec<i64> = first_column(&rows)?;
            ids.sort_unstable();
            let next: Option<String> = rows.last().map(|row| row.try_get(1)).transpose()?;
            let (server, layout) = statements.key();
            let values: [&(dyn ToSql + Sync); 4] = [&server, &layout, &time, &ids];
            let segments = statements.delete_segments(&mut transaction, &statements.of_time, &values)?;
            let is_last = ids.len() < DELETE_BATCH_MAX;
            let deleted = statements.delete(transaction, &ids, ids.clone(), segments, &tried)?;
            Ok((deleted, next.filter(|_| !is_last)))
        })
    }

    /// The stored ids among `ids`. Read-only.
    pub(crate) fn stored(&self, ids: Vec<i64>) -> Result<Vec<i64>, StoreError> {
        let statements = Arc::clone(&self.statements);
        self.manager.run("looking up stored events", &self.deadline, move |client, _| {
            let rows = client.query(&statements.stored, &[&ids]);
            Ok(first_column(&rows.map_err(|error| advised(&statements.scope.schemas.tables, error))?)?)
        })
    }

    /// The hashes of the ledger rows that deleting the segment `hash` and these ascending ids would delete. Read-only.
    pub(crate) fn segments_of(&self, hash: SegmentHash, ids: &[i64]) -> Result<Vec<Vec<u8>>, StoreError> {
        let statements = Arc::clone(&self.statements);
        let (first, last) = (ids.first().copied(), ids.last().copied());
        self.manager.run("looking up the ledger", &self.deadline, move |client, _| {
            let sql = format!("SELECT hash FROM {} WHERE {}", statements.segments, statements.of_ids);
            let (server, layout) = statements.key();
            let abandoned = hash.abandoned();
            let hashes = [&hash.0[..], &abandoned.0[..]];
            Ok(first_column(&client.query(&sql, &[&server, &layout, &&hashes[..], &first, &last])?)?)
        })
    }

    /// The rows that deleting the events before a time would delete. Read-only.
    pub(crate) fn count_before(&self, time: &str) -> Result<Deleted, StoreError> {
        let (statements, time) = (Arc::clone(&self.statements), time.to_owned());
        let (events, segments): (i64, Vec<Vec<u8>>) =
            self.manager.run("counting events", &self.deadline, move |client, progress| {
                progress.takes_long();
                let number = client
                    .query_opt(&statements.count_before, &[&time])
                    .map_err(|error| advised(&statements.scope.schemas.tables, error))?;
                let events: i64 = number.map_or(Ok(0), |row| row.try_get(0))?;
                let sql =
                    format!("SELECT hash FROM {} WHERE {}", statements.segments, statements.counted_of_time);
                let (server, layout) = statements.key();
                let rows = client.query(&sql, &[&server, &layout, &time, &(events > 0)])?;
                Ok((events, first_column(&rows)?))
            })?;
        let files = self.files_of(&segments)?;
        Ok(Deleted { events: count(events), segments: segments.len() as u64, files })
    }

    /// The number of rows of `kill_load_file` that name one of these segments. Read-only.
    pub(crate) fn files_of(&self, segments: &[Vec<u8>]) -> Result<u64, StoreError> {
        let (statements, segments) = (Arc::clone(&self.statements), segments.to_vec());
        self.manager.run("looking up the ledger", &self.deadline, move |client, _| {
            let Some(files) = &statements.files else { return Ok(0) };
            let (server, layout) = statements.key();
            let sql = format!("SELECT count(DISTINCT name) FROM {files}");
            let row = client.query_opt(&sql, &[&server, &layout, &segments])?;
            Ok(count(row.map_or(Ok(0), |row| row.try_get(0))?))
        })
    }
}

impl Statements {
    fn new(scope: DeleteScope, found: LedgerColumns) -> Self {
        let DeleteScope { layout, ref schemas, server } = scope;
        let (quoted, ledger) = (quote_identifier(&schemas.tables), quote_identifier(&schemas.ledger));
        let tables = layout.tables();
        let event = &tables[0];
        let of_table = "server = $1 AND layout = $2";
        let of_run = format!(
            "{} IS NOT DISTINCT FROM {}",
            found.table_schema,
            schemas
                .table_schema()
                .map_or_else(|| "NULL".to_owned(), |name| format!("'{}'", name.replace('\'', "''")))
        );
        // A row with an unknown run may belong to these tables.
        let of_tables = format!(
            "{of_table} AND NOT EXISTS (SELECT FROM {ledger}.kill_load_run AS run WHERE run.id = kill_load_segment.run
               AND NOT ({of_run}))"
        );
        // Rows of earlier versions have no event range, so they may hold any events, unless all of theirs were rejected.
        let of_ids = found.between_ids();
        let old = event.select_all_before(&quoted, server, "", "$3");
        let holds_old =
            format!("EXISTS ({old} AND {} BETWEEN first_event_id AND last_event_id)", event.id_column());
        Self {
            user_code: UserCode::new(layout, schemas),
            marker: DeletionMarker::new(&ledger, &of_run, found.may_mark),
            lock: format!("LOCK TABLE {ledger}.kill_load_segment IN SHARE ROW EXCLUSIVE MODE"),
            stored: event.select_stored(&quoted, server, &event.id_column(), Distribution::OneServer),
            before: event.select_before(&quoted, server, DELETE_BATCH_MAX),
            count_before: event.select_all_before(&quoted, server, "count(*)", "$1"),
            tables: tables
                .iter()
                .rev()
                .map(|table| DeleteStatements {
                    name: table.name,
                    delete: format!(
                        "DELETE FROM {} WHERE {}",
                        table.in_schema(&quoted),
                        table.is_stored(&quoted, server, Distribution::OneServer)
                    ),
                    left: format!(
                        "{} LIMIT 1",
                        table.select_stored(&quoted, server, &table.id_column(), Distribution::OneServer)
                    ),
                })
                .collect(),
            of_ids: format!(
                "{of_tables} AND (hash = ANY ($3) OR $4::bigint IS NOT NULL AND $5::bigint IS NOT NULL AND ({of_ids}))"
            ),
            of_time: format!("{of_tables} AND ({})", found.before_or_of_ids()),
            counted_of_time: format!("{of_tables} AND ({})", found.before("$4", &holds_old)),
            segments: format!("{ledger}.kill_load_segment"),
            files: found
                .has_files
                .then(|| format!("{ledger}.kill_load_file WHERE {of_table} AND segments && $3")),
            scope,
        }
    }

    /// The server and the layout, as in the ledger.
    fn key(&self) -> (&'static str, &'static str) {
        (self.scope.server.name(), self.scope.layout.name())
    }

    fn begin<'t>(
        &self,
        client: &'t mut Client,
        progress: &'t crate::database::session::progress::CallProgress,
    ) -> Result<Transaction<'t>, DatabaseError> {
        let path = self.user_code.path(client)?;
        Ok(Transaction::begin_with(client, progress, &format!("{}; {path}", self.lock))?.0)
    }

    /// Deletes the rows of `ids` in all tables and the files of `segments`, then commits. `stored` are the stored ids.
    fn delete(
        &self,
        mut transaction: Transaction<'_>,
        ids: &[i64],
        stored: Vec<i64>,
        segments: Vec<Vec<u8>>,
        tried: &Mutex<DeletedRows>,
    ) -> Result<Deleted, DatabaseError> {
        let files: Vec<String> = match &self.files {
            Some(files) if !segments.is_empty() => {
                let (server, layout) = self.key();
                let sql = format!("DELETE FROM {files} RETURNING name");
                first_column(&transaction.query(&sql, &[&server, &layout, &segments])?)?
            }
            _ => Vec::new(),
        };
        let ids = ids.to_vec();
        for DeleteStatements { name, delete, left } in self.tables.iter().filter(|_| !ids.is_empty()) {
            transaction.move_rows(delete, &[&ids]).map_err(|error| self.explained(error))?;
            if transaction.query_opt(left, &[&ids])?.is_some() {
                return Err(keeps_rows(&self.scope.schemas.tables, name));
            }
        }
        {
            let mut tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
            tried.events.extend(stored);
            tried.segments.extend(segments);
            tried.files.extend(files);
        }
        transaction.commit().map_err(|error| self.explained(error))?;
        let tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Deleted {
            events: tried.events.len() as u64,
            segments: tried.segments.len() as u64,
            files: tried.files.len() as u64,
        })
    }

    /// Deletes the ledger's rows of segments, and returns their hashes.
    fn delete_segments(
        &self,
        transaction: &mut Transaction<'_>,
        condition: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Vec<u8>>, DatabaseError> {
        let rows = format!("{} WHERE {condition}", self.segments);
        self.marker.mark(transaction, condition, values)?;
        let deleted = transaction.query(&format!("DELETE FROM {rows} RETURNING hash"), values)?;
        // The table is locked. A row of deleted events would keep later loads from storing them.
        if transaction.query_opt(&format!("SELECT FROM {rows} LIMIT 1"), values)?.is_some() {
            return Err(keeps_rows(&self.scope.schemas.ledger, "kill_load_segment"));
        }
        Ok(first_column(&deleted)?)
    }

    /// Adds a hint to the error of a statement that deletes rows.
    fn explained(&self, error: DatabaseError) -> DatabaseError {
        let DatabaseError::Rows { source, .. } = &error else { return error };
        let Some(cause) = source.as_db_error() else { return error };
        let (table, constraint) = (cause.table().unwrap_or_default(), cause.constraint().unwrap_or_default());
        let what = match cause.code().code() {
            "23503" | "23001" => format!(
                "rows of the table {table} refer to events that are to be deleted (constraint {constraint})\nhint: \
                 delete those rows first, or define the constraint with ON DELETE CASCADE"
            ),
            _ if error.class() == ErrorClass::Data || error.may_be_of_row() => {
                format!("a trigger, rule or constraint refuses the deletion: {}", server_message(cause))
            }
            "42501" => {
                return match error {
                    DatabaseError::Rows { source, .. } => advised(&self.scope.schemas.tables, source),
                    error => error,
                };
            }
            _ => return error,
        };
        StoreError::refused(what).into()
    }
}

fn keeps_rows(schema: &str, table: &str) -> DatabaseError {
    StoreError::refused(format!(
        "a trigger or rule of {table} keeps rows from being deleted\nhint: drop the rule, or disable the trigger: \
         ALTER TABLE {}.{} DISABLE TRIGGER USER",
        quote_identifier(schema),
        quote_identifier(table)
    ))
    .into()
}
