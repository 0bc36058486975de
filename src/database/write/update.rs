//! `--on-conflict update`: rewrites stored events that differ from those of a batch.
//!
//! Invariant: only rows that differ are written. Columns that users have added keep their values, and so do users' rows
//! that refer to rows of an event.
//!
//! Invariant: the rows to write are counted before the write, and the written rows after it. If a trigger or rule drops
//! a row, the update fails, and one query finds all rows that it dropped; no event is partly written. In tables with triggers
//! or rules the rows are also looked up after the write.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::kept_rows::KeptRows;
use crate::database::session::transaction::Transaction;
use crate::database::write::staging::{keep, stage, stage_name};
use crate::database::write::update::writes::{DifferenceWrite, RowsToWrite, add_old, columns_of};
use crate::database::write::update_citus::CitusUpdater;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::{quote_identifier, quoted_list};
use crate::layout::rows::Rows;
use crate::layout::table::{Distribution, Table};

pub(crate) mod writes;

/// Compares and rewrites events.
#[derive(Debug)]
pub(crate) enum Updater {
    OneServer(OneServerUpdater),
    Citus(CitusUpdater),
}

/// The statements that compare and rewrite the events of one layout in one server.
#[derive(Debug)]
pub(crate) struct OneServerUpdater {
    /// Locks the rows of events.
    lock: String,
    tables: Vec<TableUpdate>,
    /// Counts the events with rows in any of the difference tables.
    count: String,
    /// Counts the same among the events whose ids are its parameter, then the [`RowsToWrite`] of each table.
    count_part: String,
}

/// The statements for one table. A parameter is the ids of all events of a batch.
#[derive(Debug)]
struct TableUpdate {
    /// Its position in the layout.
    number: usize,
    /// Creates the staging table and the difference table. The latter has one row per row to write: with its place in
    /// the table if it exists, and with only its key if it is to be deleted.
    stage: String,
    /// Adds the old values of the rows to update, in rows of which `gone` is NULL.
    add_old: String,
    stage_name: String,
    copy: String,
    /// `None` if no column has `keep_on_update`.
    keep: Option<String>,
    find_changed: String,
    find_gone: String,
    /// Makes it fast to find the differences of a part of the events.
    index: String,
    /// Counts the rows to update.
    counts: String,
    /// Writes all differences.
    whole: DifferenceWrite,
    /// Writes the differences of the events whose ids are the parameter.
    part: DifferenceWrite,
    drop_stage: String,
}

impl Updater {
    pub(crate) fn new(layout: Layout, schema: &str, server: Server, distribution: Distribution) -> Self {
        match distribution {
            Distribution::OneServer => Updater::OneServer(OneServerUpdater::new(layout, schema, server, 0)),
            Distribution::Citus => Updater::Citus(CitusUpdater::new(layout, schema, server)),
        }
    }

    /// The updater that can compare a batch once and rewrite parts of it. `None` on Citus.
    pub(crate) fn in_parts(&self) -> Option<&OneServerUpdater> {
        match self {
            Updater::OneServer(updater) => Some(updater),
            Updater::Citus(_) => None,
        }
    }

    /// On Citus, waits until no other load rewrites events.
    pub(crate) fn take_turn(&self, transaction: &mut Transaction<'_>) -> Result<(), DatabaseError> {
        match self {
            Updater::OneServer(_) => Ok(()),
            Updater::Citus(updater) => updater.take_turn(transaction),
        }
    }

    /// Rewrites the differing events among `events`, which are all stored, and returns their number. Fails if one of the
    /// triggers and rules in `code` undoes that. On Citus, call [`take_turn`](Self::take_turn) first.
    pub(crate) fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
        code: Option<&KeptRows>,
    ) -> Result<u64, DatabaseError> {
        match self {
            _ if events.is_empty() => Ok(0),
            Updater::OneServer(updater) => updater.update(transaction, rows, events, code),
            Updater::Citus(updater) => updater.update(transaction, rows, events),
        }
    }
}

impl OneServerUpdater {
    /// For the tables from number `first` on.
    pub(crate) fn new(layout: Layout, schema: &str, server: Server, first: usize) -> Self {
        let schema = quote_identifier(schema);
        let event = &layout.tables()[0];
        let table = event.in_schema(&schema);
        // Sorted by an expression: to sort by the key itself, the planner would read the index of the whole table, because
        // `enable_sort` is off.
        let lock = format!(
            "SELECT FROM {table} WHERE {} ORDER BY {} + 0 FOR UPDATE",
            event.is_stored(&schema, server, Distribution::OneServer),
            event.id_column()
        );
        let tables = layout.tables().iter().enumerate().skip(first);
        let count = |is_part: bool| {
            let ids = tables.clone().map(|(number, table)| {
                let (id, differences) = (table.id_column(), differences(number));
                let which = if is_part { format!(" WHERE {id} = ANY ($1)") } else { String::new() };
                format!("SELECT {id} AS id FROM {differences}{which}")
            });
            format!(
                "SELECT count(DISTINCT id) FROM ({}) AS differing",
                ids.collect::<Vec<_>>().join(" UNION ALL ")
            )
        };
        let rows = tables.clone().map(|(number, table)| {
            format!(
                ", (SELECT count(*) FILTER (WHERE gone), count(place) FILTER (WHERE NOT gone),
                   count(*) FILTER (WHERE NOT gone AND place IS NULL)
                 FROM {} WHERE {} = ANY ($1)) AS table_{number}",
                differences(number),
                table.id_column()
            )
        });
        let rows: String = rows.collect();
        let count_part = format!("SELECT * FROM ({}) AS events{rows}", count(true));
        let count = count(false);
        let tables = tables.map(|(number, table)| TableUpdate::new(number, table, &schema, server));
        Self { lock, tables: tables.collect(), count, count_part }
    }

    pub(crate) fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
        code: Option<&KeptRows>,
    ) -> Result<u64, DatabaseError> {
        let differences = self.compare(transaction, rows, events)?;
        let updated = if differences.iter().any(|&(changed, gone)| changed + gone > 0) {
            let row = transaction.query(&self.count, &[])?;
            row.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?
        } else {
            0
        };
        let code = code.filter(|_| updated > 0);
        if code.is_some() {
            self.add_old(transaction)?;
        }
        for (table, (changed, gone)) in self.tables.iter().zip(differences) {
            table.rewrite(transaction, changed, gone, code.is_some())?;
        }
        if let Some(code) = code {
            code.run_deferred(transaction)?;
            self.tables.iter().try_for_each(|table| table.whole.check(transaction, &[]))?;
        }
        self.drop_stages(transaction)?;
        Ok(u64::try_from(updated).unwrap_or_default())
    }

    /// Compares `events`, which are all stored, for [`rewrite_part`](Self::rewrite_part). Their rows stay locked until the
    /// end of the transaction. Until [`drop_stages`](Self::drop_stages), nothing else can be compared. `has_code` is whether
    /// the tables have triggers or rules.
    pub(crate) fn begin_parts(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
        has_code: bool,
    ) -> Result<(), DatabaseError> {
        self.compare(transaction, rows, events)?;
        if has_code {
            self.add_old(transaction)?;
        }
        self.tables.iter().try_for_each(|table| transaction.batch_execute(&table.index))
    }

    /// Rewrites the differing events among those of `ids`, which were compared, and returns their number. Fails if a trigger
    /// that ran for another part has changed their rows since, or one of the triggers and rules in `code` undoes the rewrite.
    pub(crate) fn rewrite_part(
        &self,
        transaction: &mut Transaction<'_>,
        ids: &[i64],
        code: Option<&KeptRows>,
    ) -> Result<u64, DatabaseError> {
        let found = transaction.query(&self.count_part, &[&ids])?;
        let Some(row) = found.first() else { return Ok(0) };
        let number = |column: usize| {
            row.try_get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or_default())
        };
        let updated = number(0)?;
        if updated > 0 {
            for (index, table) in self.tables.iter().enumerate() {
                let first = 1 + 3 * index;
                let rows =
                    RowsToWrite { gone: number(first)?, stored: number(first + 1)?, new: number(first + 2)? };
                table.part.run(transaction, rows, &[&ids], code.is_some())?;
            }
            if let Some(code) = code {
                code.run_deferred(transaction)?;
                self.tables.iter().try_for_each(|table| table.part.check(transaction, &[&ids]))?;
            }
        }
        Ok(updated)
    }

    /// Ends the rewrites of parts.
    pub(crate) fn drop_stages(&self, transaction: &mut Transaction<'_>) -> Result<(), DatabaseError> {
        self.tables.iter().try_for_each(|table| transaction.batch_execute(&table.drop_stage))
    }

    /// Adds the old values of the rows to update to the difference tables.
    fn add_old(&self, transaction: &mut Transaction<'_>) -> Result<(), DatabaseError> {
        self.tables.iter().try_for_each(|table| transaction.execute(&table.add_old, &[]).map(drop))
    }

    /// Stages events and fills the difference tables. Returns the numbers of changed and of deleted rows of each table.
    fn compare(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<Vec<(u64, u64)>, DatabaseError> {
        let ids = rows.ids(events);
        // Locks in key order, like all writes. After that, the compared rows cannot change.
        transaction.execute(&self.lock, &[&ids])?;
        let mut differences = Vec::with_capacity(self.tables.len());
        for table in &self.tables {
            transaction.batch_execute(&table.stage)?;
            transaction.copy(&table.copy, &table.stage_name, rows, table.number, events)?;
            if let Some(keep) = &table.keep {
                transaction.execute(keep, &[])?;
            }
            let changed = transaction.execute(&table.find_changed, &[&ids])?;
            let gone = transaction.execute(&table.find_gone, &[&ids])?;
            differences.push((changed, gone));
        }
        Ok(differences)
    }
}

impl TableUpdate {
    /// Writes the rows that differ: `changed` rows are new or have other values, `gone` rows are deleted.
    fn rewrite(
        &self,
        transaction: &mut Transaction<'_>,
        changed: u64,
        gone: u64,
        has_code: bool,
    ) -> Result<(), DatabaseError> {
        let stored = if changed > 0 {
            let row = transaction.query(&self.counts, &[])?;
            let stored = row.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?;
            u64::try_from(stored).unwrap_or_default()
        } else {
            0
        };
        self.whole.run(transaction, RowsToWrite { gone, stored, new: changed - stored }, &[], has_code)
    }

    /// The statements for the table that is the layout's `number`th; `schema` is quoted.
    fn new(number: usize, table: &Table, schema: &str, server: Server) -> Self {
        let (target, columns, id) = (table.in_schema(schema), table.column_list(), table.id_column());
        let (stage, differences) = (stage(number), differences(number));
        let all: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let stored = |columns: &str| table.select_stored(schema, server, columns, Distribution::OneServer);
        let place = table.select_place(schema, server);
        let (key, key_of_found) = (quoted_list(table.key), columns_of("found.", table.key));
        let write = |which: &str| DifferenceWrite::new(table, schema, server, &differences, which);
        Self {
            number,
            stage: format!(
                "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA;
                 CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {columns}, ctid AS place, tableoid AS part, false AS gone
                   FROM {target} WITH NO DATA",
                stage_name(number),
                differences_name(number)
            ),
            add_old: add_old(table, schema, &differences),
            stage_name: stage_name(number),
            copy: format!("COPY {stage} ({columns}) FROM STDIN BINARY"),
            // Looks up each row by its key. In a join, the planner could look up all events once per staged row, because it
            // knows nothing about new staging tables.
            keep: keep(
                table,
                &stage,
                "found",
                |name| format!("({})", table.select_by_key(schema, server, name)),
                |condition| format!("WHERE {condition}"),
            ),
            find_changed: format!(
                "INSERT INTO {differences} ({columns}, place, part, gone)
                 SELECT {}, stored.place, stored.part, false
                 FROM (SELECT {columns} FROM {stage} EXCEPT {}) AS found
                 LEFT JOIN LATERAL ({place}) AS stored ON true",
                columns_of("found.", &all),
                stored(&columns)
            ),
            find_gone: format!(
                "INSERT INTO {differences} ({key}, place, part, gone)
                 SELECT {key_of_found}, stored.place, stored.part, true
                 FROM ({} EXCEPT SELECT {key} FROM {stage}) AS found
                 CROSS JOIN LATERAL ({place}) AS stored",
                stored(&key)
            ),
            counts: format!("SELECT count(place) FROM {differences} WHERE NOT gone"),
            whole: write(""),
            part: write(&format!(" AND found.{id} = ANY ($1)")),
            index: format!("CREATE INDEX ON {differences} ({id})"),
            drop_stage: format!("DROP TABLE {stage}, {differences}"),
        }
    }
}

/// The difference table of the layout's `number`th table.
fn differences(number: usize) -> String {
    format!("pg_temp.{}", differences_name(number))
}

fn differences_name(number: usize) -> String {
    format!("aegis_kills_differences_{number}")
}
