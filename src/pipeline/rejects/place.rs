//! Opens the reject file, unless another user could have created it.

use crate::error_chain::system_text;
use crate::file_system::durable::sync_directory;
use crate::file_system::output_place::{OutputPlace, directory};
use nix::libc::{ENXIO, O_NONBLOCK};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The permissions of a new reject file: only its owner can read or write it.
const PRIVATE: u32 = 0o600;

/// Returns an error if the file cannot be created or written. An existing file keeps its mode, with a warning if other users
/// can access it. Returns a pipe opened, because its reader would end if it was closed. Writing to it does not wait for the
/// reader.
pub(crate) fn check(path: &Path) -> io::Result<Option<File>> {
    let place = OutputPlace::of(path)?;
    match place.metadata() {
        Ok(found) => {
            // Opening detects more than the mode shows, such as a directory or a read-only file system. O_NONBLOCK avoids
            // waiting for the reader of a pipe.
            let mut options = OpenOptions::new();
            options.append(true).custom_flags(O_NONBLOCK | place.open_flags());
            let file = options.open(&place.path).map_err(|error| match error.raw_os_error() {
                Some(ENXIO) if found.file_type().is_fifo() => {
                    io::Error::new(io::ErrorKind::BrokenPipe, "no program reads this pipe")
                }
                _ => error,
            })?;
            let found = file.metadata()?;
            warn_if_open(path, &found);
            if !found.file_type().is_fifo() {
                return Ok(None);
            }
            place.check_opened(&file)?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = directory(&place.path);
            nix::unistd::access(directory, nix::unistd::AccessFlags::W_OK)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Creates the file with mode 0600, or opens an existing one for appending. Syncs its directory, so that its name survives a
/// power failure. A killed run may have created an existing one without that. [`check`] opens pipes.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let options = || OpenOptions::new().read(true).append(true).mode(PRIVATE).clone();
    let place = OutputPlace::of(path)?;
    match options().create_new(true).open(&place.path) {
        Ok(file) => {
            make_private(path, &file);
            sync_directory(directory(&place.path))?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // The file may have appeared since the check.
            let place = OutputPlace::of(path)?;
            let flags = O_NONBLOCK | place.open_flags();
            let file = options().create(true).custom_flags(flags).open(&place.path)?;
            place.check_opened(&file)?;
            let kind = file.metadata()?.file_type();
            // The load itself would count as its reader, because it is open for reading, too.
            if kind.is_fifo() {
                return Err(io::Error::new(
                    io::ErrorKind::BrokenPipe,
                    "it has become a pipe since the start",
                ));
            }
            // A device stores nothing.
            if kind.is_file() {
                sync_directory(directory(&place.path))?;
            }
            Ok(file)
        }
        Err(error) => Err(error),
    }
}

/// Sets the mode of a new file if the umask or the file system has changed it.
fn make_private(path: &Path, file: &File) {
    if file.metadata().is_ok_and(|found| found.mode() & 0o777 == PRIVATE) {
        return;
    }
    if let Err(error) = file.set_permissions(Permissions::from_mode(PRIVATE)) {
        let cause = system_text(&error);
        log::warn!("cannot set the mode of the reject file {} to {PRIVATE:o}: {cause}", path.display());
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
