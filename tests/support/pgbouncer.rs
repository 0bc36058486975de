//! A PgBouncer in transaction mode before a cluster, where the program is installed.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use aegis_kills::database::embedded::Account;

use super::cluster::{Cluster, Database};
use super::eventually;
use super::scratch::Scratch;

/// Fewer than the connections of a load, so that they share them.
pub(crate) const BACKENDS: u32 = 2;

/// The pooler; it ends when this is dropped.
pub(crate) struct PgBouncer {
    process: Child,
    port: u16,
    /// Below the process, so that it has ended when its folder goes.
    _folder: Scratch,
}

impl PgBouncer {
    /// None where it is not installed.
    pub(crate) fn before(cluster: &Cluster) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let program = folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())?;
        let folder = Scratch::new();
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port").port();
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=aegis\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
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
            .spawn()
            .expect("PgBouncer");
        eventually(Duration::from_secs(10), "PgBouncer listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self { process, port, _folder: folder })
    }

    /// The URL of a database by way of the pooler.
    pub(crate) fn url(&self, database: &Database<'_>) -> String {
        format!("postgresql://aegis@127.0.0.1:{}/{}", self.port, database.name())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Both fail once it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
