//! JSON values that are stored as `jsonb`: what PostgreSQL would reject or could not print again is found here.

use crate::event::fault::Fault;
use crate::event::text::{NUL_REASON, NulPolicy, read_escape};
use std::borrow::Cow;

/// The longest document that is stored, in bytes as it came. The largest in real events have about 4 KB.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// The deepest nesting of a document that is stored.
pub(crate) const DOCUMENT_DEPTH_MAX: u32 = 32;

/// The most digits of a number in a document.
pub(crate) const DIGITS_MAX: usize = 100;

/// The largest exponent of a number in a document, with either sign. `jsonb` prints numbers without exponents: `1e-9999`
/// takes 7 bytes to write and 10,001 to print, and a document of many of them could not be read again.
const EXPONENT_MAX: u32 = 100;

/// A JSON value as text that `jsonb` takes in a database of any encoding: without `\u0000`, and with characters beyond
/// ASCII in place of their escapes, which `jsonb` rejects where the database's encoding lacks them or is `SQL_ASCII`.
///
/// `raw` is sound JSON. `plain` says that it has no long or exponential number and no deep nesting.
///
/// # Errors
///
/// The document is too long, or a number or the nesting in it is beyond its bounds, or it holds `\u0000` and `nul` rejects.
pub(crate) fn document(raw: &str, plain: bool, nul: NulPolicy) -> Result<Cow<'_, str>, Fault> {
    if raw.len() > DOCUMENT_BYTES_MAX {
        return Err(Fault::value(format!("JSON of more than {DOCUMENT_BYTES_MAX} bytes")));
    }
    if !plain {
        check_bounds(raw.as_bytes())?;
    }
    without_escapes(raw, nul)
}

/// Whether numbers and nesting are within their bounds.
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
                    return Err(Fault::value(format!("JSON nested more than {DOCUMENT_DEPTH_MAX} deep")));
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
        return Err(Fault::value(format!(
            "a number of more than {DIGITS_MAX} digits in JSON that is stored"
        )));
    }
    let value = exponent.iter().filter(|byte| byte.is_ascii_digit());
    let value =
        value.fold(0_u32, |value, digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    if value > EXPONENT_MAX {
        return Err(Fault::value(format!(
            "a number with an exponent beyond {EXPONENT_MAX} in JSON that is stored"
        )));
    }
    Ok(())
}

fn without_escapes(raw: &str, nul: NulPolicy) -> Result<Cow<'_, str>, Fault> {
    if !raw.contains("\\u") {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    // A backslash and what follows it belong together, so that `\\u0000`, which is no NUL, stays.
    while let Some(found) = memchr::memchr(b'\\', &raw.as_bytes()[at..]) {
        let escape = at + found;
        out.push_str(&raw[at..escape]);
        let (character, end) = read_escape(raw.as_bytes(), escape)?;
        match (character, nul) {
            ('\0', NulPolicy::Reject) => return Err(Fault::value(NUL_REASON)),
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
    fn bounds() {
        let check = |raw: &str, reason: Option<&str>| {
            let fault = document(raw, false, NulPolicy::Reject).err();
            assert_eq!(fault.is_some(), reason.is_some(), "{raw}");
            let words = fault.map(|fault| fault.reason().to_owned()).unwrap_or_default();
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
        check(&nested(DOCUMENT_DEPTH_MAX + 1), Some("32 deep"));
        check(&format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX - 2)), None);
        check(&format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX - 1)), Some("65536 bytes"));
    }
}
