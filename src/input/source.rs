//! The inputs that the user named.

use std::fmt;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// One input of a run. Its display form is `<stdin>`, or the path as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Standard input, given as `-`.
    Stdin,
    /// A file, or a named pipe.
    File(PathBuf),
}

impl Source {
    /// The name of the file without its directory; none for standard input.
    pub(crate) fn file_name(&self) -> Option<String> {
        match self {
            Self::Stdin => None,
            Self::File(path) => {
                Some(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned())
            }
        }
    }

    /// Whether a later command cannot read it again: standard input, a pipe, or a descriptor of this process.
    pub(crate) fn is_stream(&self) -> bool {
        let Self::File(path) = self else { return true };
        let descriptors = ["/dev/stdin", "/dev/fd", "/proc/self/fd"];
        descriptors.iter().any(|place| path.starts_with(place))
            || fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
    }

    /// Returns whether the path is a symbolic link, even a dangling one.
    pub(crate) fn is_link(&self) -> bool {
        matches!(self, Self::File(path) if path.symlink_metadata().is_ok_and(|found| found.is_symlink()))
    }
}

impl From<&Path> for Source {
    /// Interprets `-` as standard input and everything else as a path.
    fn from(given: &Path) -> Self {
        if given == Path::new("-") { Self::Stdin } else { Self::File(given.to_owned()) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("<stdin>"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_is_standard_input() {
        fn check(given: &str, expected: &Source, shown: &str) {
            let source = Source::from(Path::new(given));
            assert_eq!(&source, expected);
            assert_eq!(source.to_string(), shown);
        }
        check("-", &Source::Stdin, "<stdin>");
        check("./-", &Source::File("./-".into()), "./-");
        check("a/b.ndjson", &Source::File("a/b.ndjson".into()), "a/b.ndjson");
    }
}
