//! From a segment to a batch: lines are parsed, events encoded, duplicates found.

use super::rejects::Reject;
use crate::database::store::{Batch, SegmentCounts, SegmentHash};
use crate::input::{LINE_MAX_BYTES, Segment};
use crate::kill::{Event, Fault, LineReader, NulPolicy, Server};
use crate::layout::{Encoder, Layout, Repeats, Rows};
use std::ops::Range;
use std::sync::Arc;

/// A segment, parsed and encoded once; every try to write it sends the same bytes.
#[derive(Debug)]
pub struct Prepared {
    /// The text, which rejects are cut from.
    pub segment: Segment,
    /// What was refused.
    pub rejects: Vec<Reject>,
    /// What a store is given.
    pub batch: Arc<Batch>,
    /// Where each event of the batch came from.
    places: Vec<Place>,
}

/// Where an event stands in its segment.
#[derive(Debug, Clone)]
struct Place {
    line: u64,
    index: Option<usize>,
    text: Range<usize>,
}

impl Prepared {
    /// Events that stand in the segment more than once, counted without their first place.
    pub fn repeated(&self) -> u64 {
        (self.batch.versions.len() - self.batch.order.len()) as u64
    }

    /// Whether some of its events can be stored.
    pub(super) fn has_events(&self) -> bool {
        !self.places.is_empty()
    }

    /// How many rejects come before the first event that can be stored.
    pub(super) fn first_rejects(&self) -> usize {
        let first = self.places.first().map_or(usize::MAX, |place| place.text.start);
        self.rejects.iter().take_while(|reject| reject.text.start < first).count()
    }

    /// The ids that are to be stored, each once, ascending.
    pub(super) fn sorted_ids(&self) -> Vec<i64> {
        self.batch.rows.ids(&self.batch.order)
    }

    /// The ids of all events that can be stored, with the number of the line that each stands in.
    pub fn ids(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.batch.rows.events().iter().zip(&self.places).map(|(event, place)| (event.id, place.line))
    }

    /// Notes that the database refused an event of the batch.
    pub fn reject(&mut self, event: usize, reason: String, sqlstate: Option<String>) {
        let Place { line, index, text } = self.places[event].clone();
        self.rejects.push(Reject { line, index, text, reason, field: None, sqlstate, truncated: false });
    }
}

/// Prepares segments.
#[derive(Debug, Clone, Copy)]
pub struct Preparer {
    /// The tables.
    pub layout: Layout,
    /// The game server that the events are of.
    pub server: Server,
    /// What becomes of a NUL.
    pub nul: NulPolicy,
    /// Which of several events of one id is stored.
    pub repeats: Repeats,
}

impl Preparer {
    /// The key of a segment in the ledger.
    pub fn hash(segment: &Segment) -> SegmentHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&segment.bytes);
        if let Some(bytes) = segment.oversized {
            // Only the head of the line is there; its length tells it from a whole line of the same text.
            hasher.update(&bytes.to_le_bytes());
        }
        SegmentHash(*hasher.finalize().as_bytes())
    }

    /// The same of a segment whose bytes are all there.
    pub(super) fn hash_of(bytes: &[u8]) -> SegmentHash {
        SegmentHash(*blake3::hash(bytes).as_bytes())
    }

    /// Parses and encodes the lines of a segment.
    pub fn prepare(self, segment: Segment, hash: SegmentHash) -> Prepared {
        let mut parts = Parts::default();
        if let Some(bytes) = segment.oversized {
            parts.refuse_oversized(&segment, bytes);
        } else {
            parts.read_lines(self, &segment);
        }
        let Parts { lines, events, rejects, rows, places } = parts;
        let versions = in_order(&rows, self.repeats);
        let mut order = versions.clone();
        order.dedup_by_key(|event| rows.events()[*event].id);
        let counts = SegmentCounts { lines, events };
        let (number, rejected) = (segment.number, rejects.len() as u64);
        let batch = Arc::new(Batch { hash, number, counts, rejected, rows, versions, order });
        Prepared { segment, rejects, batch, places }
    }
}

/// The events by id; of one id, the one that counts first.
fn in_order(rows: &Rows, repeats: Repeats) -> Vec<usize> {
    let id = |event: usize| rows.events()[event].id;
    let mut order: Vec<usize> = (0..rows.events().len()).collect();
    order.sort_unstable_by_key(|&event| match repeats {
        Repeats::FirstCounts => (id(event), event),
        Repeats::LastCounts => (id(event), usize::MAX - event),
    });
    order
}

/// What reads the lines of one segment; it keeps its working space, and what it has seen, from line to line.
struct Tools<'s> {
    reader: LineReader<'s>,
    event: Event<'s>,
    encoder: Encoder,
}

/// What is gathered while the lines of a segment are read.
#[derive(Default)]
struct Parts {
    lines: u64,
    events: u64,
    rejects: Vec<Reject>,
    rows: Rows,
    places: Vec<Place>,
}

impl Parts {
    fn refuse_oversized(&mut self, segment: &Segment, bytes: u64) {
        self.lines = 1;
        self.events = 1;
        self.rejects.push(Reject {
            line: segment.first_line,
            index: None,
            text: 0..segment.bytes.len(),
            reason: format!("a line of {bytes} bytes, and at most {LINE_MAX_BYTES} are taken"),
            field: None,
            sqlstate: None,
            truncated: true,
        });
    }

    fn read_lines(&mut self, preparer: Preparer, segment: &Segment) {
        let bytes = &segment.bytes[..];
        // Nearly always all of it is UTF-8, which is faster to see in one go.
        let text = simdutf8::basic::from_utf8(bytes).ok();
        let Preparer { layout, server, nul, repeats } = preparer;
        let mut tools = Tools {
            reader: LineReader::new(nul),
            event: Event::default(),
            encoder: Encoder::new(layout, server, nul, repeats),
        };
        let mut start = 0;
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |found| start + found);
            let range = start..end - usize::from(bytes[start..end].ends_with(b"\r"));
            let number = segment.first_line + self.lines;
            self.lines += 1;
            match text {
                Some(text) => self.read(&mut tools, &text[range.clone()], range, number),
                None => match simdutf8::compat::from_utf8(&bytes[range.clone()]) {
                    Ok(line) => self.read(&mut tools, line, range, number),
                    Err(error) => {
                        let reason = format!("not UTF-8 at byte {} of the line", error.valid_up_to());
                        self.refuse_line(range, number, reason);
                    }
                },
            }
            start = end + 1;
        }
    }

    fn read<'s>(&mut self, tools: &mut Tools<'s>, line: &'s str, range: Range<usize>, number: u64) {
        let Tools { reader, event, encoder } = tools;
        let (events, stored, refused) = (self.events, self.places.len(), self.rejects.len());
        let result = reader.read(line, event, |found| {
            self.events += 1;
            let start = range.start + found.byte_offset;
            let text = start..start + found.text.len();
            match found.event.and_then(|event| encoder.encode(event, &mut self.rows)) {
                Ok(()) => self.places.push(Place { line: number, index: found.index, text }),
                Err(fault) => self.rejects.push(reject(&fault, text, number, found.index)),
            }
        });
        if let Err(fault) = result {
            self.events = events;
            self.places.truncate(stored);
            self.rows.truncate(stored);
            self.rejects.truncate(refused);
            self.refuse_line(range, number, fault.reason().to_owned());
        }
    }

    /// The whole line counts as one event.
    fn refuse_line(&mut self, text: Range<usize>, line: u64, reason: String) {
        self.events += 1;
        self.rejects.push(Reject {
            line,
            index: None,
            text,
            reason,
            field: None,
            sqlstate: None,
            truncated: false,
        });
    }
}

fn reject(fault: &Fault, text: Range<usize>, line: u64, index: Option<usize>) -> Reject {
    Reject {
        line,
        index,
        text,
        reason: fault.reason().to_owned(),
        field: fault.field().map(str::to_owned),
        sqlstate: None,
        truncated: false,
    }
}
