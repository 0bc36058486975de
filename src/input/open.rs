//! Opens inputs, and checks beforehand whether they can be read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt as _;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::input::error::InputError;
use crate::input::source::Source;

impl Source {
    /// Checks whether the source can be read. An error names a missing file, a directory, a socket or a missing permission.
    ///
    /// Opens nothing: closing a pipe would cut off its writer, and a file unchanged since its load need not be opened.
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
        // Check the effective user, which opens the file. A set-user-id program is started by a different user.
        faccessat(AT_FDCWD, path, AccessFlags::R_OK, AtFlags::AT_EACCESS)
            .map_err(|errno| InputError::opening(self, errno.into()))
    }

    /// Opens the source for unbuffered reading from its start.
    pub(crate) fn open(&self) -> Result<Box<dyn Read>, InputError> {
        let file = match self {
            // Duplicate the descriptor, because the standard library's handle adds a small buffer to every read.
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
    fn unreadable_sources_are_reported_by_check_and_by_open() {
        fn check(path: &Path, expected: &str) {
            let source = Source::File(path.to_owned());
            let expected = expected.replace("PATH", &path.display().to_string());
            assert_eq!(source.check().unwrap_err().to_string(), expected);
            assert_eq!(source.open().err().unwrap().to_string(), expected);
        }
        let directory = tempfile::tempdir().unwrap();
        check(directory.path(), "PATH is a directory\nhint: name the files in it, such as PATH/*.ndjson");
        let missing = directory.path().join("missing.ndjson");
        check(&missing, "PATH\nhint: check the path, or use '-' for standard input");
        let file = directory.path().join("there.ndjson");
        fs::write(&file, "{}").unwrap();
        let beneath_a_file = file.join("x");
        check(&beneath_a_file, "cannot open PATH\nhint: fix the cause, then run the same command again");
        assert!(Source::File(file).check().is_ok());
        assert!(Source::Stdin.check().is_ok());
    }

    #[test]
    fn a_missing_permission_is_named() {
        // Construct the error directly: the user that runs the tests may be root, who can read every file.
        let error =
            InputError::opening(&Source::File("kept.ndjson".into()), io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            error.to_string(),
            "kept.ndjson\nhint: run as a user who can read it, or run: chmod u+r kept.ndjson"
        );
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn checking_a_pipe_does_not_open_it() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        // Opening a pipe without a writer would block this test forever.
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Source::File(pipe).check().is_ok());
    }
}
