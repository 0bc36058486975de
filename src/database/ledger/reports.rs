//! The record of reported rejects: the reject file of each run.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::manager::DatabaseManager;
use crate::database::session::client_transaction::{GenericClient as _, first_column};
use crate::database::session::deadline::Deadline;
use crate::database::store::{SegmentHash, StoreError};
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use std::path::Path;
use uuid::Uuid;

/// The most segments per transaction.
const CHUNK: usize = 1000;

/// The ledger's record of one run's rejects.
#[derive(Debug)]
pub(crate) struct Reports {
    schema: String,
    server: &'static str,
    layout: &'static str,
    run: Uuid,
}

impl Reports {
    pub(crate) fn new(schema: &str, server: Server, layout: Layout, run: Uuid) -> Self {
        Self { schema: quote_identifier(schema), server: server.name(), layout: layout.name(), run }
    }

    /// Records that the rejects of segments are in the file. Skips segments that another run has loaded since.
    pub(crate) fn note(
        &self,
        manager: &DatabaseManager,
        segments: &[SegmentHash],
        rejects_file: &Path,
        deadline: &Deadline,
    ) -> Result<(), StoreError> {
        let Self { schema, server, layout, run } = self;
        let run_sql = format!("UPDATE {schema}.kill_load_run SET rejects_file = $2 WHERE id = $1");
        let of_segments = "hash = ANY ($1) AND server = $2 AND layout = $3 AND run = $4";
        let segments_sql =
            format!("UPDATE {schema}.kill_load_segment SET reported = true WHERE {of_segments}");
        let unreported =
            format!("SELECT FROM {schema}.kill_load_segment WHERE {of_segments} AND NOT reported LIMIT 1");
        let file = rejects_file.to_string_lossy().into_owned();
        for segments in segments.chunks(CHUNK) {
            let (run_sql, segments_sql, file) = (run_sql.clone(), segments_sql.clone(), file.clone());
            let unreported = unreported.clone();
            let (segments, server, layout, run) = (segments.to_vec(), *server, *layout, *run);
            manager.run("recording reported rejects in the ledger", deadline, move |client, _| {
                let hashes: Vec<&[u8]> = segments.iter().map(|hash| &hash.0[..]).collect();
                let mut transaction = client.transaction()?;
                // The segments first, as in a deletion and in a load that overwrites one of them. Otherwise they could deadlock.
                transaction.execute(&segments_sql, &[&hashes, &server, &layout, &run])?;
                transaction.execute(&run_sql, &[&run, &file])?;
                if transaction.query_opt(&unreported, &[&hashes, &server, &layout, &run])?.is_some() {
                    return Err(DatabaseError::LedgerDrops);
                }
                Ok(transaction.commit()?)
            })?;
        }
        Ok(())
    }

    /// The reject files of runs, latest runs first.
    pub(crate) fn files_of(
        &self,
        manager: &DatabaseManager,
        runs: &[Uuid],
        deadline: &Deadline,
    ) -> Result<Vec<String>, StoreError> {
        let sql = format!(
            "SELECT rejects_file FROM {}.kill_load_run WHERE id = ANY ($1) AND rejects_file IS NOT NULL
             GROUP BY rejects_file ORDER BY max(started) DESC",
            self.schema
        );
        let runs = runs.to_vec();
        manager.run("looking up earlier reject files", deadline, move |client, _| {
            Ok(first_column(&client.query(&sql, &[&runs])?)?)
        })
    }
}
