//! A PgBouncer in front of a cluster, if installed.

use std::fs;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use aegis_kills::Account;

use super::cluster::{Cluster, Database};
use super::process::{Process, Supervised as _};
use super::scratch::Scratch;
use super::{eventually, find_program, free_port, not_tried};

/// Fewer than the connections of a load, so that they are shared.
pub(crate) const BACKENDS: u32 = 2;

/// The pooler, which ends when this is dropped.
pub(crate) struct PgBouncer {
    _process: Process,
    port: u16,
    /// Declared after the process, so that the process ends before its directory is removed.
    _directory: Scratch,
}

impl PgBouncer {
    /// Starts a pooler. If it is not installed, reports that the test is skipped.
    pub(crate) fn before(cluster: &Cluster) -> Option<Self> {
        Self::in_mode("transaction", cluster)
    }

    /// The same in another pooling mode.
    pub(crate) fn in_mode(mode: &str, cluster: &Cluster) -> Option<Self> {
        let Some(program) = find_program(&["pgbouncer"], &["/usr/sbin"]) else {
            not_tried("a load behind a PgBouncer", "it is not installed");
            return None;
        };
        let (directory, port) = (Scratch::new(), free_port());
        let settings = directory.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=aegis\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
             default_pool_size = {BACKENDS}\n",
            cluster.port()
        );
        fs::write(&settings, text).expect("a file");
        let account = Account::for_paths(&[]).expect("an account");
        let process = account
            .command(&program)
            .arg("-q")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .supervised()
            .expect("PgBouncer");
        process.set_deadline(None);
        eventually(Duration::from_secs(10), "PgBouncer listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self { _process: process, port, _directory: directory })
    }

    /// The URL of a database through the pooler.
    pub(crate) fn url(&self, database: &Database<'_>) -> String {
        format!("postgresql://aegis@127.0.0.1:{}/{}", self.port, database.name())
    }
}
