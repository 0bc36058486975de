//! Corrections of lines that `serde_json` rejects and a parser may accept.

use serde::de::IgnoredAny;

/// `serde_json` rejects at 128. Corrected lines must stay below.
const DEPTH_MAX: usize = 100;

/// `text` without the parts that [`Line::Doubtful`](super::Line::Doubtful) names, and their description. None if there
/// are no such parts.
pub(super) fn correct(text: &[u8]) -> Option<(Vec<u8>, &'static str)> {
    let mut corrected = Vec::with_capacity(text.len());
    let mut why = None;
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let length = match byte {
            b'"' => {
                let length = string_length(rest)?;
                if correct_string(&rest[..length], &mut corrected) {
                    why = Some("a lone surrogate");
                }
                length
            }
            b'[' | b'{' if depth == DEPTH_MAX => {
                why = Some("nesting deeper than a parser must bear");
                corrected.extend_from_slice(b"null");
                nested_length(rest)?
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let length = rest.iter().take_while(is_part).count();
                if is_beyond_bounds(&rest[..length]) {
                    why = Some("a number beyond float8");
                    corrected.extend_from_slice(b"false");
                } else {
                    corrected.extend_from_slice(&rest[..length]);
                }
                length
            }
            _ => {
                match byte {
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth = depth.checked_sub(1)?,
                    _ => {}
                }
                corrected.push(byte);
                1
            }
        };
        rest = &rest[length..];
    }
    why.map(|why| (corrected, why))
}

/// A valid JSON number beyond the finite floats.
fn is_beyond_bounds(token: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(token).is_ok() && serde_json::from_slice::<f64>(token).is_err()
}

/// The length of the string that `text` begins with, including quotes. None without an end.
pub(super) fn string_length(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The length of the array or object that `text` begins with. None if its brackets do not match.
fn nested_length(text: &[u8]) -> Option<usize> {
    let mut open = Vec::new();
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => at += string_length(&text[at..])? - 1,
            b'[' => open.push(b']'),
            b'{' => open.push(b'}'),
            close @ (b']' | b'}') if open.pop() != Some(*close) => return None,
            _ => {}
        }
        at += 1;
        if open.is_empty() {
            return Some(at);
        }
    }
}

/// Copies a string with each lone surrogate as a NUL. Returns whether there was one.
fn correct_string(string: &[u8], corrected: &mut Vec<u8>) -> bool {
    let unit = |at: usize| {
        let escape = string.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
    };
    let mut is_corrected = false;
    let mut at = 0;
    while at < string.len() {
        let length = match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                is_corrected = true;
                corrected.extend_from_slice(b"\\u0000");
                at += 6;
                continue;
            }
            (Some(_), _) => 6,
            (None, _) if string[at] == b'\\' => 2,
            (None, _) => 1,
        };
        corrected.extend_from_slice(&string[at..at + length]);
        at += length;
    }
    is_corrected
}
