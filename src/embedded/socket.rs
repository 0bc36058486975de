//! Where the server's socket is, and the URL that leads to it.
//!
//! - The socket is in a directory that only the server's account, and root, may enter: that is all the authentication there is.
//! - The socket's path is one that the system, `psql` and the `postgres` crate all take; DIR's own path need not be.

use crate::embedded::account::Account;
use std::fmt::Write as _;
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

/// The server's port: only a part of the socket's name.
pub(crate) const PORT: u16 = 5432;
/// The superuser of the cluster.
pub(crate) const USER: &str = "aegis";
/// The database that is for kills.
pub(crate) const DATABASE: &str = "kills";

/// The longest path of a socket, in bytes: `sun_path` of unix(7) without its NUL.
const SOCKET_PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// How the directory's name begins when it is outside of DIR.
const OUTSIDE_PREFIX: &str = "aegis-kills-";

/// Where the socket of `directory` belongs: in it, if its path will do, else in the temporary directory, under a name that
/// all users of `directory` come to.
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

/// Makes the socket's directory, or checks that the one that is there is private.
pub(crate) fn prepare(directory: &Directory, place: &Path) -> Result<(), EmbeddedError> {
    let account = directory.account();
    if let Some(parent) = place.parent() {
        account.check_entry(parent)?;
    }
    make_private_directory(place, account)?;
    // In a temporary directory anybody could have made it before us.
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

/// How long a server may take to accept a connection. One that lives accepts at once.
const ACCEPT_LIMIT: Duration = Duration::from_secs(5);

/// Whether a server listens at `place`. A socket that accepts nothing counts as one.
pub(crate) fn answers(place: &Path, account: &Account) -> bool {
    let (socket, account) = (path(place), account.clone());
    let (sender, answer) = mpsc::channel();
    let connect = move || {
        let _acting = account.act();
        // Nobody may wait for it any more.
        let _ = sender.send(UnixStream::connect(socket).is_ok());
    };
    let begun = thread::Builder::new().name("socket".to_owned()).spawn(connect);
    begun.is_err() || answer.recv_timeout(ACCEPT_LIMIT).unwrap_or(true)
}

/// The socket in the directory `place`.
pub(crate) fn path(place: &Path) -> PathBuf {
    place.join(format!(".s.PGSQL.{PORT}"))
}

/// Removes what a server that died left at `place`: its lock file names a process that may be another one by now.
pub(crate) fn clear(place: &Path) -> Result<(), EmbeddedError> {
    remove_file(&path(place))?;
    remove_file(&place.join(format!(".s.PGSQL.{PORT}.lock")))
}

/// Removes the socket's directory if it is outside of DIR.
pub(crate) fn tidy(directory: &Directory, place: &Path) {
    let outside =
        place.file_name().is_some_and(|name| name.as_bytes().starts_with(OUTSIDE_PREFIX.as_bytes()));
    if outside
        && !place.starts_with(directory.dir())
        && let Err(error) = fs::remove_dir(place)
    {
        log::debug!("could not remove {}: {error}", place.display());
    }
}

/// The URL of the database, as `psql` and the `postgres` crate take it. The port is in it, as `PGPORT` would bend it
/// otherwise.
pub(crate) fn url(place: &Path, port: u16) -> String {
    let mut url = format!("postgresql:///{DATABASE}?host=");
    for &byte in place.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    let _ = write!(url, "&port={port}&user={USER}");
    url
}

/// Whether a socket in `place` can be reached by all clients: short enough, and without what they read as something else.
fn fits(place: &Path) -> bool {
    path(place).as_os_str().len() <= SOCKET_PATH_MAX
        // A comma parts hosts, in libpq and in the postgres crate.
        && place.to_str().is_some_and(|text| !text.contains(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_only_what_a_url_may_have() {
        let check = |place: &str, expected: &str| {
            let expected = format!("postgresql:///kills?host={expected}&port=5432&user=aegis");
            assert_eq!(url(Path::new(place), PORT), expected, "{place}");
        };
        check("/srv/kills/run", "%2Fsrv%2Fkills%2Frun");
        check("/a b/c%d/é?&=#+", "%2Fa%20b%2Fc%25d%2F%C3%A9%3F%26%3D%23%2B");
    }

    #[test]
    fn the_socket_is_inside_where_its_path_will_do() {
        let check = |place: &str, expected: bool| assert_eq!(fits(Path::new(place)), expected, "{place}");
        let longest = "x".repeat(SOCKET_PATH_MAX - "/".len() - "/.s.PGSQL.5432".len());
        check(&format!("/{longest}"), true);
        check(&format!("/{longest}x"), false);
        check("/with space/and'quote", true);
        check("/with,comma", false);
    }
}
