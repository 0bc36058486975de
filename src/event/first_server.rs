//! The game server that the first event of a source names.

use crate::event::forms::envelope::EventsAt;
use crate::event::json::Cursor;
use crate::event::kill_event::Event;
use crate::event::line::LineReader;
use crate::event::rules::ReadRules;
use crate::event::server::Server;
use crate::event::text::NulPolicy;

/// Returns the game server that the first event of a source names, `Some(None)` if it names none, or `None` if `text`
/// contains no event yet. `text` is the beginning of the source, or all of it if `is_whole`.
#[expect(clippy::option_option, reason = "no event yet, or an event that names no server")]
pub(crate) fn first_named_server(
    text: &[u8],
    is_whole: bool,
    events_at: Option<&EventsAt>,
) -> Option<Option<Server>> {
    let text = match str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&text[..error.valid_up_to()]).ok()?,
    };
    let rules = ReadRules { events_at, ..ReadRules::default() };
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        let mut cursor = Cursor::new(NulPolicy::Strip);
        cursor.start_at(rest, 0);
        let skipped = cursor.skip_leniently();
        if skipped.is_err() && !is_whole && cursor.is_at_end() {
            // The value may continue after the text read so far.
            return None;
        }
        let (value, after) = match skipped {
            Ok(()) => rest.split_at(cursor.at()),
            Err(_) => rest.split_at(rest.find('\n').unwrap_or(rest.len())),
        };
        let mut found = None;
        let read = LineReader::with_rules(rules).read(value, &mut Event::default(), |line| {
            if let (None, Ok(event)) = (found, line.event) {
                found = Some(event.server);
            }
        });
        if read.is_ok() && found.is_some() {
            return found;
        }
        rest = after;
    }
    None
}
