//! Errors of a private PostgreSQL. Each message includes the place and the remedy.

use crate::shell::shell_quoted;
use nix::errno::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// The reason why a private PostgreSQL could not be found, created, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages describe the variants and their fields")]
pub enum EmbeddedError {
    #[error(
        "no PostgreSQL server programs (initdb, pg_ctl, postgres) found on PATH or in the usual directories\nhint: \
         install them ('apt install postgresql' on Debian and Ubuntu, 'dnf install postgresql-server' on Fedora \
         and Red Hat, 'brew install postgresql' or Postgres.app on macOS), or add their directory to PATH"
    )]
    NoPrograms,
    #[error(
        "the data in {} was created by PostgreSQL {data}, but this machine has {found}\nhint: \
         install the server programs of PostgreSQL {data}, or choose another directory",
        directory.display()
    )]
    Version { directory: PathBuf, data: String, found: String },
    #[error(
        "{} is not empty and contains no private PostgreSQL of aegis-kills\nhint: choose a new or an empty directory",
        dir.display()
    )]
    Foreign { dir: PathBuf },
    /// The directory has no private PostgreSQL, and the command does not create one.
    #[error(
        "{} contains no private PostgreSQL of aegis-kills\nhint: name the directory of 'load --embedded' or 'embedded start'",
        dir.display()
    )]
    NotPrivate { dir: PathBuf },
    #[error(
        "{} is not a directory, but a private PostgreSQL needs one of its own\nhint: choose a new or an empty directory; to load \
         this file, write the directory before it, such as: --embedded ~/kills {}",
        dir.display(), shell_quoted(&dir.to_string_lossy())
    )]
    NoDirectory { dir: PathBuf },
    #[error(
        "the path {dir:?} contains a control character, which PostgreSQL's programs reject\nhint: \
         choose another directory"
    )]
    Path { dir: PathBuf },
    #[error(
        "the server can't run as root, and user {user} can't enter {}, which is on the path to {}\nhint: \
         choose a directory such as /var/lib/aegis-kills, or grant access to it with 'chmod o+x'",
        blocker.display(), dir.display()
    )]
    Blocked { blocker: PathBuf, dir: PathBuf, user: String },
    #[error(
        "{} belongs to user {owner}, but the server would run as {user}\nhint: {}, or give the directory to {user} with \
         'chown -R'",
        directory.display(), other_way(owner)
    )]
    Owner { directory: PathBuf, owner: String, user: String },
    #[error(
        "a connection string in place of a directory\nhint: use --database-url for a database, or write ./ before the name \
         of a directory"
    )]
    Url,
    #[error("only a shell expands the ~ at the start of {}\nhint: write the whole path, or ./ before it", dir.display())]
    Tilde { dir: PathBuf },
    /// A file or link of another user is at a path that this program would write.
    #[error(
        "{} is unsafe to use: it is a link or of an unexpected type, has a second name, \
         or belongs to another user\nhint: remove it",
        path.display()
    )]
    Planted { path: PathBuf },
    #[error(
        "the server can't run as root, and this machine has neither a user postgres nor a user nobody\nhint: \
         create one of them, or run this as an ordinary user"
    )]
    NoAccount,
    #[error(
        "user id {uid} has no entry in /etc/passwd, which PostgreSQL's server programs require\nhint: \
         add one, for example with 'useradd --uid {uid} aegis', or run this as a user with an entry"
    )]
    NoEntry { uid: u32 },
    #[error(
        "the socket directory {} is not a directory that only {user} can enter\nhint: remove it, or choose another with TMPDIR",
        directory.display()
    )]
    SocketDirectory { directory: PathBuf, user: String },
    #[error(
        "the path of a socket in {} would exceed the system's limit of {max} bytes\nhint: \
         choose a shorter path, or set TMPDIR to one",
        directory.display()
    )]
    SocketPath { directory: PathBuf, max: usize },
    #[error(
        "a server answers on {}, but its process is not visible here\nhint: \
         if another container shares the directory, stop the server there first",
        socket.display()
    )]
    Elsewhere { socket: PathBuf },
    #[error("could not run {}", program.display())]
    Spawn { program: PathBuf, source: io::Error },
    #[error("{program} failed ({status}); {}", log_excerpt(log, tail))]
    Failed { program: &'static str, status: ExitStatus, tail: String, log: PathBuf },
    #[error("the private PostgreSQL in {} was not {wanted} after {} s\nhint: see {}", dir.display(), limit.as_secs(), log.display())]
    Timeout { dir: PathBuf, wanted: &'static str, limit: Duration, log: PathBuf },
    #[error(
        "{} has been locked by another process for more than {} min\nhint: find it with: fuser {}",
        path.display(), limit.as_secs() / 60, path.display()
    )]
    Locked { path: PathBuf, limit: Duration },
    #[error("{program} did not finish within {} min and was killed; {}", limit.as_secs() / 60, log_excerpt(log, tail))]
    Endless { program: &'static str, limit: Duration, tail: String, log: PathBuf },
    #[error("could not {action} {}{}", path.display(), if is_denied(source) { WRITABLE } else { "" })]
    Io { action: &'static str, path: PathBuf, source: io::Error },
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
                | Self::Url
                | Self::Tilde { .. }
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
        ) || matches!(self, Self::Io { source, .. } if is_denied(source))
    }
}

/// The remedy of an operation that the system denies.
const WRITABLE: &str = "\nhint: choose a directory that this user can write";

fn is_denied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
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
        self.map_err(|error| {
            let (path, source) = (path.to_path_buf(), error.into());
            // A link where a file of this program is expected; none is followed.
            if source.raw_os_error() == Some(Errno::ELOOP as i32) {
                return EmbeddedError::Planted { path };
            }
            EmbeddedError::Io { action, path, source }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_directory_is_no_outage() {
        let error = |kind: io::ErrorKind| EmbeddedError::Io {
            action: "create the directory",
            path: "kills".into(),
            source: kind.into(),
        };
        let denied = error(io::ErrorKind::PermissionDenied);
        let text = "could not create the directory kills\nhint: choose a directory that this user can write";
        assert_eq!(denied.to_string(), text);
        assert!(denied.needs_owner());
        assert!(!error(io::ErrorKind::StorageFull).needs_owner());
    }
}
