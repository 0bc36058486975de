//! JSON strings: escapes, lone surrogates, and NUL, which PostgreSQL can't store.

use crate::event::fault::{Fault, FaultKind};
use std::ops::Range;
use std::str::FromStr;

/// The handling of `\u0000` in a stored string. PostgreSQL's `text` and `jsonb` can't store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NulPolicy {
    /// Reject the event.
    #[default]
    Reject,
    /// Remove the character.
    Strip,
    /// Replace the character by U+FFFD.
    Replace,
}

impl FromStr for NulPolicy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "reject" => Ok(Self::Reject),
            "strip" => Ok(Self::Strip),
            "replace" => Ok(Self::Replace),
            _ => Err("possible values: reject, strip, replace".to_owned()),
        }
    }
}

/// Returns the position of the next quote, backslash or control character from `at` on, or the length.
///
/// It checks eight bytes at a time. Strings here are short, so a call to a wider search costs more than it saves.
#[inline]
pub(crate) fn special_byte(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        // The high bit of a byte is set if the byte was zero or below 0x20. Only the lowest set bit is reliable.
        let found = (quote.wrapping_sub(ONES) & !quote
            | backslash.wrapping_sub(ONES) & !backslash
            | word.wrapping_sub(ONES * 0x20) & !word)
            & HIGHS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        at += 1;
    }
    at
}

/// The length of an escape such as `\ud800`, in bytes.
const UNICODE_ESCAPE_BYTES: usize = 6;

/// Decodes the escape whose backslash is at `at`. Returns the character and the position after it. If `is_lenient`, a lone
/// surrogate becomes U+FFFD.
pub(crate) fn read_escape(text: &[u8], at: usize, is_lenient: bool) -> Result<(char, usize), Fault> {
    let plain = match text.get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            return match read_unicode_escape(text, at) {
                Err(fault) if is_lenient && fault.is_lone_surrogate() => {
                    Ok((char::REPLACEMENT_CHARACTER, at + UNICODE_ESCAPE_BYTES))
                }
                read => read,
            };
        }
        _ => return Err(FaultKind::Syntax { reason: "unknown escape", byte: at }.into()),
    };
    Ok((plain, at + 2))
}

fn read_unicode_escape(text: &[u8], at: usize) -> Result<(char, usize), Fault> {
    let first = hex4(text, at)?;
    if !(0xD800..=0xDFFF).contains(&first) {
        // Outside of the surrogates, every 16-bit value is a character.
        let character = char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER);
        return Ok((character, at + 6));
    }
    if first >= 0xDC00 || text.get(at + 6..at + 8) != Some(b"\\u") {
        return Err(FaultKind::LoneSurrogate.into());
    }
    let second = hex4(text, at + 6)?;
    if !(0xDC00..=0xDFFF).contains(&second) {
        return Err(FaultKind::LoneSurrogate.into());
    }
    let joined = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    Ok((char::from_u32(joined).ok_or(FaultKind::LoneSurrogate)?, at + 12))
}

fn hex4(text: &[u8], at: usize) -> Result<u32, Fault> {
    let reason = "\\u escape without four hexadecimal digits";
    let fault = || Fault::from(FaultKind::Syntax { reason, byte: at });
    let digits = text.get(at + 2..at + 6).ok_or_else(fault)?;
    digits.iter().try_fold(0, |value, &digit| {
        let digit = char::from(digit).to_digit(16).ok_or_else(fault)?;
        Ok(value << 4 | digit)
    })
}

/// Decodes a string that has escapes. `inside` is its range in the line, without the quotes. If `is_lenient`, lone surrogates
/// become U+FFFD.
pub(crate) fn unescape(
    line: &str,
    inside: Range<usize>,
    nul: NulPolicy,
    is_lenient: bool,
) -> Result<String, Fault> {
    let mut out = String::with_capacity(inside.len());
    let mut at = inside.start;
    while let Some(found) = memchr::memchr(b'\\', &line.as_bytes()[at..inside.end]) {
        out.push_str(&line[at..at + found]);
        let (character, next) = read_escape(line.as_bytes(), at + found, is_lenient)?;
        match (character, nul) {
            ('\0', NulPolicy::Reject) => return Err(FaultKind::Nul.into()),
            ('\0', NulPolicy::Strip) => {}
            ('\0', NulPolicy::Replace) => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(character),
        }
        at = next;
    }
    out.push_str(&line[at..inside.end]);
    Ok(out)
}
