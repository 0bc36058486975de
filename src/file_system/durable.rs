//! Makes names in directories survive a power failure.

use nix::libc::O_DIRECTORY;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Syncs a directory, so that the names in it survive a power failure. A file's contents need a sync of their own. Does
/// nothing if this user cannot list the directory, or if its file system cannot sync directories, like PostgreSQL.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let opened = OpenOptions::new().read(true).custom_flags(O_DIRECTORY).open(path);
    match opened.and_then(|directory| directory.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_are_synced() {
        let scratch = tempfile::tempdir().unwrap();
        let (file, none) = (scratch.path().join("file"), scratch.path().join("none"));
        std::fs::write(&file, "").unwrap();
        sync_directory(scratch.path()).unwrap();
        assert_eq!(sync_directory(&file).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(sync_directory(&none).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_that_cannot_be_synced_is_no_error() {
        // A directory of Linux's /proc cannot be synced.
        let descriptors = Path::new("/proc/self/fd");
        if descriptors.is_dir() {
            sync_directory(descriptors).unwrap();
        }
    }
}
