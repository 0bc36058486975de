//! Slow pipes, stop requests and missing buffers, tested without a sleep.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use crate::input::error::InputError;
use crate::input::reader::{ReaderShape, spawn_with};
use crate::input::segment::SegmentLimits;
use crate::input::segmenter::{Next, Segmenter};
use crate::input::source::Source;
use crate::input::tests::cut_off::CUT_OFF;
use crate::input::tests::{Bench, gzip, limits, one_buffer, show};
use crate::sync::channel::never;

#[test]
fn slow_lines_are_returned_after_the_flush_interval() {
    let slow = SegmentLimits { flush_interval: Duration::from_millis(1), ..limits(99, 99) };
    for is_compressed in [false, true] {
        let mut bench = Bench::new(slow, ReaderShape::default());
        // One gzip member per text, which must not wait in the decoder for the next.
        let send = |bench: &Bench, text: &str| {
            if is_compressed {
                bench.send(gzip(text.as_bytes()));
            } else {
                bench.send(text);
            }
        };
        send(&bench, "a\nb");
        assert_eq!(bench.next(), r#"0: line 1 at 0 "a\n""#);
        send(&bench, "c\nd");
        assert_eq!(bench.next(), r#"1: line 2 at 2 "bc\n""#);
        bench.end();
        assert_eq!(bench.all(), [r#"2: line 3 at 5 "d""#, "end"]);
    }
}

#[test]
fn slow_values_without_line_feeds_are_returned_after_the_flush_interval() {
    let slow = SegmentLimits { flush_interval: Duration::from_millis(1), ..limits(99, 99) };
    let mut bench = Bench::new(slow, ReaderShape::default());
    for (number, (text, at, kept)) in [
        (r#"{"a":1} {"b":2} {"c":"#, 0, r#"{"a":1} {"b":2}"#),
        ("3},\n{\"d\":4}\n", 15, " {\"c\":3},\n{\"d\":4}\n"),
    ]
    .into_iter()
    .enumerate()
    {
        bench.send(text);
        assert_eq!(bench.next(), format!("{number}: line 1 at {at} {kept:?}"));
    }
    bench.end();
    assert_eq!(bench.all(), ["end"]);
}

/// Words after a whole value are one text with the rest of their line, as in a file.
#[test]
fn malformed_json_after_a_slow_value_is_one_text() {
    let slow = SegmentLimits { flush_interval: Duration::from_millis(1), ..limits(99, 99) };
    for (texts, rest) in [
        ([" xxx garbage", " words", "\n"], " xxx garbage words\n"),
        ([" {\"b\" 2}", " {\"c\":3}", "\n"], " {\"b\" 2} {\"c\":3}\n"),
        ([",", " {\"b\":2}", "\n"], ", {\"b\":2}\n"),
    ] {
        let mut bench = Bench::new(slow, ReaderShape::default());
        bench.send("{\"a\":1}");
        assert_eq!(bench.next(), r#"0: line 1 at 0 "{\"a\":1}""#);
        for text in texts {
            bench.send(text);
        }
        let Next::Segment(segment) = bench.segmenter.next() else { panic!("no segment") };
        assert_eq!(str::from_utf8(&segment.bytes), Ok(rest));
        assert_eq!(segment.spans.map(|spans| spans.len()), Some(1), "{rest}");
        bench.end();
    }
}

/// Lines that remain from the read that filled a segment wait no longer than other lines.
#[test]
fn lines_after_a_full_segment_are_returned_without_more_input() {
    let slow = SegmentLimits { flush_interval: Duration::from_millis(1), ..limits(4, 99) };
    let mut bench = Bench::new(slow, ReaderShape::default());
    bench.send("a\nb\nc\n");
    let parts = [bench.next(), bench.next()];
    assert_eq!(parts, [r#"0: line 1 at 0 "a\nb\n""#, r#"1: line 3 at 4 "c\n""#]);
    bench.end();
    assert_eq!(bench.all(), ["end"]);
}

#[test]
fn lines_that_may_wait_are_not_cut_by_reads() {
    let mut bench = Bench::new(limits(99, 99), ReaderShape::default());
    for text in ["a\n", "b", "\n", "c\n"] {
        bench.send(text);
    }
    bench.end();
    assert_eq!(bench.all(), [r#"0: line 1 at 0 "a\nb\nc\n""#, "end"]);
}

/// Stops the bench from another thread once its pipe is empty, by a message or by disconnection.
fn stop_when_silent(bench: &mut Bench, reads: usize, disconnect: bool) -> thread::JoinHandle<()> {
    let stop = bench.stop.take().unwrap();
    let asked = bench.asked.clone();
    thread::spawn(move || {
        // The reader reads again only after it has sent the previous data.
        for _ in 0..=reads {
            asked.recv().unwrap();
        }
        if disconnect {
            drop(stop);
        } else {
            stop.send(()).unwrap();
        }
    })
}

#[test]
fn a_stop_returns_whole_lines_first() {
    for disconnect in [false, true] {
        let mut bench = Bench::new(limits(99, 99), ReaderShape::default());
        bench.send("a\nb");
        bench.send("\nc");
        let stopper = stop_when_silent(&mut bench, 2, disconnect);
        assert_eq!(bench.all(), [r#"0: line 1 at 0 "a\nb\n""#, "stopped"]);
        assert_eq!(bench.next(), "stopped");
        stopper.join().unwrap();
    }
}

/// While the pipe is open, and after its writer was stopped by the same signal.
#[test]
fn a_stop_returns_whole_values_of_an_unfinished_line_or_array() {
    for (text, kept) in CUT_OFF {
        for is_ended in [false, true] {
            let mut bench = Bench::new(limits(999, 999), ReaderShape::default());
            bench.send(text);
            if is_ended {
                bench.end();
            }
            // The reader reads again only after it has sent the text.
            for _ in 0..2 {
                bench.asked.recv().unwrap();
            }
            bench.stop.as_ref().unwrap().send(()).unwrap();
            let segment = (!kept.is_empty()).then(|| format!("0: line 1 at 0 {kept:?}"));
            let expected: Vec<String> = segment.into_iter().chain(["stopped".to_owned()]).collect();
            assert_eq!(bench.all(), expected, "{text}");
        }
    }
}

#[test]
fn a_stop_before_any_input_stops() {
    let mut bench = Bench::new(limits(99, 99), ReaderShape::default());
    let stopper = stop_when_silent(&mut bench, 0, false);
    assert_eq!(bench.all(), ["stopped"]);
    stopper.join().unwrap();
}

#[test]
fn a_stop_does_not_wait_for_a_buffer() {
    let mut bench = Bench::new(limits(2, 99), ReaderShape::default());
    bench.send("a\nb\n");
    let Next::Segment(kept) = bench.segmenter.next() else { panic!("no segment") };
    assert_eq!(*kept.bytes, b"a\n");
    let stopper = stop_when_silent(&mut bench, 1, false);
    assert_eq!(bench.all(), ["stopped"]);
    stopper.join().unwrap();
}

#[test]
fn a_reader_that_dies_is_not_the_end_of_the_input() {
    struct Dying;
    impl Read for Dying {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            assert!(out.len() < 256 << 10, "kills the reader, as the test intends");
            out[..2].copy_from_slice(b"a\n");
            Ok(2)
        }
    }
    let shape = ReaderShape { raw_bytes: 64, ..ReaderShape::default() };
    let reader = spawn_with(vec![Source::Stdin], shape, |_| Ok(Box::new(Dying))).unwrap();
    let mut segmenter = Segmenter::new(reader, limits(99, 99), one_buffer(limits(99, 99)), never());
    assert_eq!(show(segmenter.next()), r#"0: line 1 at 0 "a\n""#);
    assert!(matches!(segmenter.next(), Next::SourceFailed(InputError::ReaderLost { .. })));
    assert!(matches!(segmenter.next(), Next::End));
}
