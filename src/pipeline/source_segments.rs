//! Iterates over the segments of all sources, and skips sources that are not dumps.

use crate::event::forms::envelope::EventsAt;
use crate::input::content::Content;
use crate::input::convert::PipedCommand;
use crate::input::decode::format::Foreign;
use crate::input::error::{Breakage, InputError};
use crate::input::segment::Segment;
use crate::input::segmenter::{Next, Segmenter};
use crate::input::source::Source;
use crate::panics::inject;
use std::sync::Arc;

/// A source could not be read completely.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The input failed.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The source was read as a dump but has no events. Only the hint, which the ledger and the pages lack, names keys of it.
    #[error(
        "{source_name} is abandoned because its first {values} values are all rejected ({reason})\nhint: {}, or load it \
         anyway with --max-rejects 100%",
        if advice.is_empty() { "check that it contains kill events" } else { advice.as_str() }
    )]
    NoEvents {
        source_name: String,
        /// The number of values examined.
        values: usize,
        /// The reason for the first reject, without its advice.
        reason: String,
        /// The advice for the first reject, which may be empty.
        advice: String,
    },
    /// The text of a deferred segment is no longer in the source.
    #[error("{source_name} changed during the load\nhint: run the same command again")]
    Changed { source_name: String },
}

impl SourceError {
    /// Returns the source if its compressed data is damaged, so that the text may be wrong.
    pub(crate) fn damaged(&self) -> Option<&Source> {
        match self {
            Self::Input(InputError::Broken { breakage: Breakage::Damaged(_), input, .. }) => Some(input),
            _ => None,
        }
    }

    /// Whether the cause is the content of the source, so that reading it again ends in the same way.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Input(InputError::Broken { breakage, .. }) => *breakage != Breakage::Read,
            Self::Input(InputError::Foreign { .. } | InputError::Unclosed { .. }) => true,
            _ => false,
        }
    }

    /// Returns the display name of the source.
    pub(crate) fn source_name(&self) -> String {
        match self {
            SourceError::Input(error) => error.input_name(),
            SourceError::NoEvents { source_name, .. } | SourceError::Changed { source_name } => {
                source_name.clone()
            }
        }
    }
}

/// Segments in the order of the input, with an error for each skipped source.
pub(crate) struct Segments {
    segmenter: Segmenter,
    /// The number of the next segment.
    number: u64,
    /// The source of the previous segment.
    current: Option<Arc<str>>,
    skips_source: bool,
    piped: PipedCommand,
    events_at: Option<Arc<EventsAt>>,
}

impl Segments {
    /// Reads from `segmenter` until it ends or is stopped. Errors suggest the command `piped`. `events_at` leads to the events
    /// in each value.
    pub(crate) fn new(segmenter: Segmenter, piped: PipedCommand, events_at: Option<Arc<EventsAt>>) -> Self {
        Self { segmenter, number: 0, current: None, skips_source: false, piped, events_at }
    }

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
                        let error = unsupported_format(&segment, &self.piped, self.events_at.as_deref());
                        self.skips_source = error.is_some();
                        self.current = Some(Arc::clone(&segment.source));
                        if let Some(error) = error {
                            return Some(Err(error));
                        }
                    }
                    if !self.skips_source {
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

/// Returns an error if the first segment shows that the source has an unsupported format.
fn unsupported_format(
    segment: &Segment,
    piped: &PipedCommand,
    events_at: Option<&EventsAt>,
) -> Option<SourceError> {
    let source = &*segment.source;
    let format = match Content::of(&segment.bytes) {
        Content::Json => return None,
        // The envelope around it is JSON.
        content if is_in_envelope(segment) => long_string(segment, &content, events_at)?,
        Content::NoJson => {
            log::warn!(
                "{source} does not begin with JSON and is possibly not a kill dump; values that are not events are rejected"
            );
            return None;
        }
        Content::Foreign(format) => format,
    };
    let is_stdin = source == Source::Stdin.to_string();
    let input = if is_stdin { Source::Stdin } else { Source::File(source.into()) };
    Some(InputError::Foreign { input, format, piped: piped.clone() }.into())
}

/// Returns whether the first value of a segment was taken out of an envelope.
fn is_in_envelope(segment: &Segment) -> bool {
    let span = segment.spans.as_deref().and_then(<[_]>::first);
    span.is_some_and(|span| span.surroundings.is_some())
}

/// Returns the format of an envelope whose events are in a string that is too long to be decoded.
fn long_string(segment: &Segment, content: &Content, events_at: Option<&EventsAt>) -> Option<Foreign> {
    let span = segment.spans.as_deref()?.first()?;
    let (surroundings, path) = span.surroundings.as_deref().zip(events_at)?;
    let is_long = segment.oversized.is_some() && *content == Content::Foreign(Foreign::JsonStrings);
    is_long.then(|| Foreign::LongString(path.jq_filter(surroundings.steps, span.index.is_some())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::failure::public::in_public;
    use crate::error_chain::in_full;

    #[test]
    fn keys_of_the_input_are_only_in_the_hint() {
        let error = |advice: &str| SourceError::NoEvents {
            source_name: "a".to_owned(),
            values: 1000,
            reason: "EventId: required field is missing".to_owned(),
            advice: advice.to_owned(),
        };
        let public = "a is abandoned because its first 1000 values are all rejected (EventId: required field is missing)";
        for (advice, hint) in [
            (
                "an event seems to be at 'data': add --events-at 'data'",
                "--events-at 'data', or load it anyway",
            ),
            ("", "check that it contains kill events, or load it anyway"),
        ] {
            assert_eq!(in_public(&error(advice)), public);
            let full = in_full(&error(advice));
            assert!(full.starts_with(&format!("{public}; hint: ")) && full.contains(hint), "{full}");
        }
    }
}
