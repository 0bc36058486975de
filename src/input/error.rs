//! What can go wrong with an input: each error names the input, the place, and what would do.

use crate::shell::shell_quoted;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::input::convert::{PipedCommand, command};
use crate::input::decode::format::{Compression, Foreign};
use crate::input::source::Source;

/// An input that can't be read, or not to its end.
#[derive(Debug, Error)]
pub enum InputError {
    /// No file of that name.
    #[error("{input}: there is no such file: check the path, or name '-' for standard input")]
    Missing {
        /// The input.
        input: Source,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// No file of that name, which is a pattern that the shell found nothing for.
    #[error(
        "no file matches {input}: check the directory with 'ls {}', and the ending of the names in it",
        quoted(&directory_of(input))
    )]
    NoMatch {
        /// The pattern.
        input: Source,
    },
    /// A directory in place of a file.
    #[error("{input} is a directory: name the files in it, such as {input}/*.ndjson")]
    Directory {
        /// The input.
        input: Source,
    },
    /// A link to a file that is not there.
    #[error("{input} is a link to a file that does not exist")]
    Dangling {
        /// The input.
        input: Source,
    },
    /// A directory that can't be listed.
    #[error("{input}: the directory can't be listed")]
    Unlisted {
        /// The directory.
        input: Source,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// None of several inputs can be read; each was reported.
    #[error("none of the inputs can be read")]
    NothingReadable,
    /// A socket in place of a file.
    #[error("{input} is a socket, not a dump")]
    Socket {
        /// The input.
        input: Source,
    },
    /// A file that this user may not read.
    #[error(
        "{input}: no right to read it: run as a user who may, or give the right with 'chmod u+r {}'",
        quoted(input)
    )]
    Denied {
        /// The input.
        input: Source,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Not opened for another reason.
    #[error("{input} can't be opened: see to the cause, then run the same command again")]
    Unopened {
        /// The input.
        input: Source,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A format that this program does not read.
    #[error(
        "{input} is {format}, which is not read directly; convert it with: {}",
        command(format, input, piped)
    )]
    Foreign {
        /// The input.
        input: Source,
        /// What its first bytes say it is.
        format: Foreign,
        /// What reads the converted text.
        piped: PipedCommand,
    },
    /// It broke on the way: all before `text_offset` was given out.
    #[error("{input}: {breakage} at byte {text_offset} of its text, byte {raw_offset} of the input as it came: {}",
        breakage.remedy(input, *raw_offset, piped))]
    Broken {
        /// The input.
        input: Source,
        /// What broke.
        breakage: Breakage,
        /// Bytes of uncompressed text before the break.
        text_offset: u64,
        /// Bytes of the input as it came (compressed, if it is) before the break.
        raw_offset: u64,
        /// What reads what is sound of it.
        piped: PipedCommand,
        /// What the system or the decoder said.
        #[source]
        cause: io::Error,
    },
    /// It ends in an array that is not closed: all that was there was given out.
    #[error(
        "{input}: the JSON array in it is not closed, so the end is missing; what came before it was read"
    )]
    Unclosed {
        /// The input.
        input: String,
    },
    /// The reading thread is gone without having said that it was done: a defect of the program.
    #[error(
        "{input}: the thread that reads the input ended early: run the same command again, and report it if that happens again"
    )]
    ReaderLost {
        /// The input that was being read.
        input: String,
    },
}

impl InputError {
    /// The input that can't be read, as it is shown.
    pub fn input_name(&self) -> String {
        match self {
            Self::Missing { input, .. }
            | Self::NoMatch { input }
            | Self::Directory { input }
            | Self::Dangling { input }
            | Self::Unlisted { input, .. }
            | Self::Socket { input }
            | Self::Denied { input, .. }
            | Self::Unopened { input, .. }
            | Self::Foreign { input, .. }
            | Self::Broken { input, .. } => input.to_string(),
            Self::NothingReadable => String::new(),
            Self::Unclosed { input } | Self::ReaderLost { input } => input.clone(),
        }
    }

    /// The same error, whose remedy has the options of the run.
    #[must_use]
    pub fn with_command(self, command: &PipedCommand) -> Self {
        let piped = command.clone();
        match self {
            Self::Foreign { input, format, .. } => Self::Foreign { input, format, piped },
            Self::Broken { input, breakage, text_offset, raw_offset, cause, .. } => {
                Self::Broken { input, breakage, text_offset, raw_offset, piped, cause }
            }
            other => other,
        }
    }

    /// The error for an input that could not be opened.
    pub(crate) fn opening(input: &Source, cause: io::Error) -> Self {
        let input = input.clone();
        match cause.kind() {
            io::ErrorKind::NotFound if input.to_string().contains(['*', '?', '[']) => Self::NoMatch { input },
            io::ErrorKind::NotFound if input.is_link() => Self::Dangling { input },
            io::ErrorKind::NotFound => Self::Missing { input, cause },
            io::ErrorKind::PermissionDenied => Self::Denied { input, cause },
            io::ErrorKind::IsADirectory => Self::Directory { input },
            _ => Self::Unopened { input, cause },
        }
    }
}

/// How an input broke while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breakage {
    /// The system could not read on.
    Read,
    /// The compressed data ends before its end.
    CutShort(Compression),
    /// The compressed data is damaged.
    Damaged(Compression),
    /// Something follows the compressed data that is none.
    Trailing(Compression),
    /// zstd data that needs a window of over 128 MiB to decode.
    Window,
    /// zstd data that was compressed with a dictionary.
    Dictionary,
}

impl Breakage {
    fn remedy(self, input: &Source, raw_offset: u64, piped: &PipedCommand) -> String {
        let unpacked = |program: &str| match input {
            Source::Stdin => format!("… | {program} | {}", piped.of(input)),
            Source::File(_) => format!("{program} {} | {}", quoted(input), piped.of(input)),
        };
        match self {
            Self::Read => "see to the cause, then run the same command again".to_owned(),
            Self::CutShort(_) => {
                "what came before it was read; get a sound copy and run the same command again".to_owned()
            }
            // The checksum that would tell comes last, and the events before it are stored by then.
            Self::Damaged(_) => "what came before it was read, and some of it may be wrong; get a sound copy and load it with \
                 '--on-conflict update', which corrects the events that differ"
                .to_owned(),
            Self::Trailing(packing) => {
                let decoder = match packing {
                    Compression::Gzip => "gzip -dc",
                    Compression::Zstd => "zstd -dc",
                };
                let cut = match input {
                    Source::Stdin => format!("head -c {raw_offset}"),
                    Source::File(_) => format!("head -c {raw_offset} {}", quoted(input)),
                };
                format!(
                    "what came before it was read; see what the rest is, or leave it out with: {cut} | {decoder} | {}",
                    piped.of(input)
                )
            }
            Self::Window => format!("decompress it with: {}", unpacked("zstd -dc --long=31")),
            Self::Dictionary => {
                format!(
                    "decompress it with its dictionary, DICTIONARY here: {}",
                    unpacked("zstd -dc -D DICTIONARY")
                )
            }
        }
    }
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("reading failed"),
            Self::CutShort(packing) => write!(f, "the {packing} data is cut short"),
            Self::Damaged(packing) => write!(f, "the {packing} data is damaged"),
            Self::Trailing(packing) => {
                write!(f, "the {packing} data is followed by something else")
            }
            Self::Dictionary => f.write_str("the zstd data was compressed with a dictionary"),
            Self::Window => f.write_str("the zstd data needs more than 128 MiB to decode"),
        }
    }
}

/// The directory of the files that a pattern is for.
fn directory_of(input: &Source) -> Source {
    let path = PathBuf::from(input.to_string());
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    Source::File(directory.map_or_else(|| PathBuf::from("."), Path::to_owned))
}

/// The input's path as a shell takes it.
fn quoted(input: &Source) -> String {
    shell_quoted(&input.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_a_command_with_the_options_of_the_run() {
        let input = Source::File("d/a.ndjson.xz".into());
        let error = InputError::Foreign { input, format: Foreign::Xz, piped: PipedCommand::default() };
        assert_eq!(
            error.to_string(),
            "d/a.ndjson.xz is compressed with xz, which is not read directly; convert it with: xz -dc d/a.ndjson.xz | aegis-kills load"
        );
        let error = error.with_command(&PipedCommand::new(|name| format!("load --battle {}", name.len())));
        assert!(error.to_string().ends_with("xz -dc d/a.ndjson.xz | load --battle 13"), "{error}");
    }

    #[test]
    fn a_break_names_both_places_and_keeps_its_cause() {
        let error = InputError::Broken {
            input: Source::File("a b.gz".into()),
            breakage: Breakage::Trailing(Compression::Gzip),
            text_offset: 70,
            raw_offset: 33,
            piped: PipedCommand::default(),
            cause: io::ErrorKind::InvalidData.into(),
        };
        assert_eq!(
            error.to_string(),
            "a b.gz: the gzip data is followed by something else at byte 70 of its text, byte 33 of the input as it came: what came \
             before it was read; see what the rest is, or leave it out with: head -c 33 'a b.gz' | gzip -dc | aegis-kills load"
        );
        assert!(std::error::Error::source(&error).unwrap().is::<io::Error>());
    }
}
