//! The runs in the ledger: each has a row, written at its start and completed at its end.
//!
//! A run that was killed can't complete its row; the next run sees that none of its sessions is left, and does.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::segments::signed;
use crate::database::options::StoreSettings;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schemas::Schemas;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::GenericClient;
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::error_chain::in_full;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use postgres::types::ToSql;
use serde_json::Value;
use std::fmt::Write as _;
use uuid::Uuid;

/// A name of PostgreSQL's has at most 63 bytes.
const NAME_BYTES_MAX: usize = 63;

/// What the sessions of a run call themselves: the name that the connection URL gives, and the run, by which
/// other runs see that it lives.
pub(crate) fn application_name(name: Option<&str>, run: Uuid) -> String {
    let (name, run) = (name.unwrap_or("aegis-kills"), run.to_string());
    let end = name.floor_char_boundary(NAME_BYTES_MAX - run.len() - 1);
    format!("{} {run}", &name[..end])
}

/// The row of a run.
#[derive(Debug)]
pub(crate) struct RunLog {
    schema: String,
    id: Uuid,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct RunEnd {
    /// The status, as in the summary.
    pub status: &'static str,
    /// What became of the events.
    pub counts: RunCounts,
    /// The absolute path of the run's reject file, if there is one.
    pub rejects_file: Option<String>,
    /// What broke, if something did.
    pub error: Option<String>,
}

/// The counts of a run, by the names of the row's columns.
pub(crate) type RunCounts = [(&'static str, u64); 15];

impl RunLog {
    /// Writes the row of a run that begins, and completes those of runs that have died.
    pub(crate) fn begin(
        manager: &DatabaseManager,
        settings: &StoreSettings,
        id: Uuid,
        sources: &[String],
        deadline: &Deadline,
    ) -> Result<Self, StoreError> {
        let schema = quote_identifier(&settings.schemas.ledger);
        // A try whose answer was lost may have written the row.
        let insert = format!(
            "INSERT INTO {schema}.kill_load_run (id, status, server, layout, sources, version, table_schema)
             VALUES ($1, 'running', $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING"
        );
        let exists = format!("SELECT FROM {schema}.kill_load_run WHERE id = $1");
        let (dead, bury) = (dead_runs(&schema), mark_crashed_runs(&schema));
        let others = (!settings.layout.has_server_column()).then(|| other_servers(&schema));
        let (server, layout, sources) = (settings.server.name(), settings.layout.name(), sources.to_vec());
        let schemas = settings.schemas.clone();
        manager.run("writing the run into the ledger", deadline, move |client, progress| {
            let (tables, table_schema) = (&schemas.tables, schemas.table_schema());
            if let Some(others) = &others
                && let Some(other) = client.query_opt(others, &[&layout, &server, &table_schema])?
            {
                let other: &str = other.try_get(0)?;
                return Err(StoreError::refused(format!(
                    "the layout {layout} has no column for the game server, and the ledger has loads of {other} into schema {tables:?}: \
                     events of {server} belong in another schema, such as --schema {layout}_{server}"
                ))
                .into());
            }
            let values: [&(dyn ToSql + Sync); 6] =
                [&id, &server, &layout, &sources, &crate::VERSION, &table_schema];
            let written = client.execute(&insert, &values)?;
            if written == 0 && client.query_opt(&exists, &[&id])?.is_none() {
                return Err(DatabaseError::LedgerDrops);
            }
            progress.tick();
            let buried = client.query(&dead, &[&id]).and_then(|dead| {
                // One after the other: Citus joins no view of sessions with what it updates.
                dead.iter().try_fold(0, |sum, row| Ok(sum + client.execute(&bury, &[&row.try_get::<_, Uuid>(0)?])?))
            });
            match buried {
                Ok(0) => {}
                Ok(dead) => log::warn!("{dead} earlier run(s) ended without a word; the ledger now says so"),
                // Another role may have written them; this run can do its work all the same.
                Err(error) => log::debug!("runs that died can't be marked: {}", in_full(&error)),
            }
            Ok(())
        })?;
        Ok(Self { schema, id })
    }

    /// Completes the row.
    pub(crate) fn end(
        &self,
        manager: &DatabaseManager,
        end: &RunEnd,
        deadline: &Deadline,
    ) -> Result<(), StoreError> {
        let (sql, id, end) = (self.end_statement(&end.counts), self.id, end.clone());
        manager.run("writing the run's end into the ledger", deadline, move |client, _| {
            let RunEnd { status, counts, rejects_file, error } = &end;
            let numbers: Vec<i64> = counts.iter().map(|(_, value)| signed(*value)).collect();
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&id, status, error, rejects_file];
            values.extend(numbers.iter().map(|number| -> &(dyn ToSql + Sync) { number }));
            client.execute(&sql, &values)?;
            // All that was committed before is on the standby as well once this is.
            if client.take_standby_wait_cancelled() { Err(DatabaseError::Unreplicated) } else { Ok(()) }
        })
    }

    /// When a run like this one last loaded all, or all but rejects, in seconds since 1970.
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
        manager.run("asking for the last good run", &Deadline::unbounded(), move |client, _| {
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

/// The ledger's row of the run into these tables that started last; none where there is no ledger.
pub(crate) fn last_run(client: &mut Client, schemas: &Schemas) -> Result<Option<Value>, DatabaseError> {
    let table = format!("{}.kill_load_run", quote_identifier(&schemas.ledger));
    let names_tables =
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'table_schema')
         FROM pg_class c WHERE c.oid = to_regclass($1)";
    let Some(row) = client.query_opt(names_tables, &[&table])? else { return Ok(None) };
    // Those of an earlier version loaded into the tables beside the ledger.
    let table_schema = if row.try_get(0)? { "table_schema" } else { "NULL" };
    let sql = format!(
        "SELECT to_jsonb(run)::text FROM {table} AS run WHERE {table_schema} IS NOT DISTINCT FROM $1
         ORDER BY started DESC LIMIT 1"
    );
    let row = client.query_opt(&sql, &[&schemas.table_schema()])?;
    let text: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Whether another run than `own` writes the same tables; `which` of them count.
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
         WHERE status = 'running' AND id <> $1 AND layout = $2 AND table_schema IS NOT DISTINCT FROM $3 AND {LIVES} {age}
         LIMIT 1",
        quote_identifier(&schemas.ledger)
    );
    Ok(client.query_opt(&sql, &[&own, &layout.name(), &schemas.table_schema()])?.is_some())
}

/// Which other runs are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OtherRuns {
    /// All that live.
    All,
    /// Those that began within the last hour. Older ones may go on for ever, as behind a pipe.
    Young,
}

/// The condition that a run's row is of one that has a session.
const LIVES: &str = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE '%' || id)";

/// Another server that events were stored of in the same tables.
fn other_servers(schema: &str) -> String {
    format!(
        "SELECT segment.server FROM {schema}.kill_load_segment AS segment
         LEFT JOIN {schema}.kill_load_run AS run ON run.id = segment.run
         WHERE segment.layout = $1 AND segment.server <> $2 AND segment.events > segment.rejected
           AND run.table_schema IS NOT DISTINCT FROM $3 LIMIT 1"
    )
}

/// Runs but the parameter's that have not ended, and have no session any more.
fn dead_runs(schema: &str) -> String {
    format!("SELECT id FROM {schema}.kill_load_run WHERE status = 'running' AND id <> $1 AND NOT {LIVES}")
}

/// Completes the row of a run that has died, by what its segments say.
///
/// One that has only lost its sessions for a moment completes its row by itself in the end.
fn mark_crashed_runs(schema: &str) -> String {
    format!(
        "UPDATE {schema}.kill_load_run AS run
         SET status = 'failed', error = 'the run could not say how it ended: it was killed, or its machine or the database went down',
             finished = greatest(run.started, found.finished), lines = found.lines, events = found.events,
             inserted = found.inserted, updated = found.updated, duplicate = found.duplicate,
             rejected = found.rejected, segments = found.segments
         FROM (SELECT max(loaded_at) AS finished, count(*) AS segments,
                 coalesce(sum(lines), 0) AS lines, coalesce(sum(events), 0) AS events,
                 coalesce(sum(inserted), 0) AS inserted, coalesce(sum(updated), 0) AS updated,
                 coalesce(sum(duplicate), 0) AS duplicate, coalesce(sum(rejected), 0) AS rejected
               FROM {schema}.kill_load_segment WHERE run = $1) AS found
         WHERE run.id = $1 AND run.status = 'running'"
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
