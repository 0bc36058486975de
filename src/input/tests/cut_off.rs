//! Sources that break in the middle of a value: whole values are returned in each layout, and the unfinished one is not.

use std::{fs, io};

use crate::input::reader::{ReaderShape, spawn_reader};
use crate::input::segmenter::{Next, Segmenter};
use crate::input::source::Source;
use crate::input::tests::envelopes::{check as check_spans, path};
use crate::input::tests::forms::cut_at;
use crate::input::tests::{Bench, check, gzip, limits, one_buffer, show};
use crate::sync::channel::never;

/// A text whose end is missing, and its part with whole values.
pub(super) const CUT_OFF: [(&str, &str); 16] = [
    ("{\"a\":1}\n{\"b\":2}\n{\"c\"", "{\"a\":1}\n{\"b\":2}\n"),
    ("{\"a\":1}\n{\"b\":2}", "{\"a\":1}\n{\"b\":2}"),
    ("{\"a\":1}\n{\"b\":{}", "{\"a\":1}\n"),
    ("{\"a\":1}{\"b\":2} {\"c\":\"}", "{\"a\":1}{\"b\":2}"),
    ("[{\"a\":1},{\"b\":2},{\"c\":{}", "[{\"a\":1},{\"b\":2}"),
    ("[{\"a\":1},{\"b\":2},", "[{\"a\":1},{\"b\":2}"),
    ("[{\"a\":1}]\n[{\"b\":2},{", "[{\"a\":1}]\n[{\"b\":2}"),
    ("[\n{\"a\":1},\n{\"b\":2},\n{\"c\":{}", "[\n{\"a\":1},\n{\"b\":2}"),
    ("[\n  {\n    \"a\": 1\n  },\n  {\n    \"b\": 2\n", "[\n  {\n    \"a\": 1\n  }"),
    ("{\n  \"a\": 1\n}\n{\n  \"b\": 2", "{\n  \"a\": 1\n}\n"),
    ("no JSON\n{\"b\":2}\nno", "no JSON\n{\"b\":2}\n"),
    ("{\"a\":1}\n12", "{\"a\":1}\n"),
    ("{\"a\":1}\n[", "{\"a\":1}\n"),
    ("{\"a\":1}\n", "{\"a\":1}\n"),
    ("{\"a\"", ""),
    ("\"a", ""),
];

fn expected(kept: &str, failure: &str) -> Vec<String> {
    let segment = (!kept.is_empty()).then(|| format!("0: line 1 at 0 {kept:?}"));
    segment.into_iter().chain([failure.to_owned(), "end".to_owned()]).collect()
}

#[test]
fn whole_values_before_a_failed_read_are_returned() {
    for (text, kept) in CUT_OFF {
        let mut bench = Bench::new(limits(999, 999), ReaderShape::default());
        bench.send(text);
        bench.fail(io::ErrorKind::TimedOut);
        let failure = format!("Read at {} of {}", text.len(), text.len());
        assert_eq!(bench.all(), expected(kept, &failure), "{text}");
    }
}

#[test]
fn whole_values_before_a_missing_checksum_are_returned() {
    for (text, kept) in CUT_OFF {
        let raw = gzip(text.as_bytes());
        let failure = format!("CutShort(Gzip) at {} of {}", text.len(), raw.len() - 1);
        let expected = expected(kept, &failure);
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&raw[..raw.len() - 1], limits(999, 999), &expected);
    }
}

/// Also if they are in several segments, and the unfinished value is longer than a value can be.
#[test]
fn elements_of_a_long_unfinished_array_are_returned() {
    let event = format!("{{\"a\":\"{}\"}}", "x".repeat(50));
    let text = format!("[{},{{\"b\":\"{}", vec![event.as_str(); 40].join(","), "y".repeat(700));
    let mut bench = Bench::new(limits(200, 500), ReaderShape::default());
    bench.send(&text);
    bench.fail(io::ErrorKind::TimedOut);
    let (mut elements, mut has_failed) = (0, false);
    loop {
        match bench.segmenter.next() {
            Next::Segment(segment) => {
                assert_eq!(segment.oversized, None);
                elements += segment.spans.as_ref().map_or(0, Vec::len);
            }
            Next::SourceFailed(_) => has_failed = true,
            Next::Stopped => panic!("nobody stopped it"),
            Next::End => break,
        }
    }
    assert_eq!((elements, has_failed), (40, true));
}

/// The next source begins with nothing of the previous one.
#[test]
fn the_source_after_a_cut_off_one_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        Source::File(path)
    };
    let cut = gzip(b"{\"a\":1}\n{\"b\"");
    let sources = vec![file("cut", &cut[..cut.len() - 1]), file("sound", b"{\"c\":3}\n")];
    let reader = spawn_reader(sources).unwrap();
    let mut segmenter = Segmenter::new(reader, limits(99, 99), one_buffer(limits(99, 99)), never());
    let mut next = || show(segmenter.next());
    assert_eq!(next(), r#"0: line 1 at 0 "{\"a\":1}\n""#);
    assert!(next().starts_with("CutShort"));
    assert_eq!(next(), r#"1: line 1 at 0 "{\"c\":3}\n""#);
    assert_eq!(next(), "end");
}

/// With a path to the events, an envelope is divided like an array.
#[test]
fn whole_values_of_an_unfinished_envelope_are_returned() {
    for (text, kept) in [
        ("{\"d\":{\"e\":[{\"a\":1},{\"b\":2},{\"c\":{}", "{\"d\":{\"e\":[{\"a\":1},{\"b\":2}"),
        ("{\"d\":{\"e\":[{\"a\":1},{\"b\":2}],\"x\":{", "{\"d\":{\"e\":[{\"a\":1},{\"b\":2}]"),
        ("{\"d\":1}\n{\"x\":0,\"d\":{\"e\":[{\"a\":1},", "{\"d\":1}\n{\"x\":0,\"d\":{\"e\":[{\"a\":1}"),
        ("[{\"d\":{\"e\":{}}},{\"d\":{\"e\":[{\"a\":1},{", "[{\"d\":{\"e\":{}}},{\"d\":{\"e\":[{\"a\":1}"),
        (
            "{\n  \"d\": {\n    \"e\": [\n      {\n        \"a\": 1\n      },\n      {\n        \"b\"",
            "{\n  \"d\": {\n    \"e\": [\n      {\n        \"a\": 1\n      }",
        ),
        ("{\"d\":{\"e\":", ""),
        ("{\"x\":[{\"a\":1},{\"b\":2}]", ""),
        ("{\"EventId\":1,\"d\":{\"e\":[{\"a\":1},{\"b\":2}]", ""),
    ] {
        let mut bench = Bench::new(limits(999, 999), ReaderShape::default());
        bench.segmenter = bench.segmenter.following(Some(path("d.e")));
        bench.send(text);
        bench.fail(io::ErrorKind::TimedOut);
        let failure = format!("Read at {} of {}", text.len(), text.len());
        assert_eq!(bench.all(), expected(kept, &failure), "{text}");
    }
}

/// A plain file that ends in an array or an envelope ends like compressed data that is cut short.
#[test]
fn a_text_that_ends_in_an_array_or_an_envelope_is_cut_off() {
    for (text, kept, kind, line) in [
        ("[{\"a\":1},{\"b\":2},{\"c\":{}", "[{\"a\":1},{\"b\":2}", "array", 1),
        ("[{\"a\":1},{\"b\":2}", "[{\"a\":1},{\"b\":2}", "array", 1),
        ("[{\"a\":1},{\"b\":2},\n", "[{\"a\":1},{\"b\":2}", "array", 1),
        ("[\n{\"a\":1},\n{\"b\":2},\n", "[\n{\"a\":1},\n{\"b\":2}", "array", 3),
        ("[\n{\"a\":1},\n{\"b\":2},\n{\"c\":{", "[\n{\"a\":1},\n{\"b\":2}", "array", 4),
        ("{\"a\":1}\n[", "{\"a\":1}\n", "array", 2),
        ("[", "", "array", 1),
        ("{\"d\":{\"e\":[{\"a\":1},{\"b\"", "{\"d\":{\"e\":[{\"a\":1}", "object", 1),
        ("{\"d\":1}\n{\"d\":{\"e\":[{\"a\":1}],", "{\"d\":1}\n{\"d\":{\"e\":[{\"a\":1}]", "object", 2),
    ] {
        let mut bench = Bench::new(limits(999, 999), ReaderShape::default());
        bench.segmenter = bench.segmenter.following(Some(path("d.e")));
        bench.send(text);
        bench.end();
        let failure = format!(
            "<stdin>:{line}: the JSON {kind} is not closed: the input ends in it; all whole events before that were read\n\
             hint: get the whole file and run the same command again"
        );
        assert_eq!(bench.all(), expected(kept, &failure), "{text}");
    }
    // A value that is cut off outside of an array, malformed JSON, and text that is no array.
    for text in [
        "{\"a\":1}\n{\"b\":",
        "{\"d\":{\"e\":",
        "[{\"a\":1},{\"b\":]",
        "[{\"a\":1},x",
        "[INFO started",
        "[1,2",
    ] {
        let mut bench = Bench::new(limits(999, 999), ReaderShape::default());
        bench.segmenter = bench.segmenter.following(Some(path("d.e")));
        bench.send(text);
        bench.end();
        assert_eq!(bench.all(), [format!("0: line 1 at 0 {text:?}"), "end".to_owned()], "{text}");
    }
}

/// A missing closing brace puts the members after it into another one, so the message does not say that they were read.
#[test]
fn an_envelope_without_a_closing_brace_may_lack_values() {
    let kept = "{\"1\":{\"d\":{}},\"2\":{\"d\":{},\"3\":{\"d\":{}}}";
    let mut bench = Bench::new(limits(999, 999), ReaderShape::default());
    bench.segmenter = bench.segmenter.following(Some(path("*.d")));
    bench.send(format!("{kept}\n"));
    bench.end();
    let failure = "<stdin>:1: the JSON object is not closed: the input ends in it; all whole events before that were read, \
                   unless a closing brace is missing among them\nhint: get the whole file, or add the missing brace, and \
                   run the same command again";
    assert_eq!(bench.all(), expected(kept, failure));
}

/// With or without malformed JSON before, which does not include the end of the envelope.
#[test]
fn an_envelope_that_ends_after_a_missing_brace_is_open() {
    let is_open = |events_at: &str, text: &str| {
        cut_at(text.as_bytes(), Some(&path(events_at)), limits(1 << 20, 1 << 20), &[7]).1
    };
    let entries = "\"1\":{\"data\":{}},\n\"2\":{\"data\":{\"a:2}},\n\"3\":{\"data\":{},\"4\":{\"data\":{}}\n";
    assert!(is_open("*.data", &format!("{{\n{entries}}}\n")));
    assert!(is_open("e.*.data", &format!("{{\"x\":1,\"e\":{{\n{entries}}}}}\n")));
    let end = "{\n\"1\":{\"data\":{}},\n\"2\":{\"data\":{\"a:2}}}\n";
    assert!(!is_open("*.data", end), "its end is in the malformed JSON");
}

/// After a closing brace too many, they are beside the path. After a missing one, the next envelope begins in an array.
#[test]
fn the_bytes_of_members_that_were_not_read_are_noted() {
    let entry = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "y".repeat(60));
    let (read, unread) = (format!("1/2 {entry}"), format!("1/1 }}}}({} unread)", 2 * entry.len()));
    let text = format!("{{\"e\":{{\"1\":{entry},\"2\":{entry}}},\"3\":{entry},\"4\":{entry}}}}}\n{{}}\n");
    check_spans("e.*.data", &text, 100, &[&read, &read, &unread, "2 {}"]);
    let beside = format!("{{\"b\":\"{}\"}}", "z".repeat(90));
    let text = format!("{{\"e\":[\n{{\"d\":{{\"a\":1}},\n\"x\":{beside}}}\n{{\"e\":[{{}}]}}\n");
    let unread = format!("4[1]/1e ({} unread)", beside.len());
    check_spans("e.d", &text, 60, &["2[0]/2 {\"a\":1}", &unread, "4 {\"e\":[{}]}"]);
}

/// The members after the events of an envelope that is too long to hold: in one of them a string or a key has no end.
#[test]
fn an_envelope_without_an_end_is_unclosed() {
    for rest in [r#""last":" 0 }"#, r#""last }"#, r#""last": "#, r#""last": {"a"#] {
        let text = format!("{{\"d\":{{\"e\":[{{\"a\":1}}]}},\"c\":\"{}\",{rest}", "c".repeat(300));
        for piece in [1, 7, text.len()] {
            let (segments, is_open) = cut_at(text.as_bytes(), Some(&path("d.e")), limits(1, 20), &[piece]);
            assert!(is_open, "{rest} {piece}");
            let values = segments.iter().flat_map(|segment| segment.spans.iter().flatten()).count();
            assert_eq!(values, 1, "{rest} {piece}");
        }
    }
}
