//! A line of a dump: nothing, one event, or an array of events.

use super::event::Event;
use super::fault::Fault;
use super::json::Cursor;
use super::parse;
use super::text::NulPolicy;

/// The longest array of events; what is noted of each event takes a space, which this bounds. The API's pages
/// have at most 51.
const ELEMENTS_MAX: usize = 32_768;

/// One event of a line, as it is handed to the caller of [`read_line`].
#[derive(Debug)]
pub struct Line<'e, 'a> {
    /// The event's place in the line's array, from 0; `None` where the line is the event.
    pub index: Option<usize>,
    /// Where the event's text begins, in bytes from the line's begin.
    pub byte_offset: usize,
    /// The event's text.
    pub text: &'a str,
    /// The event, or why it was refused.
    pub event: Result<&'e Event<'a>, Fault>,
}

/// Reads a line, which may hold an event, an array of events or white space, and hands out each event.
///
/// A byte order mark at the line's begin is dropped. `event` is space that is used for all events.
///
/// # Errors
///
/// The line is no JSON, or an array too long. Events handed out before are then to be forgotten: the line counts as one that is refused.
pub fn read_line<'a>(
    line: &'a str,
    nul: NulPolicy,
    event: &mut Event<'a>,
    mut each: impl FnMut(Line<'_, 'a>),
) -> Result<(), Fault> {
    let text = line.strip_prefix('\u{feff}').unwrap_or(line);
    let mark = line.len() - text.len();
    let mut cursor = Cursor::new(text, nul);
    match cursor.peek() {
        None => return Ok(()),
        Some(b'[') => cursor.array(|cursor, index| {
            if index == ELEMENTS_MAX {
                return Err(Fault::line(format!("an array of more than {ELEMENTS_MAX} elements")));
            }
            each(read_event(cursor, event, Some(index), mark)?);
            Ok(())
        })?,
        Some(_) => {
            let read = read_event(&mut cursor, event, None, mark)?;
            cursor.expect_end()?;
            each(read);
            return Ok(());
        }
    }
    cursor.expect_end()
}

/// Reads an event; one that is JSON but does not fit is an outcome, not an error.
fn read_event<'e, 'a>(
    cursor: &mut Cursor<'a>,
    event: &'e mut Event<'a>,
    index: Option<usize>,
    mark: usize,
) -> Result<Line<'e, 'a>, Fault> {
    cursor.peek();
    let start = cursor.clone();
    let result = parse::event(cursor, event);
    if let Err(fault) = &result {
        if fault.refuses_line() {
            return Err(fault.clone());
        }
        // The fault was met somewhere inside: what follows it must be JSON all the same.
        *cursor = start.clone();
        cursor.skip()?;
    }
    Ok(Line {
        index,
        byte_offset: mark + start.at(),
        text: cursor.text_since(start.at()),
        event: result.map(|()| &*event),
    })
}
