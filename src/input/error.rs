//! Input errors. Each names the input, the position and the remedy.

use crate::conceal::CONCEALED;
use crate::shell::shell_quoted;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::input::convert::{PipedCommand, command};
use crate::input::decode::format::{Compression, Foreign};
use crate::input::source::Source;

/// An input that cannot be read, or not completely.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages describe the variants and their fields")]
pub enum InputError {
    #[error("{input}\nhint: {}", missing_remedy(input))]
    Missing {
        input: Source,
        #[source]
        cause: io::Error,
    },
    #[error(
        "no file matches {input}\nhint: check the path and the extension, and list the directory with: ls {}",
        quoted(&directory_of(input))
    )]
    NoMatch { input: Source },
    #[error("{input} is a directory\nhint: name the files in it, such as {input}/*.ndjson")]
    Directory { input: Source },
    #[error(
        "{input} is a link to a file that does not exist\nhint: check its target with: readlink {}",
        quoted(input)
    )]
    Dangling { input: Source },
    #[error(
        "cannot list the directory {input}\nhint: run as a user who can read it, or run: chmod u+rx {}",
        quoted(input)
    )]
    Unlisted {
        input: Source,
        #[source]
        cause: io::Error,
    },
    #[error("none of the inputs can be read\nhint: the messages above have the cause of each")]
    NothingReadable,
    #[error("{input} is a socket, not a dump\nhint: name a file, or pipe the events into the program")]
    Socket { input: Source },
    #[error("{input}\nhint: run as a user who can read it, or run: chmod u+r {}", quoted(input))]
    Denied {
        input: Source,
        #[source]
        cause: io::Error,
    },
    #[error("cannot open {input}\nhint: fix the cause, then run the same command again")]
    Unopened {
        input: Source,
        #[source]
        cause: io::Error,
    },
    #[error(
        "{input} is {format}, which is not read directly\nhint: convert it with: {}",
        command(format, input, piped)
    )]
    Foreign {
        input: Source,
        /// The format detected from its first bytes.
        format: Foreign,
        /// The command that reads the converted text.
        piped: PipedCommand,
    },
    /// Reading failed in the middle. Everything before `text_offset` was returned.
    #[error("{input}: {breakage} at byte {text_offset} of the uncompressed text, byte {raw_offset} of the input\nhint: {}",
        breakage.remedy(input, *raw_offset, piped))]
    Broken {
        input: Source,
        breakage: Breakage,
        /// Bytes of uncompressed text before the break.
        text_offset: u64,
        /// Bytes of the raw, possibly compressed input before the break.
        raw_offset: u64,
        /// The command that reads the intact part.
        piped: PipedCommand,
        #[source]
        cause: io::Error,
    },
    /// The input ends within an array or an envelope. All whole events before that were returned, unless a closing brace is
    /// missing among them.
    #[error(
        "{input}:{line}: the JSON {kind} is not closed: the input ends in it; all whole events before that were read{}\nhint: get the whole file{} and run the same command again",
        if *may_lack_values { ", unless a closing brace is missing among them" } else { "" },
        if *may_lack_values { ", or add the missing brace," } else { "" }
    )]
    Unclosed {
        input: String,
        /// The kind of value: array or object.
        kind: &'static str,
        /// The number of its last line.
        line: u64,
        /// Whether events in it were not read if a closing brace is missing.
        may_lack_values: bool,
    },
    /// The reader thread ended without reporting completion, which is a bug.
    #[error(
        "{input}: the reader thread ended unexpectedly\nhint: run the same command again, and report this error if it recurs"
    )]
    ReaderLost { input: String },
}

impl InputError {
    /// Returns the display name of the input.
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
            Self::Unclosed { input, .. } | Self::ReaderLost { input } => input.clone(),
        }
    }

    /// Returns the same error with a remedy that carries the options of the run.
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

    /// The command that reads the input in another way, after its purpose. None if the same command can succeed later.
    pub(crate) fn other_way(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Foreign { input, format, piped } => {
                Some(("to convert and load it", command(format, input, piped)))
            }
            Self::Broken { input, breakage, raw_offset, piped, .. } => {
                let purpose = match breakage {
                    Breakage::Trailing(_) => "to load it without what follows the compressed data",
                    _ => "to decompress and load it",
                };
                Some((purpose, breakage.other_way(input, *raw_offset, piped)?))
            }
            _ => None,
        }
    }

    /// Builds the error for an input that could not be opened.
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

/// The kind of failure in the middle of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breakage {
    Read,
    CutShort(Compression),
    Damaged(Compression),
    Trailing(Compression),
    /// zstd data that needs a window of over 128 MiB to decode.
    Window,
    /// zstd data that was compressed with a dictionary.
    Dictionary,
}

impl Breakage {
    /// The command that reads the input in another way, if there is one.
    fn other_way(self, input: &Source, raw_offset: u64, piped: &PipedCommand) -> Option<String> {
        let decompressed = |program: &str| match input {
            Source::Stdin => format!("… | {program} | {}", piped.of(input)),
            Source::File(_) => format!("{program} {} | {}", quoted(input), piped.of(input)),
        };
        match self {
            Self::Read | Self::CutShort(_) | Self::Damaged(_) => None,
            Self::Trailing(compression) => {
                let cut = match input {
                    Source::Stdin => format!("head -c {raw_offset}"),
                    Source::File(_) => format!("head -c {raw_offset} {}", quoted(input)),
                };
                Some(format!("{cut} | {} | {}", compression.decompressor(), piped.of(input)))
            }
            Self::Window => Some(decompressed("zstd -dc --long=31")),
            Self::Dictionary => Some(decompressed("zstd -dc -D DICTIONARY")),
        }
    }

    fn remedy(self, input: &Source, raw_offset: u64, piped: &PipedCommand) -> String {
        let other_way = self.other_way(input, raw_offset, piped).unwrap_or_default();
        match self {
            Self::Read => "fix the cause, then run the same command again".to_owned(),
            Self::CutShort(_) => {
                "all whole events before that were read; get an intact copy and run the same command again"
                    .to_owned()
            }
            // The checksum comes last. By then the events before it are stored.
            Self::Damaged(_) => piped.damage_advice(input),
            Self::Trailing(_) => format!(
                "everything before that was read; inspect the remainder, or skip it with: {other_way}"
            ),
            Self::Window => format!("decompress it with: {other_way}"),
            Self::Dictionary => {
                format!("decompress it with its dictionary (replace DICTIONARY): {other_way}")
            }
        }
    }
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("reading failed"),
            Self::CutShort(compression) => write!(f, "the {compression} data is cut short"),
            Self::Damaged(compression) => write!(f, "the {compression} data is damaged"),
            Self::Trailing(compression) => {
                write!(f, "the {compression} data is followed by something else")
            }
            Self::Dictionary => f.write_str("the zstd data needs its dictionary"),
            Self::Window => f.write_str("the zstd data needs more than 128 MiB to decode"),
        }
    }
}

/// Returns the remedy for an input that does not exist. It may be a URL, and one of a database is concealed.
fn missing_remedy(input: &Source) -> &'static str {
    let name = input.to_string();
    if name == CONCEALED {
        "use --database-url for a database, or write ./ before the name of a file"
    } else if name.contains("://") {
        "URLs are not read: download the file, or pipe it into standard input"
    } else {
        "check the path, or use '-' for standard input"
    }
}

/// Returns the innermost directory of a file name pattern that exists.
fn directory_of(input: &Source) -> Source {
    let path = PathBuf::from(input.to_string());
    let directory = path.ancestors().skip(1).find(|directory| directory.is_dir());
    Source::File(directory.unwrap_or(Path::new(".")).to_owned())
}

/// Returns the input's path, quoted for a shell.
fn quoted(input: &Source) -> String {
    shell_quoted(&input.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_contain_a_command_with_the_options_of_the_run() {
        let input = Source::File("d/a.ndjson.xz".into());
        let error = InputError::Foreign { input, format: Foreign::Xz, piped: PipedCommand::default() };
        assert_eq!(
            error.to_string(),
            "d/a.ndjson.xz is compressed with xz, which is not read directly\nhint: convert it with: xz -dc d/a.ndjson.xz | aegis-kills load"
        );
        let error = error.with_command(&PipedCommand::new(|name| format!("load --battle {}", name.len())));
        assert!(error.to_string().ends_with("xz -dc d/a.ndjson.xz | load --battle 13"), "{error}");
    }

    #[test]
    fn a_break_names_both_offsets_and_keeps_its_cause() {
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
            "a b.gz: the gzip data is followed by something else at byte 70 of the uncompressed text, byte 33 of the input\nhint: \
             everything before that was read; inspect the remainder, or skip it with: \
             head -c 33 'a b.gz' | gzip -dc | aegis-kills load"
        );
        assert!(std::error::Error::source(&error).unwrap().is::<io::Error>());
    }
}
