//! From a segment to a batch: values are parsed, events encoded, duplicates found.
//!
//! Invariant: what is held of a segment is bounded by its bytes, whatever they hold. Rows and rejects beyond that are made
//! again from the text when they are needed.

use super::rejects::Reject;
use crate::database::store::{Batch, ReadingDigest, SegmentCounts, SegmentHash};
use crate::input::{Buffer, LARGE_CAPACITY, LINE_MAX_BYTES, Segment, Span};
use crate::kill::{Event, EventsAt, Line, LineReader, NulPolicy, ReadRules, Server, decoded_text};
use crate::layout::{Encoder, Layout, Recode, Repeats, Rows};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

/// The bytes of a segment and of its rows together, above which the rows are not held. A segment of real events takes 10 MiB.
const HELD_BYTES_MAX: usize = 24 << 20;

/// Rows of fewer bytes are held in any case.
const HELD_ROWS_MIN: usize = 4 << 20;

/// The rows of an event of more text than this are encoded into memory that returns to the system at once.
const LARGE_EVENT_MIN: usize = 4 << 20;

/// Rejects of a segment above which they are not held.
const HELD_REJECTS_MAX: usize = 4096;

/// The bytes of decoded text in rejects above which they are not held.
const HELD_RAW_BYTES_MAX: usize = 1 << 20;

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
    found: Rejects,
    /// What the database rejected.
    refused: Vec<Reject>,
    /// How many rejects count.
    rejects_max: u64,
    /// Where each event of the batch came from.
    places: Arc<Vec<Place>>,
    /// The first event whose id its server can hardly have given out.
    pub implausible: Option<i64>,
    preparer: Preparer,
    /// The pool's buffer, where the segment's text is not in it any more: it counts the segments in flight.
    _emptied: Option<Buffer>,
}

/// Where an event stands in its segment. A segment has less than 4 GiB.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Lines from the segment's first one.
    line: u32,
    /// The place in an array; none is the largest number.
    index: u32,
    start: u32,
    len: u32,
    /// Which of the value's events it is, if it was in a string; none is the largest number.
    decoded: u32,
}

impl Place {
    const NONE: u32 = u32::MAX;

    fn text(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }

    fn index(self) -> Option<usize> {
        (self.index != Self::NONE).then_some(self.index as usize)
    }

    fn decoded(self) -> Option<usize> {
        (self.decoded != Self::NONE).then_some(self.decoded as usize)
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(Place::NONE)
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

    /// How many rejects come before the first event that can be stored, counted up to [`REJECTS_COUNTED_MAX`].
    pub(super) fn first_rejects(&self) -> usize {
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
    pub(super) fn sorted_ids(&self) -> Vec<i64> {
        self.batch.rows.ids(&self.batch.order)
    }

    /// The ids of all events that can be stored, with the number of the line that each stands in.
    pub fn ids(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let events = self.batch.rows.events().iter().zip(&*self.places);
        events.map(|(event, place)| (event.id, self.line(*place)))
    }

    /// Where an event of the batch came from, as an error names it.
    pub(super) fn place(&self, event: usize) -> String {
        format!("{}:{}", self.segment.source, self.line(self.places[event]))
    }

    /// The number of the line in which an event begins.
    fn line(&self, place: Place) -> u64 {
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
    pub(super) fn limit_rejects(&mut self, rejects_max: u64) {
        self.rejects_max = rejects_max;
    }

    /// The first reject.
    pub(super) fn first_reject(&self) -> Option<Reject> {
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
            let mut parts = Parts::new(0);
            parts.read(&self.preparer, &self.segment, Some(&mut in_order));
        }
        result?;
        refused.try_for_each(each)
    }
}

/// What is read of a segment beside its events.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Where events lie in each value.
    pub events_at: Option<Arc<EventsAt>>,
    /// The battle of events that name none.
    pub battle: Battle,
    /// Whether each event must name its game server.
    pub must_name_server: bool,
    /// What tells the tables from others that the same ledger knows; none where it knows no others.
    pub tables: Option<String>,
}

/// The battle of events that name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Battle {
    /// Such events have no battle.
    #[default]
    Unknown,
    /// The one of this id.
    Id(i64),
    /// The one whose id is in the name of the file.
    FromName,
}

/// Prepares segments.
#[derive(Debug, Clone)]
pub struct Preparer {
    /// The tables.
    pub layout: Layout,
    /// The game server that the events are of.
    pub server: Server,
    /// What becomes of a NUL.
    pub nul: NulPolicy,
    /// Which of several events of one id is stored.
    pub repeats: Repeats,
    /// What is known of events beside their text.
    pub reading: Reading,
}

impl Preparer {
    /// The key of a segment in the ledger.
    pub fn hash(&self, segment: &Segment) -> SegmentHash {
        self.hash_of(&segment.source, &segment.bytes, segment.oversized)
    }

    /// The same of a source's bytes; `oversized` is the length of a value of which they are only the head. What makes other
    /// events of the same bytes is part of the key.
    pub(super) fn hash_of(&self, source: &str, bytes: &[u8], oversized: Option<u64>) -> SegmentHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        if let Some(bytes) = oversized {
            // Only the head is there; its length tells it from a whole value of the same text.
            hasher.update(&bytes.to_le_bytes());
        }
        hasher.update(self.reading_key(source).as_bytes());
        SegmentHash(*hasher.finalize().as_bytes())
    }

    /// What makes other events of the same bytes, such as `--events-at`: a digest of how the values of a source are read.
    pub fn reading_digest(&self, source: &str) -> ReadingDigest {
        ReadingDigest(*blake3::hash(self.reading_key(source).as_bytes()).as_bytes())
    }

    /// How the values of a source are read, as it is part of the keys of segments and files. Empty by default.
    fn reading_key(&self, source: &str) -> String {
        let rules = self.rules(source);
        let mut key = String::new();
        if let Some(path) = rules.events_at {
            let _ = write!(key, "\0events at {path}");
        }
        if rules.nul != NulPolicy::Reject {
            let _ = write!(key, "\0nul {:?}", rules.nul);
        }
        if let Some(battle) = rules.battle {
            let _ = write!(key, "\0battle {battle}");
        }
        if rules.must_name_server || rules.must_name_battle {
            let _ = write!(key, "\0must {} {}", rules.must_name_server, rules.must_name_battle);
        }
        if let Some(tables) = &self.reading.tables {
            let _ = write!(key, "\0tables {tables}");
        }
        key
    }

    /// Parses and encodes the values of a segment.
    pub fn prepare(&self, mut segment: Segment, hash: SegmentHash) -> Prepared {
        let mut parts = Parts::new(HELD_BYTES_MAX.saturating_sub(segment.bytes.len()).max(HELD_ROWS_MIN));
        if segment.bytes.is_permitted() {
            parts.rows.reserve(LARGE_CAPACITY);
        }
        if let Some(bytes) = segment.oversized {
            parts.reject_oversized(&segment, bytes);
        } else {
            parts.read(self, &segment, None);
        }
        let Parts { events, rejects, mut rows, places, implausible, .. } = parts;
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

    /// How the values of a source are read.
    fn rules(&self, source: &str) -> ReadRules<'_> {
        let battle = match self.reading.battle {
            Battle::Unknown => None,
            Battle::Id(id) => Some(id),
            Battle::FromName => battle_in_name(source),
        };
        ReadRules {
            nul: self.nul,
            events_at: self.reading.events_at.as_deref(),
            server: Some(self.server),
            must_name_server: self.reading.must_name_server,
            battle,
            must_name_battle: self.reading.battle == Battle::FromName && battle.is_none(),
        }
    }

    fn encoder(&self) -> Encoder {
        Encoder::new(self.layout, self.server, self.nul, self.repeats)
    }
}

/// The number in a file's name, before its first dot, if there is just one.
pub fn battle_in_name(source: &str) -> Option<i64> {
    let name = source.rsplit('/').next()?;
    let stem = name.split('.').next()?;
    let mut numbers = stem.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let number = numbers.next()?;
    if numbers.next().is_some() { None } else { number.parse().ok() }
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

/// Encodes events again, of a segment whose rows are not held.
#[derive(Debug)]
struct Recoder {
    segment: Arc<Segment>,
    places: Arc<Vec<Place>>,
    preparer: Preparer,
}

impl Recode for Recoder {
    fn recode(&self, event: usize, battle: Option<Option<i64>>, rows: &mut Rows) {
        let Some(text) = event_text(&self.segment, self.places[event], &self.preparer) else { return };
        if text.len() > LARGE_EVENT_MIN {
            rows.reserve(LARGE_CAPACITY);
        }
        let rules = self.preparer.rules(&self.segment.source);
        // Its text is the event itself, and what was asked of it holds.
        let rules = ReadRules {
            events_at: None,
            server: None,
            must_name_server: false,
            must_name_battle: false,
            ..rules
        };
        let mut encoder = self.preparer.encoder();
        // Both have been done before with the same text.
        let _ = LineReader::with_rules(rules).read(&text, &mut Event::default(), |found| {
            if let Ok(event) = found.event {
                let mut event = event.clone();
                event.battle_id = battle.unwrap_or(event.battle_id);
                let _ = encoder.encode(&event, rows);
            }
        });
    }
}

/// The text of an event, decoded if it was in a string.
fn event_text<'s>(segment: &'s Segment, place: Place, preparer: &Preparer) -> Option<Cow<'s, str>> {
    let text = str::from_utf8(&segment.bytes[place.text()]).ok()?;
    match place.decoded() {
        None => Some(text.into()),
        Some(number) => decoded_text(text, number, preparer.rules(&segment.source)).map(Cow::Owned),
    }
}

/// Rejects of a segment.
#[derive(Debug, Default)]
struct Rejects {
    /// All of them, or none.
    held: Vec<Reject>,
    /// The bytes of their decoded texts.
    raw_bytes: usize,
    count: u64,
}

/// Takes rejects as they are found; false: no further ones are wanted.
type RejectSink<'s> = &'s mut dyn FnMut(&Reject) -> bool;

/// What reads the values of one segment; it keeps its working space, and what it has seen, from one to the next.
struct Tools<'s, 'r> {
    reader: LineReader<'s, 'r>,
    event: Event<'s>,
    encoder: Encoder,
    server: Server,
}

/// What is gathered while the values of a segment are read.
struct Parts {
    events: u64,
    rejects: Rejects,
    /// Those of the value at hand.
    fresh: Vec<Reject>,
    rows: Rows,
    rows_bytes_max: usize,
    places: Vec<Place>,
    /// The first event whose id its server can hardly have given out.
    implausible: Option<i64>,
}

impl Parts {
    /// Rows are held up to `rows_bytes_max`.
    fn new(rows_bytes_max: usize) -> Self {
        Self {
            events: 0,
            rejects: Rejects::default(),
            fresh: Vec::new(),
            rows: Rows::default(),
            rows_bytes_max,
            places: Vec::new(),
            implausible: None,
        }
    }

    fn reject_oversized(&mut self, segment: &Segment, bytes: u64) {
        self.events = 1;
        self.rejects.count = 1;
        self.rejects.held.push(Reject {
            line: segment.first_line,
            index: segment.spans.as_ref().and_then(|spans| index_of(spans.first()?)),
            text: 0..segment.bytes.len(),
            raw: None,
            reason: format!("a value of {bytes} bytes, and at most {LINE_MAX_BYTES} are taken").into(),
            field: None,
            sqlstate: None,
            truncated: true,
        });
    }

    /// Reads all values. Rejects go to `sink` where there is one.
    fn read(&mut self, preparer: &Preparer, segment: &Segment, mut sink: Option<RejectSink<'_>>) {
        let bytes = &segment.bytes[..];
        // Nearly always all of it is UTF-8, which is faster to see in one go.
        let text = simdutf8::basic::from_utf8(bytes).ok();
        let reader = LineReader::with_rules(preparer.rules(&segment.source));
        let server = preparer.server;
        let first_line = segment.first_line;
        let mut tools = Tools { reader, event: Event::default(), encoder: preparer.encoder(), server };
        if let Some(spans) = &segment.spans {
            for span in spans {
                let at = Origin { first_line, line: span.line, index: index_of(span), counted: Some(0) };
                if !self.read_span(&mut tools, text, bytes, span.start..span.end, at, &mut sink) {
                    return;
                }
            }
            return;
        }
        let (mut start, mut line) = (0, 0);
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |found| start + found);
            let range = start..end - usize::from(bytes[start..end].ends_with(b"\r"));
            let at = Origin { first_line, line, index: None, counted: None };
            if !self.read_span(&mut tools, text, bytes, range, at, &mut sink) {
                return;
            }
            line += 1;
            start = end + 1;
        }
    }

    /// Reads the values of a text of the segment; `whole` is all of the segment, if all of it is UTF-8. False: no more are
    /// wanted.
    fn read_span<'s>(
        &mut self,
        tools: &mut Tools<'s, '_>,
        whole: Option<&'s str>,
        bytes: &'s [u8],
        range: Range<usize>,
        mut at: Origin,
        sink: &mut Option<RejectSink<'_>>,
    ) -> bool {
        let text = match whole {
            Some(whole) => &whole[range.clone()],
            None => match simdutf8::compat::from_utf8(&bytes[range.clone()]) {
                Ok(text) => text,
                Err(error) => {
                    let reason = format!("not UTF-8 at byte {} of the line", error.valid_up_to());
                    self.reject_text(range, at.first_line + at.line, at.index, &reason);
                    return self.settle_rejects(sink);
                }
            },
        };
        // White space alone is left to the value, so that a reject has all of it.
        let skipped = separators(text);
        let mut start = if text[..skipped].contains('\u{1e}') { skipped } else { 0 };
        while start < text.len() {
            let read = self.read_value(tools, text, start, range.start, &mut at);
            let is_wanted = self.fresh.is_empty() || self.settle_rejects(sink);
            match read {
                _ if !is_wanted => return false,
                // A comma may end a line.
                Some(end) if text[end..].trim_ascii() != "," => start = end + separators(&text[end..]),
                _ => return true,
            }
        }
        true
    }
    /// Reads the value at byte `start` of a text, which begins at byte `base` of the segment: where it ends, or none if it is
    /// no JSON. Then it costs the rest of the text, as its end can't be known.
    fn read_value<'s>(
        &mut self,
        tools: &mut Tools<'s, '_>,
        text: &'s str,
        start: usize,
        base: usize,
        at: &mut Origin,
    ) -> Option<usize> {
        let Tools { reader, event, encoder, server } = tools;
        let server = *server;
        let (events, stored) = (self.events, self.places.len());
        let value_line = at.line_at(text, start);
        let result = reader.read_value(text, start, at.index, event, |found| {
            let Line { index, byte_offset, byte_len, text: event_text, decoded, event } = found;
            self.events += 1;
            let line = if decoded.is_some() { value_line } else { at.line_at(text, byte_offset) };
            let start = base + byte_offset;
            let encoded = event.and_then(|event| {
                if self.implausible.is_none() && is_implausible(server, event) {
                    self.implausible = Some(event.event_id);
                }
                encoder.encode(event, &mut self.rows)
            });
            match encoded {
                Ok(()) => {
                    self.places.push(Place {
                        line: u32::try_from(line).unwrap_or(Place::NONE),
                        index: index.map_or(Place::NONE, narrow),
                        start: narrow(start),
                        len: narrow(byte_len),
                        decoded: decoded.map_or(Place::NONE, narrow),
                    });
                    if !self.rows.is_recoded() && self.rows.byte_len() > self.rows_bytes_max {
                        self.rows.drop_bytes();
                    }
                }
                Err(fault) => self.fresh.push(Reject {
                    line: at.first_line + line,
                    index,
                    text: start..start + byte_len,
                    raw: decoded.map(|_| event_text.into()),
                    reason: fault.reason().into(),
                    field: fault.field().map(Into::into),
                    sqlstate: None,
                    truncated: false,
                }),
            }
        });
        match result {
            Ok(end) => Some(end),
            Err(fault) => {
                self.events = events;
                self.places.truncate(stored);
                self.rows.truncate(stored);
                self.fresh.clear();
                let line = at.first_line + value_line;
                self.reject_text(base + start..base + text.len(), line, at.index, fault.reason());
                None
            }
        }
    }

    /// A text that is no JSON counts as one event.
    fn reject_text(&mut self, text: Range<usize>, line: u64, index: Option<usize>, reason: &str) {
        self.events += 1;
        self.fresh.push(Reject {
            line,
            index,
            text,
            raw: None,
            reason: reason.into(),
            field: None,
            sqlstate: None,
            truncated: false,
        });
    }

    /// Passes the rejects of a value on, or holds them as far as they are not too many. False: no more are wanted.
    fn settle_rejects(&mut self, sink: &mut Option<RejectSink<'_>>) -> bool {
        let Rejects { held, raw_bytes, count } = &mut self.rejects;
        let is_whole = held.len() as u64 == *count;
        *count += self.fresh.len() as u64;
        if let Some(sink) = sink {
            return self.fresh.drain(..).all(|reject| sink(&reject));
        }
        *raw_bytes +=
            self.fresh.iter().map(|reject| reject.raw.as_ref().map_or(0, |raw| raw.len())).sum::<usize>();
        if is_whole && held.len() + self.fresh.len() <= HELD_REJECTS_MAX && *raw_bytes <= HELD_RAW_BYTES_MAX {
            held.append(&mut self.fresh);
        } else {
            *held = Vec::new();
            // Its space was made for the longest array so far.
            self.fresh = Vec::new();
        }
        true
    }
}

/// Where a text of a segment stands in the source.
struct Origin {
    /// The number of the segment's first line.
    first_line: u64,
    /// Lines from the segment's first one, as far as they were counted.
    line: u64,
    /// How many bytes of the text were looked at for lines; none where it is one line.
    counted: Option<usize>,
    /// Where it is an element of an array.
    index: Option<usize>,
}

impl Origin {
    /// Lines from the segment's first one to byte `at` of the text.
    fn line_at(&mut self, text: &str, at: usize) -> u64 {
        if let Some(counted) = &mut self.counted
            && at > *counted
        {
            self.line += memchr::memchr_iter(b'\n', &text.as_bytes()[*counted..at]).count() as u64;
            *counted = at;
        }
        self.line
    }
}

fn index_of(span: &Span) -> Option<usize> {
    span.index.and_then(|index| usize::try_from(index).ok())
}

/// The length of what may stand between two values.
fn separators(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t', '\r', '\n', '\u{1e}']).len()
}

/// Whether the id of an event is none that its server has given out. Of the years 2024 to 2026 that is known: ids of
/// Americas are above 900 million, those of Europe below 500 million.
fn is_implausible(server: Server, event: &Event<'_>) -> bool {
    /// 2024-01-01 and 2027-01-01, in microseconds since 1970.
    const KNOWN_YEARS: Range<i64> = 1_704_067_200_000_000..1_798_761_600_000_000;
    let is_other = match server {
        Server::Americas => event.event_id < 500_000_000,
        Server::Europe => event.event_id > 900_000_000,
        Server::Asia => false,
    };
    is_other && KNOWN_YEARS.contains(&event.occurred_at_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn preparer(layout: Layout) -> Preparer {
        Preparer {
            layout,
            server: Server::Europe,
            nul: NulPolicy::Reject,
            repeats: Repeats::FirstCounts,
            reading: Reading::default(),
        }
    }

    fn segment(bytes: Vec<u8>) -> Segment {
        Segment {
            number: 0,
            source: "a".into(),
            first_line: 1,
            byte_offset: 0,
            lines: bytes.split_inclusive(|byte| *byte == b'\n').count() as u64,
            bytes: bytes.into(),
            spans: None,
            oversized: None,
        }
    }

    fn prepare(preparer: &Preparer, text: &str) -> Prepared {
        let segment = segment(text.into());
        let hash = preparer.hash(&segment);
        preparer.prepare(segment, hash)
    }

    fn rejects(prepared: &Prepared) -> Vec<Reject> {
        let mut rejects = Vec::new();
        let Ok(()) = prepared.each_reject::<Infallible>(|reject| {
            rejects.push(reject.clone());
            Ok(())
        });
        rejects
    }

    fn event(id: u64, rest: &str) -> String {
        format!(
            r#"{{"EventId":{id},"TimeStamp":"2024-08-18T20:45:46Z","TotalVictimKillFame":2,"Killer":{{"Id":"k","Name":"K"}},"Victim":{{"Id":"v","Name":"V"{rest}}}}}"#
        )
    }

    /// A few bytes of text for each row: its rows are not held, and are the same when they are made again.
    #[test]
    fn rows_that_are_made_again() {
        let slots = format!(r#","Inventory":[{}{{}}]"#, "{},".repeat(30_000));
        for layout in [Layout::Archive, Layout::Aegis] {
            let equipment = format!(r#","Equipment":{{"a":"{}"}}"#, "x".repeat(60_000));
            let rest = if layout == Layout::Archive { &slots } else { &equipment };
            let one = prepare(&preparer(layout), &event(7, rest));
            assert!(!one.batch.rows.is_recoded());
            let text: Vec<String> = (0..400).map(|id| event(id, rest)).collect();
            let many = prepare(&preparer(layout), &format!("[{}]\n{}", text.join(","), event(1000, rest)));
            assert!(many.batch.rows.is_recoded() && many.batch.rows.byte_len() == 0, "{layout}");
            assert_eq!(many.batch.counts, SegmentCounts { lines: 2, events: 401 });
            for table in 0..layout.tables().len() {
                let again = many.batch.rows.get(7, table);
                assert_eq!(again.as_ref(), one.batch.rows.of(0, table), "{layout} {table}");
            }
        }
    }

    /// The same of several values on a line, of elements of an array that is no part of the text, and of events in strings.
    #[test]
    fn rows_that_are_made_again_of_any_layout() {
        let rest = format!(r#","Inventory":[{}{{}}]"#, "{},".repeat(30_000));
        let at_top = preparer(Layout::Archive);
        let mut in_strings = at_top.clone();
        in_strings.reading.events_at = Some(Arc::new("raw".parse().unwrap()));
        let row = |text: &str| format!(r#"{{"id":5,"raw":{}}}"#, serde_json::to_string(text).unwrap());
        for (preparer, form) in [(&at_top, None), (&in_strings, Some(row))] {
            let value = |id: u64| {
                let event = event(id, &rest);
                form.map_or(event.clone(), |form| form(&event))
            };
            let one = prepare(preparer, &value(7));
            for joint in ["", " ", ",\n"] {
                let values: Vec<String> = (0..200).map(value).collect();
                let text = values.join(joint);
                let mut many = segment(text.clone().into());
                let mut at = 0;
                many.spans = joint.starts_with(',').then(|| {
                    let spans = values.iter().enumerate().map(|(index, value)| {
                        let start = at;
                        at += value.len() + joint.len();
                        Span {
                            start,
                            end: start + value.len(),
                            line: index as u64,
                            index: Some(index as u64),
                        }
                    });
                    spans.collect()
                });
                let hash = preparer.hash(&many);
                let mut many = preparer.prepare(many, hash);
                assert!(many.batch.rows.is_recoded(), "{joint:?}");
                for table in 0..Layout::Archive.tables().len() {
                    let again = many.batch.rows.get(7, table);
                    assert_eq!(again.as_ref(), one.batch.rows.of(0, table), "{joint:?} {table}");
                }
                many.reject(7, "refused".to_owned(), None);
                let [found] = &rejects(&many)[..] else { panic!("one") };
                assert_eq!(text[found.text.clone()], values[7]);
                let is_spans = joint.starts_with(',');
                assert_eq!((found.line, found.index), if is_spans { (8, Some(7)) } else { (1, None) });
            }
        }
    }

    #[test]
    fn an_event_within_a_value_over_lines_has_its_own_line() {
        let mut settings = preparer(Layout::Archive);
        settings.reading.events_at = Some(Arc::new("data".parse().unwrap()));
        let text = format!("{{\n\"data\": [\n0,\n{},\n1]}} {{\n\"data\":\n2}} x", event(1, ""));
        let mut one = segment(text.clone().into());
        one.first_line = 5;
        one.spans = Some(vec![Span { start: 0, end: text.len(), line: 0, index: None }]);
        let hash = settings.hash(&one);
        let prepared = settings.prepare(one, hash);
        assert_eq!(prepared.ids().collect::<Vec<_>>(), [(1, 8)]);
        let found = rejects(&prepared);
        let places: Vec<_> = found.iter().map(|reject| (reject.line, &text[reject.text.clone()])).collect();
        assert_eq!(places, [(7, "0"), (9, "1"), (11, "2"), (11, "x")]);
    }

    #[test]
    fn an_element_that_is_an_array_is_no_array_of_events() {
        let text = format!("[{}]", event(1, ""));
        let mut one = segment(text.clone().into());
        one.spans = Some(vec![Span { start: 0, end: text.len(), line: 0, index: Some(3) }]);
        let preparer = preparer(Layout::Archive);
        let hash = preparer.hash(&one);
        let apart = rejects(&preparer.prepare(one, hash));
        let within = rejects(&prepare(&preparer, &format!("[0,1,2,{text}]")));
        assert_eq!((apart.len(), apart[0].index), (1, Some(3)));
        assert_eq!(apart[0].reason, within[3].reason);
    }

    #[test]
    fn rejects_that_are_found_again() {
        let few = prepare(&preparer(Layout::Archive), &format!("[0,{},1]\nx\n", event(1, "")));
        let many = "[0,1]\n".repeat(HELD_REJECTS_MAX);
        let mut many = prepare(&preparer(Layout::Archive), &format!("{many}[0,{},1]\nx\n", event(1, "")));
        assert_eq!((few.rejected(), many.rejected()), (3, 3 + 2 * HELD_REJECTS_MAX as u64));
        assert!(many.found.held.is_empty());
        many.reject(0, "refused".to_owned(), None);
        let (few, many) = (rejects(&few), rejects(&many));
        assert_eq!(many.len(), 4 + 2 * HELD_REJECTS_MAX);
        let [first, refused, second, last] = many.last_chunk().unwrap();
        assert_eq!((refused.index, &*refused.reason, refused.line), (Some(1), "refused", first.line));
        for (found, expected) in [first, second, last].into_iter().zip(&few) {
            assert_eq!((&found.reason, found.index), (&expected.reason, expected.index));
            assert_eq!(found.line, expected.line + HELD_REJECTS_MAX as u64);
        }
    }

    #[test]
    fn battles_in_names() {
        for (name, battle) in [
            ("battle-1337.json.gz", Some(1337)),
            ("/srv/kills/2024/1337.json", Some(1337)),
            ("1337", Some(1337)),
            ("battle.2024.json", None),
            ("1337-2.json", None),
            ("99999999999999999999.json", None),
            ("<stdin>", None),
        ] {
            assert_eq!(battle_in_name(name), battle, "{name}");
        }
    }

    #[test]
    fn what_makes_other_events_of_the_same_bytes_makes_another_key() {
        let usual = preparer(Layout::Archive);
        let mut others = vec![usual.clone(); 4];
        others[0].nul = NulPolicy::Strip;
        others[1].reading.events_at = Some(Arc::new("data".parse().unwrap()));
        others[2].reading.battle = Battle::Id(7);
        others[3].reading.must_name_server = true;
        let text = segment(b"{}".to_vec());
        for other in others {
            assert_ne!(other.hash(&text), usual.hash(&text), "{other:?}");
        }
        assert_eq!(usual.hash(&text).0, *blake3::hash(b"{}").as_bytes());
    }

    #[test]
    fn events_in_strings_keep_their_places() {
        let mut settings = preparer(Layout::Archive);
        settings.reading.events_at = Some(Arc::new("raw".parse().unwrap()));
        let events = format!("[{},{}]", event(1, ""), event(2, ""));
        let line = format!(r#"{{"id":5,"raw":{}}}"#, serde_json::to_string(&events).unwrap());
        let mut prepared = prepare(&settings, &format!("\n{line}\n"));
        assert_eq!(prepared.ids().collect::<Vec<_>>(), [(1, 2), (2, 2)]);
        prepared.reject(1, "refused".to_owned(), None);
        let [found] = &rejects(&prepared)[..] else { panic!("one") };
        assert_eq!(found.raw.as_deref(), Some(event(2, "").as_str()));
        assert_eq!((found.index, found.text.clone()), (Some(1), 1..1 + line.len()));
    }
}
