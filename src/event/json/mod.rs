//! A cursor over the text of one line of JSON: it hands out borrowed strings and numbers, and skips what
//! is not wanted without building it, but never without checking it.
//!
//! Invariant: whatever it accepts, `serde_json` accepts as a `Value`, and the other way round, down to the
//! limit on depth and to numbers too large for a float.

pub(crate) mod number;
pub(crate) mod skip;
#[cfg(test)]
mod tests;

use crate::event::document::{DOCUMENT_DEPTH_MAX, document};
use crate::event::fault::Fault;
use crate::event::field::Field;
use crate::event::json::skip::check_escapes;
use crate::event::keys::{Keys, ObjectKind};
use crate::event::text::{NulPolicy, special_byte, unescape};
use std::borrow::Cow;
use std::ops::Range;

/// How deep arrays and objects may lie in one another; `serde_json`'s limit.
const DEPTH_MAX: u32 = 127;

/// Where fewer arrays and objects than this may be entered, a document is nested deep, or at the end of a deep event.
const DEPTH_LEFT_PLAIN: u32 = DEPTH_MAX - DOCUMENT_DEPTH_MAX;

/// The longest text that is kept, in bytes. An entry of an index has at most 2,704 bytes, and any text may have an index.
const TEXT_BYTES_MAX: usize = 2600;

/// How many bytes an escape takes for each byte of text.
const ESCAPE_BYTES_MAX: usize = 6;

pub(crate) type Parsed<T> = Result<T, Fault>;

/// A place in a line, and what was seen in the lines before that may come again.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// How many more arrays and objects may be entered.
    depth_left: u32,
    /// The last value that `skip_repeated` checked; a whole object, or empty.
    repeated: &'a str,
    keys: Keys,
    nul: NulPolicy,
    /// Whether no long number, no exponent and no deep nesting was seen since it was last set.
    plain: bool,
}

/// Where a cursor stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CursorPlace {
    at: usize,
    /// How many more arrays and objects may be entered.
    depth_left: u32,
}

/// An object whose fields are being read.
#[derive(Debug)]
pub(crate) struct Object {
    kind: ObjectKind,
    /// How many fields were read.
    number: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(nul: NulPolicy) -> Self {
        Self { text: "", at: 0, depth_left: DEPTH_MAX, repeated: "", keys: Keys::default(), nul, plain: true }
    }

    /// Stands at a byte of a text from now on.
    pub(crate) fn start_at(&mut self, text: &'a str, at: usize) {
        self.text = text;
        self.return_to(CursorPlace { at, depth_left: DEPTH_MAX });
    }

    /// Where the cursor stands, to come back to.
    pub(crate) fn place(&self) -> CursorPlace {
        CursorPlace { at: self.at, depth_left: self.depth_left }
    }

    /// Goes to where the cursor has stood in the same line.
    pub(crate) fn return_to(&mut self, place: CursorPlace) {
        CursorPlace { at: self.at, depth_left: self.depth_left } = place;
    }

    /// The byte of the line at which the cursor stands.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The text since `start`, a place where the cursor has stood.
    pub(crate) fn text_since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Moves past white space and says what comes; `None` at the end of the line.
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

    /// Whether the text was found to be cut off, or is at its end.
    pub(crate) fn is_at_end(&self) -> bool {
        // An unfinished string is left where it begins, and no value ends within one.
        self.at >= self.text.len() || self.text.as_bytes()[self.at..].first() == Some(&b'"')
    }

    /// Whether nothing but white space follows.
    pub(crate) fn expect_end(&mut self) -> Parsed<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.syntax("something follows the value")),
        }
    }

    /// Whether white space or the end follows.
    pub(crate) fn expect_space(&mut self) -> Parsed<()> {
        match self.text.as_bytes().get(self.at) {
            None | Some(b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
            Some(_) => Err(self.syntax("something follows the value")),
        }
    }

    #[cold]
    pub(crate) fn syntax(&self, reason: &str) -> Fault {
        let reason = if self.at >= self.text.len() { "it is cut off" } else { reason };
        Fault::syntax(reason, self.at)
    }

    #[inline]
    pub(crate) fn enter(&mut self) -> Parsed<()> {
        if self.depth_left <= DEPTH_LEFT_PLAIN {
            self.plain = false;
            if self.depth_left == 0 {
                return Err(self.syntax("values nested more than 127 deep"));
            }
        }
        self.depth_left -= 1;
        self.at += 1;
        Ok(())
    }

    /// Reads something that may be stored as a document, and says whether it is plain.
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

    /// Enters an object of a kind, at whose `{` the cursor stands.
    #[inline]
    pub(crate) fn object(&mut self, kind: ObjectKind) -> Parsed<Object> {
        self.enter()?;
        Ok(Object { kind, number: 0 })
    }

    /// Moves to the next value of an object, and says which field it is of; `None` once the object is left. The cursor
    /// stands behind the object's brace, or at the end of its last value.
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

    /// The same, for keys that are not those of the last object of the kind.
    #[inline(never)]
    fn new_field(&mut self, object: &mut Object) -> Parsed<Option<Field>> {
        let start = self.at;
        let Some((inside, escaped)) = self.key(object.number == 0)? else { return Ok(None) };
        let field = if escaped {
            // A key is only compared, so what the policy makes of a NUL in it does not matter.
            Field::of(&unescape(self.text, inside, NulPolicy::Replace)?)
        } else {
            Field::of(&self.text[inside])
        };
        self.peek();
        self.keys.note(object.kind, object.number, &self.text.as_bytes()[start..self.at], field);
        object.number += 1;
        Ok(Some(field))
    }

    /// Moves past a key and its colon, and says where it stood and whether it has escapes; past the closing brace, and
    /// `None`, where there is no further one.
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
            _ => return Err(self.syntax("a comma or a closing brace is needed")),
        }
        if self.peek() != Some(b'"') {
            return Err(self.syntax("a key in quotes is needed"));
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.syntax("a colon is needed after the key"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Enters the object at whose `{` the cursor stands, and moves to its first value, whose key it returns; `None`, once the
    /// object is left, where it has none.
    pub(crate) fn first_key(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        self.enter()?;
        self.next_key(true)
    }

    /// Moves from the end of a value of an object to the next one, whose key it returns; `None` once the object is left.
    pub(crate) fn following_key(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        self.next_key(false)
    }

    fn next_key(&mut self, is_first: bool) -> Parsed<Option<Cow<'a, str>>> {
        let Some((inside, escaped)) = self.key(is_first)? else { return Ok(None) };
        self.peek();
        // A key is only compared or shown, so what the policy makes of a NUL in it does not matter.
        Ok(Some(if escaped {
            Cow::Owned(unescape(self.text, inside, NulPolicy::Replace)?)
        } else {
            Cow::Borrowed(&self.text[inside])
        }))
    }

    /// Whether the object ends behind the value whose end the cursor stands at; then it is left.
    pub(crate) fn ends_object(&mut self) -> Parsed<bool> {
        Ok(self.key(false)?.is_none())
    }

    /// A string of any length, unescaped, at whose quote the cursor stands. What becomes of a NUL in it is not asked.
    pub(crate) fn whole_string(&mut self) -> Parsed<Cow<'a, str>> {
        let (inside, escaped) = self.string()?;
        Ok(if escaped {
            Cow::Owned(unescape(self.text, inside, NulPolicy::Replace)?)
        } else {
            Cow::Borrowed(&self.text[inside])
        })
    }

    /// Reads an array; `element` is given each index and must read the value. The cursor stands at `[`.
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
                _ => return Err(self.syntax("a comma or a closing bracket is needed")),
            }
        }
        self.leave();
        Ok(())
    }

    /// Takes a `null`, and says whether there was one.
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
        if same == word.len() { Ok(()) } else { Err(self.syntax("an unknown word")) }
    }

    /// A kept string, unescaped; empty ones are `None`, as is `null`.
    #[inline]
    pub(crate) fn text(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        if self.peek() != Some(b'"') {
            return if self.null()? { Ok(None) } else { Err(self.other_type("a string")) };
        }
        let (inside, escaped) = self.string()?;
        let text = if escaped && inside.len() <= TEXT_BYTES_MAX * ESCAPE_BYTES_MAX {
            Cow::Owned(unescape(self.text, inside, self.nul)?)
        } else {
            if escaped {
                check_escapes(self.text, inside.clone())?;
            }
            Cow::Borrowed(&self.text[inside])
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(Fault::value(format!("longer than {TEXT_BYTES_MAX} bytes")));
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// A kept JSON value, in a form that `jsonb` takes; an empty string is `None`, as is `null`.
    pub(crate) fn json(&mut self) -> Parsed<Option<Cow<'a, str>>> {
        if self.null()? {
            return Ok(None);
        }
        let start = self.at;
        let ((), plain) = self.noting_plain(Self::skip)?;
        let value = document(self.text_since(start), plain, self.nul)?;
        Ok((value != "\"\"").then_some(value))
    }

    /// The fault of a value of another type; it is checked all the same, so that no fault of syntax hides in it.
    #[cold]
    pub(crate) fn other_type(&mut self, wanted: &str) -> Fault {
        let found = match self.peek() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        };
        match self.skip() {
            Ok(()) => Fault::value(format!("{wanted} is needed, {found} was found")),
            Err(fault) => fault,
        }
    }

    /// Where the inside of a string is, and whether it has escapes, which are not checked here. The cursor
    /// stands at the quote.
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
                Some(_) => return Err(Fault::syntax("a control character in a string", at)),
                None => return Err(Fault::syntax("a string is cut off", bytes.len())),
            }
        }
        self.at = at + 1;
        Ok((start..at, escaped))
    }
}
