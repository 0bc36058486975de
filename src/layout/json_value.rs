//! Compares JSON texts by value, as `jsonb` does. The order of keys and the notation of strings and numbers do not
//! matter. The last of several equal keys counts.

use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The first difference between two values: its place in them, such as `.traits[2].value`, and the texts there. A text is
/// `None` where one of them has no such part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JsonDifference<'t> {
    pub(crate) path: String,
    pub(crate) stored: Option<&'t str>,
    pub(crate) expected: Option<&'t str>,
}

impl JsonDifference<'_> {
    /// The same difference in the value that has this one at `place`.
    fn within(self, place: &str) -> Self {
        Self { path: format!("{place}{}", self.path), ..self }
    }
}

/// The first difference between two texts, if their values differ. Invalid JSON differs from everything.
pub(crate) fn first_difference<'t>(stored: &'t [u8], expected: &'t [u8]) -> Option<JsonDifference<'t>> {
    let parse = |text| serde_json::from_slice::<&RawValue>(text).ok().map(RawValue::get);
    match (parse(stored), parse(expected)) {
        (None, None) => Some(JsonDifference { path: String::new(), stored: None, expected: None }),
        (stored, expected) => difference_of_parts(stored, expected),
    }
}

/// Same as [`first_difference`], for values without surrounding white space. At least one of them is present.
fn difference_of_parts<'t>(stored: Option<&'t str>, expected: Option<&'t str>) -> Option<JsonDifference<'t>> {
    let here = || Some(JsonDifference { path: String::new(), stored, expected });
    let (Some(left), Some(right)) = (stored, expected) else { return here() };
    let is_same = match (left.as_bytes().first(), right.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let (Some(left), Some(right)) = (object(left), object(right)) else { return here() };
            let mut keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            return keys.find_map(|key| {
                let found = difference_of_parts(text(left.get(key)), text(right.get(key)))?;
                Some(found.within(&key.place()))
            });
        }
        (Some(b'['), Some(b'[')) => {
            let (Some(left), Some(right)) = (array(left), array(right)) else { return here() };
            let mut indexes = 0..left.len().max(right.len());
            return indexes.find_map(|index| {
                let found = difference_of_parts(text(left.get(index)), text(right.get(index)))?;
                Some(found.within(&format!("[{index}]")))
            });
        }
        (Some(b'"'), Some(b'"')) => {
            left == right || string(left).is_some_and(|left| Some(left) == string(right))
        }
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => {
            left == right || Decimal::of(left) == Decimal::of(right)
        }
        _ => left == right,
    };
    if is_same { None } else { here() }
}

fn object(text: &str) -> Option<BTreeMap<Key<'_>, &RawValue>> {
    serde_json::from_str(text).ok()
}

fn array(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

fn text<'t>(part: Option<&&'t RawValue>) -> Option<&'t str> {
    part.copied().map(RawValue::get)
}

fn string(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// A key, borrowed if it has no escapes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
struct Key<'t>(#[serde(borrow)] Cow<'t, str>);

impl Key<'_> {
    /// The place of its value in the object.
    fn place(&self) -> String {
        let is_plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
        if self.0.chars().all(is_plain) { format!(".{}", self.0) } else { format!("[{:?}]", self.0) }
    }
}

/// A number: its digits without leading and trailing zeros, and the power of ten of the last digit.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Parses a JSON number.
    fn of(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(mantissa) => (true, mantissa),
            None => (false, mantissa),
        };
        let fraction_digits = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let mut digits: Vec<u8> =
            mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').collect();
        let mut exponent = exponent.trim_start_matches('+').parse::<i64>().unwrap_or(i64::MAX / 2)
            - i64::try_from(fraction_digits).unwrap_or(i64::MAX / 2);
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent += 1;
        }
        if digits.is_empty() {
            return Self { negative: false, digits, exponent: 0 };
        }
        Self { negative, digits, exponent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let check = |left: &str, right: &str, same: bool| {
            let is_equal =
                |left: &str, right: &str| first_difference(left.as_bytes(), right.as_bytes()).is_none();
            assert_eq!(is_equal(left, right), same, "{left} and {right}");
            assert_eq!(is_equal(right, left), same, "{right} and {left}");
        };
        for same in ["1", "-0.5", "\"a\"", "null", "true", "[]", "{}", "[1, {\"a\": []}]"] {
            check(same, same, true);
        }
        check("1e2", "100", true);
        check("1.50", "1.5", true);
        check("-0", "0.00", true);
        check("0.001", "1E-3", true);
        check("12", "1.2e+1", true);
        check("12", "-12", false);
        check("12", "120", false);
        check("0.1", "0.10000000000000000001", false);
        check("9007199254740993", "9007199254740992", false);
        check(r#""\u0041\/""#, r#""A/""#, true);
        check(r#"{"a":1,"b":2}"#, r#"{ "b": 2, "a": 1 }"#, true);
        check(r#"{"a":1,"a":2}"#, r#"{"a": 2}"#, true);
        check(r#"{"\u0061":1}"#, r#"{"a": 1}"#, true);
        check(r#"{"a":1}"#, r#"{"a": 1, "b": null}"#, false);
        check("[1,2]", "[2, 1]", false);
        check("\"1\"", "1", false);
        check("null", "false", false);
        check("{", "{", false);
    }

    #[test]
    fn the_first_difference_has_its_place() {
        for (stored, expected, place, parts) in [
            ("1", "[1]", "", (Some("1"), Some("[1]"))),
            (r#"{"b": 1, "a": 2}"#, r#"{"a":3,"b":4}"#, ".a", (Some("2"), Some("3"))),
            (
                r#"{"a": [1, {"b": "x"}]}"#,
                r#"{"a":[1,{"b":"y"}]}"#,
                ".a[1].b",
                (Some(r#""x""#), Some(r#""y""#)),
            ),
            (r#"{"a": [1]}"#, r#"{"a":[1,[]]}"#, ".a[1]", (None, Some("[]"))),
            (r#"{"a": 1, "é.x": {}}"#, r#"{"a":1}"#, r#"["é.x"]"#, (Some("{}"), None)),
            (r#"{"a": 1}"#, r#"{"b":2,"a":1}"#, ".b", (None, Some("2"))),
        ] {
            let difference = JsonDifference { path: place.to_owned(), stored: parts.0, expected: parts.1 };
            assert_eq!(first_difference(stored.as_bytes(), expected.as_bytes()), Some(difference));
        }
    }
}
