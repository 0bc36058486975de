//! JSON values that are stored as `jsonb`. Values that PostgreSQL would reject, or could not print again, are rejected
//! here.

use crate::event::fault::{Fault, FaultKind};
use crate::event::text::{NulPolicy, read_escape};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Maximum length of a stored document, in bytes of the input. The largest in real events have about 4 KB.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// Maximum nesting depth of a stored document.
pub(crate) const DOCUMENT_DEPTH_MAX: u32 = 32;

/// Maximum number of digits of a number in a document.
pub(crate) const DIGITS_MAX: usize = 100;

/// Maximum absolute exponent of a number in a document. `jsonb` prints numbers without exponents: `1e-9999` takes 7
/// bytes to write and 10,001 to print, so a document of many such numbers could not be read back.
const EXPONENT_MAX: u32 = 100;

/// Converts a JSON value to text that `jsonb` accepts in a database of any encoding. The text has no `\u0000`. Escapes
/// beyond ASCII are replaced by the characters, as `jsonb` rejects escapes that the database's encoding lacks, and all
/// of them in `SQL_ASCII`.
///
/// `raw` must be valid JSON. `plain` says that it has no long numbers, exponents or deep nesting. Numbers in `MongoDB`
/// Extended JSON, such as `{"$numberInt":"4"}`, become numbers, so that the value is the same from each source.
///
/// # Errors
///
/// The document is too long or too deeply nested, a number exceeds its limits, or it contains `\u0000` and `nul` is
/// `Reject`.
pub(crate) fn document(raw: &str, plain: bool, nul: NulPolicy) -> Result<Cow<'_, str>, Fault> {
    if raw.len() > DOCUMENT_BYTES_MAX {
        return Err(FaultKind::JsonTooLong(DOCUMENT_BYTES_MAX).into());
    }
    if let Some(unwrapped) = unwrapped_numbers(raw) {
        check_bounds(unwrapped.as_bytes())?;
        return Ok(Cow::Owned(without_escapes(&unwrapped, nul)?.into_owned()));
    }
    if !plain {
        check_bounds(raw.as_bytes())?;
    }
    without_escapes(raw, nul)
}

/// Replaces each `{"$numberInt":"4"}` by its number. None if there is none.
fn unwrapped_numbers(raw: &str) -> Option<String> {
    // Within a string the quotes would be escaped.
    const KEY: &str = "\"$number";
    raw.contains(KEY).then(|| {
        let (mut out, mut rest) = (String::with_capacity(raw.len()), raw);
        while let Some(found) = rest.find(KEY) {
            let (before, wrapped) = (&rest[..found], &rest[found + KEY.len()..]);
            let before_wrapper = before.trim_ascii_end().strip_suffix('{');
            let (kept, number, after) = before_wrapper
                .zip(wrapped_number(wrapped))
                .map_or((before, KEY, wrapped), |(before, (number, after))| (before, number, after));
            out.push_str(kept);
            out.push_str(number);
            rest = after;
        }
        out.push_str(rest);
        out
    })
}

/// The number in a text such as `Int":"4"}`, and the text after it.
fn wrapped_number(text: &str) -> Option<(&str, &str)> {
    let kinds = ["Int", "Long", "Double", "Decimal"];
    let rest = kinds.iter().find_map(|kind| text.strip_prefix(kind)?.strip_prefix('"'))?;
    let rest = rest.trim_ascii_start().strip_prefix(':')?.trim_ascii_start().strip_prefix('"')?;
    let (number, rest) = rest.split_once('"')?;
    let after = rest.trim_ascii_start().strip_prefix('}')?;
    // Infinity and NaN are no numbers of JSON.
    let value: &RawValue = serde_json::from_str(number).ok()?;
    let begins_number = number.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    (begins_number && value.get() == number).then_some((number, after))
}

/// Checks the limits of numbers and nesting.
fn check_bounds(raw: &[u8]) -> Result<(), Fault> {
    let (mut at, mut depth) = (0, 0_u32);
    while let Some(&byte) = raw.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(found) = memchr::memchr2(b'"', b'\\', &raw[at..]) {
                    at += found;
                    if raw[at] == b'"' {
                        break;
                    }
                    at += 2;
                }
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > DOCUMENT_DEPTH_MAX {
                    return Err(FaultKind::JsonTooDeep(DOCUMENT_DEPTH_MAX).into());
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let length = raw[at..].iter().take_while(is_part).count();
                check_number(&raw[at..at + length])?;
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

fn check_number(number: &[u8]) -> Result<(), Fault> {
    let exponent = number.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (digits, exponent) = number.split_at(exponent.unwrap_or(number.len()));
    if digits.iter().filter(|byte| byte.is_ascii_digit()).count() > DIGITS_MAX {
        return Err(FaultKind::TooManyDigits(DIGITS_MAX).into());
    }
    let value = exponent.iter().filter(|byte| byte.is_ascii_digit());
    let value =
        value.fold(0_u32, |value, digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    if value > EXPONENT_MAX {
        return Err(FaultKind::ExponentTooLarge(EXPONENT_MAX).into());
    }
    Ok(())
}

fn without_escapes(raw: &str, nul: NulPolicy) -> Result<Cow<'_, str>, Fault> {
    if !raw.contains("\\u") {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    // Skip the byte after each backslash, so that `\\u0000`, which is not a NUL, stays.
    while let Some(found) = memchr::memchr(b'\\', &raw.as_bytes()[at..]) {
        let escape = at + found;
        out.push_str(&raw[at..escape]);
        let (character, end) = read_escape(raw.as_bytes(), escape, false)?;
        match (character, nul) {
            ('\0', NulPolicy::Reject) => return Err(FaultKind::Nul.into()),
            ('\0', NulPolicy::Strip) => {}
            ('\0', NulPolicy::Replace) => out.push(char::REPLACEMENT_CHARACTER),
            (character, _) if character.is_ascii() => out.push_str(&raw[escape..end]),
            (character, _) => out.push(character),
        }
        at = end;
    }
    out.push_str(&raw[at..]);
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let check = |raw: &str, nul, expected: Option<&str>| {
            assert_eq!(document(raw, true, nul).ok().as_deref(), expected, "{raw}");
        };
        check(r#"{"a":"b"}"#, NulPolicy::Reject, Some(r#"{"a":"b"}"#));
        check(r#""a\u0000b""#, NulPolicy::Reject, None);
        check(r#""a\u0000b""#, NulPolicy::Strip, Some(r#""ab""#));
        check(r#""a\u0000b""#, NulPolicy::Replace, Some("\"a\u{fffd}b\""));
        check(r#""a\\u0000b""#, NulPolicy::Reject, Some(r#""a\\u0000b""#));
        check(r#""\\\u0000""#, NulPolicy::Strip, Some(r#""\\""#));
        let characters = r#""\u00e9\ud83d\ude00\u0041\n\u001f""#;
        check(characters, NulPolicy::Reject, Some("\"é😀\\u0041\\n\\u001f\""));
    }

    #[test]
    fn numbers_in_extended_json() {
        let check = |raw: &str, expected: &str| {
            assert_eq!(document(raw, true, NulPolicy::Reject).ok().as_deref(), Some(expected), "{raw}");
        };
        check(r#"{"a":{"$numberInt":"4"},"b":[{"$numberLong":"-5"}]}"#, r#"{"a":4,"b":[-5]}"#);
        check(r#"[{ "$numberDouble" : "1.50" } , {"$numberDecimal":"2E+3"}]"#, "[1.50 , 2E+3]");
        for same in [
            r#"{"$numberDouble":"NaN"}"#,
            r#"{"$numberInt":4}"#,
            r#"{"$numberInt":"4","a":1}"#,
            r#"{"a":1,"$numberInt":"4"}"#,
            r#"{"$numberInt":"4 "}"#,
            r#"{"$numberInt":"null"}"#,
            r#"{"$numberOther":"4"}"#,
            r#"{"a":"{\"$numberInt\":\"4\"}"}"#,
        ] {
            check(same, same);
        }
        let large = document(r#"{"$numberDouble":"1e999"}"#, true, NulPolicy::Reject);
        assert!(large.unwrap_err().reason().contains("exponent beyond 100"));
    }

    #[test]
    fn bounds() {
        let check = |raw: &str, reason: Option<&str>| {
            let fault = document(raw, false, NulPolicy::Reject).err();
            assert_eq!(fault.is_some(), reason.is_some(), "{raw}");
            let words = fault.map(|fault| fault.reason()).unwrap_or_default();
            assert!(words.contains(reason.unwrap_or_default()), "{words}");
        };
        check("[1e100,-1E-100,1.5e+7,571997723623]", None);
        check(r#"{"1e999":"2e999 \" 3e999"}"#, None);
        check("[1e101]", Some("exponent beyond 100"));
        check("[1e-9999]", Some("exponent beyond 100"));
        check(r#"{"a":"\\","b":1e-00000000000000000000000101}"#, Some("exponent beyond 100"));
        check(&"1".repeat(DIGITS_MAX), None);
        check(&"1".repeat(DIGITS_MAX + 1), Some("100 digits"));
        check(&format!("0.{}", "1".repeat(DIGITS_MAX)), Some("100 digits"));
        let nested = |depth: u32| "[".repeat(depth as usize) + &"]".repeat(depth as usize);
        check(&nested(DOCUMENT_DEPTH_MAX), None);
        check(&nested(DOCUMENT_DEPTH_MAX + 1), Some("32 levels deep"));
        check(&format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX - 2)), None);
        check(&format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX - 1)), Some("65536 bytes"));
    }
}
