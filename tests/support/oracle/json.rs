//! Splits a line's bytes into its events as [`Value`]s.
//!
//! Invariant: `serde_json` decides what a line holds. If it rejects a line that a parser may accept (one that did not
//! look at the value in question), the line is corrected and read again as doubtful.

mod correct;

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::correct::{correct, string_length};

/// The maximum length of a line.
const LINE_MAX_BYTES: usize = 16 * 1024 * 1024;
/// It is not specified whether line end and byte order mark count.
const LINE_SLACK_BYTES: usize = 5;

/// The contents of a line.
pub(super) enum Line {
    /// White space: no event.
    Blank,
    /// Not JSON, or too long: one event, rejected.
    Rejected,
    /// One element, or those of an array.
    Json(Vec<Element>),
    /// As `Json`, but only after corrections: a lone surrogate became a NUL, a number out of range `false`, and a value
    /// that is too deep `null`. Rejecting the line is right. Loading it is right too if none of these is stored.
    Doubtful { elements: Vec<Element>, why: &'static str },
}

/// A value that should be an event.
pub(super) struct Element {
    /// Its index in the line's array, if it came in one.
    pub(super) index: Option<u64>,
    pub(super) value: Value,
    /// The paths of duplicate keys that the layout knows.
    pub(super) duplicates: Vec<String>,
}

/// The contents of `line`, which has no line feed.
pub(super) fn read_line(line: &[u8]) -> Line {
    let text = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    if line.len() > LINE_MAX_BYTES + LINE_SLACK_BYTES {
        return Line::Rejected;
    }
    if text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
        return Line::Blank;
    }
    let is_at_limit = line.len() + LINE_SLACK_BYTES > LINE_MAX_BYTES;
    match parse(text) {
        Some(elements) if is_at_limit => Line::Doubtful { elements, why: "a line as long as the limit" },
        Some(elements) => Line::Json(elements),
        None => correct(text)
            .and_then(|(corrected, why)| {
                let elements = parse(&corrected)?;
                Some(Line::Doubtful { elements, why })
            })
            .unwrap_or(Line::Rejected),
    }
}

/// The first value of a text with several, and the text after it without commas and white space.
pub(super) fn first_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (value, rest) = text.split_at(values.byte_offset());
    // A number, a word or a string ends only at white space.
    let is_bracketed = value.trim_ascii_start().first().is_some_and(|first| b"{[".contains(first));
    if !is_bracketed && !rest.first().is_none_or(u8::is_ascii_whitespace) {
        return None;
    }
    if is_closed_early(value, rest) {
        return None;
    }
    let between = rest.iter().take_while(|byte| b" \t\r\x1e".contains(byte)).count();
    let mut rest = &rest[between..];
    // A comma may end a line.
    if rest.trim_ascii() == b"," {
        return Some((value, b""));
    }
    // Files with byte order marks may have been joined.
    while let Some(after) = rest.strip_prefix(b"\xEF\xBB\xBF") {
        rest = after;
    }
    Some((value, rest))
}

/// Whether a comma, a key and a colon follow an object, which had a brace too many.
fn is_closed_early(value: &[u8], rest: &[u8]) -> bool {
    let key = || {
        let key = rest.trim_ascii_start().strip_prefix(b",")?.trim_ascii_start();
        let length = key.starts_with(b"\"").then(|| string_length(key))??;
        key.get(length..)?.trim_ascii_start().first()
    };
    value.trim_ascii_start().starts_with(b"{") && key() == Some(&b':')
}

/// The elements of an array before the first one that is invalid JSON, and why they are doubtful, if they are. None if the
/// text does not begin with an array.
pub(super) fn elements_before_fault(text: &[u8]) -> Option<(Vec<Element>, Option<&'static str>)> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut rest = text.trim_ascii_start().strip_prefix(b"[")?;
    let (mut elements, mut doubt) = (Vec::new(), None);
    loop {
        // What follows a value directly is the next element.
        rest = rest.trim_ascii_start();
        let Ok(value) = <&RawValue>::deserialize(&mut serde_json::Deserializer::from_slice(rest)) else {
            return Some((elements, doubt));
        };
        let (value, after) = rest.split_at(value.get().len());
        if is_closed_early(value, after) {
            return Some((elements, doubt));
        }
        // In an array, as the depth counts.
        let mut found = match read_line(&[b"[", value, b"]"].concat()) {
            Line::Json(found) => found,
            Line::Doubtful { elements: found, why } => {
                doubt = Some(why);
                found
            }
            Line::Blank | Line::Rejected => Vec::new(),
        };
        let Some(element) = found.pop() else { return Some((elements, doubt)) };
        elements.push(Element { index: Some(elements.len() as u64), ..element });
        match after.trim_ascii_start().strip_prefix(b",") {
            Some(after) => rest = after,
            None => return Some((elements, doubt)),
        }
    }
}

fn parse(text: &[u8]) -> Option<Vec<Element>> {
    let mut path = String::new();
    let mut duplicates = Vec::new();
    let node = Node { shape: Shape::Line, path: &mut path, duplicates: &mut duplicates };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = node.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;

    let Value::Array(values) = value else {
        return Some(vec![Element { index: None, value, duplicates }]);
    };
    let elements = (0..).zip(values).map(|(index, value)| {
        let prefix = format!("[{index}].");
        Element {
            index: Some(index),
            value,
            duplicates: duplicates
                .iter()
                .filter_map(|path| path.strip_prefix(&prefix).map(str::to_owned))
                .collect(),
        }
    });
    Some(elements.collect())
}

/// The layout's knowledge of a place in the document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Line,
    Event,
    Players,
    Player,
    Victim,
    Equipment,
    Inventory,
    Item,
    /// A value of a known key whose contents no rule covers.
    Leaf,
    /// A value that is stored unchanged as a whole.
    Document,
    Unknown,
}

impl Shape {
    fn of_elements(self) -> Self {
        match self {
            Self::Line => Self::Event,
            Self::Players => Self::Player,
            Self::Inventory => Self::Item,
            Self::Document => Self::Document,
            _ => Self::Unknown,
        }
    }

    fn of_key(self, key: &str) -> Self {
        match (self, key) {
            (Self::Line | Self::Event, "Killer") => Self::Player,
            (Self::Line | Self::Event, "Victim") => Self::Victim,
            (Self::Line | Self::Event, "Participants" | "GroupMembers") => Self::Players,
            (
                Self::Line | Self::Event,
                "EventId"
                | "TimeStamp"
                | "TotalVictimKillFame"
                | "BattleId"
                | "numberOfParticipants"
                | "groupMemberCount"
                | "KillArea"
                | "Category"
                | "Type"
                | "Location"
                | "Version",
            )
            | (
                Self::Player | Self::Victim,
                "Id" | "Name" | "GuildId" | "GuildName" | "AllianceId" | "AllianceName" | "AverageItemPower"
                | "KillFame" | "DeathFame" | "DamageDone" | "SupportHealingDone",
            )
            | (Self::Player, "Inventory")
            | (Self::Item, "Type" | "Quality" | "Count") => Self::Leaf,
            (Self::Line | Self::Event, "GvGMatch") | (Self::Item, "LegendarySoul") | (Self::Document, _) => {
                Self::Document
            }
            (Self::Player | Self::Victim, "Equipment") => Self::Equipment,
            (Self::Victim, "Inventory") => Self::Inventory,
            (
                Self::Equipment,
                "MainHand" | "OffHand" | "Head" | "Armor" | "Shoes" | "Bag" | "Cape" | "Mount" | "Potion"
                | "Food",
            ) => Self::Item,
            _ => Self::Unknown,
        }
    }
}

/// Builds the [`Value`] of one place. The last of duplicate keys wins, and duplicates that the layout knows are recorded.
struct Node<'a> {
    shape: Shape,
    path: &'a mut String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        let length = self.path.len();
        loop {
            let index = values.len();
            write!(self.path, "[{index}]").map_err(A::Error::custom)?;
            let node = Node { shape: self.shape.of_elements(), path: self.path, duplicates: self.duplicates };
            let value = seq.next_element_seed(node)?;
            self.path.truncate(length);
            match value {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        let length = self.path.len();
        while let Some(key) = map.next_key::<String>()? {
            let shape = self.shape.of_key(&key);
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(&key);
            // A database may check the overridden value in a document, although it stores the other.
            let is_known = match self.shape {
                Shape::Document => values.get(&key).is_some_and(holds_nul),
                _ => values.contains_key(&key) && shape != Shape::Unknown,
            };
            if is_known {
                self.duplicates.push(path_of_document(self.path).to_owned());
            }
            let node = Node { shape, path: self.path, duplicates: self.duplicates };
            let value = map.next_value_seed(node)?;
            values.insert(key, value);
            self.path.truncate(length);
        }
        Ok(Value::Object(values))
    }
}

/// The path of the document that a path leads into, or the path itself.
fn path_of_document(path: &str) -> &str {
    let ends = ["LegendarySoul", "GvGMatch"].map(|name| path.find(name).map(|start| start + name.len()));
    &path[..ends.into_iter().flatten().min().unwrap_or(path.len())]
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
