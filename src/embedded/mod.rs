//! The private PostgreSQL of `--embedded DIR`: creates, starts, shares and stops it.
//!
//! - The server listens on a Unix socket only, in a directory that only its owner and root can enter.
//! - It uses the machine's own server programs ([`Programs`]). Under root, they run as another user
//!   ([`Account`](account::Account)).
//! - It runs while at least one process holds a lease ([`Embedded`]). The holder of the last lease stops it, unless it
//!   was started with [`Lifetime::UntilStopped`]. A lease ends with its process, however that ends.
//! - After a crash of anything at any time, it can be started again with all committed data.

pub(crate) mod account;
pub(crate) mod cluster;
pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod programs;
pub(crate) mod server;
pub(crate) mod size;
pub(crate) mod socket;

use crate::conceal::is_connection_string;
use crate::embedded::error::EmbeddedError;
use crate::embedded::programs::Programs;
use crate::embedded::server::ServerPhase;
use crate::error_chain::in_full;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

use crate::embedded::directory::{Directory, Lease};
use crate::embedded::server::{RunningServer, ServerState};

/// A lease of the private PostgreSQL in one directory. The server runs at least as long as this value lives.
#[derive(Debug)]
pub struct Embedded {
    directory: Directory,
    /// `None` after the lease was released.
    lease: Option<Lease>,
    url: String,
}

/// The lifetime of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until its last user is gone.
    WhileUsed,
    /// Until [`stop`], used or not. After a crash or a reboot, the next user starts it again with the same lifetime.
    UntilStopped,
}

/// The result of [`Embedded::close`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// This was the last lease: the server was stopped.
    Stopped,
    /// The server keeps running for other users.
    InUse,
    /// No users are left, but the server was started with [`Lifetime::UntilStopped`] and keeps running.
    Kept,
}

/// The result of [`stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The directory contains no private PostgreSQL.
    Missing,
    /// The server was not running.
    Already,
    /// The server had no users and was stopped.
    Idle,
    /// The server was stopped despite its users.
    InUse,
}

/// The state of a directory's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The process exists. It may be starting or stopping.
    Running {
        /// The process id of the postmaster.
        pid: i32,
        /// The URL of the database.
        url: String,
        /// The major version, such as `15`.
        version: String,
        /// The lifetime of the server.
        lifetime: Lifetime,
        /// The start time, once `postmaster.pid` contains it.
        since: Option<Timestamp>,
        /// The path of the socket.
        socket: PathBuf,
        /// Whether it accepts connections.
        phase: ServerPhase,
    },
    /// The server is not running. It can be started, and keeps the loaded data.
    Stopped,
    /// The directory contains no private PostgreSQL.
    Missing,
}

impl Embedded {
    /// Acquires a lease of the server of `dir`, and creates and starts the server if necessary.
    ///
    /// Waits while another process creates, starts or stops it. A start takes about a second, the first one some
    /// seconds. After a crash it can take minutes, because the server replays its log. Fails if no server programs are
    /// found, if `dir` contains other data, if the data needs another major version, or if a program fails.
    pub fn open(dir: &Path, lifetime: Lifetime) -> Result<Self, EmbeddedError> {
        check_directory_name(dir)?;
        if !Directory::has_data(dir) {
            // Check this before creating anything.
            Programs::find()?;
        }
        let directory = Directory::make(dir)?;
        let acting = directory.account().act();
        let opened = Self::open_directory(&directory, lifetime);
        drop(acting);
        match opened {
            Ok((lease, url)) => Ok(Self { directory, lease: Some(lease), url }),
            Err(error) => {
                directory.remove_created();
                Err(error)
            }
        }
    }

    fn open_directory(directory: &Directory, lifetime: Lifetime) -> Result<(Lease, String), EmbeddedError> {
        let start = directory.lock_start()?;
        let lease = directory.take_lease(&start)?;
        if server::data_version(directory)?.is_none() {
            directory.account().check_name()?;
            cluster::make(directory, &Programs::find()?, &start)?;
        }
        let url = server::ensure(directory, &start)?;
        if lifetime == Lifetime::UntilStopped {
            directory.keep(&start)?;
        }
        Ok((lease, url))
    }

    /// The URL of the database for `psql` and the `postgres` crate:
    /// `postgresql:///kills?host=%2Fpath&port=5432&user=aegis`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Releases the lease. The last release stops the server, unless it was started with [`Lifetime::UntilStopped`].
    ///
    /// Dropping does the same and logs errors.
    pub fn close(mut self) -> Result<Closed, EmbeddedError> {
        self.release()
    }

    fn release(&mut self) -> Result<Closed, EmbeddedError> {
        let _acting = self.directory.account().act();
        let start = self.directory.lock_start()?;
        // No other process can acquire a lease in between, because that requires the start lock.
        drop(self.lease.take());
        if self.directory.has_users(&start)? {
            return Ok(Closed::InUse);
        }
        if self.directory.kept() {
            return Ok(Closed::Kept);
        }
        server::stop(&self.directory, &start).map(|_| Closed::Stopped)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if self.lease.is_some()
            && let Err(error) = self.release()
        {
            log::warn!(
                "could not release the private PostgreSQL in {}: {}",
                self.directory.dir().display(),
                in_full(&error)
            );
        }
    }
}

/// Stops the server of `dir` even if it is in use. Open sessions are terminated, and committed data is kept.
pub fn stop(dir: &Path) -> Result<Stopped, EmbeddedError> {
    let Some(directory) = with_data(dir)? else {
        return Ok(Stopped::Missing);
    };
    let _acting = directory.account().act();
    let start = directory.lock_start()?;
    directory.clear_kept(&start)?;
    let is_used = directory.has_users(&start)?;
    Ok(match (server::stop(&directory, &start)?, is_used) {
        (false, _) => Stopped::Already,
        (true, false) => Stopped::Idle,
        (true, true) => Stopped::InUse,
    })
}

/// Returns the state of the server of `dir`, without waiting or changing anything.
pub fn status(dir: &Path) -> Result<Status, EmbeddedError> {
    let Some(directory) = with_data(dir)? else {
        return Ok(Status::Missing);
    };
    let _acting = directory.account().act();
    let ServerState::Alive(RunningServer { pid, since, port, socket, phase }) = server::state(&directory)?
    else {
        return Ok(Status::Stopped);
    };
    let place = socket.map_or_else(|| socket::place(&directory), Ok)?;
    let lifetime = if directory.kept() { Lifetime::UntilStopped } else { Lifetime::WhileUsed };
    Ok(Status::Running {
        pid,
        url: socket::url(&place, port),
        version: server::data_version(&directory)?.unwrap_or_default(),
        lifetime,
        since,
        socket: socket::path(&place),
        phase,
    })
}

/// Rejects a URL or a login in place of a directory, also if there is such a directory. Messages would repeat the password.
/// Rejects a name that begins with `~`: a shell expands it in `--embedded ~/kills`, but not in `--embedded=~/kills` or .env.
fn check_directory_name(dir: &Path) -> Result<(), EmbeddedError> {
    if is_connection_string(&dir.to_string_lossy()) {
        return Err(EmbeddedError::Url);
    }
    if dir.starts_with("~") { Err(EmbeddedError::Tilde { dir: dir.to_owned() }) } else { Ok(()) }
}

/// Returns the directory at `dir` if it contains a cluster.
fn with_data(dir: &Path) -> Result<Option<Directory>, EmbeddedError> {
    check_directory_name(dir)?;
    let Some(directory) = Directory::existing(dir)? else {
        return Ok(None);
    };
    let acting = directory.account().act();
    let version = server::data_version(&directory)?;
    drop(acting);
    Ok(version.map(|_| directory))
}
