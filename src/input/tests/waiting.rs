//! Slow pipes, the order to stop, buffers that do not come: each without a sleep.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use crossbeam_channel::never;

use crate::input::error::InputError;
use crate::input::reader::{ReaderShape, spawn_with};
use crate::input::segment::SegmentLimits;
use crate::input::segmenter::{Next, Segmenter};
use crate::input::source::Source;
use crate::input::tests::{Bench, gzip, limits, one_buffer, show};

#[test]
fn slow_lines_are_given_out_when_they_have_waited() {
    let slow = SegmentLimits { flush_interval: Duration::from_millis(1), ..limits(99, 99) };
    for packed in [false, true] {
        let mut bench = Bench::new(slow, ReaderShape::default());
        // A gzip member for each: its text must not wait in the decoder for the next.
        let send = |bench: &Bench, text: &str| {
            if packed {
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

/// What is left over of the read that filled a segment waits no longer than other lines.
#[test]
fn the_rest_behind_a_full_segment_is_given_out_without_more_input() {
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

/// Stops the bench when its pipe has been read empty, from another thread, by a message or by hanging up.
fn stop_when_silent(bench: &mut Bench, reads: usize, hang_up: bool) -> thread::JoinHandle<()> {
    let stop = bench.stop.take().unwrap();
    let asked = bench.asked.clone();
    thread::spawn(move || {
        // The reader asks for more only after it has sent on what it got.
        for _ in 0..=reads {
            asked.recv().unwrap();
        }
        if hang_up {
            drop(stop);
        } else {
            stop.send(()).unwrap();
        }
    })
}

#[test]
fn told_to_stop_it_gives_out_whole_lines_first() {
    for hang_up in [false, true] {
        let mut bench = Bench::new(limits(99, 99), ReaderShape::default());
        bench.send("a\nb");
        bench.send("\nc");
        let stopper = stop_when_silent(&mut bench, 2, hang_up);
        assert_eq!(bench.all(), [r#"0: line 1 at 0 "a\nb\n""#, "stopped"]);
        assert_eq!(bench.next(), "stopped");
        stopper.join().unwrap();
    }
}

#[test]
fn told_to_stop_before_anything_came_it_stops() {
    let mut bench = Bench::new(limits(99, 99), ReaderShape::default());
    let stopper = stop_when_silent(&mut bench, 0, false);
    assert_eq!(bench.all(), ["stopped"]);
    stopper.join().unwrap();
}

#[test]
fn told_to_stop_it_does_not_wait_for_a_buffer() {
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
            assert!(out.len() < 256 << 10, "the reader dies of this, as the test wants");
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
