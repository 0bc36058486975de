//! How an input is opened, and what keeps it from being read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt as _;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::input::error::InputError;
use crate::input::source::Source;

impl Source {
    /// Tells before anything is read whether this can be read: an error names a missing file, a directory, a socket, or a
    /// lacking privilege.
    ///
    /// Nothing is opened: closing a pipe again would cut off who writes to it, and a file that is unchanged since it was
    /// loaded need not be opened at all.
    pub fn check(&self) -> Result<(), InputError> {
        let Self::File(path) = self else {
            return Ok(());
        };
        let kind = fs::metadata(path).map_err(|cause| InputError::opening(self, cause))?.file_type();
        if kind.is_dir() {
            return Err(InputError::Directory { input: self.clone() });
        }
        if kind.is_socket() {
            return Err(InputError::Socket { input: self.clone() });
        }
        // By the user that opens it: another one than who started a program with the set-user-id bit.
        faccessat(AT_FDCWD, path, AccessFlags::R_OK, AtFlags::AT_EACCESS)
            .map_err(|errno| InputError::opening(self, errno.into()))
    }

    /// Opens it for reading from its start, without a buffer.
    pub(crate) fn open(&self) -> Result<Box<dyn Read>, InputError> {
        let file = match self {
            // A descriptor of its own, because the standard library's handle puts a small buffer before every read.
            Self::Stdin => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            Self::File(path) if path.is_dir() => {
                return Err(InputError::Directory { input: self.clone() });
            }
            Self::File(path) => File::open(path),
        };
        file.map(|file| Box::new(file) as Box<dyn Read>).map_err(|cause| InputError::opening(self, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_cannot_be_read_is_told_before_and_at_opening() {
        fn check(path: &Path, expected: &str) {
            let source = Source::File(path.to_owned());
            let expected = expected.replace("PATH", &path.display().to_string());
            assert_eq!(source.check().unwrap_err().to_string(), expected);
            assert_eq!(source.open().err().unwrap().to_string(), expected);
        }
        let directory = tempfile::tempdir().unwrap();
        check(directory.path(), "PATH is a directory: name the files in it, such as PATH/*.ndjson");
        let missing = directory.path().join("missing.ndjson");
        check(&missing, "PATH: there is no such file: check the path, or name '-' for standard input");
        let file = directory.path().join("there.ndjson");
        fs::write(&file, "{}").unwrap();
        let beneath_a_file = file.join("x");
        check(&beneath_a_file, "PATH can't be opened: see to the cause, then run the same command again");
        assert!(Source::File(file).check().is_ok());
        assert!(Source::Stdin.check().is_ok());
    }

    #[test]
    fn a_lacking_right_is_named() {
        // Made from the error itself: whoever runs the tests may be allowed to read everything.
        let error =
            InputError::opening(&Source::File("kept.ndjson".into()), io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            error.to_string(),
            "kept.ndjson: no right to read it: run as a user who may, or give the right with 'chmod u+r kept.ndjson'"
        );
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn checking_a_pipe_does_not_open_it() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        // Opening a pipe that nobody writes to would block this test for ever.
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Source::File(pipe).check().is_ok());
    }
}
