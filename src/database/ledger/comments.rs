//! Comments on the tables and columns of the ledger, which PostgreSQL shows with `\d+`.

use crate::layout::comments::Comments;

/// The version of the tables that this program creates, as a literal for the comment.
///
/// - 1: release 0.1.0.
/// - 2: `kill_load_file`, the event ranges of segments, reported rejects, the table schema of runs, indexes for guild
///   deaths and alliances.
macro_rules! schema_version {
    () => {
        2
    };
}

/// The version of the tables that this program creates.
pub(crate) const SCHEMA_VERSION: u32 = schema_version!();

pub(crate) static LEDGER_COMMENTS: [Comments; 3] = [
    Comments {
        table: "kill_load_run",
        text: "One row per run of aegis-kills load",
        columns: &[
            ("id", "The run, as in the summary"),
            ("started", "Start of the run, by the clock of the database"),
            ("finished", "End of the run; NULL while it runs"),
            ("status", "running, or the status of the summary"),
            ("server", "Game server"),
            ("layout", "Layout of the tables, as in --layout"),
            ("sources", "Files and directories, as given"),
            ("lines", "Lines read"),
            ("events", "Events read: the sum of the outcomes"),
            ("inserted", "New events"),
            ("updated", "Events replaced with --on-conflict update"),
            ("duplicate", "Events stored before, or repeated in the input"),
            ("already_loaded", "Events of segments and files that the ledger contained"),
            ("rejected", "Events in a reject file"),
            ("rejected_before", "The part of rejected that an earlier run had reported"),
            ("unfinished", "Events read, but not stored"),
            ("bytes_read", "Bytes read, compressed or not"),
            ("bytes_uncompressed", "Bytes of text"),
            ("segments", "Segments read"),
            ("segments_skipped", "Segments that the ledger contained"),
            ("retries", "Operations retried"),
            ("connection_errors", "Connections lost or not opened"),
            ("rejects_file", "Absolute path of the reject file"),
            ("table_schema", "Schema of the tables, if the ledger is in another one"),
            ("error", "Cause of a failure"),
            ("version", "Version of the program"),
        ],
    },
    Comments {
        table: "kill_load_segment",
        text: concat!(
            "One row per loaded segment of a dump, written in the transaction of its events; schema version ",
            schema_version!()
        ),
        columns: &[
            ("hash", "Digest of the bytes, and of the options and tables that matter"),
            ("server", "Game server"),
            ("layout", "Layout of the tables, as in --layout"),
            ("run", "kill_load_run.id of the run that stored it"),
            ("number", "Position in the input, from 0"),
            ("lines", "Lines"),
            ("events", "Events"),
            ("inserted", "New events"),
            ("updated", "Replaced events"),
            ("duplicate", "Events stored before"),
            ("rejected", "Rejected events"),
            ("reported", "Whether the reject file of the run is complete"),
            ("loaded_at", "Time of the transaction"),
            ("first_event_id", "Lowest event id"),
            ("last_event_id", "Highest event id"),
            ("oldest_event", "Earliest time of an event; delete --before uses it"),
        ],
    },
    Comments {
        table: "kill_load_file",
        text: "One row per completely loaded file",
        columns: &[
            ("name", "Absolute path"),
            ("server", "Game server"),
            ("layout", "Layout of the tables, as in --layout"),
            ("size", "Bytes"),
            ("mtime_ns", "Modification time in ns since 1970"),
            ("ctime_ns", "Change time in ns since 1970"),
            ("inode", "Inode"),
            ("run", "kill_load_run.id of the run that completed it"),
            ("lines", "Lines"),
            ("events", "Events"),
            ("segments", "kill_load_segment.hash of each segment"),
            ("reading", "Digest of --events-at, --battle, --nul and of the tables"),
            ("loaded_at", "Time of the entry"),
        ],
    },
];
