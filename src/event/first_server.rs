//! The game server that the first event of a source names.

use crate::event::forms::envelope::{EventsAt, guess_path_of_beginning};
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
    let text = valid(text);
    let rules = ReadRules { events_at, ..ReadRules::default() };
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        let mut cursor = Cursor::new(NulPolicy::Strip);
        cursor.start_at(rest, 0);
        let skipped = cursor.skip_leniently();
        if skipped.is_err() && cursor.is_at_end() {
            // The value may continue after the text read so far. An envelope can name the server before its events.
            let begun = FirstEvent::of(rest, rules).server.flatten();
            if begun.is_some() || !is_whole {
                return begun.map(Some);
            }
        }
        let (value, after) = match skipped {
            Ok(()) => rest.split_at(cursor.at()),
            Err(_) => rest.split_at(rest.find('\n').unwrap_or(rest.len())),
        };
        let FirstEvent { server, is_json } = FirstEvent::of(value, rules);
        if is_json && server.is_some() {
            return server;
        }
        rest = after;
    }
    None
}

/// Returns the path at which the first event of a source seems to be inside a value, if it names a game server there.
pub(crate) fn place_of_named_server(text: &[u8]) -> Option<String> {
    let path = guess_path_of_beginning(valid(text))?;
    let events_at = path.parse().ok()?;
    first_named_server(text, true, Some(&events_at)).flatten().map(|_| path)
}

/// The text before the first byte that is not UTF-8.
fn valid(text: &[u8]) -> &str {
    match str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
    }
}

struct FirstEvent {
    /// The game server that it names, or `Some(None)` if it names none. `None` without an event.
    #[expect(clippy::option_option, reason = "no event, or an event that names no server")]
    server: Option<Option<Server>>,
    /// Whether the whole value is JSON.
    is_json: bool,
}

impl FirstEvent {
    fn of(value: &str, rules: ReadRules<'_>) -> Self {
        let mut server = None;
        let read = LineReader::with_rules(rules).read(value, &mut Event::default(), |line| {
            if let (None, Ok(event)) = (server, line.event) {
                server = Some(event.server);
            }
        });
        Self { server, is_json: read.is_ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unfinished_envelope_can_name_the_server_before_its_events() {
        let event = |more: &str| {
            let player = json!({"Id": "a", "Name": "b"});
            let time = "2024-08-18T20:45:46Z";
            format!(
                r#"{{"EventId":1,"TimeStamp":"{time}","TotalVictimKillFame":1,"Killer":{player},"Victim":{player}{more}}}"#
            )
        };
        let (plain, named) = (event(""), event(r#","server":"asia""#));
        let path = "data.events".parse::<EventsAt>().unwrap();
        let events = Some(&path);
        for (text, is_whole, events_at, expected) in [
            (
                format!(r#"{{"server":"us","data":{{"events":[{plain},{{"Ev"#),
                false,
                events,
                Some(Some(Server::Americas)),
            ),
            (
                format!(r#"{{"data":{{"region":"eu","events":[{plain},{plain}"#),
                true,
                events,
                Some(Some(Server::Europe)),
            ),
            (
                format!("{{\n \"server\": \"us\",\n \"data\": {{\n \"events\": [\n{plain},\n"),
                true,
                events,
                Some(Some(Server::Americas)),
            ),
            (format!(r#"{{"data":{{"events":[{named},{plain}"#), false, events, Some(Some(Server::Asia))),
            // Its end may name the server, or no event is complete.
            (format!(r#"{{"data":{{"events":[{plain},{plain}"#), false, events, None),
            (r#"{"server":"us","data":{"events":[{"EventId":1"#.to_owned(), false, events, None),
            // Malformed JSON has no end, but the next line has an event.
            (format!("{{\"EventId\":[\n{named}\n"), true, None, Some(Some(Server::Asia))),
            (format!("{plain}\n"), false, None, Some(None)),
        ] {
            assert_eq!(first_named_server(text.as_bytes(), is_whole, events_at), expected, "{text}");
        }
        for (text, expected) in [
            (format!(r#"{{"server":"us","data":{{"events":[{plain},{{"Ev"#), Some("data.events")),
            (format!("{{\"raw\":{}}}\n", json!(named)), Some("raw")),
            (format!(r#"{{"data":{plain}}}"#), None),
            (named.clone(), None),
        ] {
            assert_eq!(place_of_named_server(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }
}
