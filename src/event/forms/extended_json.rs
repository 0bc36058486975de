//! `MongoDB` Extended JSON: objects such as `{"$numberLong":"123"}` in place of a number or a time.

use crate::event::fault::FaultKind;
use crate::event::json::{Cursor, Parsed};

/// 9999-12-31T23:59:59.999Z, in milliseconds since 1970.
const DATE_MAX_MS: i64 = 253_402_300_799_999;

/// 0001-01-01T00:00:00Z, in milliseconds since 1970.
const DATE_MIN_MS: i64 = -62_135_596_800_000;

/// A number as `mongoexport` writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ExtendedNumber {
    /// `$numberLong`, `$numberInt`, and `$numberDecimal` with a whole number.
    Integer(i64),
    /// `$numberDouble`, and `$numberDecimal` with a fraction or an exponent.
    Float(f64),
}

/// An instant as `mongoexport` writes it.
#[derive(Debug, PartialEq)]
pub(crate) enum ExtendedDate {
    /// `{"$date":"2024-08-18T20:45:46.725Z"}`, in old versions with the offset `+0000`
    Text(String),
    /// `{"$date":{"$numberLong":"1724013946725"}}`, or a plain number as in old versions: milliseconds since 1970.
    Milliseconds(i64),
}

/// Parses the object at the cursor. For any other object, returns `None` and does not move the cursor.
pub(crate) fn number(cursor: &mut Cursor<'_>) -> Parsed<Option<ExtendedNumber>> {
    read_only_member(cursor, |cursor, key| {
        if !matches!(key, "$numberLong" | "$numberInt" | "$numberDouble" | "$numberDecimal") {
            return Ok(None);
        }
        let text = cursor.text()?.unwrap_or_default();
        let integer = || text.parse().ok().map(ExtendedNumber::Integer);
        let float = || text.parse().ok().filter(|value: &f64| value.is_finite()).map(ExtendedNumber::Float);
        let number = match key {
            "$numberDouble" => float(),
            "$numberDecimal" => integer().or_else(float),
            _ => integer(),
        };
        number.map(Some).ok_or_else(|| FaultKind::ExtendedNumber(key.to_owned()).into())
    })
}

/// Same as [`number`], for an instant.
pub(crate) fn date(cursor: &mut Cursor<'_>) -> Parsed<Option<ExtendedDate>> {
    read_only_member(cursor, |cursor, key| {
        if key != "$date" {
            return Ok(None);
        }
        if cursor.peek() == Some(b'"') {
            let text = cursor.text()?.unwrap_or_default();
            return Ok(Some(ExtendedDate::Text(with_colon(&text))));
        }
        let milliseconds = cursor.integer()?.unwrap_or(i64::MIN);
        if !(DATE_MIN_MS..=DATE_MAX_MS).contains(&milliseconds) {
            return Err(FaultKind::ExtendedDate.into());
        }
        Ok(Some(ExtendedDate::Milliseconds(milliseconds)))
    })
}

/// Returns a time with a colon in its offset. Old versions of `mongoexport` write `+0000`.
fn with_colon(time: &str) -> String {
    let parts = time.len().checked_sub("+0000".len()).and_then(|at| time.split_at_checked(at));
    match parts {
        Some((civil, offset))
            if offset.starts_with(['+', '-']) && offset[1..].bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            format!("{civil}{}:{}", &offset[..3], &offset[3..])
        }
        _ => time.to_owned(),
    }
}

/// Parses an object with exactly one member, if `read` returns a value for it.
fn read_only_member<'a, T>(
    cursor: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>, &str) -> Parsed<Option<T>>,
) -> Parsed<Option<T>> {
    let place = cursor.place();
    let Some(key) = cursor.first_key()? else {
        cursor.return_to(place);
        return Ok(None);
    };
    if let Some(value) = read(cursor, &key)?
        && cursor.ends_object()?
    {
        return Ok(Some(value));
    }
    cursor.return_to(place);
    Ok(None)
}
