//! The end of a text whose remainder is missing: whole values are kept, and an unfinished one counts as unread.

use crate::input::framing::cutter::Cutter;
use crate::input::framing::framer::{Ahead, Framed};
use crate::input::segment::Segment;

impl Cutter {
    /// Returns whether the remaining text ends within a value or an array.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.oversized.is_some()
            || matches!(self.found, Some(Framed::TooLong(_)))
            || self.framer.ends_within(self.remaining())
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
