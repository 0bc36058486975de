//! The files that were loaded completely. An unchanged file is not read again.
//!
//! Invariant: a row names the segments of its file. It is valid only while the ledger holds all of them, so that deleted
//! segments and segments lost in a failover are read again.
//!
//! Invariant: a row is valid only for the reading options and the tables that its file was loaded with.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::comments::LEDGER_COMMENTS;
use crate::database::ledger::segments::{count, signed};
use crate::database::ledger::stored::ReportedSegment;
use crate::database::locks::SCHEMA_LOCK;
use crate::database::options::StoreSettings;
use crate::database::pool::manager::DatabaseManager;
use crate::database::session::client::Client;
use crate::database::session::client_transaction::{
    ClientTransaction, GenericClient, SqlValues, first_column,
};
use crate::database::session::deadline::Deadline;
use crate::database::store::{FileCounts, ReadingDigest, SegmentHash, StoreError};
use crate::error_chain::in_full;
use crate::layout::ddl::comments;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::Distribution;
use postgres::Row;
use std::collections::HashMap;
use uuid::Uuid;

/// The DDL of `kill_load_file`.
pub(crate) fn ddl(schema: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}.kill_load_file (
  name text NOT NULL,
  server text NOT NULL,
  layout text NOT NULL,
  size bigint NOT NULL,
  mtime_ns bigint NOT NULL,
  ctime_ns bigint NOT NULL,
  inode bigint NOT NULL,
  run uuid NOT NULL,
  lines bigint NOT NULL,
  events bigint NOT NULL,
  segments bytea[] NOT NULL,
  reading bytea NOT NULL,
  loaded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (name, server, layout, reading)
);
",
        quote_identifier(schema)
    )
}

/// The most files per query or transaction.
const CHUNK: usize = 1000;

/// The identity of a file, from the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileStamp {
    /// The absolute path.
    pub name: String,
    /// In bytes.
    pub size: i64,
    /// Modification time, in nanoseconds since 1970. Users can set it.
    pub mtime_ns: i64,
    /// Time of the last change of content or metadata, in nanoseconds since 1970. Users cannot set it.
    pub ctime_ns: i64,
    pub inode: i64,
    /// The digest of the reading options and of the tables.
    pub reading: ReadingDigest,
}

/// A file that need not be read.
#[derive(Debug, Clone)]
pub(crate) struct UnchangedFile {
    pub(crate) counts: FileCounts,
    pub(crate) segments: Vec<ReportedSegment>,
}

/// The table of loaded files in one schema, for one server and layout.
#[derive(Debug)]
pub(crate) struct LoadedFiles {
    table: String,
    segments: String,
    server: &'static str,
    layout: &'static str,
}

impl LoadedFiles {
    /// Opens the table, and creates it if it is missing. Returns `None` if that is not possible: a load works without it.
    pub(crate) fn open(
        manager: &DatabaseManager,
        settings: &StoreSettings,
        deadline: &Deadline,
    ) -> Option<Self> {
        if settings.distribution == Distribution::Citus {
            return None;
        }
        let schema = settings.schemas.ledger.clone();
        let exists = match settings.uses_files {
            Some(uses_files) => Ok(uses_files),
            None => manager.run("looking up the table of loaded files", deadline, move |client, _| {
                // A failure is no reason to end a load.
                Ok(ensure_table(client, &schema).unwrap_or_else(|error| {
                    log::debug!("cannot skip unchanged files: {}", in_full(&error));
                    false
                }))
            }),
        };
        let schema = quote_identifier(&settings.schemas.ledger);
        exists.unwrap_or(false).then(|| Self {
            table: format!("{schema}.kill_load_file"),
            segments: format!("{schema}.kill_load_segment"),
            server: settings.server.name(),
            layout: settings.layout.name(),
        })
    }

    /// The files that were loaded completely and are unchanged, by name.
    pub(crate) fn unchanged(
        &self,
        manager: &DatabaseManager,
        stamps: &[FileStamp],
        deadline: &Deadline,
    ) -> Result<HashMap<String, UnchangedFile>, StoreError> {
        let Self { table, segments, server, layout } = self;
        let sql = format!(
            "SELECT file.name, file.lines, file.events, cardinality(file.segments)::bigint, parts.rejected, parts.runs,
               file.size, parts.hashes, parts.stored, parts.firsts, parts.lasts
             FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $8::bytea[])
               AS asked (name, size, mtime_ns, ctime_ns, inode, reading)
             JOIN {table} AS file ON file.name = asked.name AND file.server = $6 AND file.layout = $7
               AND file.reading = asked.reading
             CROSS JOIN LATERAL (
               SELECT count(*) AS found, coalesce(sum(segment.rejected), 0)::bigint AS rejected,
                 array_agg(DISTINCT segment.run) FILTER (WHERE segment.rejected > 0) AS runs,
                 array_agg(segment.hash) AS hashes, array_agg(segment.events - segment.rejected) AS stored,
                 array_agg(CASE WHEN segment.rejected = 0 THEN segment.first_event_id END) AS firsts,
                 array_agg(CASE WHEN segment.rejected = 0 THEN segment.last_event_id END) AS lasts
               FROM unnest(file.segments) AS part (hash)
               JOIN {segments} AS segment ON segment.hash = part.hash AND segment.server = $6
                 AND segment.layout = $7 AND (segment.rejected = 0 OR segment.reported)) AS parts
             WHERE (file.size, file.mtime_ns, file.ctime_ns, file.inode)
                 = (asked.size, asked.mtime_ns, asked.ctime_ns, asked.inode)
               AND parts.found = cardinality(file.segments)"
        );
        let mut unchanged = HashMap::new();
        for stamps in stamps.chunks(CHUNK) {
            let (sql, columns) = (sql.clone(), Columns::of(stamps));
            let (server, layout) = (*server, *layout);
            let found = manager.run("looking for unchanged files", deadline, move |client, _| {
                let Columns { names, sizes, mtimes, ctimes, inodes, readings } = &columns;
                let rows = client
                    .query(&sql, &[names, sizes, mtimes, ctimes, inodes, &server, &layout, readings])?;
                let files = rows.iter().map(|row| {
                    let number = |column: usize| row.try_get(column).map(count);
                    let runs: Option<Vec<Uuid>> = row.try_get(5)?;
                    let counts = FileCounts {
                        bytes: number(6)?,
                        lines: number(1)?,
                        events: number(2)?,
                        segments: number(3)?,
                        rejected: number(4)?,
                        reported_by: runs.unwrap_or_default(),
                    };
                    Ok((row.try_get(0)?, UnchangedFile { counts, segments: segments_of(row)? }))
                });
                files.collect::<Result<Vec<(String, UnchangedFile)>, DatabaseError>>()
            })?;
            unchanged.extend(found);
        }
        Ok(unchanged)
    }

    /// Records that the run `run` loaded files completely. Skips a file if the ledger lacks one of its segments, or
    /// holds one with unreported rejects.
    pub(crate) fn record(
        &self,
        manager: &DatabaseManager,
        run: Uuid,
        files: &[(FileStamp, Vec<SegmentHash>)],
        deadline: &Deadline,
    ) -> Result<(), StoreError> {
        let Self { table, segments, server, layout } = self;
        let sql = format!(
            "INSERT INTO {table} (name, server, layout, size, mtime_ns, ctime_ns, inode, run, lines, events, segments,
               reading)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, coalesce(sum(segment.lines), 0), coalesce(sum(segment.events), 0),
               $9, $10
             FROM unnest($9::bytea[]) AS part (hash)
             LEFT JOIN {segments} AS segment
               ON segment.hash = part.hash AND segment.server = $2 AND segment.layout = $3
               AND (segment.rejected = 0 OR segment.reported)
             HAVING count(*) = count(segment.hash)
             ON CONFLICT (name, server, layout, reading) DO UPDATE SET (size, mtime_ns, ctime_ns, inode, run, lines,
               events, segments, loaded_at) = (excluded.size, excluded.mtime_ns, excluded.ctime_ns, excluded.inode,
               excluded.run, excluded.lines, excluded.events, excluded.segments, now())"
        );
        for files in files.chunks(CHUNK) {
            let (sql, files, server, layout) = (sql.clone(), files.to_vec(), *server, *layout);
            manager.run("recording loaded files in the ledger", deadline, move |client, progress| {
                let record = |(stamp, hashes): &(FileStamp, Vec<SegmentHash>), put: &mut PutFile<'_>| {
                    let FileStamp { name, size, mtime_ns, ctime_ns, inode, reading } = stamp;
                    let reading = &reading.0[..];
                    let hashes: Vec<&[u8]> = hashes.iter().map(|hash| &hash.0[..]).collect();
                    put(&[name, &server, &layout, size, mtime_ns, ctime_ns, inode, &run, &hashes, &reading])
                };
                if let [file] = &files[..] {
                    return Ok(record(file, &mut |values| client.execute(&sql, values)).map(drop)?);
                }
                let mut transaction = client.transaction()?;
                for file in &files {
                    record(file, &mut |values| transaction.execute(&sql, values))?;
                    progress.tick();
                }
                Ok(transaction.commit()?)
            })?;
        }
        Ok(())
    }
}

/// The segments of a file, from the last four columns of its row. An empty file has none.
fn segments_of(row: &Row) -> Result<Vec<ReportedSegment>, postgres::Error> {
    type Ids = Vec<Option<i64>>;
    let hashes = row.try_get::<_, Option<Vec<Vec<u8>>>>(7)?.unwrap_or_default();
    let stored = row.try_get::<_, Option<Vec<i64>>>(8)?.unwrap_or_default();
    let firsts = row.try_get::<_, Option<Ids>>(9)?.unwrap_or_default();
    let lasts = row.try_get::<_, Option<Ids>>(10)?.unwrap_or_default();
    let ends = firsts.into_iter().zip(lasts).map(|(first, last)| Some([first?, last?]));
    let segments = hashes.into_iter().zip(stored).zip(ends).filter_map(|((hash, stored), ends)| {
        // Each hash has 32 bytes.
        let hash = SegmentHash(hash.try_into().ok()?);
        Some(ReportedSegment::skipped(hash, count(stored), ends))
    });
    Ok(segments.collect())
}

/// Writes the row of a file with these values.
type PutFile<'p> = dyn FnMut(&SqlValues<'_>) -> Result<u64, postgres::Error> + 'p;

/// File stamps as one array per column.
struct Columns {
    names: Vec<String>,
    sizes: Vec<i64>,
    mtimes: Vec<i64>,
    ctimes: Vec<i64>,
    inodes: Vec<i64>,
    readings: Vec<Vec<u8>>,
}

impl Columns {
    fn of(stamps: &[FileStamp]) -> Self {
        let numbers = |number: fn(&FileStamp) -> i64| stamps.iter().map(number).collect();
        Self {
            names: stamps.iter().map(|stamp| stamp.name.clone()).collect(),
            sizes: numbers(|stamp| stamp.size),
            mtimes: numbers(|stamp| stamp.mtime_ns),
            ctimes: numbers(|stamp| stamp.ctime_ns),
            inodes: numbers(|stamp| stamp.inode),
            readings: stamps.iter().map(|stamp| stamp.reading.0.to_vec()).collect(),
        }
    }
}

/// Creates the table if it is missing. Returns whether the role has the privileges to use it.
fn ensure_table(client: &mut Client, schema: &str) -> Result<bool, postgres::Error> {
    let usable = "SELECT has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
             AND has_table_privilege(c.oid, 'UPDATE')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = 'kill_load_file'";
    let usable = |client: &mut ClientTransaction<'_>| -> Result<Option<bool>, postgres::Error> {
        let found: Vec<bool> = first_column(&client.query(usable, &[&schema])?)?;
        Ok(found.first().copied())
    };
    let mut transaction = client.transaction()?;
    if let Some(is_usable) = usable(&mut transaction)? {
        transaction.rollback()?;
        return Ok(is_usable);
    }
    transaction.batch_execute("SET LOCAL lock_timeout = '2s'")?;
    transaction.execute(&format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"), &[&schema])?;
    let comments = comments(&LEDGER_COMMENTS, schema, |table, _| table == "kill_load_file");
    transaction.batch_execute(&(ddl(schema) + &comments))?;
    transaction.commit()?;
    Ok(true)
}

/// A file time in nanoseconds.
pub(crate) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// An unsigned number of the system as `i64`, for comparison only.
pub(crate) fn as_signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(crate) fn size(bytes: u64) -> i64 {
    signed(bytes)
}
