//! Where a reject file may be: what someone else could have put there is not written to.
//!
//! In a directory that others can write, such as `/tmp`, a link or a file of that name may be another user's, made to be read or
//! to have something else overwritten, and a file of ours may have got a second name. Linux refuses the same where `fs.protected_symlinks` and `fs.protected_regular` are set.

use crate::permissions::others_may;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// An error if the file could not be made or written. One that is there keeps its rights; if others may read it, that is
/// a warning.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) => {
            refuse_planted(path, &found)?;
            // Opening says more than the rights do: a folder, a file system that is read only.
            match OpenOptions::new().append(true).open(path).and_then(|file| file.metadata()) {
                Ok(file) => warn_if_open(path, &file),
                // A link to what is not there yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound && found.is_symlink() => {}
                Err(error) => return Err(error),
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            nix::unistd::access(folder(path), nix::unistd::AccessFlags::W_OK).map_err(io::Error::from)
        }
        Err(error) => Err(error),
    }
}

/// Makes the file, readable by its owner alone, or opens the one that is there to append to it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let options = || OpenOptions::new().read(true).append(true).mode(0o600).clone();
    match options().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            refuse_planted(path, &path.symlink_metadata()?)?;
            let file = options().create(true).open(path)?;
            // It may have been put there just now.
            refuse_planted(path, &file.metadata()?)?;
            Ok(file)
        }
        opened => opened,
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `found` is the link or the file that is there.
fn refuse_planted(path: &Path, found: &Metadata) -> io::Result<()> {
    if !(found.is_file() || found.is_symlink()) {
        return Ok(());
    }
    let folder = fs::metadata(folder(path))?;
    let trusted = [nix::unistd::geteuid().as_raw(), 0, folder.uid()];
    if !others_may(&folder, 0o222) {
        return Ok(());
    }
    let what = if found.is_symlink() { "link" } else { "file" };
    let words = if !trusted.contains(&found.uid()) {
        format!("it is a {what} of another user (id {}) in a directory that others can write", found.uid())
    } else if found.is_file() && found.nlink() > 1 {
        // Whoever can write the directory can give a file of ours a second name there.
        "the file has a second name (hard link), in a directory that others can write".to_owned()
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, words))
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
