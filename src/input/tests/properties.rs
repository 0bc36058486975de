//! However the bytes arrive, compressed or not, the segments equal those of a simple model.

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use crate::input::reader::ReaderShape;
use crate::input::segment::{Segment, SegmentLimits};
use crate::input::segmenter::Next;
use crate::input::tests::{Bench, gzip, limits, zstd};

/// An expected segment, or the error that ended the source.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Segment { first_line: u64, byte_offset: u64, bytes: Vec<u8>, oversized: Option<u64> },
    Broken(String),
}

/// The simplest implementation of the rules, applied to the whole text at once.
fn model(text: &[u8], limits: SegmentLimits) -> Vec<Seen> {
    let mut segments = Vec::new();
    let (mut open, mut first_line, mut byte_offset) = (Vec::new(), 1, 0);
    let (mut at, mut open_lines) = (0, 0);
    for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let oversized = content.len() > limits.line_max_bytes;
        let full = open.len() + line.len() > limits.segment_bytes || open_lines == limits.lines_max;
        if !open.is_empty() && (oversized || full) {
            segments.push(Seen::Segment {
                first_line,
                byte_offset,
                bytes: std::mem::take(&mut open),
                oversized: None,
            });
        }
        if open.is_empty() {
            (first_line, byte_offset, open_lines) = (index as u64 + 1, at, 0);
        }
        if oversized {
            let bytes = content[..content.len().min(4096)].to_vec();
            segments.push(Seen::Segment {
                first_line,
                byte_offset,
                bytes,
                oversized: Some(content.len() as u64),
            });
        } else {
            open.extend_from_slice(line);
            open_lines += 1;
        }
        at += line.len() as u64;
    }
    if !open.is_empty() {
        segments.push(Seen::Segment { first_line, byte_offset, bytes: open, oversized: None });
    }
    segments
}

/// Returns the results for bytes that arrive in chunks of these sizes.
fn run(raw: &[u8], chunks: &[usize], shape: ReaderShape, limits: SegmentLimits) -> Vec<Seen> {
    let mut bench = Bench::new(limits, shape);
    let mut rest = raw;
    for &size in chunks.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        bench.send(chunk);
        rest = after;
    }
    bench.end();
    let mut seen = Vec::new();
    loop {
        match bench.segmenter.next() {
            Next::Segment(Segment { number, source, first_line, byte_offset, bytes, oversized, .. }) => {
                assert_eq!((number, &*source), (seen.len() as u64, "<stdin>"));
                let capacity_max = limits.segment_bytes.max(limits.line_max_bytes) * 2 + 4 * 4096;
                assert!(bytes.capacity() <= capacity_max, "{} bytes of room", bytes.capacity());
                seen.push(Seen::Segment { first_line, byte_offset, bytes: bytes.to_vec(), oversized });
            }
            Next::SourceFailed(error) => seen.push(Seen::Broken(error.to_string())),
            Next::Stopped => panic!("nobody stopped it"),
            Next::End => return seen,
        }
    }
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![8 => 0..40usize, 2 => 100..400usize, 1 => 3000..6000usize];
    let line = (length, any::<u8>()).prop_map(|(length, salt)| -> Vec<u8> {
        // Varying bytes without newlines, so that an off-by-one error is visible.
        (0..length)
            .scan(salt, |byte, _| {
                *byte = byte.wrapping_mul(5).wrapping_add(31);
                Some(*byte)
            })
            .map(|byte| if byte == b'\n' { b' ' } else { byte })
            .collect()
    });
    (prop::collection::vec(line, 0..30), any::<bool>()).prop_map(|(lines, ended)| {
        // No line is JSON, so each is a span of its own, and none resembles another format.
        let lines: Vec<Vec<u8>> = lines
            .into_iter()
            .map(|line| if line.is_empty() { line } else { [b"~", &line[1..]].concat() })
            .collect();
        let mut text = b"~".to_vec();
        text.extend(lines.join(&b'\n'));
        text.extend(ended.then_some(b'\n'));
        text
    })
}

fn sizes() -> impl Strategy<Value = SegmentLimits> {
    let bytes = (prop_oneof![1..60usize, 60..900usize, Just(9000)], prop_oneof![1..60usize, 60..7000usize]);
    (bytes, prop_oneof![1..9usize, Just(usize::MAX)])
        .prop_map(|((segment, line), lines_max)| SegmentLimits { lines_max, ..limits(segment, line) })
}

fn shapes() -> impl Strategy<Value = ReaderShape> {
    (prop_oneof![1..60usize, Just(5000)], 1..4usize, prop_oneof![8..60usize, Just(5000)])
        .prop_map(|(piece_bytes, pieces, raw_bytes)| ReaderShape { piece_bytes, pieces, raw_bytes })
}

fn chunks() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4usize, 1..300usize, Just(100_000)], 1..6)
}

/// Compresses the text in parts that are split at `cuts`.
fn compressed(
    text: &[u8],
    cuts: &[prop::sample::Index],
    compress: fn(&[u8]) -> Vec<u8>,
    between: &[u8],
) -> Vec<u8> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    places.sort_unstable();
    places.push(text.len());
    let mut start = 0;
    let mut raw = Vec::new();
    for place in places {
        raw.extend_from_slice(between);
        raw.extend(compress(&text[start..place]));
        start = place;
    }
    raw
}

/// Compresses the text to one frame of many blocks.
fn zstd_blocks(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for block in text.chunks(90) {
        encoder.write_all(block).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..4)
}

/// An empty and a nonempty skippable frame.
const SKIPPABLE: &[u8] = b"\x50\x2a\x4d\x18\0\0\0\0\x5f\x2a\x4d\x18\x05\0\0\0skip\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segments_depend_on_the_text_alone(
        text in texts(), limits in sizes(), shape in shapes(), chunks in chunks(), cuts in cuts(),
    ) {
        let expected = model(&text, limits);
        if expected.iter().all(|seen| matches!(seen, Seen::Segment { oversized: None, .. })) {
            let joined: Vec<u8> = expected.iter().flat_map(|seen| match seen {
                Seen::Segment { bytes, .. } => bytes.clone(),
                Seen::Broken(_) => Vec::new(),
            }).collect();
            prop_assert_eq!(&joined, &text);
        }
        prop_assert_eq!(run(&text, &chunks, shape, limits), expected.clone(), "plain");
        let members = compressed(&text, &cuts, gzip, b"");
        prop_assert_eq!(run(&members, &chunks, shape, limits), expected.clone(), "gzip");
        let frames = compressed(&text, &cuts, zstd, SKIPPABLE);
        prop_assert_eq!(run(&frames, &chunks, shape, limits), expected, "zstd");
    }

    #[test]
    fn truncated_input_returns_everything_before_the_end(
        text in texts(), shape in shapes(), chunks in chunks(), cuts in cuts(), end in any::<prop::sample::Index>(),
        gzipped in any::<bool>(),
    ) {
        let mut raw = if gzipped {
            compressed(&text, &cuts, gzip, b"")
        } else {
            compressed(&text, &cuts, zstd, SKIPPABLE)
        };
        // Keep enough bytes to detect the format.
        raw.truncate(4 + end.index(raw.len() - 4));
        let roomy = limits(100_000, 100_000);
        let seen = run(&raw, &chunks, shape, roomy);
        prop_assert_eq!(&seen, &run(&raw, &[raw.len()], ReaderShape::default(), roomy), "arriving at once");
        let given = match seen.first() {
            Some(Seen::Segment { bytes, .. }) => bytes.clone(),
            _ => Vec::new(),
        };
        prop_assert!(text.starts_with(&given));
        if let Some(Seen::Broken(error)) = seen.last() {
            let place = error.split("is cut short at byte ").nth(1).and_then(|rest| rest.split(' ').next());
            let place = place.and_then(|place| place.parse::<usize>().ok());
            // No line is JSON, so an unfinished line contains no whole value.
            let lines = place.map(|place| {
                text[..place].iter().rposition(|&byte| byte == b'\n').map_or(0, |feed| feed + 1)
            });
            prop_assert_eq!(lines, Some(given.len()), "{}", error);
        } else {
            let mut whole = Vec::new();
            let oracle = if gzipped {
                MultiGzDecoder::new(&raw[..]).read_to_end(&mut whole).map(drop)
            } else {
                zstd::stream::copy_decode(&raw[..], &mut whole)
            };
            prop_assert!(oracle.is_ok() && whole == given, "treated as complete: {:?}", oracle);
        }
    }

    #[test]
    fn damage_has_the_same_effect_however_it_arrives(
        text in texts(), shape in shapes(), chunks in chunks(), place in any::<prop::sample::Index>(), flip in 1..=255u8,
        gzipped in any::<bool>(),
    ) {
        let mut raw = if gzipped { gzip(&text) } else { zstd_blocks(&text) };
        let place = 4 + place.index(raw.len() - 4);
        raw[place] ^= flip;
        let sizes = limits(300, 5000);
        prop_assert_eq!(run(&raw, &chunks, shape, sizes), run(&raw, &[raw.len()], ReaderShape::default(), sizes));
    }
}
