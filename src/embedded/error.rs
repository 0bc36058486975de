//! What can go wrong with a private PostgreSQL, each with its place and its remedy.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why a private PostgreSQL could not be found, made, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The machine has no server programs that this program knows how to find.
    #[error(
        "no PostgreSQL server programs (initdb, pg_ctl, postgres) on PATH or in the usual places; \
         install them ('apt install postgresql' on Debian and Ubuntu, 'dnf install postgresql-server' on Fedora \
         and Red Hat, 'brew install postgresql' or Postgres.app on macOS), or put their directory on PATH"
    )]
    NoPrograms,

    /// The data need server programs of a major version that is not there.
    #[error(
        "the data in {} were made by PostgreSQL {data}, and this machine has {found}; \
         install the server programs of PostgreSQL {data}, or choose another directory",
        directory.display()
    )]
    Version {
        /// The directory of the data.
        directory: PathBuf,
        /// The version that the data name.
        data: String,
        /// The versions found, for a reader.
        found: String,
    },

    /// The directory holds something, and nothing that says that it is ours.
    #[error(
        "{} is not empty and holds no private PostgreSQL of this program; choose a new or an empty directory",
        dir.display()
    )]
    Foreign {
        /// The directory that was asked for.
        dir: PathBuf,
    },

    /// A file in place of a directory.
    #[error("{} is no directory, and a private PostgreSQL needs one of its own; choose a new or an empty directory", dir.display())]
    NoDirectory {
        /// What was asked for.
        dir: PathBuf,
    },

    /// The path has a character that the server programs can't take.
    #[error(
        "the path {dir:?} has a control character, which PostgreSQL's programs refuse; choose another directory"
    )]
    Path {
        /// The directory that was asked for.
        dir: PathBuf,
    },

    /// Run by root, the server needs another account, and that one can't get to the directory.
    #[error(
        "the server can't run as root, and user {user} may not enter {}, which is on the way to {}; \
         choose a directory such as /var/lib/aegis-kills, or let others enter it with 'chmod o+x'",
        blocker.display(), dir.display()
    )]
    Blocked {
        /// The first directory on the way that the account may not enter.
        blocker: PathBuf,
        /// The directory that it needs.
        dir: PathBuf,
        /// The account's name.
        user: String,
    },

    /// The data belong to an account that the server can't run as.
    #[error(
        "{} belongs to user {owner}, and the server would run as {user}; run this as {owner} or as root, \
         or give the directory to {user} with 'chown -R'",
        directory.display()
    )]
    Owner {
        /// The directory of the data.
        directory: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who the server would run as.
        user: String,
    },

    /// A URL where a directory is needed.
    #[error("{shown} is a URL, and a directory is needed; a database is given by --database-url")]
    Url {
        /// The URL without its login.
        shown: String,
    },

    /// Something of another user's stands where this program would write.
    #[error(
        "{} is a link or no regular file, has a second name, or belongs to another user, and is not used; remove it",
        path.display()
    )]
    Planted {
        /// The place.
        path: PathBuf,
    },

    /// Run by root, and the machine has no account to drop to.
    #[error(
        "the server can't run as root, and this machine has neither a user postgres nor a user nobody; \
         make one of them, or run this as an ordinary user"
    )]
    NoAccount,

    /// The account that the server would run as has no entry in the user database, which the server programs need.
    #[error(
        "user id {uid} has no entry in /etc/passwd, and PostgreSQL's server programs start for no user without one; \
         add one, such as 'useradd --uid {uid} aegis', or run this as a user who has one"
    )]
    NoEntry {
        /// The user's number.
        uid: u32,
    },

    /// The directory meant for the socket can't be trusted with it.
    #[error(
        "the socket's directory {} is not a directory that only {user} may enter; remove it, or choose another with TMPDIR",
        directory.display()
    )]
    SocketDirectory {
        /// The directory meant for the socket.
        directory: PathBuf,
        /// Whose it must be.
        user: String,
    },

    /// No place for the socket has a path that is short enough.
    #[error(
        "the path of a socket in {} would be longer than the {max} bytes that this system allows; \
         choose a shorter path, or set TMPDIR to one",
        directory.display()
    )]
    SocketPath {
        /// The last directory that was tried.
        directory: PathBuf,
        /// The system's limit, in bytes.
        max: usize,
    },

    /// Something serves the directory's socket that is no process of this machine, as this program sees it.
    #[error(
        "a server answers on {}, but its process can't be seen from here; \
         is the directory shared with another container? stop the server there first",
        socket.display()
    )]
    Elsewhere {
        /// The socket that answers.
        socket: PathBuf,
    },

    /// One of the server programs could not be started.
    #[error("could not run {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// One of the server programs failed.
    #[error("{program} failed ({status}); {}", exit_status(log, tail))]
    Failed {
        /// The program's name.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of what it wrote.
        tail: String,
        /// Where the rest is.
        log: PathBuf,
    },

    /// The server did not get there in time.
    #[error("the server of {} was not {wanted} after {} s; see {}", dir.display(), limit.as_secs(), log.display())]
    Timeout {
        /// The directory that was asked for.
        dir: PathBuf,
        /// What was waited for: "ready" or "stopped".
        wanted: &'static str,
        /// How long it was waited for.
        limit: Duration,
        /// The server's log.
        log: PathBuf,
    },

    /// Somebody else has the directory's lock and does not give it back.
    #[error(
        "{} is locked by another process for more than {} min; see which one with: fuser {}",
        path.display(), limit.as_secs() / 60, path.display()
    )]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },

    /// One of the server programs did not end in time, and was stopped.
    #[error("{program} did not end within {} min, and was stopped; {}", limit.as_secs() / 60, exit_status(log, tail))]
    Endless {
        /// The program's name.
        program: &'static str,
        /// How long it was waited for.
        limit: Duration,
        /// The last lines of what it wrote.
        tail: String,
        /// Where the rest is.
        log: PathBuf,
    },

    /// A file or directory could not be read, made or changed.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// Whether the directory that was named can't be one of a private PostgreSQL.
    pub fn is_wrong_directory(&self) -> bool {
        matches!(self, Self::Foreign { .. } | Self::NoDirectory { .. } | Self::Path { .. } | Self::Url { .. })
    }
}

fn exit_status(log: &Path, tail: &str) -> String {
    if tail.is_empty() {
        format!("it wrote nothing to {}", log.display())
    } else {
        format!("the end of {}:\n{tail}", log.display())
    }
}

/// Names the place of an I/O error.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, EmbeddedError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, EmbeddedError> {
        self.map_err(|error| EmbeddedError::Io { action, path: path.to_path_buf(), source: error.into() })
    }
}
