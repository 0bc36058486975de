//! Variables and options as text, and the values that they stand for.

use crate::database::TargetError;
use jiff::SignedDuration;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A value that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// An option or variable by itself.
    #[error("{place} is {value:?}: {wanted}")]
    Value {
        /// The option or the variable.
        place: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        wanted: String,
    },
    /// Where the database is.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Two variables name a database each.
    #[error(
        "KILLS_EMBEDDED and DATABASE_URL are both set, and only one database can be written; unset one of them"
    )]
    TwoDatabases,
    /// The file of variables can't be read.
    #[error("the file .env can't be read")]
    EnvFile(#[source] std::io::Error),
    /// The file of variables has a line that is not understood.
    #[error(
        "the file .env has a line that can't be understood; NAME=value is the form, in single quotes if it has \
         spaces or a $"
    )]
    EnvFileLine,
}

/// The variables of the process, or of a test.
#[derive(Clone, Copy)]
pub struct Environment<'e>(pub &'e dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The value of an option, else of a variable, parsed.
    pub(super) fn read<T>(
        &self,
        option: (&'static str, Option<&str>),
        variable: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingError> {
        let (place, value) = match (option.1, self.get(variable)) {
            (Some(value), _) => (option.0, value.to_owned()),
            (None, Some(value)) => (variable, value),
            (None, None) => return Ok(None),
        };
        match parse(value.trim()) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(wanted) => Err(SettingError::Value { place, value, wanted }),
        }
    }

    pub(super) fn variable<T>(
        &self,
        variable: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SettingError> {
        Ok(self.read(("", None), variable, parse)?.unwrap_or(default))
    }
}

pub(super) fn number<T: FromStr + PartialOrd + Display>(
    text: &str,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let wanted = || format!("a whole number from {} to {} is needed", range.start(), range.end());
    text.parse().ok().filter(|value| range.contains(value)).ok_or_else(wanted)
}

/// A bare number is milliseconds; else a number with a unit, such as `30s` or `5min`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || {
        "a time above zero is needed: milliseconds, or a number with a unit such as 30s or 5min".to_owned()
    };
    let parsed = if let Ok(milliseconds) = text.parse() {
        Duration::from_millis(milliseconds)
    } else {
        let signed: SignedDuration = text.parse().map_err(|_| wanted())?;
        signed.try_into().map_err(|_| wanted())?
    };
    // A year is more than anyone waits, and less than what the clocks can add up.
    if parsed.is_zero() || parsed > Duration::from_hours(365 * 24) {
        return Err(wanted());
    }
    Ok(parsed)
}

/// A bare number is bytes; else a number with one of the units KiB, MiB and GiB, of which `iB` may be left out.
pub(super) fn bytes(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let wanted = || format!("a size from {min} to {max} bytes is needed, such as 8388608 or 8MiB");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(wanted()),
    };
    let number: usize = number.parse().map_err(|_| wanted())?;
    let value = number.checked_mul(1 << shift).ok_or_else(wanted)?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(wanted()) }
}
