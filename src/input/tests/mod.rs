//! Tests of the whole module, from sources to segments.

mod again;
mod broken;
mod cut_off;
mod envelopes;
mod forms;
mod properties;
mod waiting;

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::input::buffers::BufferPool;
use crate::input::decode::format::Foreign;
use crate::input::error::InputError;
use crate::input::reader::{ReaderShape, spawn_reader, spawn_with};
use crate::input::segment::{Segment, SegmentLimits};
use crate::input::segmenter::{Next, Segmenter};
use crate::input::source::Source;
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender, bounded, never, unbounded};

/// The result of one read of a [`Script`].
type Step = io::Result<Vec<u8>>;

/// A source that returns what the test sends. It ends when the test drops the sender.
struct Script {
    steps: Receiver<Step>,
    /// Receives a message for each read that waits for a step.
    asked: Sender<()>,
    rest: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            // The test may be over.
            let _ = self.asked.send(());
            match self.steps.recv() {
                Ok(step) => self.rest = step?,
                Err(_) => return Ok(0),
            }
        }
        let count = out.len().min(self.rest.len());
        out[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

/// A segmenter on one scripted source, with one buffer at a time.
struct Bench {
    steps: Option<Sender<Step>>,
    asked: Receiver<()>,
    segmenter: Segmenter,
    stop: Option<Sender<()>>,
}

impl Bench {
    fn new(limits: SegmentLimits, shape: ReaderShape) -> Self {
        let (steps, script) = unbounded();
        let (asking, asked) = unbounded();
        let open = move |_: &Source| {
            let (steps, asked) = (script.clone(), asking.clone());
            Ok(Box::new(Script { steps, asked, rest: Vec::new() }) as Box<dyn Read>)
        };
        let reader = spawn_with(vec![Source::Stdin], shape, open).unwrap();
        let (stop, stopped) = bounded(1);
        let segmenter = Segmenter::new(reader, limits, one_buffer(limits), stopped);
        Self { steps: Some(steps), asked, segmenter, stop: Some(stop) }
    }

    fn send(&self, text: impl AsRef<[u8]>) {
        self.steps.as_ref().unwrap().send(Ok(text.as_ref().to_vec())).unwrap();
    }

    fn fail(&self, kind: io::ErrorKind) {
        self.steps.as_ref().unwrap().send(Err(kind.into())).unwrap();
    }

    fn end(&mut self) {
        self.steps = None;
    }

    /// Formats the next result as a line, and returns the segment's buffer.
    fn next(&mut self) -> String {
        show(self.segmenter.next())
    }

    fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.push(self.next());
            if matches!(all.last().unwrap().as_str(), "end" | "stopped") {
                return all;
            }
        }
    }
}

fn one_buffer(limits: SegmentLimits) -> BufferPool {
    BufferPool::new(1, limits.usual_bytes_max())
}

fn show(next: Next) -> String {
    match next {
        Next::Segment(segment) => {
            let Segment { number, first_line, byte_offset, bytes, oversized, .. } = segment;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let oversized = oversized.map_or(String::new(), |len| format!(" head of {len}"));
            format!("{number}: line {first_line} at {byte_offset}{oversized} {text:?}")
        }
        Next::SourceFailed(error) => match error {
            InputError::Broken { breakage, text_offset, raw_offset, .. } => {
                format!("{breakage:?} at {text_offset} of {raw_offset}")
            }
            other => other.to_string(),
        },
        Next::Stopped => "stopped".to_owned(),
        Next::End => "end".to_owned(),
    }
}

fn limits(segment_bytes: usize, line_max_bytes: usize) -> SegmentLimits {
    SegmentLimits { segment_bytes, lines_max: usize::MAX, line_max_bytes, flush_interval: Duration::MAX }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

/// Checks all results for an input that arrives in one read.
fn check(input: impl AsRef<[u8]>, limits: SegmentLimits, expected: &[&str]) {
    let mut bench = Bench::new(limits, ReaderShape::default());
    bench.send(input);
    bench.end();
    assert_eq!(bench.all(), expected);
}

#[test]
fn segments_are_the_longest_runs_of_whole_lines() {
    check("", limits(8, 99), &["end"]);
    check("\n", limits(8, 99), &[r#"0: line 1 at 0 "\n""#, "end"]);
    check("abc", limits(8, 99), &[r#"0: line 1 at 0 "abc""#, "end"]);
    check("abc\ndef\n", limits(8, 99), &[r#"0: line 1 at 0 "abc\ndef\n""#, "end"]);
    check("abc\ndefg", limits(8, 99), &[r#"0: line 1 at 0 "abc\ndefg""#, "end"]);
    check("abc\ndefg\n", limits(8, 99), &[r#"0: line 1 at 0 "abc\n""#, r#"1: line 2 at 4 "defg\n""#, "end"]);
    check(
        "a\n\u{feff}b\r\n\r\nc",
        limits(9, 99),
        &[r#"0: line 1 at 0 "a\n\u{feff}b\r\n""#, r#"1: line 3 at 8 "\r\nc""#, "end"],
    );
    check(
        "a\nlonger than it\nb\n",
        limits(4, 99),
        &[
            r#"0: line 1 at 0 "a\n""#,
            r#"1: line 2 at 2 "longer than it\n""#,
            r#"2: line 3 at 17 "b\n""#,
            "end",
        ],
    );
}

#[test]
fn a_line_too_long_keeps_its_head_and_its_length() {
    let short = |expected: &[&str]| check("a\n12345\nb\n123456\nc\n1234567", limits(10, 5), expected);
    short(&[
        r#"0: line 1 at 0 "a\n12345\nb\n""#,
        r#"1: line 4 at 10 head of 6 "123456""#,
        r#"2: line 5 at 17 "c\n""#,
        r#"3: line 6 at 19 head of 7 "1234567""#,
        "end",
    ]);
    let long = "x".repeat(5000);
    let head = format!("0: line 1 at 0 head of 5000 {:?}", &long[..4096]);
    check(format!("{long}\n"), limits(10, 4999), &[&head, "end"]);
    check(format!("{long}\nb"), limits(9000, 3), &[&head, r#"1: line 2 at 5001 "b""#, "end"]);
    check(
        format!("{long}\n"),
        limits(10, 5000),
        &[&format!("0: line 1 at 0 {:?}", format!("{long}\n")), "end"],
    );
}

#[test]
fn compressed_input_is_detected_by_its_content() {
    let text = ["0: line 1 at 0 \"a\\nb\\nc\"", "end"];
    let roomy = limits(99, 99);
    check(gzip(b"a\nb\nc"), roomy, &text);
    check([gzip(b"a\nb"), gzip(b""), gzip(b"\nc")].concat(), roomy, &text);
    check([gzip(b"a\nb\nc"), vec![0; 700]].concat(), roomy, &text);
    check(zstd(b"a\nb\nc"), roomy, &text);
    let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
    check([&skippable[..], &zstd(b"a\nb"), skippable, &zstd(b""), &zstd(b"\nc")].concat(), roomy, &text);
    check(gzip(b""), roomy, &["end"]);
    check(zstd(b""), roomy, &["end"]);
    check(b"\x1f", roomy, &["0: line 1 at 0 \"\\u{1f}\"", "end"]);
}

#[test]
fn an_error_follows_the_intact_data() {
    let roomy = limits(99, 99);
    // The last line is possibly incomplete.
    let text = r#"0: line 1 at 0 "a\nb\n""#;
    let whole = gzip(b"a\nb\nc");
    let len = whole.len();
    check(&whole[..len - 1], roomy, &[text, &format!("CutShort(Gzip) at 5 of {}", len - 1), "end"]);
    check(b"\x1f\x8b", roomy, &["CutShort(Gzip) at 0 of 2", "end"]);
    check([&whole[..], b"\x1f"].concat(), roomy, &[text, &format!("CutShort(Gzip) at 5 of {len}"), "end"]);
    check([&whole[..], b"more"].concat(), roomy, &[text, &format!("Trailing(Gzip) at 5 of {len}"), "end"]);
    check(
        [&whole[..], b"\0\0m"].concat(),
        roomy,
        &[text, &format!("Trailing(Gzip) at 5 of {}", len + 2), "end"],
    );
    let mut damaged = whole;
    damaged[len - 8] ^= 1; // the checksum
    check(damaged, roomy, &[text, &format!("Damaged(Gzip) at 5 of {}", len - 4), "end"]);

    let whole = zstd(b"a\nb\nc");
    let len = whole.len();
    check(
        &whole[..len - 1],
        roomy,
        &[r#"0: line 1 at 0 "a\nb\n""#, &format!("CutShort(Zstd) at 4 of {}", len - 1), "end"],
    );
    check(
        [&whole[..], b"\x28\xb5"].concat(),
        roomy,
        &[text, &format!("CutShort(Zstd) at 5 of {len}"), "end"],
    );
    check([&whole[..], b"more"].concat(), roomy, &[text, &format!("Trailing(Zstd) at 5 of {len}"), "end"]);
    check([&whole[..], b"m"].concat(), roomy, &[text, &format!("Trailing(Zstd) at 5 of {len}"), "end"]);
    // A frame that requires a window of 2 GiB: descriptor 0, window exponent 21 (RFC 8878, 3.1.1.1.2).
    check(b"\x28\xb5\x2f\xfd\0\xa8\x01\0\0", roomy, &["Window at 0 of 4", "end"]);
}

#[test]
fn a_damaged_zstd_block_loses_no_earlier_block() {
    let line = |n: u32| format!("{{\"EventId\":{},\"Fame\":{}}}\n", n, u64::from(n) * 7919 % 1_000_003);
    let text: String = (0..20_000).map(line).collect();
    let compressed = zstd(text.as_bytes());
    // The last block is truncated. Whole blocks of 128 KiB precede it (RFC 8878, 3.1.1.2).
    let mut bench = Bench::new(limits(8 << 20, 8 << 20), ReaderShape::default());
    bench.send(&compressed[..compressed.len() - 10]);
    bench.end();
    let Next::Segment(segment) = bench.segmenter.next() else { panic!("no segment") };
    let whole_blocks = text.len() / (128 << 10) * (128 << 10);
    assert!(whole_blocks > 0);
    let blocks = &text[..whole_blocks];
    let values = blocks.rfind('}').map_or("", |last| &blocks[..=last]);
    let bytes = segment.bytes.strip_suffix(b"\n").unwrap_or(&segment.bytes);
    assert!(bytes == values.as_bytes(), "{} of {}", bytes.len(), values.len());
    // The only buffer, which the rest needs.
    drop(segment);
    assert_eq!(bench.next(), format!("CutShort(Zstd) at {whole_blocks} of {}", compressed.len() - 10));
}

#[test]
fn a_failing_read_keeps_its_cause_and_its_offset() {
    let mut bench = Bench::new(limits(99, 99), ReaderShape::default());
    bench.fail(io::ErrorKind::Interrupted);
    bench.send("a\nb");
    bench.fail(io::ErrorKind::Interrupted);
    bench.send("c");
    bench.fail(io::ErrorKind::TimedOut);
    assert_eq!(bench.next(), r#"0: line 1 at 0 "a\n""#);
    let Next::SourceFailed(error) = bench.segmenter.next() else { panic!("no failure") };
    let expected = "<stdin>: reading failed at byte 4 of the uncompressed text, byte 4 of the input\nhint: fix the cause, \
                    then run the same command again";
    assert_eq!(error.to_string(), expected);
    let cause = std::error::Error::source(&error).unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::TimedOut);
    assert_eq!(bench.all(), ["end"]);

    let mut in_the_first_bytes = Bench::new(limits(99, 99), ReaderShape::default());
    in_the_first_bytes.send("B");
    in_the_first_bytes.fail(io::ErrorKind::TimedOut);
    assert_eq!(in_the_first_bytes.all(), ["Read at 1 of 1", "end"]);
}

#[test]
fn foreign_formats_are_named() {
    let mut bench = Bench::new(limits(99, 99), ReaderShape::default());
    bench.send(b"\xfd7zX");
    bench.send(b"Z\0more");
    let Next::SourceFailed(error) = bench.segmenter.next() else { panic!("no failure") };
    assert!(matches!(error, InputError::Foreign { format: Foreign::Xz, .. }));
    assert_eq!(bench.all(), ["end"]);
}

#[test]
fn reading_continues_after_a_missing_source() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        Source::File(path)
    };
    let missing = Source::File(directory.path().join("missing"));
    let sources = vec![
        file("a", b"1\n2"),
        missing.clone(),
        file("empty", b""),
        Source::File(directory.path().into()),
        file("b.gz", &gzip(b"3\n")),
    ];
    let reader = spawn_reader(sources).unwrap();
    let counters = reader.counters();
    let mut segmenter = Segmenter::new(reader, limits(99, 99), one_buffer(limits(99, 99)), never());
    let mut next = || show(segmenter.next());
    assert_eq!(next(), r#"0: line 1 at 0 "1\n2""#);
    assert_eq!(next(), format!("{missing}\nhint: check the path, or use '-' for standard input"));
    assert!(next().contains("is a directory"));
    assert_eq!(next(), r#"1: line 1 at 0 "3\n""#);
    assert_eq!(next(), "end");
    assert_eq!(next(), "end");
    assert_eq!(counters.bytes_uncompressed(), 5);
    assert_eq!(counters.bytes_read(), 3 + gzip(b"3\n").len() as u64);
}

#[test]
fn all_pieces_return_after_any_number_of_sources() {
    let directory = tempfile::tempdir().unwrap();
    let text = b"1\n2\n3\n4\n5\n6\n7\n8\n9\n";
    let mut damaged = gzip(text);
    let checksum_at = damaged.len() - 8;
    damaged[checksum_at] ^= 1;
    let contents: [(&str, &[u8]); 7] = [
        ("plain", text),
        ("empty", b""),
        ("gzip", &gzip(text)),
        ("zstd", &zstd(text)),
        ("damaged", &damaged),
        ("cut", &zstd(text)[..12]),
        ("foreign", b"\xfd7zXZ\0..."),
    ];
    let mut kinds =
        vec![Source::File(directory.path().join("missing")), Source::File(directory.path().into())];
    for (name, bytes) in contents {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        kinds.push(Source::File(path));
    }
    // Each kind alone, and all kinds in turn. Small pools run dry first.
    let mut runs: Vec<Vec<Source>> = kinds.iter().map(|kind| vec![kind.clone(); 20]).collect();
    runs.push(kinds.iter().cycle().take(200).cloned().collect());
    let (done, end) = bounded(0);
    let runs = std::thread::spawn(move || {
        let _done = done;
        for sources in runs {
            for pieces in [1, 2, 8] {
                read_all(&sources, pieces);
            }
        }
    });
    assert_eq!(end.recv_timeout(Duration::from_mins(2)), Err::<(), _>(RecvTimeoutError::Disconnected));
    runs.join().unwrap();
}

/// Reads the sources to their end with a pool of `pieces`.
fn read_all(sources: &[Source], pieces: usize) {
    let shape = ReaderShape { piece_bytes: 4, pieces, raw_bytes: 16 };
    let reader = spawn_with(sources.to_vec(), shape, Source::open).unwrap();
    let (pieces, buffers) = (reader.pieces.clone(), one_buffer(limits(5, 99)));
    let mut segmenter = Segmenter::new(reader, limits(5, 99), buffers.clone(), never());
    loop {
        match segmenter.next() {
            Next::Segment(_) | Next::SourceFailed(_) => {}
            Next::End => break,
            Next::Stopped => panic!("nobody stopped it"),
        }
    }
    drop(segmenter);
    assert_eq!((pieces.in_use(), buffers.in_use()), (0, 0), "{sources:?}");
}

#[test]
fn a_reader_that_waits_for_a_piece_ends_when_its_receiver_is_dropped() {
    let shape = ReaderShape { piece_bytes: 1, pieces: 2, raw_bytes: 16 };
    let (ended, end) = bounded::<()>(0);
    let open = move |_: &Source| {
        // Dropped with the closure, at the thread's end.
        let _ = &ended;
        Ok(Box::new(io::repeat(b'a')) as Box<dyn Read>)
    };
    let reader = spawn_with(vec![Source::Stdin], shape, open).unwrap();
    assert!(matches!(reader.messages.recv(), Ok(crate::input::reader::Message::Opened(_))));
    let held = reader.messages.recv().unwrap();
    drop(reader);
    assert_eq!(end.recv_timeout(Duration::from_mins(1)), Err(RecvTimeoutError::Disconnected));
    drop(held);
}
