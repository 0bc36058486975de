//! From a segment to a batch: lines are parsed, events encoded, duplicates found.

use super::rejects::Reject;
use crate::database::store::{Batch, SegmentCounts, SegmentHash};
use crate::input::{LINE_MAX_BYTES, Segment, Span};
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
        self.lines = segment.lines;
        self.events = 1;
        self.rejects.push(Reject {
            line: segment.first_line,
            index: segment.spans.as_ref().and_then(|spans| index_of(spans.first()?)),
            text: 0..segment.bytes.len(),
            reason: format!("a value of {bytes} bytes, and at most {LINE_MAX_BYTES} are taken"),
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
        self.lines = segment.lines;
        if let Some(spans) = &segment.spans {
            for span in spans {
                let at = SpanPlace { line: segment.first_line + span.line, index: index_of(span) };
                self.read_span(&mut tools, text, bytes, span.start..span.end, at);
            }
            return;
        }
        let (mut start, mut line) = (0, segment.first_line);
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |found| start + found);
            let range = start..end - usize::from(bytes[start..end].ends_with(b"\r"));
            self.read_span(&mut tools, text, bytes, range, SpanPlace { line, index: None });
            line += 1;
            start = end + 1;
        }
    }

    /// Reads a text of the segment; `whole` is all of it, if all of it is UTF-8.
    fn read_span<'s>(
        &mut self,
        tools: &mut Tools<'s>,
        whole: Option<&'s str>,
        bytes: &'s [u8],
        range: Range<usize>,
        at: SpanPlace,
    ) {
        let text = match whole {
            Some(whole) => &whole[range.clone()],
            None => match simdutf8::compat::from_utf8(&bytes[range.clone()]) {
                Ok(text) => text,
                Err(error) => {
                    let reason = format!("not UTF-8 at byte {} of the line", error.valid_up_to());
                    self.refuse_text(range, at, reason);
                    return;
                }
            },
        };
        // White space alone is left to the line, so that a reject has all of it.
        let skipped = separators(text);
        let mut start = if text[..skipped].contains('\u{1e}') { skipped } else { 0 };
        while start < text.len() {
            let Tools { reader, event, encoder } = tools;
            let (events, stored, refused) = (self.events, self.places.len(), self.rejects.len());
            let result = reader.read_value(text, start, event, |found| {
                self.events += 1;
                let start = range.start + found.byte_offset;
                let text = start..start + found.text.len();
                let index = found.index.or(at.index);
                match found.event.and_then(|event| encoder.encode(event, &mut self.rows)) {
                    Ok(()) => self.places.push(Place { line: at.line, index, text }),
                    Err(fault) => self.rejects.push(reject(&fault, text, at.line, index)),
                }
            });
            match result {
                Ok(end) if text[end..].trim_ascii() == "," => return,
                Ok(end) => start = end + separators(&text[end..]),
                Err(fault) => {
                    self.events = events;
                    self.places.truncate(stored);
                    self.rows.truncate(stored);
                    self.rejects.truncate(refused);
                    // It costs the rest of the text: where it ends can't be known.
                    self.refuse_text(range.start + start..range.end, at, fault.reason().to_owned());
                    return;
                }
            }
        }
    }

    /// Text that is no JSON counts as one event.
    fn refuse_text(&mut self, text: Range<usize>, SpanPlace { line, index }: SpanPlace, reason: String) {
        self.events += 1;
        self.rejects.push(Reject {
            line,
            index,
            text,
            reason,
            field: None,
            sqlstate: None,
            truncated: false,
        });
    }
}

/// Where a text of a segment stands in the source.
#[derive(Clone, Copy)]
struct SpanPlace {
    line: u64,
    /// Where it is an element of an array.
    index: Option<usize>,
}

fn index_of(span: &Span) -> Option<usize> {
    span.index.and_then(|index| usize::try_from(index).ok())
}

/// The length of what may stand between two values; a comma only where a line ends.
fn separators(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t', '\r', '\n', '\u{1e}']).len()
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
