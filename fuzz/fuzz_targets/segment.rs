//! Sends arbitrary bytes through the reader and the segmenter. Segments must be whole lines or values within the
//! limits, with correct offsets, and cover the whole text. They must not depend on how the bytes arrive. Arbitrary
//! bytes may look compressed. If the text is JSON for `serde_json`, each of its values on the path must be in a segment.
//!
//! The first bytes of the input set the limits, the path, the compression and the sizes of the pieces: see
//! [`Shape::read`]. The bytes arrive through a pipe in packet mode, which keeps the pieces separate. Only Linux has
//! this mode.

#![no_main]

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use aegis_kills::internals::{
    BufferPool, InputError, Next, Reading, Segment, SegmentLimits, Segmenter, Source, Span, spawn_reader,
};
use crossbeam_channel::never;
use libfuzzer_sys::fuzz_target;
use nix::fcntl::OFlag;
use serde_json::{Deserializer, Value};

/// The number of bytes that are kept of an oversized value.
const HEAD_BYTES: usize = 4096;
/// The maximum size of a packet, and the number of packets that fit into every pipe (pipe(7)).
const PACKET_MAX_BYTES: usize = 4096;
const PACKETS_MAX: usize = 16;
/// The limit of the decompressed text, because a few bytes can decompress to very many.
const TEXT_MAX_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((head, body)) = data.split_first_chunk() else { return };
    let body = &body[..body.len().min(PACKETS_MAX * PACKET_MAX_BYTES / 2)];
    let shape = Shape::read(*head);
    let raw = shape.compression.compress(body);
    if raw.len() > PACKETS_MAX * PACKET_MAX_BYTES {
        return;
    }
    let outcome = run(&raw, shape.first_bytes, &shape);
    assert_eq!(outcome, run(&raw, shape.other_bytes, &shape), "depends on how the bytes arrive");

    let is_known = !matches!(shape.compression, Compression::None) || !may_be_compressed(body);
    match outcome.end {
        End::Whole if is_known => outcome.check(body, &shape),
        End::Whole => outcome.check(&decompressed(&raw), &shape),
        End::Broken(_) | End::Unclosed | End::TooMuch => {
            let is_expected = matches!(outcome.end, End::Unclosed | End::TooMuch);
            assert!(!is_known || is_expected, "reading failed: {:?}", outcome.end);
            // The segments before the failure must be complete. The content of an oversized line is unknown.
            if outcome.segments.iter().all(|segment| segment.oversized.is_none()) {
                outcome.check(&outcome.joined(), &shape);
            }
        }
    }
});

/// The parameters in the first bytes of the input.
struct Shape {
    limits: SegmentLimits,
    /// The path to the events, if the values are envelopes.
    path: Option<&'static str>,
    compression: Compression,
    /// The sizes of the pieces in the first and in the second run.
    first_bytes: usize,
    other_bytes: usize,
}

impl Shape {
    fn read([segment, lines, line, line_scale, compression, first, other]: [u8; 7]) -> Self {
        let size = |byte: u8| usize::from(byte) + 1;
        let limits = SegmentLimits {
            segment_bytes: size(segment) * if segment >= 0xf0 { 16 } else { 1 },
            lines_max: if lines == 0xff { usize::MAX } else { size(lines) },
            line_max_bytes: size(line) * (usize::from(line_scale % 32) + 1),
            flush_interval: Duration::MAX,
        };
        let path =
            (compression & 8 != 0).then(|| ["payload", "a.b", "*", "*.a"][usize::from(compression >> 4) % 4]);
        let compression = match compression % 4 {
            0 | 1 => Compression::None,
            2 => Compression::Gzip,
            _ => Compression::Zstd,
        };
        Self { limits, path, compression, first_bytes: size(first), other_bytes: size(other) * 16 }
    }
}

#[derive(Clone, Copy)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Compresses the two halves separately, so that the result has two members or frames.
    fn compress(self, body: &[u8]) -> Vec<u8> {
        let halves = body.split_at(body.len() / 2);
        match self {
            Self::None => body.to_vec(),
            Self::Gzip => [gzip(halves.0), gzip(halves.1)].concat(),
            Self::Zstd => {
                [halves.0, halves.1].map(|half| zstd::encode_all(half, 1).expect("memory")).concat()
            }
        }
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

/// Whether the text may start like another format.
fn may_be_compressed(body: &[u8]) -> bool {
    matches!(body.first(), Some(0 | 2 | 4 | 0x1f | b'(' | b'P'..=b'_' | b'B' | 0xfd..))
}

/// Decompresses with another decoder what the program accepted as complete.
fn decompressed(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match raw {
        // The decoder fails at the padding after the last member. The text before the padding is complete.
        [0x1f, 0x8b, ..] => drop(flate2::read::MultiGzDecoder::new(raw).read_to_end(&mut text)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            zstd::stream::copy_decode(raw, &mut text).expect("accepted as complete, but zstd rejects it");
        }
        plain => text.extend_from_slice(plain),
    }
    text
}

/// The end of a run.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// In an array. The value that is cut off is in no segment.
    Unclosed,
    /// With the error message.
    Broken(String),
    TooMuch,
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    segments: Vec<Segment>,
    end: End,
}

/// Reads the bytes in pieces of about this size.
fn run(raw: &[u8], piece_bytes: usize, &Shape { limits, path, .. }: &Shape) -> Outcome {
    let (pipe, entry) = nix::unistd::pipe2(OFlag::O_DIRECT | OFlag::O_CLOEXEC).expect("a pipe");
    let mut entry = File::from(entry);
    let source = Source::File(format!("/proc/self/fd/{}", pipe.as_raw_fd()).into());
    let piece_bytes = piece_bytes.max(raw.len().div_ceil(PACKETS_MAX)).min(PACKET_MAX_BYTES);
    for piece in raw.chunks(piece_bytes) {
        entry.write_all(piece).expect("the pipe has room for it");
    }
    drop(entry);
    let reader = spawn_reader(vec![source.clone()]).expect("a thread");
    let buffers = BufferPool::new(1, limits.usual_bytes_max());
    let events_at = path.map(|path| Arc::new(path.parse().expect("a path")));
    let path = Reading { events_at, ..Reading::default() }.event_path();
    let mut segmenter = Segmenter::new(reader, limits, buffers, never()).following(path);
    // The number of the pipe differs between runs, so the source is not kept.
    let (mut segments, mut text_bytes) = (Vec::new(), 0);
    let mut end = None;
    while end != Some(End::TooMuch) {
        match segmenter.next() {
            Next::Segment(segment) => {
                assert_eq!(end, None, "nothing follows the end");
                assert_eq!(*segment.source, source.to_string());
                text_bytes += segment.bytes.len();
                // The clone releases the only buffer for the next segment.
                segments.push(Segment { source: "".into(), ..segment.clone() });
                if text_bytes > TEXT_MAX_BYTES {
                    end = Some(End::TooMuch);
                }
            }
            Next::SourceFailed(InputError::Unclosed { .. }) => end = Some(End::Unclosed),
            Next::SourceFailed(error) => {
                end = Some(End::Broken(error.to_string().replace(&source.to_string(), "")));
            }
            Next::Stopped => panic!("nothing has stopped the segmenter"),
            Next::End => break,
        }
    }
    Outcome { segments, end: end.unwrap_or(End::Whole) }
}

impl Outcome {
    /// The text of all segments.
    fn joined(&self) -> Vec<u8> {
        self.segments.iter().flat_map(|segment| segment.bytes.to_vec()).collect()
    }

    /// Checks the segments against the text.
    fn check(&self, text: &[u8], shape: &Shape) {
        let limits = shape.limits;
        if self.segments.iter().all(|segment| segment.oversized.is_none()) {
            self.check_values(text, shape);
        } else if shape.path.is_some() {
            // The text before an oversized value in an envelope may be in no segment.
            return;
        }
        let is_lines = shape.path.is_none() && self.segments.iter().all(|segment| segment.spans.is_none());
        let (mut at, mut begun) = (0, 0);
        for (place, segment) in (0..).zip(&self.segments) {
            let Segment { number, first_line, byte_offset, lines, bytes, spans, oversized, .. } = segment;
            let offset = usize::try_from(*byte_offset).expect("a short text");
            assert_eq!(*number, place);
            assert!(is_between(&text[at..offset]), "text before segment {number} is lost");
            assert_eq!(*first_line, 1 + feeds(&text[..offset]), "segment {number}");
            begun += lines;
            let rest = &text[offset..];
            if let Some(value_bytes) = oversized {
                let value = &rest[..usize::try_from(*value_bytes).expect("a short text")];
                assert!(value.len() > limits.line_max_bytes, "the value is not oversized");
                assert_eq!(bytes[..], value[..value.len().min(HEAD_BYTES)]);
                at = offset + value.len() + usize::from(rest.get(value.len()) == Some(&b'\n'));
                continue;
            }
            assert!(rest.starts_with(bytes), "segment {number} is not the text");
            match spans {
                Some(spans) => check_spans(bytes, spans, shape),
                None => check_lines(rest, bytes, limits, is_lines),
            }
            at = offset + bytes.len();
        }
        assert_eq!(at, text.len(), "text is lost");
        assert_eq!(begun, self::lines(text).count() as u64, "wrong number of lines");
    }

    /// Checks that each value on the path is in a segment, if the text is JSON. Of equal keys, the segments may have all.
    fn check_values(&self, text: &[u8], shape: &Shape) {
        let steps: Vec<&str> = shape.path.into_iter().flat_map(|path| path.split('.')).collect();
        // In envelopes that are too long to hold, keys are compared without reading their escapes.
        if !steps.is_empty() && text.windows(2).any(|pair| pair == b"\\u") {
            return;
        }
        let mut expected = Vec::new();
        for value in Deserializer::from_slice(text).into_iter::<Value>() {
            let Ok(value) = value else { return };
            walk(value, &steps, &mut expected);
        }
        let mut found = Vec::new();
        for Segment { bytes, spans, .. } in &self.segments {
            let whole = [Span { end: bytes.len(), ..Span::default() }];
            for span in spans.as_deref().unwrap_or(&whole) {
                let done = span.surroundings.as_ref().map_or(0, |surroundings| surroundings.steps);
                let values = Deserializer::from_slice(&bytes[span.start..span.end]).into_iter::<Value>();
                values.for_each(|value| walk(value.expect("a part of JSON"), &steps[done..], &mut found));
            }
        }
        let mut counts = HashMap::new();
        for value in found {
            *counts.entry(value).or_insert(0) += 1;
        }
        for value in expected {
            let count = counts.get_mut(&value).filter(|count| **count > 0);
            *count.unwrap_or_else(|| panic!("{value} is in no segment")) -= 1;
        }
    }
}

/// Adds the values on the path in a value. An array stands for its elements, and a string is not read.
fn walk(value: Value, steps: &[&str], found: &mut Vec<String>) {
    match (value, steps) {
        (Value::Array(values), _) => values.into_iter().for_each(|value| walk(value, steps, found)),
        (value, []) => found.push(value.to_string()),
        (Value::Object(members), [step, rest @ ..]) => {
            let members = members.into_iter().filter(|(key, _)| *step == "*" || key == step);
            members.for_each(|(_, value)| walk(value, rest, found));
        }
        _ => {}
    }
}

/// Checks a segment of values. No value may lie between them, except beside the path.
fn check_spans(bytes: &[u8], spans: &[Span], &Shape { limits, path, .. }: &Shape) {
    let mut at = 0;
    for span in spans {
        assert!(span.start <= span.end);
        assert!(
            at <= span.start && (path.is_some() || is_between(&bytes[at..span.start])),
            "text before {span:?} is lost"
        );
        assert_eq!(span.line, feeds(&bytes[..span.start]), "{span:?}");
        assert!(span.end - span.start <= 2 * limits.line_max_bytes + 1, "{span:?} is too long");
        at = span.end;
    }
    assert!(path.is_some() || is_between(&bytes[at..]), "text after the last value is lost");
    assert!(spans.len() <= limits.lines_max);
    assert!(spans.len() <= 1 || at <= limits.segment_bytes);
}

/// Checks a segment of lines at the start of `rest`. `is_alone` says that all segments consist of lines.
fn check_lines(rest: &[u8], bytes: &[u8], limits: SegmentLimits, is_alone: bool) {
    let count = lines(bytes).count();
    let lines: Vec<&[u8]> = lines(rest).take(count + 1).collect();
    assert_eq!(lines[..count].concat(), bytes, "the segment ends within a line");
    // Blank lines before a value do not count.
    let values = lines[..count].iter().filter(|line| !line.trim_ascii().is_empty()).count();
    assert!(count > 0 && values <= limits.lines_max);
    assert!(lines[..count].iter().all(|line| content(line).len() <= limits.line_max_bytes));
    assert!(count == 1 || bytes.len() <= limits.segment_bytes);
    if let Some(next) = lines.get(count).filter(|_| is_alone) {
        let fits = bytes.len() + next.len() <= limits.segment_bytes && count < limits.lines_max;
        assert!(!fits, "the segment ends early");
    }
}

/// Whether the text can lie between values.
fn is_between(text: &[u8]) -> bool {
    text.iter().all(|byte| b" \t\r\n,[]\x1e\xef\xbb\xbf".contains(byte))
}

fn feeds(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The lines including their line feeds.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}

/// A line without its line feed.
fn content(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
