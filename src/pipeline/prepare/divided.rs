//! Divides envelopes of several lines in which only the parser finds the malformed JSON, so that it costs one value.

use crate::event::kill_event::Event;
use crate::event::line::LineReader;
use crate::input::framing::framer::{Framer, Span};
use crate::input::segment::Segment;
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::prepare::span_text::context_of;

impl Preparer {
    /// Returns the spans of a segment, with those of the values in each envelope of `malformed`, which are the starts of
    /// malformed values in ascending order. None if none of them can be divided.
    pub(crate) fn divided(&self, segment: &Segment, malformed: &[usize]) -> Option<Vec<Span>> {
        if malformed.is_empty() {
            return None;
        }
        let path = self.reading.event_path()?;
        let mut is_divided = false;
        let mut spans = Vec::new();
        for span in segment.spans.iter().flatten() {
            let is_malformed = malformed.binary_search(&span.start).is_ok();
            let values = if is_malformed { Framer::divide(&segment.bytes, span, &path) } else { None };
            // If none of them is malformed, the malformed JSON is beside the path. A stray comma is between them.
            match values.filter(|(values, has_stray_comma)| {
                *has_stray_comma || values.iter().any(|value| self.is_malformed(segment, value))
            }) {
                Some((values, _)) => {
                    is_divided = true;
                    spans.extend(values);
                }
                None => spans.push(span.clone()),
            }
        }
        is_divided.then_some(spans)
    }

    /// Returns whether a value is malformed.
    fn is_malformed(&self, segment: &Segment, value: &Span) -> bool {
        let Ok(text) = str::from_utf8(&segment.bytes[value.start..value.end]) else { return true };
        let mut reader = LineReader::with_rules(self.rules(&segment.source));
        reader.read_value(text, 0, context_of(value), &mut Event::default(), |_| ()).is_err()
    }
}
