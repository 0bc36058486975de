//! Reads the values of a segment into rows, rejects and event places.

use crate::event::fault::{Fault, FaultKind};
use crate::event::forms::envelope::guess_path_of_beginning;
use crate::event::kill_event::Event;
use crate::event::line::walk::MalformedElement;
use crate::event::line::{Line, LineReader, MalformedValue, decoded_text};
use crate::event::rules::ValueContext;
use crate::event::server::Server;
use crate::input::framing::framer::Span;
use crate::input::segment::{LINE_MAX_BYTES, Segment};
use crate::layout::encoder::Encoder;
use crate::layout::rows::Rows;
use crate::pipeline::prepare::preparer::Preparer;
use crate::pipeline::prepare::span_text::{Origin, SpanText, context_at, context_of, separators};
use crate::pipeline::rejects::reject::{Reject, RejectCause};
use std::borrow::Cow;
use std::ops::Range;

/// The place of an event in its segment. A segment is smaller than 4 GiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventPlace {
    /// The line, counted from the segment's first one.
    pub(crate) line: u32,
    /// The array index, or [`EventPlace::NONE`].
    index: u32,
    start: u32,
    len: u32,
    /// Its number among the events of the value, if it was in a string. Otherwise [`EventPlace::NONE`].
    decoded: u32,
}

impl EventPlace {
    const NONE: u32 = u32::MAX;

    pub(crate) fn text(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }

    pub(crate) fn index(self) -> Option<usize> {
        (self.index != Self::NONE).then_some(self.index as usize)
    }

    pub(crate) fn decoded(self) -> Option<usize> {
        (self.decoded != Self::NONE).then_some(self.decoded as usize)
    }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(EventPlace::NONE)
}

/// The maximum number of rejects held per segment.
pub(crate) const HELD_REJECTS_MAX: usize = 4096;

/// The maximum size of decoded text in held rejects, in bytes.
const HELD_RAW_BYTES_MAX: usize = 1 << 20;

/// Returns the text of an event, decoded if it was in a string.
pub(crate) fn event_text<'s>(
    segment: &'s Segment,
    place: EventPlace,
    preparer: &Preparer,
) -> Option<Cow<'s, str>> {
    let text = str::from_utf8(&segment.bytes[place.text()]).ok()?;
    match place.decoded() {
        None => Some(text.into()),
        Some(number) => {
            let context = context_at(segment, place.start as usize);
            decoded_text(text, number, preparer.rules(&segment.source), context).map(Cow::Owned)
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Rejects {
    /// All of them, or none.
    pub(crate) held: Vec<Reject>,
    /// The size of their decoded texts, in bytes.
    raw_bytes: usize,
    pub(crate) count: u64,
}

/// Returns the path at which an event seems to be inside a value that is too long.
#[cold]
fn path_of_oversized(preparer: &Preparer, segment: &Segment) -> Option<String> {
    let found = guess_path_of_beginning(&String::from_utf8_lossy(&segment.bytes))?;
    let Some(walked) = &preparer.reading.events_at else { return Some(found) };
    let span = segment.spans.as_deref().and_then(<[_]>::first);
    let done = span.and_then(|span| context_of(span).steps).unwrap_or(0);
    let path = walked.extended(walked.steps().len().saturating_sub(done), &found);
    (path != walked.to_string()).then_some(path)
}

/// Receives rejects as they are found. Returns false to stop.
type RejectSink<'s> = &'s mut dyn FnMut(&Reject) -> bool;

/// The reader and encoder of a segment's values, reused from value to value.
struct Tools<'s, 'r> {
    reader: LineReader<'s, 'r>,
    event: Event<'s>,
    encoder: Encoder,
    server: Server,
}

/// The results of reading a segment.
pub(crate) struct SegmentParts {
    pub(crate) events: u64,
    pub(crate) rejects: Rejects,
    /// Rejects of the current value.
    fresh: Vec<Reject>,
    pub(crate) rows: Rows,
    rows_bytes_max: usize,
    pub(crate) places: Vec<EventPlace>,
    /// The first event with an implausible id for its server.
    pub(crate) implausible: Option<i64>,
    /// The starts of the malformed values of several lines, in order.
    pub(crate) malformed: Vec<usize>,
}

impl SegmentParts {
    /// Creates an empty result that holds rows of up to `rows_bytes_max` bytes.
    pub(crate) fn new(rows_bytes_max: usize) -> Self {
        Self {
            events: 0,
            rejects: Rejects::default(),
            fresh: Vec::new(),
            rows: Rows::default(),
            rows_bytes_max,
            places: Vec::new(),
            implausible: None,
            malformed: Vec::new(),
        }
    }

    pub(crate) fn reject_oversized(&mut self, preparer: &Preparer, segment: &Segment, bytes: u64) {
        let span = segment.spans.as_deref().and_then(<[_]>::first);
        let kind = match span.map(|span| (span.fault, span.unread)) {
            Some((Some(_), Some(unread))) => FaultKind::Unread { bytes: unread + bytes },
            Some((Some(byte), None)) => FaultKind::LongLine { byte, bytes },
            _ => FaultKind::ValueTooLong { bytes, bytes_max: LINE_MAX_BYTES },
        };
        let is_too_long = matches!(kind, FaultKind::ValueTooLong { .. });
        let path = if is_too_long { path_of_oversized(preparer, segment) } else { None };
        self.events = 1;
        self.rejects.count = 1;
        self.rejects.held.push(Reject {
            line: segment.first_line,
            index: span.and_then(|span| context_of(span).index),
            text: 0..segment.bytes.len(),
            raw: None,
            unheld: None,
            enclosing_server: span.and_then(|span| context_of(span).server),
            cause: RejectCause::Fault(Fault::from(kind).with_events_at(path)),
            truncated: true,
        });
    }

    /// Reads all values. Passes rejects to `sink`, if any.
    pub(crate) fn read(&mut self, preparer: &Preparer, segment: &Segment, mut sink: Option<RejectSink<'_>>) {
        let bytes = &segment.bytes[..];
        // Nearly always the whole segment is UTF-8, which is faster to check at once.
        let text = simdutf8::basic::from_utf8(bytes).ok();
        let reader = LineReader::with_rules(preparer.rules(&segment.source));
        let server = preparer.server;
        let first_line = segment.first_line;
        let mut tools = Tools { reader, event: Event::default(), encoder: preparer.encoder(), server };
        if let Some(spans) = &segment.spans {
            for span in spans {
                let context = context_of(span);
                if let Some(unread) = span.unread {
                    self.reject_unclosed(span, first_line + span.line, context.index, unread);
                    if !self.settle_rejects(&mut sink) {
                        return;
                    }
                    continue;
                }
                let at = Origin { first_line, line: span.line, context, counted: Some(0) };
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
            let at = Origin { first_line, line, context: ValueContext::default(), counted: None };
            if !self.read_span(&mut tools, text, bytes, range, at, &mut sink) {
                return;
            }
            line += 1;
            start = end + 1;
        }
    }

    /// Reads the values of one text of the segment. `whole` is the whole segment if it is UTF-8. Returns false to stop.
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
            Some(whole) => {
                SpanText { text: &whole[range.clone()], bytes: &bytes[range.clone()], range, not_utf8: None }
            }
            None => SpanText::valid(bytes, range),
        };
        // White space is left to the value, so that a reject contains it.
        let skipped = separators(text.text);
        let mut start = if text.text[..skipped].contains('\u{1e}') { skipped } else { 0 };
        while start < text.text.len() {
            let read = self.read_value(tools, &text, start, &mut at);
            let is_wanted = self.fresh.is_empty() || self.settle_rejects(sink);
            match read {
                _ if !is_wanted => return false,
                None => return true,
                // A comma is allowed at the end of a line.
                Some(end) if text.not_utf8.is_none() && text.text[end..].trim_ascii() == "," => return true,
                Some(end) => start = end + separators(&text.text[end..]),
            }
        }
        if let Some(byte) = text.not_utf8 {
            let line = at.first_line + at.line_at(text.text, start);
            let fault = text.fault(FaultKind::NotUtf8 { byte }.into(), at.context);
            let server = text.server_of_rest(start, at.context.server);
            self.reject_text(text.range.start + start..text.range.end, line, at.context.index, fault, server);
            return self.settle_rejects(sink);
        }
        true
    }

    /// Reads the value at byte `start` of a text. Returns its end. Malformed JSON returns none and is rejected together
    /// with the rest of the text, because its end is unknown.
    fn read_value<'s>(
        &mut self,
        tools: &mut Tools<'s, '_>,
        span: &SpanText<'s>,
        start: usize,
        at: &mut Origin,
    ) -> Option<usize> {
        let Tools { reader, event, encoder, server } = tools;
        let (text, base) = (span.text, span.range.start);
        let server = *server;
        let (events, stored) = (self.events, self.places.len());
        let value_line = at.line_at(text, start);
        let context = at.context;
        let result = reader.read_value(text, start, context, event, |found| {
            let Line { index, byte_offset, byte_len, text: event_text, decoded, enclosing_server, event } =
                found;
            self.events += 1;
            let line = if decoded.is_some() { value_line } else { at.line_at(text, byte_offset) };
            let start = base + byte_offset;
            let encoded = event.and_then(|event| {
                if self.implausible.is_none()
                    && !server.may_have_assigned(event.event_id, event.occurred_at_us)
                {
                    self.implausible = Some(event.event_id);
                }
                encoder.encode(event, &mut self.rows)
            });
            match encoded {
                Ok(()) => {
                    self.places.push(EventPlace {
                        line: u32::try_from(line).unwrap_or(EventPlace::NONE),
                        index: index.map_or(EventPlace::NONE, to_u32),
                        start: to_u32(start),
                        len: to_u32(byte_len),
                        decoded: decoded.map_or(EventPlace::NONE, to_u32),
                    });
                    if !self.rows.is_recoded() && self.rows.byte_len() > self.rows_bytes_max {
                        self.rows.drop_bytes();
                    }
                }
                Err(fault) => {
                    // A long text is decoded again when it is written, one at a time.
                    let is_held = event_text.len() <= HELD_RAW_BYTES_MAX;
                    self.fresh.push(Reject {
                        line: at.first_line + line,
                        index,
                        text: start..start + byte_len,
                        raw: decoded.filter(|_| is_held).map(|_| event_text.into()),
                        unheld: decoded.filter(|_| !is_held),
                        enclosing_server,
                        cause: RejectCause::Fault(fault),
                        truncated: false,
                    });
                }
            }
        });
        let MalformedValue { fault, element } = match result {
            Ok(end) => return Some(end),
            Err(malformed) => malformed,
        };
        let element = element.filter(|element| {
            self.discard_from(base + element.start, stored);
            // Without an event among them, the elements are probably no elements, as in a line of a log.
            self.places.len() > stored
        });
        let (index, place, server) = match element {
            Some(MalformedElement { index, start, server }) => (index, start, server),
            None => (context.index, start, context.server),
        };
        if element.is_none() {
            self.discard_from(0, stored);
        }
        self.events = events + (self.places.len() - stored + self.fresh.len()) as u64;
        let feeds = memchr::memchr_iter(b'\n', &text.as_bytes()[start..place]).count() as u64;
        let line = at.first_line + value_line + feeds;
        let server = span.server_of_rest(place, server);
        self.reject_text(base + place..span.range.end, line, index, span.fault(fault, context), server);
        // The text ends before a part that is not UTF-8.
        if start == 0 && memchr::memchr(b'\n', span.bytes).is_some() {
            self.malformed.push(base);
        }
        None
    }

    /// Discards the values of the current text from byte `start` of the segment on. `stored` events come before the text.
    fn discard_from(&mut self, start: usize, stored: usize) {
        let before = self.places[stored..].iter().rposition(|place| (place.start as usize) < start);
        let kept = before.map_or(stored, |last| stored + last + 1);
        self.places.truncate(kept);
        self.rows.truncate(kept);
        let before = self.fresh.iter().rposition(|reject| reject.text.start < start);
        self.fresh.truncate(before.map_or(0, |last| last + 1));
    }

    /// Rejects a text that is not JSON. It counts as one event.
    fn reject_text(
        &mut self,
        text: Range<usize>,
        line: u64,
        index: Option<usize>,
        fault: Fault,
        enclosing_server: Option<Server>,
    ) {
        self.events += 1;
        self.fresh.push(Reject {
            line,
            index,
            text,
            raw: None,
            unheld: None,
            enclosing_server,
            cause: RejectCause::Fault(fault),
            truncated: false,
        });
    }

    /// Rejects malformed JSON in an envelope of which `unread` bytes may hold events and are in no text.
    fn reject_unclosed(&mut self, span: &Span, line: u64, index: Option<usize>, unread: u64) {
        let kind = if unread == 0 { FaultKind::NotClosed } else { FaultKind::Unread { bytes: unread } };
        self.reject_text(span.start..span.end, line, index, kind.into(), None);
        if let Some(reject) = self.fresh.last_mut() {
            reject.truncated = unread > 0;
        }
    }

    /// Passes the rejects of a value to the sink, or holds them up to a limit. Returns false to stop.
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
            // Frees memory that may have grown for a long array.
            self.fresh = Vec::new();
        }
        true
    }
}
