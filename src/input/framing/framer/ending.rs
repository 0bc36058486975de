//! Whether a text ends within a value.

use crate::input::framing::framer::separators::is_space;
use crate::input::framing::framer::{Ahead, Framed, Framer};

impl Framer {
    /// Returns whether the text, which begins with the text of the previous call, ends within a value or an array, or in
    /// text that can be the start of a value. Blank lines, and separators between values, are not a cut-off value.
    pub(crate) fn ends_within(&self, text: &[u8]) -> bool {
        let mut framer = self.clone();
        loop {
            match framer.next(text, Ahead::CutOff) {
                Framed::Span { .. } => {}
                Framed::TooLong(_) => return true,
                Framed::More | Framed::End => break,
            }
        }
        let is_separator = |byte: &u8| is_space(*byte) || *byte == b',';
        framer.array.is_some() || !text[framer.start..].iter().all(is_separator)
    }
}
