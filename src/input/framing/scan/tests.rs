//! Scanning in blocks gives the result of scanning byte by byte.

use crate::input::framing::scan::{Scanned, ValueScan};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Scans with the given ends of the text, then to its end.
fn scanned(text: &[u8], ends: &[usize], step: fn(&mut ValueScan, &[u8]) -> Option<Scanned>) -> Scanned {
    let mut scan = ValueScan::new(0);
    for end in ends.iter().copied().filter(|end| *end < text.len()).chain([text.len()]) {
        loop {
            match step(&mut scan, &text[..end]) {
                None => {}
                Some(Scanned::Open) => break,
                Some(scanned) => return scanned,
            }
        }
    }
    Scanned::Open
}

fn in_blocks(scan: &mut ValueScan, text: &[u8]) -> Option<Scanned> {
    scan.blocks(text).or_else(|| scan.step(text))
}

fn check(text: &[u8], ends: &[usize]) {
    let expected = scanned(text, &[], ValueScan::step);
    for ends in [&[], ends] {
        assert_eq!(scanned(text, ends, in_blocks), expected, "{:?}, {ends:?}", String::from_utf8_lossy(text));
    }
}

/// A part of an object or an array, often a valid one.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let parts: Vec<&[u8]> = vec![
        b"\"a long string of thirty bytes.\"",
        b"\"a\"",
        b"\"\\\"\"",
        b"\"\\\\\"",
        b"\"\\\\\\\"{[\"",
        b"\"",
        b"\\",
        b":",
        b",",
        b",",
        b"{",
        b"[",
        b"}",
        b"]",
        b"12.5e-3",
        b"true",
        b" ",
        b"\n",
        b"\n                                                                        ",
        b"\r\n\t",
        b"Y_y\x7f",
        b"\xc3\xa4",
        b"\0",
        b"\"key\":\"value\",",
        b"\"key\" : 17 ,\n  ",
        b"\"key\":{\"a\":[1,2],\"b\":{}},",
        b"{\"a\":[]},",
    ];
    select(parts).prop_map(<[u8]>::to_vec)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_text_is_scanned_as_byte_by_byte(
        parts in vec(part(), 0..60),
        open in select(vec![&b"{"[..], b"[", b"{\"a\":", b"[[[", b""]),
        ends in vec(0_usize..600, 0..6),
    ) {
        let text = [open.to_vec(), parts.concat()].concat();
        let mut ends = ends;
        ends.sort_unstable();
        check(&text, &ends);
    }

    #[test]
    fn a_changed_byte_of_a_value_is_scanned_as_byte_by_byte(
        place in any::<prop::sample::Index>(),
        byte in select(&b"\"\\{}[]:, \nY1"[..]),
        is_pretty: bool,
        shift in 0_usize..64,
    ) {
        let value = serde_json::json!({
            "a text \\ with \"quotes\"": ["x".repeat(shift), 1, -2.5e3, null, {"key": [], "other": {}}],
            "long": "y".repeat(100), "nested": [[[{"a": {"b": {"c": [true, false]}}}]]],
        });
        let text = if is_pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        let mut text = [text.unwrap(), b"  {\"next\":1}".to_vec()].concat();
        let place = place.index(text.len());
        check(&text, &[place]);
        text[place] = byte;
        check(&text, &[place]);
    }
}
