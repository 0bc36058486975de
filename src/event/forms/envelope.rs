//! Envelopes: values that contain events, and the path to the events.

use crate::event::json::Cursor;
use crate::event::text::NulPolicy;
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// Maximum number of steps of a path.
const STEPS_MAX: usize = 16;

/// Maximum depth of the search for an event in a value.
const SEARCH_DEPTH_MAX: usize = 8;

/// The path to the event, or the array of events, in each value: nested keys. Arrays on the path stand for their
/// elements, strings for the JSON that they contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsAt {
    path: String,
    steps: Vec<PathStep>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathStep {
    /// The member of this name.
    Member(String),
    /// `*`: each member, whatever its name.
    Each,
}

impl PathStep {
    pub(crate) fn fits(&self, key: &str) -> bool {
        match self {
            PathStep::Member(name) => name == key,
            PathStep::Each => true,
        }
    }

    /// Returns the beginning of an object with a value at this step.
    pub(crate) fn opening(&self) -> String {
        let name: &str = match self {
            PathStep::Member(name) => name,
            PathStep::Each => "*",
        };
        format!("{{{}:", Value::from(name))
    }
}

impl EventsAt {
    pub(crate) fn steps(&self) -> &[PathStep] {
        &self.steps
    }

    /// Returns the path without its last `left` steps, then `path`.
    pub(crate) fn extended(&self, left: usize, path: &str) -> String {
        let walked = self.steps.len().saturating_sub(left);
        self.path.split('.').take(walked).chain([path]).collect::<Vec<_>>().join(".")
    }
}

impl FromStr for EventsAt {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let step = |name: &str| match name {
            "*" => PathStep::Each,
            name => PathStep::Member(name.to_owned()),
        };
        let steps: Vec<PathStep> = path.split('.').map(step).collect();
        if steps.contains(&PathStep::Member(String::new())) || steps.len() > STEPS_MAX {
            return Err("expected keys joined by dots such as raw_json, data.events or *.data".to_owned());
        }
        Ok(Self { path: path.to_owned(), steps })
    }
}

impl fmt::Display for EventsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// Guesses the path to events inside a JSON value. `None` if nothing is found or if the value is an event.
pub(crate) fn guess_path(text: &str) -> Option<String> {
    let mut steps = Vec::new();
    find(text, &mut steps)?;
    // An event on the path is read whatever the key.
    if steps.is_empty() && text.starts_with('[') {
        steps.push("*".to_owned());
    }
    (!steps.is_empty()).then(|| steps.join("."))
}

/// Returns the step for a key.
fn step_of(key: &str) -> String {
    let is_number = key.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '$' | '@');
    // In a dictionary by id, the keys differ from value to value. A path cannot name a key with a dot.
    let is_each = is_number || !key.chars().all(is_plain);
    if is_each { "*" } else { key }.to_owned()
}

fn find(text: &str, steps: &mut Vec<String>) -> Option<()> {
    const ID: &str = "EventId";
    if steps.len() > SEARCH_DEPTH_MAX {
        return None;
    }
    let mut cursor = Cursor::new(NulPolicy::Replace);
    cursor.start_at(text, 0);
    match cursor.peek()? {
        b'{' => {
            let mut candidate = None;
            let mut key = cursor.first_key().ok()?;
            while let Some(name) = key {
                if name == ID {
                    return Some(());
                }
                let start = cursor.at();
                cursor.skip().ok()?;
                let value = cursor.text_since(start);
                if candidate.is_none() && value.starts_with(['{', '[', '"']) && value.contains(ID) {
                    candidate = Some((name, value));
                }
                key = cursor.following_key().ok()?;
            }
            let (name, value) = candidate?;
            steps.push(step_of(&name));
            find(value, steps)
        }
        b'[' => {
            let mut first = None;
            cursor
                .array(|cursor, index| {
                    cursor.peek();
                    let start = cursor.at();
                    cursor.skip()?;
                    if index == 0 {
                        first = Some(cursor.text_since(start));
                    }
                    Ok(())
                })
                .ok()?;
            find(first?, steps)
        }
        b'"' if !steps.is_empty() => {
            let inner = cursor.whole_string().ok()?;
            // Only one level of strings is decoded.
            if inner.trim_start().starts_with(['{', '[']) { find(&inner, steps) } else { None }
        }
        _ => None,
    }
}

/// Guesses the path to events inside a JSON value from its beginning.
pub(crate) fn guess_path_of_beginning(text: &str) -> Option<String> {
    // For each open bracket: the key of the current member, or none in an array.
    let mut open: Vec<Option<&str>> = Vec::new();
    let (mut rest, mut may_be_key) = (text, false);
    loop {
        let at = rest.find(['"', '{', '[', '}', ']', ',', ':'])?;
        let (letter, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        match letter {
            b'"' => {
                let mut end = 0;
                while *after.as_bytes().get(end)? != b'"' {
                    end += if after.as_bytes()[end] == b'\\' { 2 } else { 1 };
                }
                rest = after.get(end + 1..)?;
                if let Some(Some(key)) = open.last_mut().filter(|_| may_be_key) {
                    *key = &after[..end];
                    if *key == "EventId" {
                        break;
                    }
                }
                may_be_key = false;
            }
            b'{' => open.push(Some("")),
            b'[' => open.push(None),
            b'}' | b']' => {
                open.pop()?;
            }
            _ => {}
        }
        may_be_key |= matches!(letter, b'{' | b',');
        may_be_key &= letter != b':';
    }
    open.pop();
    let steps: Vec<_> = open.iter().flatten().map(|key| step_of(key)).collect();
    (!steps.is_empty()).then(|| steps.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for good in ["raw_json", "data.events", "*.data", "a b.c-d"] {
            assert_eq!(good.parse::<EventsAt>().unwrap().to_string(), good);
        }
        for bad in ["", ".", ".a", "a.", "a..b", &["a"; 17].join(".")] {
            assert!(bad.parse::<EventsAt>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nested_events() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(guess_path(text).as_deref(), expected, "{text}");
        };
        check(r#"{"EventId":1}"#, None);
        check(r#"{"id":1}"#, None);
        check(r#"{"data":{"EventId":1}}"#, Some("data"));
        check(r#"{"id":7,"data":{"events":[{"EventId":1}]}}"#, Some("data.events"));
        check(r#"{"1337":{"posted":true,"data":{"EventId":1}}}"#, Some("*.data"));
        check(r#"{"raw_json":"{\"EventId\":1}"}"#, Some("raw_json"));
        check(r#"{"raw_json":"[{\"a\":{\"EventId\":1}}]"}"#, Some("raw_json.a"));
        check(r#"[{"data":{"EventId":1}}]"#, Some("data"));
        check(r#"[{"EventId":1}]"#, Some("*"));
        check(r#"[[{"EventId":1}],[]]"#, Some("*"));
        check(r#"[[{"data":{"EventId":1}}]]"#, Some("data"));
        check("[[1]]", None);
        check("[]", None);
        check(r#"{"text":"EventId"}"#, None);
        check(r#"{"a.b":{"EventId":1}}"#, Some("*"));
        check(r#"{"data":{"it's":[{"EventId":1}]}}"#, Some("data.*"));
        check(r#""EventId""#, None);
    }

    #[test]
    fn nested_events_of_beginnings() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(guess_path_of_beginning(text).as_deref(), expected, "{text}");
        };
        check(r#"{"EventId":1,"a":{"b":"#, None);
        check(r#"[{"EventId":1"#, None);
        check(
            r#"{"status":200,"data":{"n":[1,{"x":"},\""}],"events":[{"a":1,"EventId":1,"b":{"#,
            Some("data.events"),
        );
        check(r#"{"1058":{"posted":true,"data":{"BattleId":2,"EventId" : 1"#, Some("*.data"));
        check(r#"{"battle":{"id":1338},"raw_events":[{"EventId":"#, Some("raw_events"));
        check(r#"{"a.b":[{"EventId":"#, Some("*"));
        check(r#"{"a":"EventId","b":["EventId",{"c":"EventId""#, None);
        check(r#"{"a":{"Event"#, None);
        check("no JSON", None);
    }
}
