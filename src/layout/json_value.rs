//! Compares JSON texts by value, as `jsonb` does. The order of keys and the notation of strings and numbers do not
//! matter. The last of several equal keys counts.

use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// Whether two texts have the same value. Invalid JSON equals nothing.
pub(crate) fn is_equal(left: &[u8], right: &[u8]) -> bool {
    let parse = |text| serde_json::from_slice::<&RawValue>(text).ok().map(RawValue::get);
    parse(left).zip(parse(right)).is_some_and(|(left, right)| is_same_value(left, right))
}

/// Same as [`is_equal`], for values without surrounding white space.
fn is_same_value(left: &str, right: &str) -> bool {
    match (left.as_bytes().first(), right.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let (Some(left), Some(right)) = (object(left), object(right)) else { return false };
            left.len() == right.len()
                && left.iter().all(|(key, left)| {
                    right.get(key).is_some_and(|right| is_same_value(left.get(), right.get()))
                })
        }
        (Some(b'['), Some(b'[')) => {
            let (Some(left), Some(right)) = (array(left), array(right)) else { return false };
            left.len() == right.len()
                && left.iter().zip(&right).all(|(left, right)| is_same_value(left.get(), right.get()))
        }
        (Some(b'"'), Some(b'"')) => {
            left == right || string(left).is_some_and(|left| Some(left) == string(right))
        }
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => {
            left == right || Decimal::of(left) == Decimal::of(right)
        }
        _ => left == right,
    }
}

fn object(text: &str) -> Option<HashMap<Key<'_>, &RawValue>> {
    serde_json::from_str(text).ok()
}

fn array(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

fn string(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// A key, borrowed if it has no escapes.
#[derive(Debug, PartialEq, Eq, Hash, serde::Deserialize)]
struct Key<'t>(#[serde(borrow)] Cow<'t, str>);

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
            assert_eq!(is_equal(left.as_bytes(), right.as_bytes()), same, "{left} and {right}");
            assert_eq!(is_equal(right.as_bytes(), left.as_bytes()), same, "{right} and {left}");
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
}
