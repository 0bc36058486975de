//! Skips unwanted values: validates them without building them.

use crate::event::fault::Fault;
use crate::event::json::{Cursor, Parsed};

/// Maximum nesting depth of a value that [`Cursor::skip_repeated`] remembers.
const REPEATED_DEPTH_MAX: u32 = 8;

impl Cursor<'_> {
    /// Moves past a value of any type.
    pub(crate) fn skip(&mut self) -> Parsed<()> {
        match self.peek() {
            Some(b'"') => {
                let (inside, escaped) = self.string()?;
                if escaped { self.check_escapes(inside) } else { Ok(()) }
            }
            Some(b'{') => self.skip_object(),
            Some(b'[') => self.array(|cursor, _| cursor.skip()),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.syntax("expected a value")),
        }
    }

    /// Moves past all values of the text.
    pub(crate) fn skip_all(&mut self) -> Parsed<()> {
        loop {
            self.skip()?;
            if self.peek().is_none() {
                return Ok(());
            }
        }
    }

    fn skip_object(&mut self) -> Parsed<()> {
        self.enter()?;
        let mut is_first = true;
        while let Some((inside, escaped)) = self.key(is_first)? {
            if escaped {
                self.check_escapes(inside)?;
            }
            self.skip()?;
            is_first = false;
        }
        Ok(())
    }

    /// Fails if a comma, a key and a colon follow, which continue the object before the cursor: it was closed too early.
    #[inline]
    pub(crate) fn expect_no_member(&mut self) -> Parsed<()> {
        if self.peek() == Some(b',') && self.is_before_key() { Err(self.closed_early()) } else { Ok(()) }
    }

    /// Fails if a closing brace or another member follows the object before the cursor.
    pub(crate) fn expect_no_rest(&mut self) -> Parsed<()> {
        if self.peek() == Some(b'}') { Err(self.closed_early()) } else { self.expect_no_member() }
    }

    #[cold]
    fn closed_early(&self) -> Fault {
        self.syntax("an object was closed too early")
    }

    /// Returns whether a key and a colon follow the comma at the cursor.
    fn is_before_key(&mut self) -> bool {
        let place = self.place();
        self.at += 1;
        let is_key = self.peek() == Some(b'"') && self.string().is_ok() && self.peek() == Some(b':');
        self.return_to(place);
        is_key
    }

    /// Skips a value whose text is mostly the same each time, such as LifetimeStatistics, a third of all bytes. A value
    /// equal to the last validated one is not validated again.
    #[inline]
    pub(crate) fn skip_repeated(&mut self) -> Parsed<()> {
        if self.peek() != Some(b'{') {
            return self.skip();
        }
        let rest = &self.text.as_bytes()[self.at..];
        if !self.repeated.is_empty()
            && self.depth_left >= REPEATED_DEPTH_MAX
            && rest.starts_with(self.repeated.as_bytes())
        {
            self.at += self.repeated.len();
            return Ok(());
        }
        let start = self.place();
        if self.depth_left >= REPEATED_DEPTH_MAX {
            self.depth_left = REPEATED_DEPTH_MAX;
            let skipped = self.skip();
            self.depth_left = start.depth_left;
            if skipped.is_ok() {
                self.repeated = self.text_since(start.at);
                return Ok(());
            }
            self.return_to(start);
        }
        self.skip()
    }
}
