//! The DDL of the ledger, and the schema version of all tables, which is in the comment on `kill_load_segment`.
//!
//! Invariant: a load looks up the objects it needs in the catalog and never infers them from the version. The version
//! is for people, and warns a program that is older than the tables.

use crate::database::ledger::comments::LEDGER_COMMENTS;
use crate::database::ledger::files;
use crate::layout::ddl::comments;
use crate::layout::identifier::quote_identifier;

/// The ledger's tables.
pub(crate) const LEDGER: [&str; 3] = ["kill_load_run", "kill_load_segment", "kill_load_file"];

/// The text before the version in the comment on `kill_load_segment`.
const VERSION_MARK: &str = "schema version ";

/// The DDL of the ledger's tables. It creates missing tables and keeps existing ones.
pub(crate) fn ddl(name: &str) -> String {
    let schema = quote_identifier(name);
    format!(
        "CREATE TABLE IF NOT EXISTS {schema}.kill_load_run (
  id uuid PRIMARY KEY,
  started timestamptz NOT NULL DEFAULT now(),
  finished timestamptz,
  status text NOT NULL,
  server text NOT NULL,
  layout text NOT NULL,
  sources text[] NOT NULL,
  lines bigint NOT NULL DEFAULT 0,
  events bigint NOT NULL DEFAULT 0,
  inserted bigint NOT NULL DEFAULT 0,
  updated bigint NOT NULL DEFAULT 0,
  duplicate bigint NOT NULL DEFAULT 0,
  already_loaded bigint NOT NULL DEFAULT 0,
  rejected bigint NOT NULL DEFAULT 0,
  rejected_before bigint NOT NULL DEFAULT 0,
  unfinished bigint NOT NULL DEFAULT 0,
  bytes_read bigint NOT NULL DEFAULT 0,
  bytes_uncompressed bigint NOT NULL DEFAULT 0,
  segments bigint NOT NULL DEFAULT 0,
  segments_skipped bigint NOT NULL DEFAULT 0,
  retries bigint NOT NULL DEFAULT 0,
  connection_errors bigint NOT NULL DEFAULT 0,
  rejects_file text,
  table_schema text,
  error text,
  version text NOT NULL
);

CREATE TABLE IF NOT EXISTS {schema}.kill_load_segment (
  hash bytea NOT NULL,
  server text NOT NULL,
  layout text NOT NULL,
  run uuid NOT NULL,
  number bigint NOT NULL,
  lines bigint NOT NULL,
  events bigint NOT NULL,
  inserted bigint NOT NULL,
  updated bigint NOT NULL,
  duplicate bigint NOT NULL,
  rejected bigint NOT NULL,
  reported boolean NOT NULL DEFAULT false,
  loaded_at timestamptz NOT NULL DEFAULT now(),
  first_event_id bigint,
  last_event_id bigint,
  oldest_event timestamptz,
  PRIMARY KEY (hash, server, layout)
);

{}",
        files::ddl(name)
    )
}

/// The statement that records the version. Only the owner of `kill_load_segment` can run it.
pub(crate) fn version_statement(schema: &str) -> String {
    let is_of_segments = |table: &str, column: Option<&str>| table == "kill_load_segment" && column.is_none();
    comments(&LEDGER_COMMENTS, schema, is_of_segments).trim_end().trim_end_matches(';').to_owned()
}

/// The statement that records the version if the role owns the table.
pub(crate) fn note_version(schema: &str) -> String {
    let table = format!("{}.kill_load_segment", quote_identifier(schema));
    let comment = version_statement(schema);
    let mut quotes = "$$".to_owned();
    while comment.contains(&quotes) || table.contains(&quotes) {
        quotes.insert(1, '_');
    }
    format!(
        "DO {quotes} BEGIN
IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('{}') AND pg_has_role(relowner, 'USAGE')) THEN
  {comment};
END IF;
END {quotes};
",
        table.replace('\'', "''")
    )
}

/// The version in the comment on existing tables; `None` if it is not recorded, as in release 0.1.0.
pub(crate) fn version(comment: &str) -> Option<u32> {
    let (_, version) = comment.rsplit_once(VERSION_MARK)?;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::ledger::comments::SCHEMA_VERSION;

    #[test]
    fn the_version_is_in_the_comment() {
        assert_eq!(version(&version_statement("x")), Some(SCHEMA_VERSION));
        for (comment, expected) in
            [("", None), ("mine", None), ("mine; schema version 7", Some(7)), ("schema version x", None)]
        {
            assert_eq!(version(comment), expected, "{comment}");
        }
    }
}
