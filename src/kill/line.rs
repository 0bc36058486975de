//! A line of a dump: nothing, one event, or an array of events.

use super::event::Event;
use super::fault::Fault;
use super::json::Cursor;
use super::parse;
use super::text::NulPolicy;

/// The longest array of events: a bound on the space that is taken by what is noted of each. The API's pages have
/// at most 51.
const ELEMENTS_MAX: usize = 32_768;

/// One event of a line, as it is handed to the caller of [`LineReader::read`].
#[derive(Debug)]
pub struct Line<'e, 'a> {
    /// The event's place in the line's array, from 0; `None` where the line is the event.
    pub index: Option<usize>,
    /// Where the event's text begins, in bytes from the start of the line.
    pub byte_offset: usize,
    /// The event's text.
    pub text: &'a str,
    /// The event, or why it was refused.
    pub event: Result<&'e Event<'a>, Fault>,
}

/// Reads lines, which may hold an event, an array of events or white space. What it has seen in one line makes the next
/// ones faster, and changes nothing else.
#[derive(Debug)]
pub struct LineReader<'a> {
    cursor: Cursor<'a>,
}

impl<'a> LineReader<'a> {
    /// A reader that has seen nothing yet.
    pub fn new(nul: NulPolicy) -> Self {
        Self { cursor: Cursor::new(nul) }
    }

    /// Reads a line and hands out each event of it.
    ///
    /// A byte order mark at the start of the line is dropped. `event` is space that is used for all events.
    ///
    /// # Errors
    ///
    /// The line is no JSON, or an array too long. Events handed out before are then to be forgotten: the line counts as
    /// one that is refused.
    pub fn read(
        &mut self,
        line: &'a str,
        event: &mut Event<'a>,
        mut each: impl FnMut(Line<'_, 'a>),
    ) -> Result<(), Fault> {
        self.read_value(line, 0, event, &mut each)?;
        self.cursor.expect_end()
    }

    /// Reads the value that begins at a byte of a text, behind white space, and hands out each event of it: where the value
    /// ends. What follows is not looked at, but for a number or a word, which must not go on.
    ///
    /// A byte order mark at the start of the text is dropped. `event` is space that is used for all events.
    ///
    /// # Errors
    ///
    /// The value is no JSON, or an array too long. Events handed out before are then to be forgotten.
    pub fn read_value(
        &mut self,
        text: &'a str,
        start: usize,
        event: &mut Event<'a>,
        mut each: impl FnMut(Line<'_, 'a>),
    ) -> Result<usize, Fault> {
        let marked = text;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mark = marked.len() - text.len();
        let cursor = &mut self.cursor;
        cursor.start_at(text, start.saturating_sub(mark));
        match cursor.peek() {
            None => {}
            Some(b'[') => cursor.array(|cursor, index| {
                if index == ELEMENTS_MAX {
                    return Err(Fault::line(format!("an array of more than {ELEMENTS_MAX} elements")));
                }
                each(read_event(cursor, event, Some(index), mark)?);
                Ok(())
            })?,
            Some(first) => {
                let read = read_event(cursor, event, None, mark)?;
                if first != b'{' {
                    cursor.expect_space()?;
                }
                each(read);
            }
        }
        Ok(mark + cursor.at())
    }
}

/// Reads an event; one that is JSON but does not fit is an outcome, not an error.
fn read_event<'e, 'a>(
    cursor: &mut Cursor<'a>,
    event: &'e mut Event<'a>,
    index: Option<usize>,
    mark: usize,
) -> Result<Line<'e, 'a>, Fault> {
    cursor.peek();
    let (start, place) = (cursor.at(), cursor.place());
    let result = parse::event(cursor, event);
    if let Err(fault) = &result {
        if fault.refuses_line() {
            return Err(fault.clone());
        }
        // The fault was met somewhere inside: what follows it must be JSON all the same.
        cursor.return_to(place);
        cursor.skip()?;
    }
    Ok(Line {
        index,
        byte_offset: mark + start,
        text: cursor.text_since(start),
        event: result.map(|()| &*event),
    })
}
