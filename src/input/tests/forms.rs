//! In every layout, the values in the segments equal those that `serde_json` reads.

use std::sync::Arc;

use crate::input::buffers::BufferPool;
use proptest::prelude::*;
use serde_json::Value;

use crate::input::buffers::Buffer;
use crate::input::framing::cutter::Cutter;
use crate::input::framing::path::EventPath;
use crate::input::segment::{Segment, SegmentLimits};
use crate::input::tests::limits;

/// The index of a value, and the value, or none if it is not JSON.
type Found = (Option<u64>, Option<Value>);

fn cut(text: &[u8], limits: SegmentLimits, sizes: &[usize]) -> (Vec<Segment>, bool) {
    cut_at(text, None, limits, sizes)
}

/// Cuts a text that arrives in pieces of these sizes, with values at a path, if any. Returns its segments, and whether it ends
/// within an array.
pub(super) fn cut_at(
    text: &[u8],
    path: Option<&Arc<EventPath>>,
    limits: SegmentLimits,
    sizes: &[usize],
) -> (Vec<Segment>, bool) {
    let mut cutter = Cutter::new(limits, path.cloned());
    cutter.begin("text".into());
    let pool = BufferPool::new(1, 0);
    let (mut segments, mut rest) = (Vec::new(), text);
    for &size in sizes.iter().cycle() {
        let (mut piece, after) = rest.split_at(size.min(rest.len()));
        while !piece.is_empty() {
            if cutter.needs_buffer() {
                cutter.give(Buffer::default());
            }
            if cutter.needs_permit() {
                cutter.permit(pool.try_take_permit().expect("the previous segment returned its permit"));
            }
            let (taken, segment) = cutter.feed(piece);
            piece = &piece[taken..];
            segments.extend(segment);
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    while !cutter.is_empty() {
        if cutter.needs_buffer() {
            cutter.give(Buffer::default());
        }
        segments.extend(cutter.finish());
    }
    let is_open = cutter.unclosed().is_some();
    (segments, is_open)
}

/// Returns the texts of a segment, with the line and the index of each.
fn texts(segment: &Segment) -> Vec<(u64, Option<u64>, &[u8])> {
    match &segment.spans {
        Some(spans) => spans
            .iter()
            .map(|span| (segment.first_line + span.line, span.index, &segment.bytes[span.start..span.end]))
            .collect(),
        None => (segment.first_line..)
            .zip(segment.bytes.split_inclusive(|&byte| byte == b'\n'))
            .map(|(line, text)| (line, None, text))
            .collect(),
    }
}

/// Collects the values of a text, and array elements one by one. Malformed JSON counts as one value up to the end of the
/// text.
fn values(text: &[u8], index: Option<u64>, found: &mut Vec<Found>) {
    let mut rest = text;
    loop {
        let between = |byte: &u8| b" \t\r\n,\x1e".contains(byte);
        rest = &rest[rest.iter().take_while(|byte| between(byte)).count()..];
        if let Some(after) = rest.strip_prefix("\u{feff}".as_bytes()) {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return;
        }
        let mut stream = serde_json::Deserializer::from_slice(rest).into_iter();
        match stream.next() {
            Some(Ok(Value::Array(elements))) => {
                found.extend((0..).zip(elements).map(|(index, value)| (Some(index), Some(value))));
            }
            Some(Ok(value)) => found.push((index, Some(value))),
            _ => {
                found.push((index, None));
                return;
            }
        }
        rest = &rest[stream.byte_offset()..];
    }
}

fn found(segments: &[Segment]) -> Vec<Found> {
    let mut found = Vec::new();
    for segment in segments {
        for (_, index, text) in texts(segment) {
            values(text, index, &mut found);
        }
    }
    found
}

/// Generates white space that JSON allows.
pub(super) fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\t", "\r\n", "\n\n  "])
}

fn scalar() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "1",
        "-2.5e3",
        "null",
        "true",
        r#""""#,
        r#""}{""#,
        r#""]\\""#,
        r#""\"[{,:""#,
        r#""x\ny""#,
        r#""日本""#,
    ])
    .prop_map(str::to_owned)
}

/// Builds a bracketed list with white space between its parts.
fn bracketed(open: &'static str, parts: Vec<(String, &'static str)>, close: &'static str) -> String {
    let last = parts.len().saturating_sub(1);
    let mut text = open.to_owned();
    for (number, (part, space)) in parts.into_iter().enumerate() {
        text.extend([space, &part, space, if number < last { "," } else { "" }, space]);
    }
    text + close
}

pub(super) fn any_value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        let list = prop::collection::vec((inner.clone(), space()), 0..4);
        let object = prop::collection::vec((inner, space()), 0..4);
        prop_oneof![list.prop_map(|parts| bracketed("[", parts, "]")), object.prop_map(members)]
    })
}

fn members(parts: Vec<(String, &'static str)>) -> String {
    let keyed = (0..)
        .zip(parts)
        .map(|(number, (value, space))| (format!("\"k}}\\n{{{number}\"{space}:{space}{value}"), space));
    bracketed("{", keyed.collect(), "}")
}

pub(super) fn object() -> impl Strategy<Value = String> {
    prop::collection::vec((any_value(), space()), 0..4).prop_map(members)
}

/// Generates an object, or an array of objects and scalars.
fn top_value() -> impl Strategy<Value = String> {
    let element = prop_oneof![4 => object(), 1 => scalar()];
    let array = prop::collection::vec((element, space()), 0..5).prop_map(|parts| bracketed("[", parts, "]"));
    prop_oneof![3 => object(), 1 => array]
}

fn documents() -> impl Strategy<Value = String> {
    let joint = prop::sample::select(vec!["\n", "\n", "", " ", "\r\n", "\n\x1e", ",\n", "\n \n\t"]);
    (prop::collection::vec((top_value(), joint), 0..7), any::<bool>()).prop_map(|(values, mark)| {
        let mut text = if mark { "\u{feff}".to_owned() } else { String::new() };
        text.extend(values.into_iter().flat_map(|(value, joint)| [value, joint.to_owned()]));
        text
    })
}

pub(super) fn sizes() -> impl Strategy<Value = SegmentLimits> {
    (prop::sample::select(vec![1usize, 30, 100, 1000, 1 << 20]), prop::sample::select(vec![1usize, 3, 1000]))
        .prop_map(|(segment, lines_max)| SegmentLimits { lines_max, ..limits(segment, 1 << 20) })
}

pub(super) fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4usize, 1..40usize, Just(5000)], 1..5)
}

/// Checks that the segments are the whole text without loss or repetition, and that their line numbers are correct.
pub(super) fn check_cover(text: &[u8], segments: &[Segment]) {
    let mut at = 0;
    for segment in segments {
        assert_eq!(segment.byte_offset, at as u64);
        assert_eq!(text[at..at + segment.bytes.len()], segment.bytes[..]);
        assert_eq!(segment.first_line, 1 + memchr::memchr_iter(b'\n', &text[..at]).count() as u64);
        at += segment.bytes.len();
    }
    assert_eq!(at, text.len());
    let lines = text.split_inclusive(|&byte| byte == b'\n').count() as u64;
    assert_eq!(segments.iter().map(|segment| segment.lines).sum::<u64>(), lines);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_are_found_in_any_layout(text in documents(), sizes in sizes(), pieces in pieces()) {
        let mut expected = Vec::new();
        values(text.as_bytes(), None, &mut expected);
        prop_assert!(expected.iter().all(|(_, value)| value.is_some()), "the text is JSON");
        let (segments, is_open) = cut(text.as_bytes(), sizes, &pieces);
        prop_assert_eq!(found(&segments), expected);
        prop_assert!(!is_open);
        check_cover(text.as_bytes(), &segments);
        let at_once = cut(text.as_bytes(), sizes, &[text.len().max(1)]);
        prop_assert_eq!((segments, is_open), at_once);
    }

    #[test]
    fn malformed_json_is_cut_the_same_however_it_arrives(
        text in documents(), sizes in sizes(), pieces in pieces(), value_max in prop::sample::select(vec![20usize, 60, 1 << 20]),
        places in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[],:\"\\\n ax1".to_vec())), 1..4),
    ) {
        let mut text = text.into_bytes();
        for (place, byte) in places {
            let at = place.index(text.len() + 1);
            text.insert(at, byte);
        }
        let sizes = SegmentLimits { line_max_bytes: value_max, ..sizes };
        let (segments, is_open) = cut(&text, sizes, &pieces);
        let at_once = cut(&text, sizes, &[text.len()]);
        prop_assert_eq!((&segments, is_open), (&at_once.0, at_once.1));
        let one = cut(&text, SegmentLimits { segment_bytes: 1 << 20, lines_max: 1 << 20, ..sizes }, &[text.len()]);
        prop_assert_eq!(found(&segments), found(&one.0), "independent of the segment size");
        if segments.iter().all(|segment| segment.oversized.is_none()) {
            check_cover(&text, &segments);
        }
    }
}

#[test]
fn the_head_of_a_value_that_is_too_long_has_no_line_feed() {
    for piece in [1, 3, 9] {
        let (segments, _) = cut(b"4{bze\n", limits(41, 2), &[piece]);
        let long = segments.iter().find(|segment| segment.oversized.is_some()).unwrap();
        assert_eq!((&long.bytes[..], long.oversized), (&b"{bze"[..], Some(4)), "{piece}");
    }
}

/// Checks the spans of a text, written as `line[index] text`.
fn check(text: &str, expected: &[&str]) {
    for segment_bytes in [1, 1 << 20] {
        let (segments, _) = cut(text.as_bytes(), limits(segment_bytes, 1 << 20), &[3]);
        let found: Vec<String> = segments
            .iter()
            .flat_map(texts)
            .filter(|(_, _, text)| !text.trim_ascii().is_empty())
            .map(|(line, index, text)| {
                let index = index.map_or(String::new(), |index| format!("[{index}]"));
                format!("{line}{index} {}", String::from_utf8_lossy(text).trim_end())
            })
            .collect();
        assert_eq!(found, expected, "{text:?} in segments of {segment_bytes} bytes");
    }
}

#[test]
fn each_form_has_its_spans() {
    check("{}\n{}\n", &["1 {}", "2 {}"]);
    check("[1,2]\n[3]", &["1 [1,2]", "2 [3]"]);
    check("{}{} {}\n{}", &["1 {}{} {}", "2 {}"]);
    check("[{},\n {},\n {}]\n", &["1[0] {}", "2[1] {}", "3[2] {}"]);
    check("[\n{},\r\n{}\n]\n{}", &["2[0] {}", "3[1] {}", "5 {}"]);
    check("{\n\"a\": 1\n}{\n\"b\": 2\n}", &["1 {\n\"a\": 1\n}", "3 {\n\"b\": 2\n}"]);
    check("{},\n{},\n{}\n", &["1 {},", "2 {},", "3 {}"]);
    check("\x1e{}\n\x1e{}\n", &["1 \x1e{}", "2 \x1e{}"]);
}

#[test]
fn malformed_json_costs_one_line_or_one_value() {
    check("{\"a\":1\n{\"b\":2}\n", &["1 {\"a\":1", "2 {\"b\":2}"]);
    check("{\"a\":1,\n{\"b\":2}\n", &["1 {\"a\":1,", "2 {\"b\":2}"]);
    check("{\"a\":[1,\n{\"b\":2}\n{}\n", &["1 {\"a\":[1,", "2 {\"b\":2}", "3 {}"]);
    check("[\n{},\n{\"b\":\n{},\n{}\n]\n", &["2[0] {}", "3[1] {\"b\":", "4[2] {}", "5[3] {}"]);
    check("[\n  {\n    \"a\": [1\n  },\n  {\n  }\n]\n", &["2[0] {\n    \"a\": [1\n  }", "5[1] {\n  }"]);
    check("{\n  \"a\": \"x\n}\n{\n}\n", &["1 {\n  \"a\": \"x\n}", "4 {\n}"]);
    check("no JSON\n\n{}\n", &["1 no JSON", "3 {}"]);
}

/// The array ends with the malformed line if no comma follows, also if the line is cut off and an array follows.
#[test]
fn malformed_json_at_the_end_of_an_array_does_not_include_the_next_value() {
    check("[{},\n{\"a\":1]}]\n[{},{}]\n[{}]\n", &["1[0] {}", "2[1] {\"a\":1]}]", "3 [{},{}]", "4 [{}]"]);
    check("[{},\n{\"a:1}] \r\n\r\n[{},\n{}]\n", &["1[0] {}", "2[1] {\"a:1}]", "4[0] {}", "5[1] {}"]);
    check("[\n{\"a\":1]}]\n{}\n{}\n", &["2[0] {\"a\":1]}]", "3 {}", "4 {}"]);
    check("[{},\n{\"a\":\"b\n[{}]\n{}\n", &["1[0] {}", "2[1] {\"a\":\"b", "3 [{}]", "4 {}"]);
    // The array continues after a comma, before or after the line feed, and after an object that is cut off.
    check("[[1],\n[{]},\n[2]]\n", &["1[0] [1]", "2[1] [{]},", "3[2] [2]"]);
    check("[{}\n,{]}\n,[2]]\n{}\n", &["1[0] {}", "2[1] {]}", "3[2] [2]", "4 {}"]);
    check("[{},\n{\"a\":\"b\n{},\n{}]\n", &["1[0] {}", "2[1] {\"a\":\"b", "3[2] {}", "4[3] {}"]);
}

/// The first line of an array, and the last line before another array.
#[test]
fn malformed_json_at_the_start_of_an_array_does_not_end_it() {
    check("[{\"a:1}\n,{}\n,[]]\n{}\n", &["1[0] {\"a:1}", "2[1] {}", "3[2] []", "4 {}"]);
    check("[{\"a:1},\n{}]\n{}\n", &["1[0] {\"a:1},", "2[1] {}", "3 {}"]);
    check("[{\"a\":\"b\n{},\n{}]\n{}\n", &["1[0] {\"a\":\"b", "2[1] {}", "3[2] {}", "4 {}"]);
    check("[{\"a\":1,\n[{},{}]\n{}\n", &["1[0] {\"a\":1,", "2 [{},{}]", "3 {}"]);
}

/// The text after it continues the object.
#[test]
fn an_object_that_is_closed_too_early_is_one_text_with_its_rest() {
    check(
        "[\n{\"a\":1},\n{\"b\":{}},\"c\":2},\n{\"d\":3}\n]\n",
        &["2[0] {\"a\":1}", "3[1] {\"b\":{}},\"c\":2},", "4[2] {\"d\":3}"],
    );
    let early = "{\n  \"a\": 1\n  },\n  \"b\": 2\n}";
    check(&format!("{early}\n{{}}\n"), &[&format!("1 {early}"), "6 {}"]);
    // A value of one line is whole: the next line lacks its beginning.
    check("{\"a\":1},\n\"b\":2}\n{}\n", &["1 {\"a\":1},", "2 \"b\":2}", "3 {}"]);
    check("{\n  \"a\": 1\n},\n\"b\": 2\n}\n{}\n", &["1 {\n  \"a\": 1\n},\n\"b\": 2\n}", "6 {}"]);
    // A string that is no key, and a brace too many at the end.
    check("[\n{},\"b\",\n{}},\n{}\n]\n", &["2[0] {}", "2[1] \"b\"", "3[2] {}}", "4[3] {}"]);
}

/// A line feed in a string. The next line is the rest of the element.
#[test]
fn an_element_that_is_cut_off_is_one_text_with_its_rest() {
    check(
        "[\n{\"a\":1},\n{\"b\":\"x\ny\",\"c\":[{\"d\":1}]},\n{\"e\":3}\n]\n",
        &["2[0] {\"a\":1}", "3[1] {\"b\":\"x\ny\",\"c\":[{\"d\":1}]},", "5[2] {\"e\":3}"],
    );
    check(
        "[\n  {\n    \"b\": \"x\ny\",\n    \"c\": 1\n  },\n  {}\n]\n",
        &["2[0] {\n    \"b\": \"x\ny\",\n    \"c\": 1\n  }", "7[1] {}"],
    );
    // The rest alone is one text too.
    check(
        "[\n{\"a\":1},\ner\":[{},{}]},\n{\"b\":2}\n]\n",
        &["2[0] {\"a\":1}", "3[1] er\":[{},{}]},", "4[2] {\"b\":2}"],
    );
}

#[test]
fn an_array_may_be_longer_than_a_value() {
    let event = format!("{{\"a\":\"{}\"}}", "x".repeat(50));
    let text = format!("[{}]\n{event}\n", vec![event.as_str(); 40].join(","));
    let (segments, is_open) = cut(text.as_bytes(), limits(200, 500), &[64]);
    assert!(
        segments.iter().all(|segment| segment.oversized.is_none() && segment.bytes.len() <= 200) && !is_open
    );
    let found = found(&segments);
    assert_eq!(found.len(), 41);
    assert_eq!(found[39].0, Some(39));
    assert_eq!(found[40].0, None);
}

#[test]
fn an_array_that_is_not_closed_is_noticed() {
    let is_open = |text: &str| cut(text.as_bytes(), limits(1 << 20, 1 << 20), &[64]).1;
    assert!(is_open("[\n{},\n{}\n"));
    assert!(!is_open("[\n{},\n{}\n]\n"));
    assert!(!is_open("[\n{},\n{\"a\":]\n"), "its end may be in the malformed JSON");
}
