//! A segment that is ready to be written, with its rejects.

use crate::database::store::{Batch, SegmentCounts, SegmentHash};
use crate::event::forms::reject_record;
use crate::event::line::decoded_text;
use crate::event::rules::battle_in_name;
use crate::input::buffers::{Buffer, LARGE_CAPACITY};
use crate::input::segment::Segment;
use crate::layout::rows::{DuplicatePolicy, Rows};
use crate::pipeline::prepare::parts::{EventPlace, Rejects, SegmentParts, event_text};
use crate::pipeline::prepare::preparer::{Battle, Preparer};
use crate::pipeline::prepare::recoder::Recoder;
use crate::pipeline::prepare::span_text::context_at;
use crate::pipeline::rejects::reject::{Reject, RejectCause};
use std::borrow::Cow;
use std::sync::Arc;

/// The maximum size of a segment together with its held rows, in bytes. A segment of real events takes 10 MiB. With
/// four parsing threads and three writers, 7 are held at once.
const HELD_BYTES_MAX: usize = 16 << 20;

/// Rows below this size are always held.
const HELD_ROWS_MIN: usize = 4 << 20;

/// The maximum number of times that malformed values are divided further. A path has at most as many steps.
const DIVISIONS_MAX: usize = 16;

/// The maximum count of rejects before the first event, which is enough to abandon an input.
const REJECTS_COUNTED_MAX: usize = 1000;

/// A segment, parsed and encoded once. Every write attempt sends the same bytes.
#[derive(Debug)]
pub struct Prepared {
    /// The text, which is the source of rejects.
    pub segment: Arc<Segment>,
    pub batch: Arc<Batch>,
    /// Rejects found while reading, in order. If there are many, only their number.
    pub(crate) found: Rejects,
    /// Events that the database refused.
    refused: Vec<Reject>,
    /// Only this many rejects are reported.
    rejects_max: u64,
    /// The place of each event of the batch.
    places: Arc<Vec<EventPlace>>,
    /// The first event with an implausible id for its server.
    pub implausible: Option<i64>,
    preparer: Preparer,
    /// The emptied pool buffer of a segment whose text was moved out. It still limits the number of segments in flight.
    _emptied: Option<Buffer>,
}

impl Prepared {
    /// Returns the number of events that repeat an earlier event of the segment.
    pub fn repeated(&self) -> u64 {
        (self.batch.versions.len() - self.batch.order.len()) as u64
    }

    /// Returns whether the segment has events that can be stored.
    pub(crate) fn has_events(&self) -> bool {
        !self.places.is_empty()
    }

    /// Counts the rejects before the first event that can be stored, up to [`REJECTS_COUNTED_MAX`].
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

    /// Returns the distinct ids to store, in ascending order.
    pub(crate) fn sorted_ids(&self) -> Vec<i64> {
        self.batch.rows.ids(&self.batch.order)
    }

    /// Returns the ids of all events that can be stored, with their line numbers.
    pub fn ids(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let events = self.batch.rows.events().iter().zip(&*self.places);
        events.map(|(event, place)| (event.id, self.line(*place)))
    }

    /// Formats the place of an event of the batch for errors.
    pub(crate) fn place(&self, event: usize) -> String {
        format!("{}:{}", self.segment.source, self.line(self.places[event]))
    }

    /// Formats the lines of the batch for errors.
    pub(crate) fn whole_place(&self) -> String {
        let first = self.segment.first_line;
        format!("{}:{first}-{}", self.segment.source, first + self.segment.lines.max(1) - 1)
    }

    /// Returns the number of the line in which an event begins.
    fn line(&self, place: EventPlace) -> u64 {
        self.segment.first_line + u64::from(place.line)
    }

    /// Records that the database refused an event of the batch.
    pub fn reject(&mut self, event: usize, reason: String, sqlstate: Option<String>) {
        let place = self.places[event];
        let raw = event_text(&self.segment, place, &self.preparer);
        let raw = if let Some(Cow::Owned(raw)) = raw { Some(raw.into()) } else { None };
        self.refused.push(Reject {
            line: self.line(place),
            index: place.index(),
            text: place.text(),
            raw,
            unheld: None,
            // Without `--server`, each event names the server of the load.
            enclosing_server: self.preparer.reading.must_name_server.then_some(self.preparer.server),
            cause: RejectCause::Database { reason: reason.into(), sqlstate: sqlstate.map(Into::into) },
            truncated: false,
        });
    }

    /// Decodes the text of a reject again if it is not held.
    pub(crate) fn unheld_text(&self, reject: &Reject) -> Option<String> {
        let number = reject.unheld?;
        let value = str::from_utf8(&self.segment.bytes[reject.text.clone()]).ok()?;
        let rules = self.preparer.rules(&self.segment.source);
        decoded_text(value, number, rules, context_at(&self.segment, reject.text.start))
    }

    /// Returns the battle that a reject has from its line in a reject file: this segment's source does not name it.
    pub(crate) fn battle_of_line(&self, reject: &Reject) -> Option<i64> {
        if self.preparer.reading.battle != Battle::FromName {
            return None;
        }
        let text = str::from_utf8(&self.segment.bytes[reject.text.clone()]).ok()?;
        let line = reject_record::read(text, &[])?;
        line.battle.or_else(|| battle_in_name(&line.source))
    }

    /// Returns the number of rejected events.
    pub fn rejected(&self) -> u64 {
        (self.found.count + self.refused.len() as u64).min(self.rejects_max)
    }

    /// Keeps only the first `rejects_max` rejects, because the source is abandoned. They get their own ledger entry.
    pub(crate) fn abandon(&mut self, rejects_max: u64) {
        self.rejects_max = rejects_max;
        let rejected = self.found.count.min(rejects_max);
        self.batch = Arc::new(Batch {
            hash: self.batch.hash.abandoned(),
            number: self.batch.number,
            counts: SegmentCounts { lines: self.batch.counts.lines, events: rejected },
            text_bytes: self.batch.text_bytes,
            rejected,
            rows: Rows::default(),
            versions: Vec::new(),
            order: Vec::new(),
        });
    }

    pub(crate) fn first_reject(&self) -> Option<Reject> {
        let mut first = None;
        let _ = self.each_reject(|reject| {
            first = Some(reject.clone());
            Err(())
        });
        first
    }

    /// Calls `each` for all rejects in the order of the segment, until it fails.
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
        let mut parts = self.parts(&segment);
        for _ in 0..DIVISIONS_MAX {
            let Some(spans) = self.divided(&segment, &parts.malformed) else { break };
            segment.spans = Some(spans);
            // Frees the rows before they are encoded again.
            drop(parts);
            parts = self.parts(&segment);
        }
        let SegmentParts { events, rejects, mut rows, places, implausible, .. } = parts;
        let places = Arc::new(places);
        // A hanging write attempt may need the text for longer than this run. So the text is moved out of the pool's buffer,
        // which stays with the segment.
        let emptied = rows.is_recoded().then(|| {
            let bytes = std::mem::take(&mut *segment.bytes);
            std::mem::replace(&mut segment.bytes, bytes.into())
        });
        let segment = Arc::new(segment);
        if rows.is_recoded() {
            let (segment, places) = (Arc::clone(&segment), Arc::clone(&places));
            rows.set_recoder(Box::new(Recoder::new(segment, places, self.clone())));
        }
        let versions = in_order(&rows, self.repeats);
        let mut order = versions.clone();
        order.dedup_by_key(|event| rows.events()[*event].id);
        let counts = SegmentCounts { lines: segment.lines, events };
        let (number, text_bytes, rejected) = (segment.number, segment.bytes.len(), rejects.count);
        let batch = Arc::new(Batch { hash, number, counts, text_bytes, rejected, rows, versions, order });
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

    /// Reads the values of a segment.
    fn parts(&self, segment: &Segment) -> SegmentParts {
        let mut parts =
            SegmentParts::new(HELD_BYTES_MAX.saturating_sub(segment.bytes.len()).max(HELD_ROWS_MIN));
        if segment.bytes.is_permitted() {
            parts.rows.reserve(LARGE_CAPACITY);
        }
        if let Some(bytes) = segment.oversized {
            parts.reject_oversized(self, segment, bytes);
        } else {
            parts.read(self, segment, None);
        }
        parts
    }
}

/// Sorts the events by id. For equal ids, the event to keep comes first.
fn in_order(rows: &Rows, repeats: DuplicatePolicy) -> Vec<usize> {
    let id = |event: usize| rows.events()[event].id;
    let mut order: Vec<usize> = (0..rows.events().len()).collect();
    order.sort_unstable_by_key(|&event| match repeats {
        DuplicatePolicy::KeepFirst => (id(event), event),
        DuplicatePolicy::KeepLast => (id(event), usize::MAX - event),
    });
    order
}
