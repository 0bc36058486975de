//! The division of an envelope in which only the parser finds the malformed JSON.

use std::sync::Arc;

use crate::input::framing::framer::envelope::EnvelopeLevel;
use crate::input::framing::framer::{Ahead, Framed, Framer, Span, SpanKind};
use crate::input::framing::path::EventPath;

/// The maximum number of values of an envelope that is divided. It bounds the memory for their spans.
const VALUES_MAX: usize = 32 << 10;

impl Framer {
    /// Returns the values on the path in the envelope at `span`, and whether there is a stray comma between them. None if it is no
    /// envelope, if it has too many values, or if a text that matters for all of them comes after them.
    pub(crate) fn divide(text: &[u8], span: &Span, path: &Arc<EventPath>) -> Option<(Vec<Span>, bool)> {
        let text = &text[..span.end];
        let mut framer = Self::new(text.len(), Some(Arc::clone(path)));
        (framer.start, framer.sought, framer.lines) = (span.start, span.start, span.line);
        match &span.surroundings {
            Some(surroundings) => {
                framer.levels.push(EnvelopeLevel::around(surroundings, span.index));
                framer.envelope.is_spread = true;
            }
            None => framer.array = span.index,
        }
        if !framer.enter_envelope(text) {
            return None;
        }
        let mut values = Vec::new();
        loop {
            match framer.next(text, Ahead::Nothing) {
                Framed::Span { kind: SpanKind::Blank, .. } => {}
                Framed::Span { span, .. } if values.len() < VALUES_MAX => values.push(span),
                Framed::End => {
                    return (!framer.has_late_note).then_some((values, framer.envelope.stray_commas > 0));
                }
                Framed::Span { .. } | Framed::More | Framed::TooLong(_) => return None,
            }
        }
    }
}
