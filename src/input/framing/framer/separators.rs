//! The separators between values.

use crate::input::framing::framer::{Ahead, Framed, Framer, Span, SpanKind};

impl Framer {
    /// Marks the separators before `at` as framed. Without a span for the maximum length of a value, returns a blank one, so
    /// that nothing holds endless separators.
    pub(crate) fn skip_to(&mut self, text: &[u8], at: usize) -> Option<Framed> {
        let mut end = self.start + self.value_max_bytes.saturating_sub(self.unspanned);
        if at < end {
            self.move_to(text, at);
            return None;
        }
        // A byte order mark is not divided.
        while end < at && text[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        Some(self.blank(text, end))
    }

    /// Marks text without a value as framed. As [`Framer::skip_to`], returns blank spans.
    pub(crate) fn pass_to(&mut self, text: &[u8], at: usize) -> Option<Framed> {
        let end = self.start + self.value_max_bytes.saturating_sub(self.unspanned);
        if at < end {
            self.move_to(text, at);
            return None;
        }
        Some(self.blank(text, end))
    }

    /// Passes the rest of the text of an envelope without an end.
    pub(crate) fn pass_rest(&mut self, text: &[u8]) -> Framed {
        self.pass_to(text, text.len()).unwrap_or(Framed::End)
    }

    fn blank(&mut self, text: &[u8], end: usize) -> Framed {
        let span = Span { start: self.start, end, line: self.lines, ..Span::default() };
        self.move_to(text, end);
        self.unspanned = 0;
        Framed::Span { span, next: end, kind: SpanKind::Blank }
    }
}

/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Record separator: begins each text of a JSON text sequence (RFC 7464).
pub(crate) const SEPARATOR: u8 = 0x1e;

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Skips the separators between the values of a line. Returns the offset after them.
pub(crate) fn skip_separators(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            Some(&(b' ' | b'\t' | b'\r' | b',' | SEPARATOR)) => at += 1,
            Some(0xef) if text[at..].starts_with(MARK) => at += MARK.len(),
            _ => return at,
        }
    }
}

/// Returns whether the text is an incomplete byte order mark whose remainder may follow.
pub(crate) fn ends_in_mark(text: &[u8], ahead: Ahead) -> bool {
    ahead != Ahead::Nothing && !text.is_empty() && text.len() < MARK.len() && MARK.starts_with(text)
}
