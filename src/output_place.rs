//! Where a file that the program writes may be: what another user could have put there is not written to.
//!
//! In a directory that others can write, such as `/tmp`, or that another user owns, a link, a pipe or a file may be another
//! user's, made to be read or to have something else overwritten, and a file of ours may have got a second name. Linux
//! refuses a part of it where `fs.protected_symlinks`, `fs.protected_fifos` and `fs.protected_regular` are set.

use crate::permissions::others_may;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{self, Path};

/// An error if something at the path, or a link on the way to it, can be another user's trap. A path of nothing is none.
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

/// The same for what was found at a path alone.
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
        // Whoever made it gets all that is written.
        () => ("pipe or device", false),
    };
    let is_trusted = ours.contains(&found.uid()) || may_be_the_owners && found.uid() == directory.uid();
    let words = if !is_trusted {
        format!("it is a {what} of another user (id {}) in a directory {whose}", found.uid())
    } else if found.is_file() && found.nlink() > 1 {
        // Whoever can write the directory can give a file of ours a second name there.
        format!("the file has a second name (hard link), in a directory {whose}")
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, words))
}

/// The directory of a file.
pub(crate) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
