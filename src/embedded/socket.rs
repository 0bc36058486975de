//! The location of the server's socket, and its URL.
//!
//! - The socket is in a directory that only the server's account and root can enter. This is the only authentication.
//! - The system, `psql` and the `postgres` crate accept the socket's path, even if they would not accept DIR's own
//!   path.

use crate::embedded::account::Account;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::embedded::directory::{Directory, make_private_directory, remove_file};
use crate::embedded::error::EmbeddedError;

/// The server's port, which is only a part of the socket's name.
pub(crate) const PORT: u16 = 5432;
/// The superuser of the cluster.
pub(crate) const USER: &str = "aegis";
pub(crate) const DATABASE: &str = "kills";

/// Maximum length of a socket's path in bytes: `sun_path` of unix(7) without NUL.
const SOCKET_PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// The prefix of the directory's name if it is outside of DIR.
const OUTSIDE_PREFIX: &str = "aegis-kills-";

/// Returns the socket's directory. It is inside `directory` if the path is suitable, otherwise in the temporary
/// directory, under a name derived from `directory`.
pub(crate) fn place(directory: &Directory) -> Result<PathBuf, EmbeddedError> {
    place_in(directory, &[std::env::temp_dir(), PathBuf::from("/tmp")])
}

fn place_in(directory: &Directory, temporary: &[PathBuf]) -> Result<PathBuf, EmbeddedError> {
    let inside = directory.run();
    if fits(&inside) {
        return Ok(inside);
    }
    let hash = blake3::hash(directory.dir().as_os_str().as_bytes()).to_hex();
    let name = format!("{OUTSIDE_PREFIX}{}", &hash[..16]);
    let outside: Vec<PathBuf> = temporary.iter().map(|parent| parent.join(&name)).collect();
    outside.iter().find(|path| fits(path)).cloned().ok_or_else(|| EmbeddedError::SocketPath {
        directory: outside.last().unwrap_or(&inside).clone(),
        max: SOCKET_PATH_MAX,
    })
}

/// Creates the socket's directory, or checks that an existing one is private.
pub(crate) fn prepare(directory: &Directory, place: &Path) -> Result<(), EmbeddedError> {
    let account = directory.account();
    if let Some(parent) = place.parent() {
        account.check_entry(parent)?;
    }
    make_private_directory(place, account)?;
    // In a temporary directory, another user could have created it before us.
    let private = fs::symlink_metadata(place).is_ok_and(|metadata| {
        metadata.is_dir() && account.owns(&metadata) && metadata.permissions().mode() & 0o777 == 0o700
    });
    if private {
        Ok(())
    } else {
        Err(EmbeddedError::SocketDirectory {
            directory: place.to_path_buf(),
            user: account.name().to_owned(),
        })
    }
}

/// Time limit to accept a connection. A live server accepts immediately.
const ACCEPT_LIMIT: Duration = Duration::from_secs(5);

/// Whether a server listens at `place`. A socket that does not accept in time counts as one.
pub(crate) fn answers(place: &Path, account: &Account) -> bool {
    let (socket, account) = (path(place), account.clone());
    let (sender, answer) = mpsc::channel();
    let connect = move || {
        let _acting = account.act();
        // The receiver may have timed out.
        let _ = sender.send(UnixStream::connect(socket).is_ok());
    };
    let begun = thread::Builder::new().name("socket".to_owned()).spawn(connect);
    begun.is_err() || answer.recv_timeout(ACCEPT_LIMIT).unwrap_or(true)
}

/// The path of the socket in the directory `place`.
pub(crate) fn path(place: &Path) -> PathBuf {
    place.join(format!(".s.PGSQL.{PORT}"))
}

/// Removes the files of a crashed server at `place`. Its lock file can name a process id that another process has now.
pub(crate) fn clear(place: &Path) -> Result<(), EmbeddedError> {
    remove_file(&path(place))?;
    remove_file(&place.join(format!(".s.PGSQL.{PORT}.lock")))
}

/// Removes the socket's directory if it is outside of DIR.
pub(crate) fn remove_outside(directory: &Directory, place: &Path) {
    let outside =
        place.file_name().is_some_and(|name| name.as_bytes().starts_with(OUTSIDE_PREFIX.as_bytes()));
    if outside
        && !place.starts_with(directory.dir())
        && let Err(error) = fs::remove_dir(place)
    {
        log::debug!("could not remove {}: {error}", place.display());
    }
}

/// The URL of the database for `psql` and the `postgres` crate. It includes the port, because `PGPORT` would override
/// it otherwise.
pub(crate) fn url(place: &Path, port: u16) -> String {
    const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let host = percent_encode(place.as_os_str().as_bytes(), &ENCODED);
    format!("postgresql:///{DATABASE}?host={host}&port={port}&user={USER}")
}

/// Whether all clients can reach a socket in `place`: the path is short enough and contains no separators.
fn fits(place: &Path) -> bool {
    path(place).as_os_str().len() <= SOCKET_PATH_MAX
        // A comma separates hosts in libpq and in the postgres crate.
        && place.to_str().is_some_and(|text| !text.contains(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_inside_if_its_path_is_suitable() {
        let check = |place: &str, expected: bool| assert_eq!(fits(Path::new(place)), expected, "{place}");
        let longest = "x".repeat(SOCKET_PATH_MAX - "/".len() - "/.s.PGSQL.5432".len());
        check(&format!("/{longest}"), true);
        check(&format!("/{longest}x"), false);
        check("/with space/and'quote", true);
        check("/with,comma", false);
    }
}
