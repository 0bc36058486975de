//! Makes untrusted text safe for a terminal and a log. Dumps, file names and database messages can contain any character.

use std::borrow::Cow;

/// Replaces each control character, and each character that changes the writing direction, by an escape such as `\u{1b}`.
/// Line feeds and tabs stay.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\r' => shown.push_str("\\r"),
            hidden if is_hidden(hidden) => shown.extend(hidden.escape_unicode()),
            other => shown.push(other),
        }
    }
    Cow::Owned(shown)
}

/// Whether a character is shown as an escape: C0, DEL and C1, marks and overrides of the writing direction, and Unicode line
/// ends.
pub(crate) fn is_hidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            ("kills-2026.ndjson", "kills-2026.ndjson"),
            ("Schl\u{fc}ssel \u{9375} \u{1f511}\n\tnext", "Schl\u{fc}ssel \u{9375} \u{1f511}\n\tnext"),
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("safe\u{202e}nosjdn.exe", "safe\\u{202e}nosjdn.exe"),
            ("over\rwritten", "over\\rwritten"),
            ("a\u{2028}b\u{2066}c", "a\\u{2028}b\\u{2066}c"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert!(matches!(visible("plain"), Cow::Borrowed(_)));
    }
}
