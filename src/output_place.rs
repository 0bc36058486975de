//! Protects output files: the program does not write to anything that another user could have planted.
//!
//! In a directory that others can write (`/tmp`) or own, a link, pipe or file can belong to another user, who wants to read
//! the output or to overwrite something else. A file of ours can have got a hard link there. Linux prevents a part of
//! this if `fs.protected_symlinks`, `fs.protected_fifos` and `fs.protected_regular` are set.

use crate::permissions::others_may;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{self, Path};

/// Returns an error if another user could have planted the file at the path, or a link on the way to it. A missing file is
/// fine.
pub(crate) fn refuse_planted(path: &Path) -> io::Result<()> {
    let whole = path::absolute(path)?;
    for ancestor in whole.ancestors().skip(1) {
        match ancestor.symlink_metadata() {
            Ok(found) if found.is_symlink() => refuse(ancestor, &found)?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match whole.symlink_metadata() {
        Ok(found) => refuse(&whole, &found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Checks one path component, without the way to it.
pub(crate) fn refuse(path: &Path, found: &Metadata) -> io::Result<()> {
    let directory = fs::metadata(directory(path))?;
    let ours = [nix::unistd::geteuid().as_raw(), 0];
    let is_foreign = !ours.contains(&directory.uid());
    if found.is_dir() || !is_foreign && !others_may(&directory, 0o222) {
        return Ok(());
    }
    let whose = if is_foreign { "of another user" } else { "that others can write" };
    let kind = found.file_type();
    let (what, may_be_the_owners) = match () {
        () if kind.is_symlink() => ("link", false),
        () if kind.is_file() => ("file", true),
        // Its creator receives everything that is written.
        () => ("pipe or device", false),
    };
    let is_trusted = ours.contains(&found.uid()) || may_be_the_owners && found.uid() == directory.uid();
    let cause = if !is_trusted {
        format!("it is a {what} of another user (id {}) in a directory {whose}", found.uid())
    } else if found.is_file() && found.nlink() > 1 {
        // A user who can write the directory can hard-link a file of ours there.
        format!("the file has a second name (hard link), in a directory {whose}")
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, cause))
}

/// The directory of a file.
pub(crate) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
