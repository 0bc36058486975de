//! A JSON cursor over the text of one line. It returns borrowed strings and numbers. Unwanted values are skipped
//! without building them, but always validated.
//!
//! Invariant: the cursor accepts exactly the texts that `serde_json` parses as a `Value`, including the depth limit and
//! the rejection of numbers that are too large for a float. [`Cursor::leniently`] also accepts lone surrogates.

pub(crate) mod lenient;
pub(crate) mod number;
pub(crate) mod skip;
#[cfg(test)]
mod tests;

use crate::event::document::{DOCUMENT_DEPTH_MAX, document};
use crate::event::fault::{Fault, FaultKind};
use crate::event::field::Field;
use crate::event::keys::{Keys, ObjectKind};
use crate::event::text::{NulPolicy, special_byte, unescape};
use std::borrow::Cow;
use std::ops::Range;

/// Maximum nesting depth of arrays and objects, the same as in `serde_json`.
const DEPTH_MAX: u32 = 127;

/// Below this remaining depth, a document counts as deeply nested. Either it is, or it is near the depth limit of the
/// event.
const DEPTH_LEFT_PLAIN: u32 = DEPTH_MAX - DOCUMENT_DEPTH_MAX;

/// Maximum length of a stored string, in bytes. An index entry has at most 2,704 bytes, and any text column may be
/// indexed.
const TEXT_BYTES_MAX: usize = 2600;

/// Maximum length of an escape, in bytes per byte of decoded text.
const ESCAPE_BYTES_MAX: usize = 6;

pub(crate) type Parsed<T> = Result<T, Fault>;

/// A position in a line, and caches of keys and values that earlier lines contained.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Number of further nesting levels that are allowed.
    depth_left: u32,
    /// The last value that `skip_repeated` validated: a complete object, or empty.
    repeated: &'a str,
    keys: Keys,
    nul: NulPolicy,
    /// False once a long number, an exponent or deep nesting was seen. [`Cursor::noting_plain`] resets it.
    plain: bool,
    /// Whether lone surrogates are accepted.
    is_lenient: bool,
}

/// A saved cursor position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CursorPlace {
    at: usize,
    /// Number of further nesting levels that are allowed.
    depth_left: u32,
}

/// An object whose fields are being parsed.
#[derive(Debug)]
pub(crate) struct Object {
    kind: ObjectKind,
    /// Number of fields parsed so far.
    number: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(nul: NulPolicy) -> Self {
        Self {
            text: "",
            at: 0,
            depth_left: DEPTH_MAX,
            repeated: "",
            keys: Keys::default(),
            nul,
            plain: true,
            is_lenient: false,
        }
    }

    /// Moves the cursor to a byte of a new text, past the byte order marks that separate values there.
    pub(crate) fn start_at(&mut self, text: &'a str, mut at: usize) {
        while at > 0 && text.as_bytes()[at..].starts_with(b"\xef\xbb\xbf") {
            at += 3;
        }
        self.text = text;
        self.return_to(CursorPlace { at, depth_left: DEPTH_MAX });
    }

    /// Saves the position for [`Cursor::return_to`].
    pub(crate) fn place(&self) -> CursorPlace {
        CursorPlace { at: self.at, depth_left: self.depth_left }
    }

    /// Restores a position in the same line.
    pub(crate) fn return_to(&mut self, place: CursorPlace) {
        CursorPlace { at: self.at, depth_left: self.depth_left } = place;
    }

    /// Byte offset of the cursor in the line.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Text from `start`, an earlier cursor position, up to the cursor.
    pub(crate) fn text_since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Skips white space and returns the next byte, or `None` at the end of the line.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Whether the cursor is at the end of the text or at an unterminated string.
    pub(crate) fn is_at_end(&self) -> bool {
        // The cursor stays at the start of an unterminated string, and no value ends inside a string.
        self.at >= self.text.len() || self.text.as_bytes()[self.at..].first() == Some(&b'"')
    }

    /// Fails unless only white space follows.
    pub(crate) fn expect_end(&mut self) -> Parsed<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.syntax("unexpected text after the value")),
        }
    }

    /// Fails unless white space or the end follows.
    pub(crate) fn expect_space(&mut self) -> Parsed<()> {
        match self.text.as_bytes().get(self.at) {
            None | Some(b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
            Some(_) => Err(self.syntax("unexpected text after the value")),
        }
    }

    #[cold]
    pub(crate) fn syntax(&self, reason: &'static str) -> Fault {
        let reason = match self.text.as_bytes().get(self.at) {
            None => "unexpected end",
            // As a crash or a full disk leaves them in a file.
            Some(0) => "NUL byte",
            Some(_) => reason,
        };
        FaultKind::Syntax { reason, byte: self.at }.into()
    }

    #[inline]
    pub(crate) fn enter(&mut self) -> Parsed<()> {
        if self.depth_left <= DEPTH_LEFT_PLAIN {
            self.plain = false;
            if self.depth_left == 0 {
                return Err(self.syntax("values nested more than 127 levels deep"));
            }
        }
        self.depth_left -= 1;
        self.at += 1;
        Ok(())
    }

    /// Parses a value that may be stored as a document. Also returns whether it is plain: no long numbers, exponents or
    /// deep nesting.
    pub(crate) fn noting_plain<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<(T, bool)> {
        let before = std::mem::replace(&mut self.plain, true);
        let read = read(self)?;
        let plain = std::mem::replace(&mut self.plain, before);
        self.plain &= plain;
        Ok((read, plain))
    }

    #[inline]
    fn leave(&mut self) {
        self.depth_left += 1;
        self.at += 1;
    }

    /// Enters an object of a kind. The cursor is at `{`.
    #[inline]
    pub(crate) fn object(&mut self, kind: ObjectKind) -> Parsed<Object> {
        self.enter()?;
        Ok(Object { kind, number: 0 })
    }

    /// Moves to the next value of an object and returns its field, or leaves the object and returns `None`. The cursor
    /// must be after the opening brace or after the previous value.
    #[inline]
    pub(crate) fn field(&mut self, object: &mut Object) -> Parsed<Option<Field>> {
        let rest = &self.text.as_bytes()[self.at..];
        if let Some((length, field)) = self.keys.find(object.kind, object.number, rest) {
            self.at += length;
            object.number += 1;
            return Ok(Some(field));
        }
        self.new_field(object)
    }

    /// Same as [`Cursor::field`], for a key that differs from the last object of the kind.
    #[inline(never)]
    fn new_field(&mut self, object: &mut Object) -> Parsed<Option<Field>> {
        let start = self.at;
        let Some((inside, escaped)) = self.key(object.number == 0)? else { return Ok(None) };
        let field = if escaped {
            // Keys are only compared, so the handling of NUL does not matter.
            Field::of(&unescape(self.text, inside, NulPolicy::Replace, false)?)
        } else {
            Field::of(&self.text[inside])
        };
        self.peek();
        self.keys.note(object.kind, object.number, &self.text.as_bytes()[start..self.at], field);
        object.number += 1;
        Ok(Some(field))
    }

    /// Moves past a key and its colon. Returns the range of the key and whether it has escapes. Without a further key,
    /// moves past the closing brace and returns `None`.
    pub(crate) fn key(&mut self, is_first: bool) -> Parsed<Option<(Range<usize>, bool)>> {
        match self.peek() {
            Some(b'}') => {
                self.leave();
                return Ok(None);
            }
            Some(b',') if !is_first => {
                self.at += 1;
                self.peek();
            }
            _ if is_first => {}
            _ => return Err(self.syntax("expected a comma or a closing brace")),
        }
        if self.peek() != Some(b'"') {
            return Err(self.syntax("expected a quoted key"));
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.syntax("expected a colon after the key"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Enters the object at the cursor, moves to its first value and returns its key. For an empty object, leaves it
    /// and returns `None`.
    pub(crate) fn first_key(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        self.enter()?;
        self.next_key(true)
    }

    /// Moves from the end of a value to the next one and returns its key. At the end, leaves the object and returns
    /// `None`.
    pub(crate) fn following_key(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        self.next_key(false)
    }

    fn next_key(&mut self, is_first: bool) -> Parsed<Option<Cow<'a, str>>> {
        let Some((inside, escaped)) = self.key(is_first)? else { return Ok(None) };
        self.peek();
        // Keys are only compared or shown, so the handling of NUL does not matter.
        self.shown(inside, escaped).map(Some)
    }

    /// Leaves the object if no further value follows. The cursor must be at the end of a value.
    pub(crate) fn ends_object(&mut self) -> Parsed<bool> {
        Ok(self.key(false)?.is_none())
    }

    /// Parses an array. `element` receives each index and must parse the value. The cursor is at `[`.
    #[inline]
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self, usize) -> Parsed<()>) -> Parsed<()> {
        self.enter()?;
        if self.peek() == Some(b']') {
            self.leave();
            return Ok(());
        }
        for index in 0.. {
            element(self, index)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.syntax("expected a comma or a closing bracket")),
            }
        }
        self.leave();
        Ok(())
    }

    /// Moves past `null`, if present, and returns whether it was.
    #[inline]
    pub(crate) fn null(&mut self) -> Parsed<bool> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        if self.text.as_bytes()[self.at..].first_chunk() == Some(b"null") {
            self.at += 4;
            return Ok(true);
        }
        self.word("null")?;
        Ok(true)
    }

    pub(crate) fn word(&mut self, word: &str) -> Parsed<()> {
        let found = self.text.as_bytes()[self.at..].iter().zip(word.as_bytes());
        let same = found.take_while(|(found, wanted)| found == wanted).count();
        self.at += same;
        if same == word.len() { Ok(()) } else { Err(self.syntax("unknown word")) }
    }

    /// Decodes a string that is stored. An empty string and `null` yield `None`.
    #[inline]
    pub(crate) fn text(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        if self.peek() != Some(b'"') {
            return if self.null()? { Ok(None) } else { Err(self.other_type("a string")) };
        }
        let (inside, escaped) = self.string()?;
        let text = if escaped && inside.len() <= TEXT_BYTES_MAX * ESCAPE_BYTES_MAX {
            Cow::Owned(unescape(self.text, inside, self.nul, false)?)
        } else {
            if escaped {
                self.check_escapes(inside.clone())?;
            }
            Cow::Borrowed(&self.text[inside])
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(FaultKind::TextTooLong(TEXT_BYTES_MAX).into());
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// Returns a JSON value in a form that `jsonb` accepts. An empty string and `null` yield `None`.
    pub(crate) fn json(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        if self.null()? {
            return Ok(None);
        }
        let start = self.at;
        let ((), plain) = self.noting_plain(Self::skip)?;
        let value = document(self.text_since(start), plain, self.nul)?;
        Ok((value != "\"\"").then_some(value))
    }

    /// The fault of a value of the wrong type. The value is validated anyway, so that a syntax error inside takes
    /// precedence.
    #[cold]
    pub(crate) fn other_type(&mut self, wanted: &'static str) -> Fault {
        let found = match self.peek() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        };
        match self.skip() {
            Ok(()) => FaultKind::WrongType { wanted, found }.into(),
            Err(fault) => fault,
        }
    }

    /// Range between the quotes of a string, and whether it has escapes, which are not validated here. The cursor is at
    /// the quote.
    #[inline]
    pub(crate) fn string(&mut self) -> Parsed<(Range<usize>, bool)> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = special_byte(bytes, at);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                found => {
                    let reason = match found {
                        Some(0) => "NUL byte in a string",
                        Some(_) => "control character in a string",
                        None => "unterminated string",
                    };
                    return Err(FaultKind::Syntax { reason, byte: at.min(bytes.len()) }.into());
                }
            }
        }
        self.at = at + 1;
        Ok((start..at, escaped))
    }
}
