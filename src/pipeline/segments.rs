//! The segments of all sources, and the sources that are no dumps.

use crate::input::{InputError, Next, Segment, Segmenter, Source, looks_pretty_printed, shell_quoted};
use crossbeam_channel::Sender;
use std::sync::Arc;

/// A source could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It broke.
    #[error(transparent)]
    Input(#[from] InputError),
    /// It is one JSON document over many lines.
    #[error(
        "{source_name} is one pretty-printed JSON document, not one event a line; mend it with: \
         jq -c 'if type == \"array\" then .[] else . end'{file} | aegis-kills load"
    )]
    PrettyPrinted {
        /// The source.
        source_name: String,
        /// What `jq` is given: a space and the path as a shell takes it, or nothing where it reads standard input.
        file: String,
    },
}

/// Segments in the order of the input, with an error for each source that has to be left.
pub struct Segments {
    segmenter: Segmenter,
    /// Takes the buffers of what is passed over.
    give_back: Sender<Vec<u8>>,
    /// The number of the next segment that is not passed over.
    number: u64,
    /// The source of the segment before, to see where one begins.
    current: Option<Arc<str>>,
    /// Whether what comes of the current source is passed over.
    left: bool,
}

impl Segments {
    /// Reads from `segmenter`, whose buffers come from `give_back`, until it ends or is stopped.
    pub fn new(segmenter: Segmenter, give_back: Sender<Vec<u8>>) -> Self {
        Self { segmenter, give_back, number: 0, current: None, left: false }
    }
}

impl Iterator for Segments {
    type Item = Result<Segment, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.segmenter.next() {
                Next::Segment(mut segment) => {
                    let begins =
                        self.current.as_ref().is_none_or(|current| !Arc::ptr_eq(current, &segment.source));
                    if begins {
                        self.left = looks_pretty_printed(&segment.bytes);
                        self.current = Some(Arc::clone(&segment.source));
                    }
                    if !self.left {
                        segment.number = self.number;
                        self.number += 1;
                        return Some(Ok(segment));
                    }
                    // There is room for every buffer there is.
                    let _ = self.give_back.try_send(segment.bytes);
                    if begins {
                        return Some(Err(pretty_printed(&segment.source)));
                    }
                }
                Next::SourceFailed(error) => return Some(Err(error.into())),
                Next::Stopped | Next::End => return None,
            }
        }
    }
}

fn pretty_printed(source: &str) -> SourceError {
    let file = if source == Source::Stdin.to_string() {
        String::new()
    } else {
        format!(" {}", shell_quoted(source))
    };
    SourceError::PrettyPrinted { source_name: source.to_owned(), file }
}
