//! The client library's connection, used so that it also works behind a pooler that assigns another backend to each
//! transaction, such as PgBouncer in transaction mode.
//!
//! - Behind a pooler a statement has no name, and needs one round trip: only one backend would know the name.
//! - `COPY` needs a name. Behind a pooler it runs only inside a transaction, and the name ends with that.
//! - Behind a pooler the settings are made per transaction. Settings of a session would remain on a backend that
//!   others use. So each statement runs in a transaction, which has the search path.
//! - A session is set up in one message, and a transaction begins in the message of its first statements: each message
//!   that waits for its answer costs the latency of the network.
//! - A direct session keeps the statements of its transactions by name: the server parses and plans each of them
//!   once, not once per segment.

use crate::database::session::client_transaction::{
    ClientTransaction, GenericClient, KeptStatements, NamedStatement, PostgresResult, SqlValues, typed,
};
use crate::database::session::notices::Notices;
use crate::error_chain::in_full;
use postgres::error::SqlState;
use postgres::{CancelToken, Error, Row, SimpleQueryMessage};
use std::time::Duration;

/// The settings of a direct session, and of each transaction behind a pooler:
///
/// - The server detects a lost loader within a minute, and releases its locks.
/// - The watchdog ends stalled statements by the settings of the user, long before these time-outs. They end the
///   sessions of a frozen loader, and override shorter ones of the role or the database.
/// - The statements find rows by their keys alone. In a table that was never analyzed, the planner expects that a few
///   hundred ids are most of its rows. It would read the whole table per segment, or read it by another index and
///   sort.
/// - Rows that row-level security hides from a role are an error, not missing.
/// - JIT compilation takes longer than the statements themselves.
/// - Names in statements have no escapes other than doubled quotes.
/// - With Citus, a session has one connection per node, not one per shard. PostgreSQL without Citus accepts these
///   settings as custom ones.
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

/// Further settings of a direct session: the server detects a network that drops all packets.
const SESSION_SETTINGS: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "30"), ("tcp_keepalives_interval", "10"), ("tcp_keepalives_count", "3")];

/// Where names are looked up. Objects of others in `public` are not found: a function, an operator or a cast of theirs
/// that fits the values better would run with the role of the loader. The path is not among [`SETTINGS`], because `SET`
/// turns a quoted list into one name.
const PATH: &str = "pg_catalog, pg_temp";

fn search_path(is_local: bool) -> String {
    format!("SELECT pg_catalog.set_config('search_path', '{PATH}', {is_local})")
}

/// The search path of the role, the database or the URL.
const SESSION_PATH: &str = "SET search_path TO DEFAULT";

/// The value of `synchronous_commit`: committed data survives a crash of the server and a failover to a synchronous
/// standby, whatever the role, the database or the server sets, now or later. A stricter setting stays.
const SYNCHRONOUS_COMMIT: &str =
    "CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END";

/// Lets the current transaction commit without a wait for a synchronous standby: a backend that waits keeps its locks,
/// also when its client is gone. For DDL. A standby receives commits in order, so a later commit waits for this one too.
pub(crate) const LOCAL_COMMIT: &str = "SET LOCAL synchronous_commit = local";

/// Settings that some servers lack:
///
/// - A server before 13 has no incremental sort, which is a sort as well.
/// - Time-outs of later versions would end long transactions, or connections that are kept idle.
const VERSION_SETTINGS: [(&str, &str); 3] =
    [("enable_incremental_sort", "off"), ("transaction_timeout", "0"), ("idle_session_timeout", "0")];

/// The server ends a statement whose client is gone. Servers before 14 lack this setting, and on some systems it cannot
/// be set.
const CHECK_CLIENT: (&str, &str) = ("client_connection_check_interval", "10s");

/// The settings of a transaction behind a pooler that [`SETTINGS`] does not contain.
fn adjust() -> String {
    let values = VERSION_SETTINGS.map(|(name, value)| format!("('{name}', '{value}')")).join(", ");
    format!(
        "SELECT set_config('synchronous_commit', {SYNCHRONOUS_COMMIT}, true);
         SELECT set_config(name, value, true) FROM (VALUES {values}) AS settings (name, value)
         WHERE current_setting(name, true) IS NOT NULL"
    )
}

/// Sets up a session in one message, after [`FREE_OF_TIMEOUT`]: the answer to [`SESSION_QUERY`], then the settings. They
/// last for the session if its name came with the login, otherwise until the end of this transaction: behind a pooler
/// they would remain on a backend that others use.
fn set_up(name: &str, checks_client: bool) -> String {
    let end = ascii_end(name);
    let mut settings: Vec<String> = SETTINGS
        .iter()
        .chain(&SESSION_SETTINGS)
        .chain(&VERSION_SETTINGS)
        .chain(checks_client.then_some(&CHECK_CLIENT))
        .map(|(name, value)| format!("('{name}', '{value}')"))
        .collect();
    settings.push(format!("('search_path', '{PATH}')"));
    settings.push(format!("('synchronous_commit', {SYNCHRONOUS_COMMIT})"));
    format!(
        "{SESSION_QUERY};
         SELECT set_config(settings.name, settings.value, NOT session.is_direct)
         FROM (SELECT bool_or(right(setting, {}) = {}) IS TRUE AS is_direct FROM pg_settings
               WHERE name = 'application_name' AND source = 'client') AS session,
           (VALUES {}) AS settings (name, value)
         WHERE settings.name LIKE 'citus.%' OR current_setting(settings.name, true) IS NOT NULL;
         COMMIT",
        end.len(),
        escaped_literal(end),
        settings.join(", ")
    )
}

/// A text as a literal that does not depend on the settings of the role.
fn escaped_literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Frees the statement names of the client library, which numbers them from 0 in each process. Another program or
/// Prisma's engine may have left such names in the backend of the transaction.
const FREE_NAMES: &str = r"DO $$ DECLARE left_behind text; BEGIN
    FOR left_behind IN SELECT name FROM pg_prepared_statements WHERE name ~ '^s[0-9]+$' LOOP
        EXECUTE format('DEALLOCATE %I', left_behind);
    END LOOP;
END $$";

/// Queries the process id of the backend, and the name of the session if it came with the login. A pooler sets the
/// name later, or logs in with its own. Also queries whether the login, the role or the database is read-only by default.
const SESSION_QUERY: &str = "SELECT pg_backend_pid(),
       max(setting) FILTER (WHERE name = 'application_name' AND source = 'client'),
       bool_or(setting = 'on') FILTER (WHERE name = 'default_transaction_read_only' AND source LIKE ANY ('{user,database%,client}'))
     FROM pg_settings WHERE name IN ('application_name', 'default_transaction_read_only')";

/// Overrides the time-out and the path of the role or the database for the following statements. The next client of a
/// pooler is not affected.
const FREE_OF_TIMEOUT: &str =
    "BEGIN; SET LOCAL statement_timeout = '1min'; SET LOCAL search_path = pg_catalog, pg_temp";

/// The number of attempts to do so. One usually takes less than a millisecond.
const FREE_ATTEMPTS_MAX: u32 = 5;

pub(crate) struct Client {
    inner: postgres::Client,
    /// None behind a pooler, where the next transaction may have another backend.
    pid: Option<i32>,
    kept: KeptStatements,
    notices: Notices,
    /// Whether the role, the database or the options of the login are read-only by default.
    is_read_only: bool,
    /// Whether the session's own search path is set, which users of the client library's connection expect.
    has_session_path: bool,
}

impl Client {
    /// Sets up a session that was just opened. `name` is its requested `application_name`, and `notices` are its
    /// notices.
    pub(crate) fn new(mut inner: postgres::Client, name: &str, notices: Notices) -> PostgresResult<Self> {
        let answers = match inner.simple_query(&format!("{FREE_OF_TIMEOUT}; {}", set_up(name, true))) {
            Err(error) => set_up_in_steps(&mut inner, name, error)?,
            Ok(answers) => answers,
        };
        let row = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |column: usize| row.and_then(|row| row.try_get(column).ok().flatten());
        let is_direct = text(1).is_some_and(|found| found.ends_with(ascii_end(name)));
        let pid = text(0).filter(|_| is_direct).and_then(|pid| pid.parse().ok());
        let is_read_only = text(2) == Some("t");
        if !is_direct {
            log::debug!("connection pooler detected: settings are made per transaction");
        }
        Ok(Self {
            inner,
            pid,
            kept: KeptStatements::default(),
            notices,
            is_read_only,
            has_session_path: false,
        })
    }

    /// Whether `error` means that the role, the database or the options of the login are read-only by default.
    pub(crate) fn is_refused_as_read_only(&self, error: &Error) -> bool {
        self.is_read_only && error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether a COMMIT since the last call ended its wait for a standby early.
    pub(crate) fn take_standby_wait_cancelled(&self) -> bool {
        self.notices.take_standby_wait_cancelled()
    }

    /// The client library's connection, for users of this crate as a library.
    ///
    /// Names are looked up as the role and the database define, because the statements are not those of this program.
    pub(crate) fn raw(&mut self) -> &mut postgres::Client {
        if self.pid.is_some() && !self.has_session_path {
            // If this fails, the session is broken, which the next statement reports.
            self.has_session_path = self.inner.batch_execute(SESSION_PATH).is_ok();
        }
        &mut self.inner
    }

    /// Restores the search path before a statement of this program.
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

    /// The process id of the backend, if known.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.pid
    }

    pub(crate) fn cancel_token(&self) -> CancelToken {
        self.inner.cancel_token()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Tests whether the server responds.
    pub(crate) fn is_valid(&mut self, timeout: Duration) -> PostgresResult<()> {
        self.inner.is_valid(timeout)
    }

    /// Whether each statement needs a transaction.
    fn is_pooled(&self) -> bool {
        self.pid.is_none()
    }

    /// Runs a statement in a transaction of its own.
    fn pooled<T>(
        &mut self,
        run: impl FnOnce(&mut ClientTransaction<'_>) -> PostgresResult<T>,
    ) -> PostgresResult<T> {
        let mut transaction = self.transaction()?;
        let value = run(&mut transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    pub(crate) fn execute(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<u64> {
        if self.is_pooled() {
            return self.pooled(|transaction| transaction.execute(sql, values));
        }
        self.guard_path()?;
        self.inner.execute_typed(sql, &typed(values))
    }

    /// Runs statements without parameters, in one round trip without a pooler. Each sees the commits before its start.
    pub(crate) fn simple_query(&mut self, sql: &str) -> PostgresResult<Vec<SimpleQueryMessage>> {
        // An empty query measures the latency.
        if self.is_pooled() && !sql.is_empty() {
            return self.pooled(|transaction| transaction.simple_query(sql));
        }
        self.guard_path()?;
        self.inner.simple_query(sql)
    }

    pub(crate) fn transaction(&mut self) -> PostgresResult<ClientTransaction<'_>> {
        Ok(self.transaction_with("BEGIN", "")?.0)
    }

    /// Begins a transaction with `begin`, and runs `statements` in the same message, if there are any. Returns their
    /// answers, too. Each of the statements sees the commits before its start.
    pub(crate) fn transaction_with(
        &mut self,
        begin: &str,
        statements: &str,
    ) -> PostgresResult<(ClientTransaction<'_>, Vec<SimpleQueryMessage>)> {
        self.guard_path()?;
        let mut sql = vec![begin.to_owned()];
        if self.is_pooled() {
            sql.extend([search_path(true), set("SET LOCAL", &SETTINGS), adjust(), FREE_NAMES.to_owned()]);
        }
        sql.extend((!statements.is_empty()).then(|| statements.to_owned()));
        let kept = self.pid.map(|_| &mut self.kept);
        ClientTransaction::begin(&mut self.inner, kept, &self.notices, &sql.join("; "))
    }

    /// A read-only transaction, which sees the commits before its start.
    pub(crate) fn snapshot(&mut self) -> PostgresResult<ClientTransaction<'_>> {
        Ok(self.transaction_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", "")?.0)
    }

    /// The texts that prepare and run a statement with these literals, for the next
    /// [`transaction_with`](Self::transaction_with).
    pub(crate) fn with_values(
        &mut self,
        statement: &NamedStatement,
        literals: &[String],
    ) -> (String, String) {
        statement.with_values(self.pid.map(|_| &mut self.kept), literals)
    }
}

/// Sets up a session whose set-up in one message has failed with `error`: before version 13, a short statement time-out
/// of the role ends the whole message, and on some systems the server cannot check for lost clients.
fn set_up_in_steps(
    inner: &mut postgres::Client,
    name: &str,
    error: Error,
) -> PostgresResult<Vec<SimpleQueryMessage>> {
    let checks_client = match error.code() {
        Some(&SqlState::QUERY_CANCELED) => true,
        Some(&SqlState::INVALID_PARAMETER_VALUE) => {
            log::debug!("the server cannot detect lost clients: {}", in_full(&error));
            false
        }
        _ => return Err(error),
    };
    // This may be cancelled as well.
    drop(inner.batch_execute("ROLLBACK"));
    free_of_timeout(inner)?;
    inner.simple_query(&set_up(name, checks_client))
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

/// The end of a name that the server does not change: it replaces each byte that is not ASCII.
fn ascii_end(name: &str) -> &str {
    name.rsplit(|character: char| !character.is_ascii()).next().unwrap_or(name)
}

impl GenericClient for Client {
    fn query(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Vec<Row>> {
        if self.is_pooled() {
            return self.pooled(|transaction| transaction.query(sql, values));
        }
        self.guard_path()?;
        self.inner.query_typed(sql, &typed(values))
    }

    fn query_opt(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Option<Row>> {
        if self.is_pooled() {
            return self.pooled(|transaction| transaction.query_opt(sql, values));
        }
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
    fn literals_are_escaped() {
        for (text, literal) in [("a b", "E'a b'"), (r"it's \ 1", r"E'it\'s \\ 1'")] {
            assert_eq!(escaped_literal(text), literal);
        }
    }

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
