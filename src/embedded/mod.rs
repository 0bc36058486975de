//! The private PostgreSQL of `--embedded DIR`: made, started, shared and stopped.
//!
//! - It listens on a Unix socket only, in a directory that only the user who owns it, and root, may enter.
//! - Its programs are the machine's own ([`Programs`]); run by root, they run as another user ([`Account`](account::Account)).
//! - It runs while somebody has a share in it ([`Embedded`]); who gives back the last share stops it, unless it was started
//!   to stay ([`Lifetime::UntilStopped`]). A share dies with its process, however that ends.
//! - A crash of anything, at any time, leaves it startable, with all that was committed.

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

use crate::embedded::error::EmbeddedError;
use crate::embedded::programs::Programs;
use crate::embedded::server::StartPhase;
use crate::error_chain::{concealed, in_full};
use jiff::Timestamp;
use std::path::{Path, PathBuf};

use crate::embedded::directory::{Directory, Lease, StartLock, Users};
use crate::embedded::server::{RunningServer, ServerState};

/// A share in the private PostgreSQL of one directory, which runs for as long as this lives.
#[derive(Debug)]
pub struct Embedded {
    directory: Directory,
    /// Taken when the share is given back.
    lease: Option<Lease>,
    url: String,
}

/// How long a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until nobody uses it any more.
    WhileUsed,
    /// Until [`stop`], used or not. When it crashes, or the machine restarts, the next user starts it, and it stays again.
    UntilStopped,
}

/// What giving back a share did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It was the last: the server was stopped.
    Stopped,
    /// Others use the server, which runs on.
    InUse,
    /// Nobody uses the server, which was started to stay, and runs on.
    Kept,
}

/// What [`stop`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// There is no private PostgreSQL in the directory.
    Missing,
    /// The server did not run.
    Already,
    /// The server ran, unused, and was stopped.
    Idle,
    /// The server was stopped while somebody used it.
    InUse,
}

/// What a directory's server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Its process lives, be it still starting or already stopping.
    Running {
        /// The process number of the postmaster.
        pid: i32,
        /// Where its database is.
        url: String,
        /// The major version, such as `15`.
        version: String,
        /// How long it runs.
        lifetime: Lifetime,
        /// When it was started, once it has told.
        since: Option<Timestamp>,
        /// Its socket.
        socket: PathBuf,
        /// Whether it takes connections.
        phase: StartPhase,
    },
    /// It can be started, and holds what was loaded.
    Stopped,
    /// There is none.
    Missing,
}

impl Embedded {
    /// Takes a share in the server of `dir`, which is made and started as needed.
    ///
    /// Waits while somebody else makes, starts or stops it. A start takes a second or so, the first one some seconds, one
    /// after a crash up to some minutes, as the server then replays its log. Fails where no server programs are found,
    /// where `dir` holds something else, where its data need another major version, and where a program fails.
    pub fn open(dir: &Path, lifetime: Lifetime) -> Result<Self, EmbeddedError> {
        let name = dir.to_string_lossy();
        if name.contains("://") {
            return Err(EmbeddedError::Url { shown: concealed(&name) });
        }
        if !Directory::has_data(dir) {
            // Before anything is made.
            Programs::find()?;
        }
        let directory = Directory::make(dir)?;
        let acting = directory.account().act();
        let opened = Self::open_directory(&directory, lifetime);
        drop(acting);
        match opened {
            Ok((lease, url)) => Ok(Self { directory, lease: Some(lease), url }),
            Err(error) => {
                directory.take_away();
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

    /// The database's URL, for `psql` as for the `postgres` crate: `postgresql:///kills?host=%2Fpath&port=5432&user=aegis`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Gives back the share, and stops the server if that was the last and it was not started to stay.
    ///
    /// Dropping does the same, and logs what fails.
    pub fn close(mut self) -> Result<Closed, EmbeddedError> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<Closed, EmbeddedError> {
        let _acting = self.directory.account().act();
        let start = self.directory.lock_start()?;
        // Between these two nobody can come in: a share is taken under the start lock.
        drop(self.lease.take());
        let users = self.directory.users(&start)?;
        match users {
            Users::Some => Ok(Closed::InUse),
            Users::None if self.directory.kept() => Ok(Closed::Kept),
            Users::None => server::stop(&self.directory, &start).map(|_| Closed::Stopped),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if self.lease.is_some()
            && let Err(error) = self.give_back()
        {
            log::warn!("the private PostgreSQL in {}: {}", self.directory.dir().display(), in_full(&error));
        }
    }
}

/// Stops the server of `dir`, whoever uses it: their sessions end, what they committed stays.
pub fn stop(dir: &Path) -> Result<Stopped, EmbeddedError> {
    let Some(directory) = with_data(dir)? else {
        return Ok(Stopped::Missing);
    };
    let _acting = directory.account().act();
    let start: StartLock = directory.lock_start()?;
    directory.keep_no_more(&start)?;
    let users = directory.users(&start)?;
    Ok(match (server::stop(&directory, &start)?, users) {
        (false, _) => Stopped::Already,
        (true, Users::None) => Stopped::Idle,
        (true, Users::Some) => Stopped::InUse,
    })
}

/// What the server of `dir` does. Nothing is changed, and nothing waited for.
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

/// The directory at `dir`, if it holds a cluster.
fn with_data(dir: &Path) -> Result<Option<Directory>, EmbeddedError> {
    let Some(directory) = Directory::existing(dir)? else {
        return Ok(None);
    };
    let acting = directory.account().act();
    let version = server::data_version(&directory)?;
    drop(acting);
    Ok(version.map(|_| directory))
}
