//! The runs in the ledger. Each run writes its row at the start and completes it at the end.
//!
//! A crashed run cannot complete its row. The next run completes it, because the crashed run has no session left.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::crashes::{HAS_SESSION, crashed_runs, mark_crashed_runs, unfinished_runs};
use crate::database::ledger::segments::{SERVER_START, signed};
use crate::database::options::StoreSettings;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schemas::Schemas;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::{GenericClient, first_column};
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::error_chain::in_full;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::Distribution;
use postgres::types::ToSql;
use serde_json::Value;
use std::fmt::Write as _;
use uuid::Uuid;

/// PostgreSQL's limit for names (`NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;

/// The application name of a run's sessions: the name from the connection URL, then the run's id. Other runs find the
/// sessions of a live run by this id.
pub(crate) fn application_name(name: Option<&str>, run: Uuid) -> String {
    let (name, run) = (name.unwrap_or("aegis-kills"), run.to_string());
    let end = name.floor_char_boundary(NAME_BYTES_MAX - run.len() - 1);
    format!("{} {run}", &name[..end])
}

#[derive(Debug)]
pub(crate) struct RunLog {
    schema: String,
    id: Uuid,
    /// The start time of the server that has the row, in microseconds since 1970. 0 on Citus.
    pub(crate) server_start: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct RunEnd {
    /// The status, as in the summary.
    pub status: &'static str,
    /// Event outcomes.
    pub counts: RunCounts,
    /// The absolute path of the run's reject file, if there is one.
    pub rejects_file: Option<String>,
    /// The error that ended the run.
    pub error: Option<String>,
}

/// The counts of a run, by column name.
pub(crate) type RunCounts = [(&'static str, u64); 15];

impl RunLog {
    /// Writes the row of a new run, and completes the rows of crashed runs.
    pub(crate) fn begin(
        manager: &DatabaseManager,
        settings: &StoreSettings,
        id: Uuid,
        sources: &[String],
        deadline: &Deadline,
    ) -> Result<Self, StoreError> {
        let schema = quote_identifier(&settings.schemas.ledger);
        // An earlier attempt whose answer was lost may have written the row.
        let insert = format!(
            "INSERT INTO {schema}.kill_load_run (id, status, server, layout, sources, version, table_schema)
             VALUES ($1, 'running', $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING"
        );
        let exists = format!("SELECT FROM {schema}.kill_load_run WHERE id = $1");
        // In one round trip. Citus cannot join pg_stat_activity with the table that a statement writes.
        let both = (settings.distribution == Distribution::OneServer).then(|| {
            let crashed = crashed_runs(&schema);
            format!(
                "WITH written AS ({insert} RETURNING id)
                 SELECT (SELECT count(*) FROM written), ARRAY ({crashed}), {SERVER_START}"
            )
        });
        let (find_crashed, mark_crashed) = (unfinished_runs(&schema), mark_crashed_runs(&schema));
        let others = (!settings.layout.has_server_column()).then(|| other_servers(&schema));
        let (server, layout, sources) = (settings.server.name(), settings.layout.name(), sources.to_vec());
        let schemas = settings.schemas.clone();
        let server_start = manager.run("writing the run into the ledger", deadline, move |client, progress| {
            let (tables, table_schema) = (&schemas.tables, schemas.table_schema());
            if let Some(others) = &others
                && let Some(other) = client.query_opt(others, &[&layout, &server, &table_schema])?
            {
                let other: &str = other.try_get(0)?;
                return Err(StoreError::refused(format!(
                    "the ledger has loads of {other} into schema {tables:?}, and layout {layout} has no server column\nhint: \
                     load events of {server} into another schema, such as --schema {layout}_{server}"
                ))
                .into());
            }
            let values: [&(dyn ToSql + Sync); 6] =
                [&id, &server, &layout, &sources, &crate::VERSION, &table_schema];
            let (written, crashed, server_start) = match &both {
                Some(both) => {
                    let row = client.query_opt(both, &values)?.ok_or(DatabaseError::LedgerDrops)?;
                    (row.try_get::<_, i64>(0)?, Some(row.try_get::<_, Vec<Uuid>>(1)?), row.try_get(2)?)
                }
                None => (i64::from(client.execute(&insert, &values)? > 0), None, 0),
            };
            if written == 0 && client.query_opt(&exists, &[&id])?.is_none() {
                return Err(DatabaseError::LedgerDrops);
            }
            progress.tick();
            let crashed = match crashed {
                Some(crashed) => Ok(crashed),
                None => client.query(&find_crashed, &[&id]).and_then(|rows| first_column(&rows)),
            };
            let marked = crashed.and_then(|crashed: Vec<Uuid>| {
                // One statement per run: Citus cannot join pg_stat_activity with the table that it updates.
                crashed.iter().try_fold(0, |sum, run| Ok(sum + client.execute(&mark_crashed, &[run])?))
            });
            match marked {
                Ok(0) => {}
                Ok(1) => log::warn!("marked as failed: 1 run that ended without recording its end"),
                Ok(count) => log::warn!("marked as failed: {count} runs that ended without recording their end"),
                // Another role may own these rows. This run does not need them.
                Err(error) => log::debug!("cannot mark crashed runs as failed: {}", in_full(&error)),
            }
            Ok(server_start)
        })?;
        Ok(Self { schema, id, server_start })
    }

    /// Completes the row. Returns whether the layout's indexes exist at that moment. False on Citus, where a statement
    /// that writes this table cannot look them up.
    pub(crate) fn end(
        &self,
        manager: &DatabaseManager,
        settings: &StoreSettings,
        end: &RunEnd,
        deadline: &Deadline,
    ) -> Result<bool, StoreError> {
        let indexes = settings.layout.indexes(&settings.schemas.tables).into_iter().map(|(name, _)| name);
        let (indexes, schema) = (indexes.collect::<Vec<_>>(), settings.schemas.tables.clone());
        let is_one_server = settings.distribution == Distribution::OneServer;
        let (mut sql, id, end) = (self.end_statement(&end.counts), self.id, end.clone());
        let exists = format!("SELECT FROM {}.kill_load_run WHERE id = $1", self.schema);
        if is_one_server {
            let (schema, indexes) = (end.counts.len() + 5, end.counts.len() + 6);
            let _ = write!(
                sql,
                " RETURNING (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = ${schema} AND c.relname = ANY (${indexes}::text[]))"
            );
        }
        manager.run("writing the run's end into the ledger", deadline, move |client, _| {
            let RunEnd { status, counts, rejects_file, error } = &end;
            let numbers: Vec<i64> = counts.iter().map(|(_, value)| signed(*value)).collect();
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&id, status, error, rejects_file];
            values.extend(numbers.iter().map(|number| -> &(dyn ToSql + Sync) { number }));
            let found = if is_one_server {
                values.extend([&schema as &(dyn ToSql + Sync), &indexes]);
                client.query_opt(&sql, &values)?.map(|row| row.try_get::<_, i64>(0)).transpose()?
            } else {
                // At least one row, of which the indexes are unknown.
                (client.execute(&sql, &values)? > 0).then_some(-1)
            };
            let Some(found) = found else {
                if client.query_opt(&exists, &[&id])?.is_some() {
                    return Err(DatabaseError::LedgerDrops);
                }
                log::warn!(
                    "another session, or a trigger, removed the row of this run from kill_load_run, so the ledger lacks \
                     its end"
                );
                return Ok(false);
            };
            // The standby receives commits in order: once it has this one, it has all earlier ones.
            if client.take_standby_wait_cancelled() {
                return Err(DatabaseError::Unreplicated);
            }
            Ok(usize::try_from(found) == Ok(indexes.len()))
        })
    }

    /// The end of the last run into these tables that stored everything, or everything except rejects, in seconds since
    /// 1970.
    pub(crate) fn last_success(
        manager: &DatabaseManager,
        settings: &StoreSettings,
    ) -> Result<Option<i64>, StoreError> {
        let sql = format!(
            "SELECT extract(epoch FROM max(finished))::bigint FROM {}.kill_load_run
             WHERE status IN ('complete', 'rejects') AND server = $1 AND layout = $2
               AND table_schema IS NOT DISTINCT FROM $3",
            quote_identifier(&settings.schemas.ledger)
        );
        let (server, layout) = (settings.server.name(), settings.layout.name());
        let schemas = settings.schemas.clone();
        manager.run("looking up the last successful run", &Deadline::unbounded(), move |client, _| {
            let row = client.query_opt(&sql, &[&server, &layout, &schemas.table_schema()])?;
            Ok(row.map_or(Ok(None), |row| row.try_get(0))?)
        })
    }

    fn end_statement(&self, counts: &RunCounts) -> String {
        let mut columns = String::new();
        for (number, (name, _)) in counts.iter().enumerate() {
            let _ = write!(columns, ", {name} = ${}", number + 5);
        }
        format!(
            "UPDATE {}.kill_load_run SET finished = now(), status = $2, error = $3,
               rejects_file = coalesce($4, rejects_file){columns} WHERE id = $1",
            self.schema
        )
    }
}

/// The ledger's row of the latest run into these tables; `None` without a ledger.
pub(crate) fn last_run(client: &mut Client, schemas: &Schemas) -> Result<Option<Value>, DatabaseError> {
    let table = format!("{}.kill_load_run", quote_identifier(&schemas.ledger));
    let names_tables =
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'table_schema')
         FROM pg_class c WHERE c.oid = to_regclass($1)";
    let Some(row) = client.query_opt(names_tables, &[&table])? else { return Ok(None) };
    // Runs of earlier versions loaded into the tables in the ledger's schema.
    let table_schema = if row.try_get(0)? { "table_schema" } else { "NULL" };
    let sql = format!(
        "SELECT to_jsonb(run)::text FROM {table} AS run WHERE {table_schema} IS NOT DISTINCT FROM $1
         ORDER BY started DESC LIMIT 1"
    );
    let row = client.query_opt(&sql, &[&schemas.table_schema()])?;
    let text: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Whether a run other than `own` is writing to the same tables.
pub(crate) fn another_runs(
    client: &mut impl GenericClient,
    schemas: &Schemas,
    layout: Layout,
    own: Uuid,
    which: OtherRuns,
) -> Result<bool, postgres::Error> {
    let age = match which {
        OtherRuns::All => "",
        OtherRuns::Young => "AND started > now() - interval '1 hour'",
    };
    let sql = format!(
        "SELECT FROM {}.kill_load_run
         WHERE status = 'running' AND id <> $1 AND layout = $2 AND table_schema IS NOT DISTINCT FROM $3
           AND {HAS_SESSION} {age} LIMIT 1",
        quote_identifier(&schemas.ledger)
    );
    Ok(client.query_opt(&sql, &[&own, &layout.name(), &schemas.table_schema()])?.is_some())
}

/// The other runs to look for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OtherRuns {
    /// All live runs.
    All,
    /// Runs that began within the last hour. Older runs may never end, for example if they read from a pipe.
    Young,
}

/// Selects another game server whose events are stored in the same tables.
fn other_servers(schema: &str) -> String {
    format!(
        "SELECT segment.server FROM {schema}.kill_load_segment AS segment
         LEFT JOIN {schema}.kill_load_run AS run ON run.id = segment.run
         WHERE segment.layout = $1 AND segment.server <> $2 AND segment.events > segment.rejected
           AND run.table_schema IS NOT DISTINCT FROM $3 LIMIT 1"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_end_in_the_run() {
        let run = Uuid::nil();
        assert_eq!(application_name(None, run), format!("aegis-kills {run}"));
        let name = application_name(Some(&"é".repeat(40)), run);
        assert!(name.len() <= NAME_BYTES_MAX && name.ends_with(&run.to_string()), "{name}");
    }
}
