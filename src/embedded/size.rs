//! The disk usage of a private PostgreSQL.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The unit of a file's block count, regardless of the file system's block size.
const BLOCK_BYTES: u64 = 512;

/// Returns the disk usage of a directory tree in bytes. Files that disappear during the scan, as a running server
/// removes files, count as 0.
pub(crate) fn disk_bytes(path: &Path) -> io::Result<u64> {
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        found => found?,
    };
    let own = found.blocks() * BLOCK_BYTES;
    if !found.is_dir() {
        return Ok(own);
    }
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(own),
        entries => entries?,
    };
    entries.map(|entry| disk_bytes(&entry?.path())).try_fold(own, |sum, bytes| Ok(sum + bytes?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_usage_of_a_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(disk_bytes(&directory.path().join("missing")).expect("nothing"), 0);
        let empty = disk_bytes(directory.path()).expect("a size");
        fs::create_dir(directory.path().join("deep")).expect("a directory");
        // A sparse file counts only its allocated blocks.
        fs::write(directory.path().join("deep/file"), vec![1; 100_000]).expect("a file");
        fs::File::create(directory.path().join("holes"))
            .and_then(|file| file.set_len(1 << 30))
            .expect("a file");
        let full = disk_bytes(directory.path()).expect("a size");
        assert!((empty + 100_000..empty + 1_000_000).contains(&full), "{empty} {full}");
    }
}
