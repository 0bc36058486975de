//! What the user named as input.

use std::fmt;
use std::path::{Path, PathBuf};

/// One input of a run. Shows as `<stdin>`, or as the path that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Standard input, typed as `-`.
    Stdin,
    /// A file, or a named pipe.
    File(PathBuf),
}

impl Source {
    /// Whether it is a symbolic link, to whatever it may be.
    pub(crate) fn is_link(&self) -> bool {
        matches!(self, Self::File(path) if path.symlink_metadata().is_ok_and(|found| found.is_symlink()))
    }
}

impl From<&Path> for Source {
    /// What was typed: `-` is standard input, all else a path.
    fn from(typed: &Path) -> Self {
        if typed == Path::new("-") { Self::Stdin } else { Self::File(typed.to_owned()) }
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
        fn check(typed: &str, expected: &Source, shown: &str) {
            let source = Source::from(Path::new(typed));
            assert_eq!(&source, expected);
            assert_eq!(source.to_string(), shown);
        }
        check("-", &Source::Stdin, "<stdin>");
        check("./-", &Source::File("./-".into()), "./-");
        check("a/b.ndjson", &Source::File("a/b.ndjson".into()), "a/b.ndjson");
    }
}
