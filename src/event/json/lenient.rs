//! Strings that are only compared or shown, and lone surrogates.
//!
//! A lone surrogate such as `\ud800` is no syntax error: the string has an end, so that values after it can be read. But no
//! text can contain it, so `serde_json` rejects it, and so does the cursor, except in [`Cursor::leniently`].

use crate::event::json::{Cursor, Parsed};
use crate::event::text::{NulPolicy, read_escape, unescape};
use std::borrow::Cow;
use std::ops::Range;

impl<'a> Cursor<'a> {
    /// Accepts lone surrogates in what `read` skips, and as U+FFFD in keys and strings of any length. `read` must not parse
    /// events.
    pub(crate) fn leniently<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let before = std::mem::replace(&mut self.is_lenient, true);
        let read = read(self);
        self.is_lenient = before;
        read
    }

    /// Moves past a value of any type, and accepts lone surrogates in it.
    pub(crate) fn skip_leniently(&mut self) -> Parsed<()> {
        self.leniently(Cursor::skip)
    }

    /// Checks the escapes of a string. `inside` is its range without the quotes.
    pub(crate) fn check_escapes(&self, inside: Range<usize>) -> Parsed<()> {
        let bytes = self.text.as_bytes();
        let mut at = inside.start;
        while let Some(found) = memchr::memchr(b'\\', &bytes[at..inside.end]) {
            at = read_escape(bytes, at + found, self.is_lenient)?.1;
        }
        Ok(())
    }

    /// Decodes a string of any length. The cursor is at the quote. NUL becomes U+FFFD regardless of the policy.
    pub(crate) fn whole_string(&mut self) -> Parsed<Cow<'a, str>> {
        let (inside, escaped) = self.string()?;
        self.shown(inside, escaped)
    }

    /// Decodes a string that is only compared or shown. NUL becomes U+FFFD regardless of the policy.
    pub(crate) fn shown(&self, inside: Range<usize>, escaped: bool) -> Parsed<Cow<'a, str>> {
        Ok(if escaped {
            Cow::Owned(unescape(self.text, inside, NulPolicy::Replace, self.is_lenient)?)
        } else {
            Cow::Borrowed(&self.text[inside])
        })
    }
}
