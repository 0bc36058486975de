//! Rereading of segments.

use std::fs;

use crate::input::buffers::BufferPool;
use crate::input::reader::spawn_reader;
use crate::input::reread::{Rereader, SegmentPlace, rereadable_file};
use crate::input::segment::Segment;
use crate::input::segmenter::{Next, Segmenter};
use crate::input::source::Source;
use crate::input::tests::{gzip, limits, zstd};
use crate::sync::channel::never;

/// Reads a file to its end and returns its segments.
fn segments(source: &Source, text: &[u8]) -> Vec<Segment> {
    let reader = spawn_reader(vec![source.clone()]).unwrap();
    let buffers = BufferPool::new(100, 1 << 20);
    let mut segmenter = Segmenter::new(reader, limits(text.len() / 50, 1 << 20), buffers, never());
    let mut segments = Vec::new();
    loop {
        match segmenter.next() {
            Next::Segment(segment) => segments.push(segment),
            Next::End => return segments,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn segments_are_reread_from_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let line = |number: usize| format!("{{\"EventId\":{number}}}{}\n", " ".repeat(number % 300));
    let text: String = (0..20_000).map(line).collect();
    let text = text.trim_end().as_bytes();
    let (first, second) = text.split_at(text.len() / 3);
    for (name, bytes) in [
        ("plain", text.to_vec()),
        ("gzip", [gzip(first), gzip(second)].concat()),
        ("zstd", [zstd(first), zstd(second)].concat()),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let source = Source::File(path.clone());
        assert_eq!(rereadable_file(&source), Some(&*path));
        let segments = segments(&source, text);
        assert!(segments.len() > 45, "{name}: {}", segments.len());
        let (mut rereader, mut buffer) = (Rereader::open(&path).unwrap(), vec![1; 10]);
        for segment in segments.iter().filter(|segment| segment.number % 3 != 1) {
            let place = SegmentPlace::of(segment).unwrap();
            assert!(rereader.read(&place, &mut buffer).unwrap(), "{name} {}", segment.number);
            let reread = place.segment(segment.number, segment.source.clone(), buffer.clone().into());
            assert_eq!(reread, *segment, "{name}");
        }
        // A command line may name a file twice.
        for number in [30, 30, 2] {
            assert!(
                rereader.read(&SegmentPlace::of(&segments[number]).unwrap(), &mut buffer).unwrap(),
                "{name} {number}"
            );
            assert_eq!(buffer, *segments[number].bytes, "{name} {number}");
        }
        fs::write(&path, &text[..100]).unwrap();
        let place = SegmentPlace::of(&segments[40]).unwrap();
        assert!(!Rereader::open(&path).unwrap().read(&place, &mut buffer).unwrap(), "{name}");
        fs::remove_file(&path).unwrap();
        assert!(Rereader::open(&path).is_err(), "{name}");
    }
    assert_eq!(rereadable_file(&Source::Stdin), None);
    assert_eq!(rereadable_file(&Source::File(directory.path().to_owned())), None);
}
