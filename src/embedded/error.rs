//! Errors of a private PostgreSQL. Each message includes the place and the remedy.

use crate::shell::shell_quoted;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// The reason why a private PostgreSQL could not be found, created, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No server programs were found on this machine.
    #[error(
        "no PostgreSQL server programs (initdb, pg_ctl, postgres) found on PATH or in the usual directories\nhint: \
         install them ('apt install postgresql' on Debian and Ubuntu, 'dnf install postgresql-server' on Fedora \
         and Red Hat, 'brew install postgresql' or Postgres.app on macOS), or add their directory to PATH"
    )]
    NoPrograms,

    /// The data needs server programs of a major version that is not installed.
    #[error(
        "the data in {} was created by PostgreSQL {data}, but this machine has {found}\nhint: \
         install the server programs of PostgreSQL {data}, or choose another directory",
        directory.display()
    )]
    Version {
        /// The directory of the data.
        directory: PathBuf,
        /// The major version that created the data.
        data: String,
        /// The versions found, for display.
        found: String,
    },

    /// The directory is not empty and has no lock file of this program.
    #[error(
        "{} is not empty and contains no private PostgreSQL of aegis-kills\nhint: choose a new or an empty directory",
        dir.display()
    )]
    Foreign {
        /// The given directory.
        dir: PathBuf,
    },

    /// The directory has no private PostgreSQL, and the command does not create one.
    #[error(
        "{} contains no private PostgreSQL of aegis-kills\nhint: name the directory of 'load --embedded' or 'embedded start'",
        dir.display()
    )]
    NotPrivate {
        /// The given directory.
        dir: PathBuf,
    },

    /// The path is not a directory.
    #[error(
        "{} is not a directory, but a private PostgreSQL needs one of its own\nhint: choose a new or an empty directory; to load \
         this file, write the directory before it, such as: --embedded ~/kills {}",
        dir.display(), shell_quoted(&dir.to_string_lossy())
    )]
    NoDirectory {
        /// The given path.
        dir: PathBuf,
    },

    /// The path contains a character that the server programs do not accept.
    #[error(
        "the path {dir:?} contains a control character, which PostgreSQL's programs reject\nhint: \
         choose another directory"
    )]
    Path {
        /// The given directory.
        dir: PathBuf,
    },

    /// Under root, the server runs as another account, which can't enter the directory.
    #[error(
        "the server can't run as root, and user {user} can't enter {}, which is on the path to {}\nhint: \
         choose a directory such as /var/lib/aegis-kills, or grant access to it with 'chmod o+x'",
        blocker.display(), dir.display()
    )]
    Blocked {
        /// The first directory on the path that the account can't enter.
        blocker: PathBuf,
        /// The directory that the server needs.
        dir: PathBuf,
        /// The account's name.
        user: String,
    },

    /// The data belongs to an account that the server can't run as.
    #[error(
        "{} belongs to user {owner}, but the server would run as {user}\nhint: {}, or give the directory to {user} with \
         'chown -R'",
        directory.display(), other_way(owner)
    )]
    Owner {
        /// The directory of the data.
        directory: PathBuf,
        /// The owner of the data.
        owner: String,
        /// The user that the server would run as.
        user: String,
    },

    /// A URL was given instead of a directory.
    #[error(
        "'{shown}' is a connection string, but a directory is expected\nhint: use --database-url for a database, or write \
         ./ before the name of a directory"
    )]
    Url {
        /// At most the scheme of the URL.
        shown: String,
    },

    /// A file or link of another user is at a path that this program would write.
    #[error(
        "{} is unsafe to use: it is a link or of an unexpected type, has a second name, \
         or belongs to another user\nhint: remove it",
        path.display()
    )]
    Planted {
        /// The path of the file or link.
        path: PathBuf,
    },

    /// The program runs as root, and the machine has no account for the server.
    #[error(
        "the server can't run as root, and this machine has neither a user postgres nor a user nobody\nhint: \
         create one of them, or run this as an ordinary user"
    )]
    NoAccount,

    /// The server's account has no entry in the user database, which the server programs require.
    #[error(
        "user id {uid} has no entry in /etc/passwd, which PostgreSQL's server programs require\nhint: \
         add one, for example with 'useradd --uid {uid} aegis', or run this as a user with an entry"
    )]
    NoEntry {
        /// The user id.
        uid: u32,
    },

    /// The directory for the socket is not private.
    #[error(
        "the socket directory {} is not a directory that only {user} can enter\nhint: remove it, or choose another with TMPDIR",
        directory.display()
    )]
    SocketDirectory {
        /// The directory for the socket.
        directory: PathBuf,
        /// The required owner.
        user: String,
    },

    /// Every possible path of the socket is too long.
    #[error(
        "the path of a socket in {} would exceed the system's limit of {max} bytes\nhint: \
         choose a shorter path, or set TMPDIR to one",
        directory.display()
    )]
    SocketPath {
        /// The last directory that was considered.
        directory: PathBuf,
        /// The system's limit, in bytes.
        max: usize,
    },

    /// A server answers on the directory's socket, but its process is not visible on this machine.
    #[error(
        "a server answers on {}, but its process is not visible here\nhint: \
         if another container shares the directory, stop the server there first",
        socket.display()
    )]
    Elsewhere {
        /// The path of the socket.
        socket: PathBuf,
    },

    /// A server program could not be started.
    #[error("could not run {}", program.display())]
    Spawn {
        /// The path of the program.
        program: PathBuf,
        /// The system error.
        source: io::Error,
    },

    /// A server program failed.
    #[error("{program} failed ({status}); {}", log_excerpt(log, tail))]
    Failed {
        /// The name of the program.
        program: &'static str,
        /// The exit status.
        status: ExitStatus,
        /// The last lines of its output.
        tail: String,
        /// The file with the complete output.
        log: PathBuf,
    },

    /// The server was not ready or stopped in time.
    #[error("the private PostgreSQL in {} was not {wanted} after {} s\nhint: see {}", dir.display(), limit.as_secs(), log.display())]
    Timeout {
        /// The given directory.
        dir: PathBuf,
        /// The awaited state: "ready" or "stopped".
        wanted: &'static str,
        /// The time limit.
        limit: Duration,
        /// The server's log.
        log: PathBuf,
    },

    /// Another process has held the directory's lock for too long.
    #[error(
        "{} has been locked by another process for more than {} min\nhint: find it with: fuser {}",
        path.display(), limit.as_secs() / 60, path.display()
    )]
    Locked {
        /// The path of the lock.
        path: PathBuf,
        /// The time limit.
        limit: Duration,
    },

    /// A server program did not finish in time and was killed.
    #[error("{program} did not finish within {} min and was killed; {}", limit.as_secs() / 60, log_excerpt(log, tail))]
    Endless {
        /// The name of the program.
        program: &'static str,
        /// The time limit.
        limit: Duration,
        /// The last lines of its output.
        tail: String,
        /// The file with the complete output.
        log: PathBuf,
    },

    /// A file or directory could not be read, created or changed.
    #[error("could not {action} {}", path.display())]
    Io {
        /// The failed action.
        action: &'static str,
        /// The path of the file or directory.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// Whether the given directory is unsuitable for a private PostgreSQL.
    pub fn is_wrong_directory(&self) -> bool {
        matches!(
            self,
            Self::Foreign { .. }
                | Self::NotPrivate { .. }
                | Self::NoDirectory { .. }
                | Self::Path { .. }
                | Self::Url { .. }
        )
    }

    /// The error of a command that uses an existing server.
    #[must_use]
    pub(crate) fn of_existing(self) -> Self {
        match self {
            Self::Foreign { dir } | Self::NoDirectory { dir } => Self::NotPrivate { dir },
            other => other,
        }
    }

    /// Whether the files and directories need other owners or permissions, so that a retry does not help.
    pub fn needs_owner(&self) -> bool {
        matches!(
            self,
            Self::Planted { .. } | Self::Owner { .. } | Self::Blocked { .. } | Self::SocketDirectory { .. }
        )
    }
}

/// What helps without a change of the owner. Root runs the server as another user, so it cannot use data of root.
fn other_way(owner: &str) -> String {
    if owner == "root" {
        "choose another directory".to_owned()
    } else {
        format!("run this as {owner} or as root")
    }
}

fn log_excerpt(log: &Path, tail: &str) -> String {
    if tail.is_empty() {
        format!("no output in {}", log.display())
    } else {
        format!("last lines of {}:\n{tail}", log.display())
    }
}

/// Adds the action and the path to an I/O error.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, EmbeddedError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, EmbeddedError> {
        self.map_err(|error| EmbeddedError::Io { action, path: path.to_path_buf(), source: error.into() })
    }
}
