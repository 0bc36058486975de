//! Opens the reject file, unless another user could have created it.

use crate::output_place::{directory, refuse, refuse_planted};
use nix::libc::{ENXIO, O_NOFOLLOW, O_NONBLOCK};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Returns an error if the file cannot be created or written. An existing file keeps its mode, with a warning if other users
/// can access it.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    refuse_planted(path)?;
    match path.symlink_metadata() {
        Ok(found) => {
            // Opening detects more than the mode shows, such as a directory or a read-only file system. O_NONBLOCK avoids
            // waiting for the reader of a pipe.
            let mut options = OpenOptions::new();
            match options.append(true).custom_flags(O_NONBLOCK).open(path).and_then(|file| file.metadata()) {
                Ok(file) => warn_if_open(path, &file),
                // A link to a file that does not exist yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound && found.is_symlink() => {}
                Err(error) if error.raw_os_error() == Some(ENXIO) => {
                    return Err(io::Error::other("no program reads this pipe"));
                }
                Err(error) => return Err(error),
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            nix::unistd::access(directory(path), nix::unistd::AccessFlags::W_OK).map_err(io::Error::from)
        }
        Err(error) => Err(error),
    }
}

/// Creates the file with mode 0600, or opens an existing one for appending.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let options = || OpenOptions::new().read(true).append(true).mode(0o600).clone();
    match options().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            refuse_planted(path)?;
            // Do not follow a link that appeared after the check.
            let flags = if path.is_symlink() { 0 } else { O_NOFOLLOW };
            let file = options().create(true).custom_flags(flags).open(path)?;
            // The file may have been replaced since the check.
            if flags == O_NOFOLLOW {
                refuse(path, &file.metadata()?)?;
            }
            Ok(file)
        }
        opened => opened,
    }
}

fn warn_if_open(path: &Path, file: &Metadata) {
    let mode = file.mode() & 0o777;
    if file.is_file() && mode & 0o077 != 0 {
        let name = path.display();
        log::warn!(
            "the reject file {name} already exists and is accessible to other users (mode {mode:o}); to keep \
             rejected events private: chmod 600 {name}"
        );
    }
}
