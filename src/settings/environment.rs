//! Variables and options as text, and the values that they stand for.

use crate::database::TargetError;
use jiff::SignedDuration;
use std::fmt::Display;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
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
    /// Whose events they are is not known.
    #[error(
        "the game server is required: ids of different servers collide, and the dump does not name its server\nhint: add \
         --server americas, --server europe or --server asia, or set ALBION_SERVER"
    )]
    ServerRequired,
    /// Where the database is.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Two variables name a database each.
    #[error(
        "KILLS_EMBEDDED and DATABASE_URL are both set, and only one database can be written; unset one of them"
    )]
    TwoDatabases,
    /// The file of variables can't be read.
    #[error("the file .env can't be read; make it a file in UTF-8 that this user may read, or take it away")]
    EnvFile(#[source] std::io::Error),
    /// The file of variables has a line that is not understood.
    #[error(
        "line {line} of the file .env can't be understood; NAME=value is the form, in single quotes if it has spaces, $ or #"
    )]
    EnvFileLine {
        /// Which, from 1.
        line: usize,
    },
    /// The address for pages is taken, or not this machine's.
    #[error("{address} can't be listened on; another address can be chosen by --listen, or KILLS_LISTEN")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The text of a variable is none.
    #[error("{name} is not UTF-8; write it anew, with characters beyond ASCII in UTF-8, or unset it")]
    NotText {
        /// The variable.
        name: String,
    },
}

/// What the program's own variables begin with, and libpq's.
const PREFIXES: [&str; 4] = ["KILLS_", "DATABASE_", "ALBION_", "PG"];

/// Refuses variables that would be passed over, as they are no text.
pub fn check() -> Result<(), SettingError> {
    let is_ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let wrong = std::env::vars_os().find_map(|(name, value)| {
        let name = name.to_str().filter(|name| is_ours(name))?;
        value.to_str().is_none().then(|| name.to_owned())
    });
    wrong.map_or(Ok(()), |name| Err(SettingError::NotText { name }))
}

/// Refuses a `RUST_LOG` of which the logger would pass over a part, or take a level for a module's name and tell nothing.
pub fn check_log(env: Environment<'_>) -> Result<(), SettingError> {
    let is_level = |word: &str| word.trim().parse::<log::LevelFilter>().is_ok();
    let is_module = |word: &str| word.trim().starts_with("aegis_kills") || word.contains("::");
    let parse = |text: &str| {
        let directives = text.split('/').next().unwrap_or_default();
        let fits = |directive: &str| match directive.split_once('=') {
            Some((module, level)) => !module.trim().is_empty() && is_level(level),
            None => directive.trim().is_empty() || is_level(directive) || is_module(directive),
        };
        let wanted =
            "off, error, warn, info, debug or trace is needed, or module=level, with commas between several";
        if directives.split(',').all(fits) { Ok(()) } else { Err(wanted.to_owned()) }
    };
    env.variable("RUST_LOG", (), parse)
}

/// Reads a file of variables, if it is there; the real environment wins over it. What a line holds is never told: it may
/// be a password.
pub fn read_file(path: &Path) -> Result<(), SettingError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(SettingError::EnvFile)?,
    };
    // No variable can hold one, and the library panics with the line's text.
    if let Some(at) = text.find('\0') {
        return Err(SettingError::EnvFileLine { line: text[..at].matches('\n').count() + 1 });
    }
    dotenvy::from_read(text.as_bytes()).map_err(|_| SettingError::EnvFileLine { line: wrong_line(&text) })
}

/// The line after all those that can be read together; a value in quotes may have several.
fn wrong_line(text: &str) -> usize {
    let text = text.trim_start_matches('\u{feff}');
    let ends = text.match_indices('\n').map(|(at, _)| at + 1);
    let reads = |end: &usize| dotenvy::from_read_iter(&text.as_bytes()[..*end]).all(|item| item.is_ok());
    let good = ends.enumerate().filter(|(_, end)| reads(end)).last();
    good.map_or(1, |(number, _)| number + 2)
}

/// The variables of the process, or of a test.
#[derive(Clone, Copy)]
pub struct Environment<'e>(pub &'e dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// The value of a variable that is set.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The value of an option, else of a variable, parsed.
    pub(super) fn read<T>(
        &self,
        option: (&'static str, Option<&str>),
        variable: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingError> {
        self.read_exactly(option, variable, |value| parse(value.trim()))
    }

    /// The same where spaces around the value are a part of it.
    pub(super) fn read_exactly<T>(
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
        match parse(&value) {
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
