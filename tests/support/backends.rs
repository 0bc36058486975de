//! Owns what is done to a server's sessions from its own side: ended, frozen, refused, kept from writing.
//!
//! Invariant: what is done to a server is undone by a drop, so that a test that fails leaves it fit to be stopped.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::error::SqlState;
use postgres::{Client, NoTls};

use super::cluster::{Cluster, Database};
use super::eventually;

/// The name that the sessions of the program bear: its own, and the run.
const PROGRAM_NAME: &str = "aegis-kills %";

/// A session whose process is stopped: it holds what it holds, and says nothing.
pub(crate) struct Frozen(Pid);

/// A cluster whose transactions can't write.
pub(crate) struct ReadOnly<'a>(&'a Cluster);

/// The processes of the program's sessions in a database.
pub(crate) fn backends(database: &Database<'_>) -> Vec<i32> {
    backends_seen_by(&mut database.client())
}

fn backends_seen_by(client: &mut Client) -> Vec<i32> {
    let sql =
        "select pid from pg_stat_activity where datname = current_database() and application_name like $1";
    let rows = client.query(sql, &[&PROGRAM_NAME]).expect("sessions");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Ends the program's sessions in the database of a session, `most` of them at most, chosen at random; returns how many.
pub(crate) fn terminate(client: &mut Client, most: usize, random: &mut fastrand::Rng) -> usize {
    let mut pids = backends_seen_by(client);
    random.shuffle(&mut pids);
    pids.truncate(most);
    let sql = "select count(*) from unnest($1::int[]) pid where pg_terminate_backend(pid)";
    let ended: i64 = client.query_one(sql, &[&pids]).expect("sessions that end").get(0);
    usize::try_from(ended).expect("a count")
}

/// Opens sessions until the server has no room for another one. A drop of them all makes room.
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
    /// Stops the process of a session.
    pub(crate) fn new(backend: i32) -> Self {
        let pid = Pid::from_raw(backend);
        kill(pid, Signal::SIGSTOP).expect("a process of the test's server");
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may have been killed in the meantime.
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

impl<'a> ReadOnly<'a> {
    /// From now on each transaction that begins is read-only.
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
