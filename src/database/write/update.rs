//! `--on-conflict update`: stored events that differ from those of a batch are rewritten.
//!
//! Invariant: an event whose rows are all the same is not written, and of one that differs the rows alone are written that do:
//! what users keep in columns of their own, or in rows of their own that refer to rows of an event, stays.
//!
//! Invariant: what was to be written is counted before, and what was written after. An event that a trigger or a rule keeps
//! from being written is an error, and is not half written.

use crate::database::failure::error::DatabaseError;
use crate::database::session::transaction::Transaction;
use crate::database::write::staging::{keep, stage, stage_name};
use crate::database::write::update_citus::CitusUpdater;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::rows::Rows;
use crate::layout::table::{Distribution, Table};

/// What compares and rewrites events.
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
    /// Counts the events that have rows in any of the tables of differences.
    count: String,
}

/// The statements for one table. Those with ids as their parameter are for all events of a batch.
#[derive(Debug)]
struct TableUpdate {
    /// Makes the staging table, and the table of differences: a row for each that is to be written, with its place in the
    /// table if it is there, and its key alone if it is to go.
    stage: String,
    stage_name: String,
    copy: String,
    /// Where there are columns that keep what is known.
    keep: Option<String>,
    find_changed: String,
    find_gone: String,
    /// How many rows are to be deleted, updated and inserted.
    counts: String,
    delete: String,
    update: String,
    insert: String,
    drop_stage: String,
}

impl Updater {
    pub(crate) fn new(layout: Layout, schema: &str, server: Server, distribution: Distribution) -> Self {
        match distribution {
            Distribution::OneServer => Updater::OneServer(OneServerUpdater::new(layout, schema, server)),
            Distribution::Citus => Updater::Citus(CitusUpdater::new(layout, schema, server)),
        }
    }

    /// On Citus: waits until no other load rewrites.
    pub(crate) fn take_turn(&self, transaction: &mut Transaction<'_>) -> Result<(), DatabaseError> {
        match self {
            Updater::OneServer(_) => Ok(()),
            Updater::Citus(updater) => updater.take_turn(transaction),
        }
    }

    /// Rewrites those of `events`, all of them stored, that differ, and returns how many they were. On Citus it is this
    /// transaction's turn.
    pub(crate) fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        match self {
            _ if events.is_empty() => Ok(0),
            Updater::OneServer(updater) => updater.update(transaction, rows, events),
            Updater::Citus(updater) => updater.update(transaction, rows, events),
        }
    }
}

impl OneServerUpdater {
    fn new(layout: Layout, schema: &str, server: Server) -> Self {
        let schema = quote_identifier(schema);
        let event = &layout.tables()[0];
        let table = event.in_schema(&schema);
        let lock = format!(
            "SELECT FROM {table} WHERE {} ORDER BY {} FOR UPDATE",
            event.is_stored(&schema, server, Distribution::OneServer),
            event.id_column()
        );
        let tables = layout.tables().iter().enumerate();
        let ids = tables.clone().map(|(number, table)| {
            format!("SELECT {} AS id FROM {}", table.id_column(), differences(number))
        });
        let count =
            format!("SELECT count(*) FROM ({}) AS differing", ids.collect::<Vec<_>>().join(" UNION "));
        let tables = tables.map(|(number, table)| TableUpdate::new(number, table, &schema, server));
        Self { lock, tables: tables.collect(), count }
    }

    fn update(
        &self,
        transaction: &mut Transaction<'_>,
        rows: &Rows,
        events: &[usize],
    ) -> Result<u64, DatabaseError> {
        let ids = rows.ids(events);
        // In the order of the keys, like everything that is written; what is compared can't change any more.
        transaction.execute(&self.lock, &[&ids])?;
        let mut differences = Vec::with_capacity(self.tables.len());
        for (number, table) in self.tables.iter().enumerate() {
            transaction.batch_execute(&table.stage)?;
            transaction.copy(&table.copy, &table.stage_name, rows, number, events)?;
            if let Some(keep) = &table.keep {
                transaction.execute(keep, &[&ids])?;
            }
            let changed = transaction.execute(&table.find_changed, &[&ids])?;
            let gone = transaction.execute(&table.find_gone, &[&ids])?;
            differences.push((changed, gone));
        }
        let updated = if differences.iter().any(|&(changed, gone)| changed + gone > 0) {
            let row = transaction.query(&self.count, &[])?;
            row.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?
        } else {
            0
        };
        for (table, (changed, gone)) in self.tables.iter().zip(differences) {
            table.rewrite(transaction, changed, gone)?;
            transaction.batch_execute(&table.drop_stage)?;
        }
        Ok(u64::try_from(updated).unwrap_or_default())
    }
}

impl TableUpdate {
    /// Writes the rows that differ: `changed` of them are new or have other values, `gone` are to go.
    fn rewrite(
        &self,
        transaction: &mut Transaction<'_>,
        changed: u64,
        gone: u64,
    ) -> Result<(), DatabaseError> {
        // What goes makes room for what comes, where a user has unique keys.
        if gone > 0 && transaction.move_rows(&self.delete, &[])? != gone {
            return Err(DatabaseError::Dropped);
        }
        if changed > 0 {
            let row = transaction.query(&self.counts, &[])?;
            let stored = row.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?;
            let stored = u64::try_from(stored).unwrap_or_default();
            if stored > 0 && transaction.move_rows(&self.update, &[])? != stored {
                return Err(DatabaseError::Dropped);
            }
            let new = changed - stored;
            if new > 0 && transaction.move_rows(&self.insert, &[])? != new {
                return Err(DatabaseError::Dropped);
            }
        }
        Ok(())
    }

    /// The statements for the table that is the layout's `number`th; `schema` is quoted.
    fn new(number: usize, table: &Table, schema: &str, server: Server) -> Self {
        let (target, columns, id) = (table.in_schema(schema), table.column_list(), table.id_column());
        let (stage, differences) = (stage(number), differences(number));
        let names = |of: &str, names: &[&str]| -> String {
            let names = names.iter().map(|name| format!("{of}{}", quote_identifier(name)));
            names.collect::<Vec<_>>().join(", ")
        };
        let all: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let values: Vec<&str> = all.iter().copied().filter(|name| !table.key.contains(name)).collect();
        let stored = |columns: &str| table.select_stored(schema, server, columns, Distribution::OneServer);
        let place = table.select_place(schema, server);
        let (key, key_of_found) = (names("", table.key), names("found.", table.key));
        Self {
            stage: format!(
                "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA;
                 CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {columns}, ctid AS place, tableoid AS part, false AS gone
                   FROM {target} WITH NO DATA",
                stage_name(number),
                differences_name(number)
            ),
            stage_name: stage_name(number),
            copy: format!("COPY {stage} ({columns}) FROM STDIN BINARY"),
            keep: keep(table, &stage, &stored(&columns)),
            find_changed: format!(
                "INSERT INTO {differences} ({columns}, place, part, gone)
                 SELECT {}, stored.place, stored.part, false
                 FROM (SELECT {columns} FROM {stage} EXCEPT {}) AS found
                 LEFT JOIN LATERAL ({place}) AS stored ON true",
                names("found.", &all),
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
            delete: format!(
                "DELETE FROM {target} AS target USING {differences} AS found
                 WHERE found.gone AND target.ctid = found.place AND target.tableoid = found.part"
            ),
            update: format!(
                "UPDATE {target} AS target SET ({}) = ROW ({}) FROM {differences} AS found
                 WHERE NOT found.gone AND target.ctid = found.place AND target.tableoid = found.part",
                names("", &values),
                names("found.", &values)
            ),
            insert: format!(
                "INSERT INTO {target} ({columns}) SELECT {columns} FROM {differences}
                 WHERE NOT gone AND place IS NULL ORDER BY {id}"
            ),
            drop_stage: format!("DROP TABLE {stage}, {differences}"),
        }
    }
}

/// The table of differences of the layout's `number`th table.
fn differences(number: usize) -> String {
    format!("pg_temp.{}", differences_name(number))
}

fn differences_name(number: usize) -> String {
    format!("aegis_kills_differences_{number}")
}
