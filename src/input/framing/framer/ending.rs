//! How a text ends, whose next bytes may be missing.

use crate::input::framing::framer::envelope::EnvelopeLevel;
use crate::input::framing::framer::separators::is_space;
use crate::input::framing::framer::{Ahead, Framed, Framer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextEnd {
    /// After a value. Blank lines, and separators between values, are not a cut-off value.
    Between,
    /// Within a value, or within text that can be the start of one.
    Within,
    /// Within an array or an envelope whose whole values can be framed, without malformed JSON, which might have included
    /// the end.
    Unclosed,
}

impl Framer {
    /// Returns how the text ends, which begins with the text of the previous call.
    pub(crate) fn text_end(&self, text: &[u8]) -> TextEnd {
        let mut framer = self.clone();
        loop {
            match framer.next(text, Ahead::CutOff) {
                Framed::Span { .. } => {}
                Framed::TooLong(_) => return TextEnd::Within,
                Framed::More | Framed::End => break,
            }
        }
        let rest = &text[framer.start..];
        let first = rest.iter().find(|byte| !is_space(**byte) && **byte != b',');
        if framer.array.is_none() && framer.levels.is_empty() {
            return if first.is_none() { TextEnd::Between } else { TextEnd::Within };
        }
        // A word after a bracket is more probably a log than an array.
        let is_array = matches!(first, None | Some(b'{' | b'['));
        let is_envelope = framer.envelope.has_values || framer.levels.iter().any(EnvelopeLevel::is_in_array);
        let is_sound = framer.is_open() && framer.fault.is_none();
        let is_interrupted = framer.scan.is_some() && framer.other_value(text).is_some();
        let is_unclosed = if framer.levels.is_empty() { is_array } else { is_envelope };
        if is_unclosed && is_sound && !is_interrupted { TextEnd::Unclosed } else { TextEnd::Within }
    }

    /// Returns the kind of the outermost value that is not closed, for messages.
    pub(crate) fn open_kind(&self) -> &'static str {
        match self.levels.first() {
            Some(level) if !level.is_in_array() => "object",
            _ => "array",
        }
    }
}
