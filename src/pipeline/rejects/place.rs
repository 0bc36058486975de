//! Opens the reject file, unless another user could have put there what stands in its place.

use crate::output_place::{directory, refuse, refuse_planted};
use nix::libc::{ENXIO, O_NOFOLLOW, O_NONBLOCK};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// An error if the file could not be made or written. One that is there keeps its rights; if others may read it, that is
/// a warning.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    refuse_planted(path)?;
    match path.symlink_metadata() {
        Ok(found) => {
            // Opening says more than the rights do: a directory, a file system that is read only.
            // A pipe that nobody reads is not waited for.
            let mut options = OpenOptions::new();
            match options.append(true).custom_flags(O_NONBLOCK).open(path).and_then(|file| file.metadata()) {
                Ok(file) => warn_if_open(path, &file),
                // A link to what is not there yet.
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

/// Makes the file, readable by its owner alone, or opens the one that is there to append to it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let options = || OpenOptions::new().read(true).append(true).mode(0o600).clone();
    match options().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            refuse_planted(path)?;
            // Not another link than the one that was looked at.
            let flags = if path.is_symlink() { 0 } else { O_NOFOLLOW };
            let file = options().create(true).custom_flags(flags).open(path)?;
            // It may have been put there just now.
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
            "the reject file {name} is there already, and other users have rights to it (mode {mode:o}); if what is \
             refused is none of their business: chmod 600 {name}"
        );
    }
}
