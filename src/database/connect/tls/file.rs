//! Reads certificate, key and revocation files.

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The maximum size of a file. The list of all authorities of a system has about 0.2 MB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Reads a regular file. A FIFO or a device could block forever or never end.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() && !found.is_dir() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    #[test]
    fn a_fifo_or_a_device_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero")] {
            assert_eq!(read_file(path).unwrap_err().to_string(), "it is not a regular file");
        }
        std::fs::write(dir.path().join("file"), b"text").unwrap();
        assert_eq!(read_file(&dir.path().join("file")).unwrap(), b"text");
    }
}
