//! The end of a text whose remainder is missing: whole values are kept, and an unfinished one counts as unread.

use crate::input::framing::cutter::{Cutter, count_feeds};
use crate::input::framing::framer::ending::TextEnd;
use crate::input::framing::framer::{Ahead, Framed};
use crate::input::segment::Segment;

impl Cutter {
    /// Returns how the remaining text ends.
    pub(crate) fn text_end(&self) -> TextEnd {
        if self.oversized.is_some() || matches!(self.found, Some(Framed::TooLong(_))) {
            return TextEnd::Within;
        }
        self.framer.text_end(self.remaining())
    }

    /// Returns the kind of the value that the source leaves open, and the number of the source's last line. None if all are
    /// closed.
    pub(crate) fn unclosed(&self) -> Option<(&'static str, u64)> {
        let rest = self.remaining();
        let ends_line = rest.last().map_or(self.begins_line, |last| *last == b'\n');
        let line = (self.first_line + count_feeds(rest)).saturating_sub(u64::from(ends_line)).max(1);
        self.framer.is_open().then(|| (self.framer.open_kind(), line))
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
