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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathStep {
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

    /// Returns a filter of `jq` for the strings that the first `done` steps lead to. If steps remain, it prints the envelope
    /// around the contents of each.
    pub(crate) fn jq_filter(&self, done: usize, is_in_array: bool) -> String {
        let walked = &self.steps[..done.min(self.steps.len())];
        let mut filter = match walked.last() {
            // An array can be at any place of the path, also at its end.
            Some(PathStep::Member(name)) if is_in_array => {
                format!(".. | .[{}]? | ., arrays[] | strings", Value::from(name.as_str()))
            }
            _ if is_in_array => ".. | strings".to_owned(),
            _ => walked.iter().fold(String::new(), |filter, step| match step {
                PathStep::Member(name) if is_identifier(name) => format!("{filter}.{name}"),
                PathStep::Member(name) if filter.is_empty() => format!(".[{}]", Value::from(name.as_str())),
                PathStep::Member(name) => format!("{filter}[{}]", Value::from(name.as_str())),
                PathStep::Each if filter.is_empty() => ".[]".to_owned(),
                PathStep::Each => format!("{filter}[]"),
            }),
        };
        if !is_in_array && walked.last() == Some(&PathStep::Each) {
            filter += " | strings";
        }
        if walked.len() < self.steps.len() {
            let beginning: String = walked.iter().map(PathStep::opening).collect();
            let literal = Value::from(beginning).to_string();
            let (end, braces) = (literal.len() - 1, "}".repeat(walked.len()));
            filter = format!("{filter} | {}\\(.){braces}\"", &literal[..end]);
        }
        filter
    }

    /// Returns the path without its last `left` steps, then `path`.
    pub(crate) fn extended(&self, left: usize, path: &str) -> String {
        let walked = self.steps.len().saturating_sub(left);
        self.path.split('.').take(walked).chain([path]).collect::<Vec<_>>().join(".")
    }
}

fn is_identifier(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    name.starts_with(is_letter) && name.chars().all(|letter| is_letter(letter) || letter.is_ascii_digit())
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

fn step_of(key: &str) -> String {
    let is_number = key.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '$' | '@');
    // In a dictionary by id, the keys differ from value to value. A path cannot name a key with a dot. One that begins with a
    // hyphen would be read as an option.
    let is_each = is_number || key.starts_with('-') || !key.chars().all(is_plain);
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
    let steps = steps_of_beginning(text, true)?;
    (!steps.is_empty()).then(|| steps.join("."))
}

/// Returns the steps to the first event in the beginning of a JSON value, also in strings if `may_decode`.
fn steps_of_beginning(text: &str, may_decode: bool) -> Option<Vec<String>> {
    // For each open bracket: the key of the current member, or none in an array.
    let mut open: Vec<Option<&str>> = Vec::new();
    let (mut rest, mut may_be_key) = (text, false);
    loop {
        let at = rest.find(['"', '{', '[', '}', ']', ',', ':'])?;
        let (letter, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        match letter {
            b'"' => {
                let end = string_len(after);
                let is_key = may_be_key && matches!(open.last(), Some(Some(_)));
                if may_decode && !is_key && open.iter().any(Option::is_some) {
                    let inner = steps_in_string(&after[..end.unwrap_or(after.len())]);
                    if let Some(inner) = inner {
                        return Some(steps_of_keys(&open).chain(inner).collect());
                    }
                }
                let end = end?;
                rest = after.get(end + 1..)?;
                if let Some(Some(key)) = open.last_mut().filter(|_| is_key) {
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
    Some(steps_of_keys(&open).collect())
}

fn steps_of_keys(open: &[Option<&str>]) -> impl Iterator<Item = String> {
    open.iter().flatten().map(|key| step_of(key))
}

/// Returns the length of a string without its quotes from the text after the first one. None if the text ends in it.
fn string_len(text: &str) -> Option<usize> {
    let mut end = 0;
    while *text.as_bytes().get(end)? != b'"' {
        end += if text.as_bytes()[end] == b'\\' { 2 } else { 1 };
    }
    Some(end)
}

/// Returns the steps to the first event in a string that contains JSON. The string may be cut off.
fn steps_in_string(text: &str) -> Option<Vec<String>> {
    if !text.starts_with(['{', '[', ' ', '\\']) {
        return None;
    }
    let (mut inner, mut letters) = (String::with_capacity(text.len()), text.chars());
    while let Some(letter) = letters.next() {
        inner.push(match letter {
            // Other escapes stand for white space, or for characters that no step needs.
            '\\' => letters.next().filter(|escaped| "\"\\/".contains(*escaped)).unwrap_or(' '),
            other => other,
        });
    }
    if inner.trim_start().starts_with(['{', '[']) { steps_of_beginning(&inner, false) } else { None }
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
    fn filters_of_jq() {
        let check = |path: &str, done, is_in_array, expected: &str| {
            assert_eq!(path.parse::<EventsAt>().unwrap().jq_filter(done, is_in_array), expected);
        };
        check("body", 1, false, ".body");
        check("a.b c.d", 3, false, ".a[\"b c\"].d");
        check("b-c.d", 2, false, ".[\"b-c\"].d");
        check("*", 1, false, ".[] | strings");
        check("*.data", 2, false, ".[].data");
        check("a.*", 2, false, ".a[] | strings");
        check("rows.raw", 2, true, ".. | .[\"raw\"]? | ., arrays[] | strings");
        check("body.events", 1, false, r#".body | "{\"body\":\(.)}""#);
        check("a.b.c", 2, false, r#".a.b | "{\"a\":{\"b\":\(.)}}""#);
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
        check(r#"{"rows":["{\"EventId\":1}","{\"EventId\":2}"]}"#, Some("rows"));
        check(r#"[{"data":{"EventId":1}}]"#, Some("data"));
        check(r#"[{"EventId":1}]"#, Some("*"));
        check(r#"[[{"EventId":1}],[]]"#, Some("*"));
        check(r#"[[{"data":{"EventId":1}}]]"#, Some("data"));
        check("[[1]]", None);
        check("[]", None);
        check(r#"{"text":"EventId"}"#, None);
        check(r#"{"a.b":{"EventId":1}}"#, Some("*"));
        check(r#"{"--rejects":{"a-b":{"EventId":1}}}"#, Some("*.a-b"));
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
        check(r#"{"rows":[{"id":1,"raw":"{\"a\":1,\"EventId\":2"#, Some("rows.raw"));
        check(r#"{"body":"[\n {\"data\":{\"x\":\"\\\"\",\"EventId\":2}}]","c":1"#, Some("body.data"));
        check(r#"{"note":"{x}","text":"EventId","b":{"EventId":"#, Some("b"));
        check(r#"{"a":{"n":"{}","b":[1,"x","{\"EventId\":1}"#, Some("a.b"));
        // Only one level of strings is read as JSON, and none in an array at the top.
        check(r#"["{\"EventId\":1}"#, None);
        check(r#"{"a":"{\"b\":\"{\\\"EventId\\\":1}\"}"#, None);
        check("no JSON", None);
    }
}
