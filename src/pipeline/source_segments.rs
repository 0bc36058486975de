//! The segments of all sources, and the sources that are no dumps.

use crate::input::content::Content;
use crate::input::convert::PipedCommand;
use crate::input::error::{Breakage, InputError};
use crate::input::segment::Segment;
use crate::input::segmenter::{Next, Segmenter};
use crate::input::source::Source;
use crate::panics::inject;
use std::sync::Arc;

/// A source could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// It broke.
    #[error(transparent)]
    Input(#[from] InputError),
    /// It is read as a dump, and holds no events.
    #[error(
        "{source_name} is abandoned, as its first {values} values are all rejected ({reason}): check that it holds kill events; \
         '--max-rejects 100%' loads it all the same"
    )]
    NoEvents {
        /// The source.
        source_name: String,
        /// How many values were looked at.
        values: usize,
        /// Why the first of them is rejected.
        reason: String,
    },
    /// What was put off, as another load had taken it, is not there any more.
    #[error("{source_name} has changed while it was loaded: run the same command again")]
    Changed {
        /// The source.
        source_name: String,
    },
}

impl SourceError {
    /// Whether compressed data is damaged, and what was read of it may be wrong.
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self, Self::Input(InputError::Broken { breakage: Breakage::Damaged(_), .. }))
    }
}

impl SourceError {
    /// The source, as it is shown.
    pub(crate) fn source_name(&self) -> String {
        match self {
            SourceError::Input(error) => error.input_name(),
            SourceError::NoEvents { source_name, .. } | SourceError::Changed { source_name } => {
                source_name.clone()
            }
        }
    }
}

/// Segments in the order of the input, with an error for each source that has to be left.
pub(crate) struct Segments {
    segmenter: Segmenter,
    /// The number of the next segment that is not passed over.
    number: u64,
    /// The source of the segment before, to see where one begins.
    current: Option<Arc<str>>,
    /// Whether the rest of the current source is passed over.
    leaves_source: bool,
    piped: PipedCommand,
}

impl Segments {
    /// Reads from `segmenter` until it ends or is stopped.
    /// Errors suggest `piped`.
    pub(crate) fn new(segmenter: Segmenter, piped: PipedCommand) -> Self {
        Self { segmenter, number: 0, current: None, leaves_source: false, piped }
    }

    /// The number of the next segment.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Iterator for Segments {
    type Item = Result<Segment, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        inject("cut");
        loop {
            match self.segmenter.next() {
                Next::Segment(mut segment) => {
                    let begins =
                        self.current.as_ref().is_none_or(|current| !Arc::ptr_eq(current, &segment.source));
                    if begins {
                        let refused = refused(&segment, &self.piped);
                        self.leaves_source = refused.is_some();
                        self.current = Some(Arc::clone(&segment.source));
                        if let Some(error) = refused {
                            return Some(Err(error));
                        }
                    }
                    if !self.leaves_source {
                        segment.number = self.number;
                        self.number += 1;
                        return Some(Ok(segment));
                    }
                }
                Next::SourceFailed(error) => return Some(Err(error.with_command(&self.piped).into())),
                Next::Stopped | Next::End => return None,
            }
        }
    }
}

/// Why a source is left, by its first segment.
fn refused(segment: &Segment, piped: &PipedCommand) -> Option<SourceError> {
    let source = &*segment.source;
    let format = match Content::of(&segment.bytes) {
        Content::Json => return None,
        Content::NoJson => {
            log::warn!(
                "{source} does not begin with JSON: is it a dump of kills? Values that are not events are rejected"
            );
            return None;
        }
        Content::Foreign(format) => format,
    };
    let is_stdin = source == Source::Stdin.to_string();
    let input = if is_stdin { Source::Stdin } else { Source::File(source.into()) };
    Some(InputError::Foreign { input, format, piped: piped.clone() }.into())
}
