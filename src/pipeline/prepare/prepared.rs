//! A segment that is ready to be written, and its rejects.

use crate::database::store::{Batch, SegmentCounts, SegmentHash};
use crate::input::buffers::{Buffer, LARGE_CAPACITY};
use crate::input::segment::Segment;
use crate::layout::rows::{DuplicatePolicy, Rows};
use crate::pipeline::prepare::parts::{EventPlace, Recoder, Rejects, SegmentParts, event_text};
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::rejects::reject::Reject;
use std::borrow::Cow;
use std::sync::Arc;

/// The bytes of a segment and of its rows together, above which the rows are not held. A segment of real events takes 10 MiB.
const HELD_BYTES_MAX: usize = 24 << 20;

/// Rows of fewer bytes are held in any case.
const HELD_ROWS_MIN: usize = 4 << 20;

/// More rejects before the first event are not counted: so many are enough to abandon an input.
const REJECTS_COUNTED_MAX: usize = 1000;

/// A segment, parsed and encoded once; every try to write it sends the same bytes.
#[derive(Debug)]
pub struct Prepared {
    /// The text, which rejects are cut from.
    pub segment: Arc<Segment>,
    /// What a store is given.
    pub batch: Arc<Batch>,
    /// Rejects found while reading, in their order; only their number where there are many.
    pub(crate) found: Rejects,
    /// What the database rejected.
    refused: Vec<Reject>,
    /// How many rejects count.
    rejects_max: u64,
    /// Where each event of the batch came from.
    places: Arc<Vec<EventPlace>>,
    /// The first event whose id its server can hardly have given out.
    pub implausible: Option<i64>,
    preparer: Preparer,
    /// The pool's buffer, where the segment's text is not in it any more: it counts the segments in flight.
    _emptied: Option<Buffer>,
}

impl Prepared {
    /// Events that stand in the segment more than once, counted without their first place.
    pub fn repeated(&self) -> u64 {
        (self.batch.versions.len() - self.batch.order.len()) as u64
    }

    /// Whether some of its events can be stored.
    pub(crate) fn has_events(&self) -> bool {
        !self.places.is_empty()
    }

    /// How many rejects come before the first event that can be stored, counted up to [`REJECTS_COUNTED_MAX`].
    pub(crate) fn first_rejects(&self) -> usize {
        let first = self.places.first().map_or(usize::MAX, |place| place.text().start);
        let mut before = 0;
        let _ = self.each_reject(|reject| {
            if reject.text.start >= first || before >= REJECTS_COUNTED_MAX {
                return Err(());
            }
            before += 1;
            Ok(())
        });
        before
    }

    /// The ids that are to be stored, each once, ascending.
    pub(crate) fn sorted_ids(&self) -> Vec<i64> {
        self.batch.rows.ids(&self.batch.order)
    }

    /// The ids of all events that can be stored, with the number of the line that each stands in.
    pub fn ids(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let events = self.batch.rows.events().iter().zip(&*self.places);
        events.map(|(event, place)| (event.id, self.line(*place)))
    }

    /// Where an event of the batch came from, as an error names it.
    pub(crate) fn place(&self, event: usize) -> String {
        format!("{}:{}", self.segment.source, self.line(self.places[event]))
    }

    /// The number of the line in which an event begins.
    fn line(&self, place: EventPlace) -> u64 {
        self.segment.first_line + u64::from(place.line)
    }

    /// Notes that the database refused an event of the batch.
    pub fn reject(&mut self, event: usize, reason: String, sqlstate: Option<String>) {
        let place = self.places[event];
        let raw = event_text(&self.segment, place, &self.preparer);
        let raw = if let Some(Cow::Owned(raw)) = raw { Some(raw.into()) } else { None };
        self.refused.push(Reject {
            line: self.line(place),
            index: place.index(),
            text: place.text(),
            raw,
            reason: reason.into(),
            field: None,
            sqlstate: sqlstate.map(Into::into),
            truncated: false,
        });
    }

    /// How many events were rejected.
    pub fn rejected(&self) -> u64 {
        (self.found.count + self.refused.len() as u64).min(self.rejects_max)
    }

    /// Keeps the first `rejects_max` rejects alone.
    pub(crate) fn limit_rejects(&mut self, rejects_max: u64) {
        self.rejects_max = rejects_max;
    }

    /// The first reject.
    pub(crate) fn first_reject(&self) -> Option<Reject> {
        let mut first = None;
        let _ = self.each_reject(|reject| {
            first = Some(reject.clone());
            Err(())
        });
        first
    }

    /// Hands out all rejects in the order of the segment, until `each` fails.
    ///
    /// # Errors
    ///
    /// What `each` failed with.
    pub fn each_reject<E>(&self, mut each: impl FnMut(&Reject) -> Result<(), E>) -> Result<(), E> {
        let mut refused: Vec<&Reject> = self.refused.iter().collect();
        refused.sort_by_key(|reject| (reject.line, reject.index));
        let mut refused = refused.into_iter().peekable();
        let mut result = Ok(());
        let mut left = self.rejects_max;
        let mut each = |reject: &Reject| {
            if left > 0 {
                left -= 1;
                each(reject)?;
            }
            Ok(())
        };
        let mut in_order = |reject: &Reject| {
            while let Some(earlier) =
                refused.next_if(|refused| (refused.line, refused.index) < (reject.line, reject.index))
            {
                if result.is_ok() {
                    result = each(earlier);
                }
            }
            if result.is_ok() {
                result = each(reject);
            }
            result.is_ok()
        };
        if self.found.held.len() as u64 == self.found.count {
            let _ = self.found.held.iter().all(&mut in_order);
        } else {
            let mut parts = SegmentParts::new(0);
            parts.read(&self.preparer, &self.segment, Some(&mut in_order));
        }
        result?;
        refused.try_for_each(each)
    }
}

impl Preparer {
    /// Parses and encodes the values of a segment.
    pub fn prepare(&self, mut segment: Segment, hash: SegmentHash) -> Prepared {
        let mut parts =
            SegmentParts::new(HELD_BYTES_MAX.saturating_sub(segment.bytes.len()).max(HELD_ROWS_MIN));
        if segment.bytes.is_permitted() {
            parts.rows.reserve(LARGE_CAPACITY);
        }
        if let Some(bytes) = segment.oversized {
            parts.reject_oversized(&segment, bytes);
        } else {
            parts.read(self, &segment, None);
        }
        let SegmentParts { events, rejects, mut rows, places, implausible, .. } = parts;
        let places = Arc::new(places);
        // A try to write that hangs may need the text for longer than this run: its memory leaves the pool's buffer, which
        // stays with the segment.
        let emptied = rows.is_recoded().then(|| {
            let bytes = std::mem::take(&mut *segment.bytes);
            std::mem::replace(&mut segment.bytes, bytes.into())
        });
        let segment = Arc::new(segment);
        if rows.is_recoded() {
            let (segment, places) = (Arc::clone(&segment), Arc::clone(&places));
            rows.set_recoder(Box::new(Recoder { segment, places, preparer: self.clone() }));
        }
        let versions = in_order(&rows, self.repeats);
        let mut order = versions.clone();
        order.dedup_by_key(|event| rows.events()[*event].id);
        let counts = SegmentCounts { lines: segment.lines, events };
        let (number, rejected) = (segment.number, rejects.count);
        let batch = Arc::new(Batch { hash, number, counts, rejected, rows, versions, order });
        let preparer = self.clone();
        Prepared {
            segment,
            batch,
            found: rejects,
            refused: Vec::new(),
            rejects_max: u64::MAX,
            places,
            implausible,
            preparer,
            _emptied: emptied,
        }
    }
}

/// The events by id; of one id, the one that counts first.
fn in_order(rows: &Rows, repeats: DuplicatePolicy) -> Vec<usize> {
    let id = |event: usize| rows.events()[event].id;
    let mut order: Vec<usize> = (0..rows.events().len()).collect();
    order.sort_unstable_by_key(|&event| match repeats {
        DuplicatePolicy::KeepFirst => (id(event), event),
        DuplicatePolicy::KeepLast => (id(event), usize::MAX - event),
    });
    order
}
