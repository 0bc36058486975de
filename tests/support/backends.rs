//! Controls a server's sessions from the server's side: ends, freezes, denies, makes read-only.
//!
//! Invariant: a drop undoes each effect, so that a failed test leaves a server that can be stopped.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::error::SqlState;
use postgres::{Client, NoTls};

use super::cluster::{Cluster, Database};
use super::eventually;

/// The application name of the program's sessions, with the run's id.
const PROGRAM_NAME: &str = "aegis-kills %";

/// A session whose process is stopped. It keeps its locks and stays silent.
pub(crate) struct Frozen(Pid);

/// A cluster whose transactions are read-only.
pub(crate) struct ReadOnly<'a>(&'a Cluster);

/// The process ids of the program's sessions in a database.
pub(crate) fn backends(database: &Database<'_>) -> Vec<i32> {
    backends_seen_by(&mut database.client())
}

fn backends_seen_by(client: &mut Client) -> Vec<i32> {
    let sql =
        "select pid from pg_stat_activity where datname = current_database() and application_name like $1";
    let rows = client.query(sql, &[&PROGRAM_NAME]).expect("sessions");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Ends at most `most` random sessions of the program in the client's database. Returns their number.
pub(crate) fn terminate(client: &mut Client, most: usize, random: &mut fastrand::Rng) -> usize {
    let mut pids = backends_seen_by(client);
    random.shuffle(&mut pids);
    pids.truncate(most);
    let sql = "select count(*) from unnest($1::int[]) pid where pg_terminate_backend(pid)";
    let ended: i64 = client.query_one(sql, &[&pids]).expect("sessions that end").get(0);
    usize::try_from(ended).expect("a count")
}

/// Opens sessions until the server rejects another. Dropping them frees the slots.
pub(crate) fn occupy(cluster: &Cluster) -> Vec<Client> {
    let mut sessions = Vec::new();
    loop {
        match Client::connect(&cluster.url("postgres"), NoTls) {
            Ok(session) => sessions.push(session),
            Err(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => return sessions,
            Err(error) => panic!("{error:?}"),
        }
    }
}

impl Frozen {
    /// Stops a session's process.
    pub(crate) fn new(backend: i32) -> Self {
        let pid = Pid::from_raw(backend);
        kill(pid, Signal::SIGSTOP).expect("a process of the test's server");
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The process may have been killed meanwhile.
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

impl<'a> ReadOnly<'a> {
    /// Makes every new transaction read-only.
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        let read_only = Self(cluster);
        read_only.set("on");
        read_only
    }

    fn set(&self, value: &str) {
        let mut admin = self.0.admin();
        for sql in
            [&format!("alter system set default_transaction_read_only = {value}"), "select pg_reload_conf()"]
        {
            admin.batch_execute(sql).expect("a setting");
        }
        eventually(Duration::from_secs(10), "the setting is read", || {
            let row = self.0.admin().query_one("show default_transaction_read_only", &[]);
            row.expect("a setting").get::<_, &str>(0) == value
        });
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.set("off");
        }
    }
}
