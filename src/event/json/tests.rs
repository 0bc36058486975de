//! Edge cases of the cursor: every byte at every position, all short strings and numbers, depth, and skipped values.

use crate::event::json::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

const POLICY: NulPolicy = NulPolicy::Replace;

fn cursor_at(line: &str) -> Cursor<'_> {
    let mut cursor = Cursor::new(POLICY);
    cursor.start_at(line, 0);
    cursor
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

#[test]
fn nul_bytes_are_named() {
    for (text, reason) in [
        ("\0\0\0", "NUL byte at byte 0"),
        ("[1,\0]", "NUL byte at byte 3"),
        ("[1\0", "NUL byte at byte 2"),
        ("\"a\0\"", "NUL byte in a string at byte 2"),
        ("\"a\u{1}\"", "control character in a string at byte 2"),
    ] {
        let fault = cursor_at(text).skip().unwrap_err();
        assert_eq!(fault.reason(), format!("not JSON: {reason} of the line"));
    }
}

fn special_byte_plainly(bytes: &[u8], from: usize) -> usize {
    bytes
        .iter()
        .skip(from)
        .position(|&byte| is_special(byte))
        .map_or(bytes.len().max(from), |found| from + found)
}

#[test]
fn special_bytes_are_found_at_every_position() {
    // The neighbours of special bytes, which a carry between bytes would corrupt.
    for filler in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa0, 0xa2, 0xdc, 0xff] {
        for length in 0..=20 {
            let mut bytes = vec![filler; length];
            for place in 0..length {
                for byte in 0..=255 {
                    bytes[place] = byte;
                    let expected = if is_special(byte) { place } else { length };
                    assert_eq!(
                        special_byte(&bytes, 0),
                        expected,
                        "{byte} at {place} of {length} times {filler}"
                    );
                }
                bytes[place] = filler;
            }
        }
    }
}

proptest! {
    #[test]
    fn the_next_special_byte_is_the_first(
        bytes in vec(prop_oneof![select(&b"\x00\x1f\x20!\"#[\\]\x7f\x80\x9f\xa0\xa2\xdc\xff"[..]), any::<u8>()], 0..40),
    ) {
        for from in 0..bytes.len() + 3 {
            prop_assert_eq!(special_byte(&bytes, from), special_byte_plainly(&bytes, from));
        }
    }
}

/// All texts of these letters, ordered by length.
fn all_texts(letters: &[&str], length_max: u32) -> impl Iterator<Item = String> {
    let base = letters.len();
    (0..=length_max).flat_map(move |length| {
        (0..base.pow(length)).map(move |mut number| {
            let text = (0..length).map(|_| {
                let letter = letters[number % base];
                number /= base;
                letter
            });
            text.collect()
        })
    })
}

/// The decoded string if the text is one, with an empty string (`None` to the cursor) as such.
fn kept_string(line: &str) -> Option<String> {
    let mut cursor = cursor_at(line);
    let text = cursor.text().and_then(|text| cursor.expect_end().map(|()| text.unwrap_or_default())).ok()?;
    Some(text.into_owned())
}

fn is_skipped(line: &str) -> bool {
    let mut cursor = cursor_at(line);
    cursor.skip().and_then(|()| cursor.expect_end()).is_ok()
}

#[track_caller]
fn check_string(line: &str) {
    let value = serde_json::from_str::<Value>(line);
    assert_eq!(is_skipped(line), value.is_ok(), "{line}");
    let expected: Option<String> = serde_json::from_str(line).ok();
    assert_eq!(kept_string(line), expected.map(|text| text.replace('\0', "\u{fffd}")), "{line}");
}

#[test]
fn short_strings_match_serde_json() {
    for inside in all_texts(&["\\", "\"", "u", "0", "d", "b", "é", "\u{1f}"], 5) {
        check_string(&format!("\"{inside}\""));
        check_string(&format!("\"{inside}"));
    }
}

#[test]
fn strings_that_end_at_every_position() {
    // Place the end of a string, of an escape and of the line at every position of the eight bytes that are checked at
    // once.
    for pad in (0..=20).map(|length| "a".repeat(length)) {
        for end in [
            "",
            "\"",
            "\\",
            "\\\"",
            "\\\\",
            "\\\\\"",
            "\\n\"",
            "\\u",
            "\\u00",
            "\\u0041",
            "\\u0041\"",
            "\\u004\"",
            "\\ud83d",
            "\\ud83d\\",
            "\\ud83d\\u",
            "\\ud83d\\ude00",
            "\\ud83d\\ude00\"",
            "\\ud83d\\ude0\"",
            "\\ud83d\"",
            "\\ude00\"",
            "\\ud800\\u0041\"",
            "\\ud800\\ud800\"",
            "\\u12G4\"",
            "\\u+123\"",
            "\\t\\r\\b\\f\\/\"",
            "é",
            "é\"",
            "\\é\"",
            "\u{1f}\"",
            "\" ",
            "\"\"",
        ] {
            check_string(&format!("\"{pad}{end}"));
            check_string(&format!("\"{end}{pad}\""));
        }
    }
}

/// Whether a float is stored.
fn is_in_range(value: f64) -> bool {
    value == 0.0 || (1e-100..=1e12).contains(&value.abs())
}

#[test]
fn short_numbers_match_serde_json() {
    let read = |line: &str| {
        let mut cursor = cursor_at(line);
        let float = cursor.float().and_then(|number| cursor.expect_end().map(|()| number)).ok().flatten();
        let mut cursor = cursor_at(line);
        let integer = cursor.integer().and_then(|number| cursor.expect_end().map(|()| number)).ok().flatten();
        (float.map(f64::to_bits), integer)
    };
    for line in all_texts(&["0", "1", "9", "-", "+", ".", "e", "E"], 6) {
        let value = serde_json::from_str::<Value>(&line).ok();
        assert_eq!(is_skipped(&line), value.is_some(), "{line}");
        let expected = (
            value.as_ref().and_then(Value::as_f64).filter(|value| is_in_range(*value)).map(f64::to_bits),
            value.as_ref().and_then(Value::as_i64),
        );
        assert_eq!(read(&line), expected, "{line}");
    }
}

#[test]
fn numbers_at_the_limits_match_serde_json() {
    let digits = |count: usize| "9".repeat(count);
    for number in [
        "1.7976931348623157e308".to_owned(),
        "1.7976931348623158e308".to_owned(),
        "1.7976931348623159e308".to_owned(),
        "1e309".to_owned(),
        "-1e309".to_owned(),
        "1e-309".to_owned(),
        "0e999999999999999999999".to_owned(),
        "0.0e-999999999999999999999".to_owned(),
        "1e999999999999999999999".to_owned(),
        "1e-999999999999999999999".to_owned(),
        digits(300),
        digits(301),
        digits(308),
        digits(309),
        digits(310),
        format!("-{}", digits(309)),
        format!("{}.5", digits(309)),
        format!("0.{}", digits(400)),
        format!("{}e-5", digits(312)),
        format!("1{}", "0".repeat(308)),
        format!("1{}", "0".repeat(309)),
        format!("0.{}1e400", "0".repeat(400)),
        "9223372036854775807".to_owned(),
        "9223372036854775808".to_owned(),
        "18446744073709551615".to_owned(),
        "18446744073709551616".to_owned(),
        "-9223372036854775808".to_owned(),
        "-9223372036854775809".to_owned(),
        "9007199254740993".to_owned(),
        "1000000000000".to_owned(),
        "-1000000000000.1".to_owned(),
        "1e-100".to_owned(),
        "-9e-101".to_owned(),
    ] {
        let value = serde_json::from_str::<Value>(&number).ok();
        assert_eq!(is_skipped(&number), value.is_some(), "{number}");
        let float = cursor_at(&number).float().ok().flatten();
        assert_eq!(
            float,
            value.as_ref().and_then(Value::as_f64).filter(|value| is_in_range(*value)),
            "{number}"
        );
        let integer = cursor_at(&number).integer().ok().flatten();
        assert_eq!(integer, value.as_ref().and_then(Value::as_i64), "{number}");
    }
}

#[test]
fn the_depth_limit_matches_serde_json() {
    for depth in [1, 126, 127, 128, 129, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            let line = [&open.repeat(depth), "1", &close.repeat(depth)].concat();
            assert_eq!(
                is_skipped(&line),
                serde_json::from_str::<Value>(&line).is_ok(),
                "{depth} times {open}"
            );
            assert!(!is_skipped(&open.repeat(depth)), "{depth} times {open}, not closed");
        }
    }
}

/// Parses an array whose elements are skipped as repeated values; `around` arrays enclose it.
fn skips_repeated(elements: &[&str], around: usize) -> bool {
    fn read(cursor: &mut Cursor<'_>, around: usize) -> Parsed<()> {
        cursor.peek();
        cursor.array(|cursor, _| match around {
            0 => cursor.skip_repeated(),
            _ => read(cursor, around - 1),
        })
    }
    let inner = format!("[{}]", elements.join(","));
    let line = ["[".repeat(around), inner, "]".repeat(around)].concat();
    let mut cursor = cursor_at(&line);
    let taken = read(&mut cursor, around).and_then(|()| cursor.expect_end()).is_ok();
    assert_eq!(taken, serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    taken
}

#[test]
fn repeated_values_are_validated() {
    let check =
        |elements: &[&str], expected| assert_eq!(skips_repeated(elements, 0), expected, "{elements:?}");
    let zeros = r#"{"PvE":{"Total":0,"Royal":0},"Crafting":[0,0.0],"Timestamp":null}"#;
    check(&[zeros, zeros, zeros], true);
    check(&[zeros, "null", zeros, "[]", "\"{\"", zeros], true);
    // A difference in the last possible byte, a longer and a shorter text.
    check(&[zeros, r#"{"PvE":{"Total":0,"Royal":0},"Crafting":[0,0.0],"Timestamp":null]"#], false);
    check(&[zeros, r#"{"PvE":{"Total":0,"Royal":0},"Crafting":[0,0.0],"Timestamp":true}"#], true);
    check(&[zeros, r#"{"PvE":{"Total":0,"Royal":0},"Crafting":[0,0.0],"Timestamp":null,"a":1}"#], true);
    check(&[zeros, r#"{"PvE":{"Total":0,"Royal":0}}"#, zeros], true);
    check(&["{}", "{ }", "{}"], true);
    check(&["{}", "{}}"], false);
    check(&["{}", "{}{}"], false);
    check(&["{}", "{}1"], false);
    check(&[zeros, &format!("{zeros}{zeros}")], false);
    check(&[zeros, &format!("{zeros} x")], false);
    check(&[zeros, &zeros[..zeros.len() - 1]], false);
    for cut in 1..zeros.len() {
        let line = format!("[{zeros},{}", &zeros[..cut]);
        let mut cursor = cursor_at(&line);
        assert!(cursor.array(|cursor, _| cursor.skip_repeated()).is_err(), "{line}");
    }
}

#[test]
fn repeated_values_respect_the_depth_limit() {
    for inner in [1_usize, 7, 8, 9, 100, 126, 127] {
        let nested = ["{\"a\":".repeat(inner), "1".to_owned(), "}".repeat(inner)].concat();
        for around in (0..=3).chain(110..=127) {
            // One more array encloses the elements.
            let fits = around + 1 + inner <= 127;
            assert_eq!(skips_repeated(&[&nested, &nested], around), fits, "{inner} within {around}");
        }
    }
}

#[test]
fn a_repeated_value_that_was_seen_at_a_lower_depth() {
    fn read(cursor: &mut Cursor<'_>) -> Parsed<()> {
        match cursor.peek() {
            Some(b'[') => cursor.array(|cursor, _| read(cursor)),
            _ => cursor.skip_repeated(),
        }
    }
    // The value is remembered at a depth with room for it, and appears again at a depth without.
    let nested = ["{\"a\":".repeat(8), "1".to_owned(), "}".repeat(8)].concat();
    for depth in 115..125 {
        let line = ["[", &nested, ",", &"[".repeat(depth), &nested, &"]".repeat(depth), "]"].concat();
        let mut cursor = cursor_at(&line);
        assert_eq!(read(&mut cursor).is_ok(), serde_json::from_str::<Value>(&line).is_ok(), "{depth}");
    }
}
