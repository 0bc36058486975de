//! The end of a text whose remainder is missing: whole values are kept, and an unfinished one counts as unread.

use crate::input::framing::cutter::{Cutter, count_feeds};
use crate::input::framing::framer::ending::TextEnd;
use crate::input::framing::framer::{Ahead, Framed};
use crate::input::segment::Segment;

/// A value that is not closed at the end of its source.
pub(crate) struct UnclosedValue {
    /// Its kind: array or object.
    pub(crate) kind: &'static str,
    /// The number of the last line of the source.
    pub(crate) line: u64,
    /// Whether values in it were not read if a closing brace is missing before its end.
    pub(crate) may_lack_values: bool,
}

impl Cutter {
    /// Returns how the remaining text ends.
    pub(crate) fn text_end(&self) -> TextEnd {
        if self.oversized.is_some() || matches!(self.found, Some(Framed::TooLong(_))) {
            return TextEnd::Within;
        }
        self.framer.text_end(self.remaining())
    }

    /// Returns the value that the source leaves open, or none if all are closed.
    pub(crate) fn unclosed(&self) -> Option<UnclosedValue> {
        let rest = self.remaining();
        let ends_line = rest.last().map_or(self.begins_line, |last| *last == b'\n');
        let line = (self.first_line + count_feeds(rest)).saturating_sub(u64::from(ends_line)).max(1);
        self.framer.is_open().then(|| UnclosedValue {
            kind: self.framer.open_kind(),
            line,
            may_lack_values: self.framer.may_lack_values(),
        })
    }

    /// Returns the next segment of whole values, if any, of a text whose end is missing. After it returned none, only
    /// [`Cutter::discard`] and [`Cutter::begin`] may follow.
    pub(crate) fn cut_off(&mut self) -> Option<Segment> {
        self.whole_spans(Ahead::CutOff)
    }

    /// Drops the remaining text.
    pub(crate) fn discard(&mut self) {
        if let Some(filling) = &mut self.filling {
            filling.clear();
            filling.settle(self.limits.usual_bytes_max());
        }
        self.carry = Vec::new();
        (self.found, self.oversized) = (None, None);
    }
}
