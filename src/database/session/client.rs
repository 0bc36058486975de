//! The client library's connection, spoken to in a way that also works behind a pooler that hands out another backend for
//! each transaction, such as PgBouncer in transaction mode.
//!
//! - Behind a pooler a statement has no name, and needs one round trip: a name would be known to one backend alone.
//! - `COPY` can't do without a name. There it is used inside a transaction only, and is gone when that ends.
//! - Behind a pooler the settings are made for each transaction anew, as those of a session would stay with a backend that
//!   others use.
//! - A session of our own keeps the statements of its transactions by name: the server reads and plans each of them
//!   once, not for each segment.

use crate::database::session::client_transaction::{
    ClientTransaction, GenericClient, KeptStatements, PostgresResult, SqlValues, typed,
};
use crate::database::session::notices::Notices;
use crate::error_chain::in_full;
use postgres::error::SqlState;
use postgres::{CancelToken, Error, IsolationLevel, Row, SimpleQueryMessage};
use std::time::Duration;

/// What a session of our own is set to, and each transaction behind a pooler:
///
/// - The server notices within a minute when the loader is gone, and gives back the locks.
/// - What stands still the watchdog ends, by the settings of the user, and long before these time-outs: they end what a
///   loader left behind that is frozen itself, and overrule shorter ones that the role or the database is set to.
/// - The statements find rows by their keys alone. Of a table that was never analyzed the planner would think that
///   a few hundred ids are most of its rows, and read it whole for each segment; or read it by another index, and sort.
/// - Rows that row-level security hides from a role are an error, not missing.
/// - Nothing that they do is worth compiling, which takes longer than the statement itself.
/// - The names that are part of statements have no escapes but doubled quotes.
/// - Where there is Citus, a session has one connection to each node, not one to each shard. PostgreSQL without it takes what
///   is called so for no setting of its own.
const SETTINGS: [(&str, &str); 11] = [
    ("citus.multi_shard_modify_mode", "sequential"),
    ("citus.max_adaptive_executor_pool_size", "1"),
    ("idle_in_transaction_session_timeout", "1min"),
    ("statement_timeout", "1h"),
    ("lock_timeout", "30min"),
    ("row_security", "off"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
    ("enable_seqscan", "off"),
    ("enable_sort", "off"),
    ("jit", "off"),
];

/// What a session of our own is set to besides: the server notices when the network swallows all.
const SESSION_SETTINGS: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "30"), ("tcp_keepalives_interval", "10"), ("tcp_keepalives_count", "3")];

/// Where names of statements are looked up: what others have put into `public`, where they may, is not found there. A function,
/// an operator or a cast of theirs that fits the values better would run as the loader's role. It can't be among [`SETTINGS`]:
/// quotes make one name of a list.
fn search_path(is_local: bool) -> String {
    format!("SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', {is_local})")
}

/// The path that the role, the database or the URL sets.
const SESSION_PATH: &str = "SET search_path TO DEFAULT";

/// Settings that depend on what is there:
///
/// - What was committed outlives a crash of the server, and a failover to a synchronous standby, whatever the role, the
///   database or the server is set to, or is set to later. A stricter setting stays.
/// - A server before 13 has no incremental sort, which is a sort as well.
/// - Time-outs of later versions end what takes long, or connections that are kept idle.
fn adjust(is_local: bool) -> String {
    format!(
        "SELECT set_config('synchronous_commit',
           CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, {is_local});
         SELECT set_config(name, CASE name WHEN 'enable_incremental_sort' THEN 'off' ELSE '0' END, {is_local})
         FROM pg_settings WHERE name IN ('enable_incremental_sort', 'transaction_timeout', 'idle_session_timeout')"
    )
}

/// The server ends a statement whose client has gone. One before 14, or on a system that can't tell, has no such setting.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = '10s'";

/// Makes room for the names of the client library, which it numbers from 0 in each process: what another program, or
/// Prisma's engine, has left behind in the backend that a transaction was given is in the way.
const FREE_NAMES: &str = r"DO $$ DECLARE left_behind text; BEGIN
    FOR left_behind IN SELECT name FROM pg_prepared_statements WHERE name ~ '^s[0-9]+$' LOOP
        EXECUTE format('DEALLOCATE %I', left_behind);
    END LOOP;
END $$";

/// The server's process, and the session's name if it came with the login: a pooler sets the name afterwards, or logs in
/// with one of its own. And whether the role or the database is set to write nothing.
const LOOK: &str = "SELECT pg_backend_pid(),
       max(setting) FILTER (WHERE name = 'application_name' AND source = 'client'),
       bool_or(setting = 'on') FILTER (WHERE name = 'default_transaction_read_only' AND source LIKE ANY ('{user,database%}'))
     FROM pg_settings WHERE name IN ('application_name', 'default_transaction_read_only')";

/// Frees what follows from a time-out and a path that the role or the database is set to. A pooler's next client does not find it.
const FREE_OF_TIMEOUT: &str =
    "BEGIN; SET LOCAL statement_timeout = '1min'; SET LOCAL search_path = pg_catalog, pg_temp";

/// How often that is tried, as it takes less than a millisecond mostly.
const FREE_ATTEMPTS_MAX: u32 = 5;

/// A connection.
pub(crate) struct Client {
    inner: postgres::Client,
    /// None behind a pooler: the next transaction may be another process's.
    pid: Option<i32>,
    kept: KeptStatements,
    notices: Notices,
    /// Whether the role or the database is set to write nothing.
    is_read_only: bool,
    /// Whether names are looked up by the session's own path, as users of the client library's own expect it.
    has_session_path: bool,
}

impl Client {
    /// Makes a session that was just opened ready; `name` is what it was to call itself, and `notices` come from it.
    pub(crate) fn new(mut inner: postgres::Client, name: &str, notices: Notices) -> PostgresResult<Self> {
        free_of_timeout(&mut inner)?;
        let answers = inner.simple_query(LOOK)?;
        let row = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |column: usize| row.and_then(|row| row.try_get(column).ok().flatten());
        let is_own = text(1).is_some_and(|found| found.ends_with(ascii_end(name)));
        let pid = text(0).filter(|_| is_own).and_then(|pid| pid.parse().ok());
        let is_read_only = text(2) == Some("t");
        if is_own {
            let settings = [
                "COMMIT".to_owned(),
                search_path(false),
                set("SET", &SETTINGS),
                set("SET", &SESSION_SETTINGS),
                adjust(false),
            ];
            inner.batch_execute(&settings.join("; "))?;
            if let Err(error) = inner.batch_execute(CHECK_CLIENT) {
                log::debug!("the server can't watch for lost clients: {}", in_full(&error));
            }
        } else {
            log::debug!("there is a pooler before the database: settings are made for each transaction");
            inner.batch_execute("COMMIT")?;
        }
        Ok(Self { inner, pid, kept: KeptStatements::new(), notices, is_read_only, has_session_path: false })
    }

    /// Whether `error` says that nothing may be written, as the role or the database is set so.
    pub(crate) fn is_refused_as_read_only(&self, error: &Error) -> bool {
        self.is_read_only && error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether a COMMIT since the last call has not waited for its standby to the end.
    pub(crate) fn take_standby_wait_cancelled(&self) -> bool {
        self.notices.take_standby_wait_cancelled()
    }

    /// The client library's own, for those who use this crate as a library.
    ///
    /// Names are looked up as the role and the database have it: the statements are not ours.
    pub(crate) fn raw(&mut self) -> &mut postgres::Client {
        if self.pid.is_some() && !self.has_session_path {
            // A session that does not take it is broken, which the statement that follows shows.
            self.has_session_path = self.inner.batch_execute(SESSION_PATH).is_ok();
        }
        &mut self.inner
    }

    /// Before a statement of ours.
    fn guard_path(&mut self) -> PostgresResult<()> {
        if self.has_session_path {
            self.inner.batch_execute(&search_path(false))?;
            self.has_session_path = false;
        }
        Ok(())
    }

    pub(crate) fn raw_ref(&self) -> &postgres::Client {
        &self.inner
    }

    /// The process number of the backend, where it is known.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.pid
    }

    pub(crate) fn cancel_token(&self) -> CancelToken {
        self.inner.cancel_token()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Asks whether the server is there.
    pub(crate) fn is_valid(&mut self, timeout: Duration) -> PostgresResult<()> {
        self.inner.is_valid(timeout)
    }

    pub(crate) fn execute(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<u64> {
        self.guard_path()?;
        self.inner.execute_typed(sql, &typed(values))
    }

    /// Statements without values, in one round trip; each sees what was committed before it began.
    pub(crate) fn simple_query(&mut self, sql: &str) -> PostgresResult<Vec<SimpleQueryMessage>> {
        self.guard_path()?;
        self.inner.simple_query(sql)
    }

    pub(crate) fn transaction(&mut self) -> PostgresResult<ClientTransaction<'_>> {
        self.guard_path()?;
        let inner = self.inner.transaction()?;
        Self::prepared(inner, self.pid, &mut self.kept, &self.notices)
    }

    /// A transaction that only reads, and sees what was committed when it began.
    pub(crate) fn snapshot(&mut self) -> PostgresResult<ClientTransaction<'_>> {
        self.guard_path()?;
        let builder = self.inner.build_transaction();
        let inner = builder.isolation_level(IsolationLevel::RepeatableRead).read_only(true).start()?;
        Self::prepared(inner, self.pid, &mut self.kept, &self.notices)
    }

    fn prepared<'c>(
        mut inner: postgres::Transaction<'c>,
        pid: Option<i32>,
        kept: &'c mut KeptStatements,
        notices: &'c Notices,
    ) -> PostgresResult<ClientTransaction<'c>> {
        let kept = pid.map(|_| kept);
        if kept.is_none() {
            let settings =
                [search_path(true), set("SET LOCAL", &SETTINGS), adjust(true), FREE_NAMES.to_owned()];
            inner.batch_execute(&settings.join("; "))?;
        }
        Ok(ClientTransaction { inner, kept, notices })
    }
}

fn free_of_timeout(client: &mut postgres::Client) -> PostgresResult<()> {
    let mut attempt = 1;
    loop {
        match client.batch_execute(FREE_OF_TIMEOUT) {
            Err(error) if attempt < FREE_ATTEMPTS_MAX && error.code() == Some(&SqlState::QUERY_CANCELED) => {
                // This may be cancelled as well.
                drop(client.batch_execute("ROLLBACK"));
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// The end of a name that the server keeps as it is: it replaces each byte that is not ASCII.
fn ascii_end(name: &str) -> &str {
    name.rsplit(|character: char| !character.is_ascii()).next().unwrap_or(name)
}

impl GenericClient for Client {
    fn query(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Vec<Row>> {
        self.guard_path()?;
        self.inner.query_typed(sql, &typed(values))
    }

    fn query_opt(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Option<Row>> {
        self.guard_path()?;
        self.inner.query_typed_opt(sql, &typed(values))
    }
}

fn set(command: &str, settings: &[(&str, &str)]) -> String {
    let statement = |(name, value): &(&str, &str)| format!("{command} {name} = '{value}'");
    settings.iter().map(statement).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_server_changes() {
        for (name, end) in [
            ("aegis-kills 0b8d", "aegis-kills 0b8d"),
            ("\u{e9}t\u{e9} 0b8d", " 0b8d"),
            ("\u{e9}", ""),
            ("", ""),
        ] {
            assert_eq!(ascii_end(name), end, "{name}");
        }
    }
}
