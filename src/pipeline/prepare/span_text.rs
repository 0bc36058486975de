//! A text of a segment, and its place.

use crate::event::fault::{Fault, FaultKind};
use crate::event::rules::{SERVER_KEYS, ValueContext};
use crate::event::server::Server;
use crate::input::framing::framer::Span;
use crate::input::segment::Segment;
use memchr::memmem;
use std::ops::Range;

pub(crate) struct SpanText<'s> {
    /// The text, up to its first part that is not UTF-8.
    pub(crate) text: &'s str,
    /// All of it, including parts that are not UTF-8.
    pub(crate) bytes: &'s [u8],
    /// Its place in the segment, including parts that are not UTF-8.
    pub(crate) range: Range<usize>,
    /// The first byte that is not UTF-8, counted from the start of the text.
    pub(crate) not_utf8: Option<usize>,
}

impl<'s> SpanText<'s> {
    /// A part of the segment's bytes, which may not be UTF-8.
    pub(crate) fn valid(bytes: &'s [u8], range: Range<usize>) -> Self {
        let bytes = &bytes[range.clone()];
        let byte = match simdutf8::compat::from_utf8(bytes) {
            Ok(text) => return Self { text, bytes, range, not_utf8: None },
            Err(error) => error.valid_up_to(),
        };
        let text = str::from_utf8(&bytes[..byte]).unwrap_or_default();
        // A number or a word before the fault does not end there.
        let text = text.trim_end_matches(|last: char| last.is_ascii_alphanumeric() || "+-.\"".contains(last));
        Self { text, bytes, range, not_utf8: Some(byte) }
    }

    /// Returns the game server for the values from byte `start` on, which `server` encloses. None if they can name their own.
    pub(crate) fn server_of_rest(&self, start: usize, server: Option<Server>) -> Option<Server> {
        let rest = &self.bytes[start..];
        let names = |key: &&str| memmem::find(rest, format!("\"{key}\"").as_bytes()).is_some();
        server.filter(|_| !SERVER_KEYS.iter().any(names))
    }

    /// The fault of a malformed value in `context`.
    pub(crate) fn fault(&self, fault: Fault, context: ValueContext) -> Fault {
        let fault = self.not_utf8.map_or(fault, |byte| FaultKind::NotUtf8 { byte }.into());
        let is_inside = context.index.is_some() || context.steps.is_some();
        if is_inside || self.text.trim_ascii().contains('\n') { fault.of_value() } else { fault }
    }
}

/// The place of a text in its source.
pub(crate) struct Origin {
    /// The number of the segment's first line.
    pub(crate) first_line: u64,
    /// Lines counted so far, from the segment's first one.
    pub(crate) line: u64,
    /// The number of bytes searched for line feeds. None if the text is one line.
    pub(crate) counted: Option<usize>,
    /// The place of the text in an array or an envelope.
    pub(crate) context: ValueContext,
}

impl Origin {
    /// Returns the number of lines from the segment's first one to byte `at` of the text.
    pub(crate) fn line_at(&mut self, text: &str, at: usize) -> u64 {
        if let Some(counted) = &mut self.counted
            && at > *counted
        {
            self.line += memchr::memchr_iter(b'\n', &text.as_bytes()[*counted..at]).count() as u64;
            *counted = at;
        }
        self.line
    }
}

/// Returns the place of a span in an array or an envelope.
pub(crate) fn context_of(span: &Span) -> ValueContext {
    let surroundings = span.surroundings.as_deref();
    let note = surroundings.and_then(|surroundings| surroundings.note.as_ref());
    ValueContext {
        index: span.index.and_then(|index| usize::try_from(index).ok()),
        server: note.and_then(|server| server.parse().ok()),
        steps: surroundings.map(|surroundings| surroundings.steps),
        is_element: surroundings.is_some_and(|surroundings| surroundings.is_element),
    }
}

/// Returns the place in an envelope of the value at byte `start` of a segment.
pub(crate) fn context_at(segment: &Segment, start: usize) -> ValueContext {
    let spans = segment.spans.as_deref().unwrap_or_default();
    let after = spans.partition_point(|span| span.start <= start);
    let span = after.checked_sub(1).and_then(|place| spans.get(place));
    let context = span.filter(|span| span.surroundings.is_some()).map(context_of);
    context.unwrap_or_default()
}

/// Returns the length of the separators at the start of a text.
pub(crate) fn separators(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t', '\r', '\n', '\u{1e}']).len()
}
