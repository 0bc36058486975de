//! Variables and options as text, and the values that they stand for.

use crate::database::connect::error::TargetError;
use jiff::SignedDuration;
use std::fmt::Display;
use std::io;
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
    #[error("the file .env can't be read; make it a file that this user may read, or take it away")]
    EnvFile(#[source] std::io::Error),
    /// Another user could have written the file of variables.
    #[error("the file .env belongs to another user (id {uid}) and is not used; take it away, or run as root: chown \"$(id -u)\" .env", uid = uid)]
    EnvFileOwner {
        /// The owner.
        uid: u32,
    },
    /// Other users can write the file of variables.
    #[error(
        "other users can write the file .env (mode {mode:o}), and it is not used; to prevent that: chmod go-w .env"
    )]
    EnvFileMode {
        /// The permission bits.
        mode: u32,
    },
    /// The file of variables has a line with a setting that is not understood.
    #[error(
        "line {line} of the file .env can't be understood; NAME=value in UTF-8 is the form, in single quotes if it has spaces, $ or #"
    )]
    EnvFileLine {
        /// Which, from 1.
        line: usize,
    },
    /// The file of variables has a name that is nearly a setting.
    #[error("the file .env sets {name}, which is no setting; write {meant}, or take the line away")]
    Misspelled {
        /// The name.
        name: String,
        /// The setting that it was meant to be.
        meant: String,
    },
    /// The address for pages is taken, or not this machine's.
    #[error("{address} can't be listened on; another address can be chosen by --listen, or KILLS_LISTEN")]
    Listen {
        /// The address.
        address: String,
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
pub(crate) fn check() -> Result<(), SettingError> {
    let is_ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let wrong = std::env::vars_os().find_map(|(name, value)| {
        let name = name.to_str().filter(|name| is_ours(name))?;
        value.to_str().is_none().then(|| name.to_owned())
    });
    wrong.map_or(Ok(()), |name| Err(SettingError::NotText { name }))
}

/// Refuses a `RUST_LOG` of which the logger would pass over a part, or take a level for a module's name and tell nothing.
pub(crate) fn check_log(env: Environment<'_>) -> Result<(), SettingError> {
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

/// Variables whose spaces and quotes may be meant.
const EXACT: [&str; 3] = ["PGPASSWORD", "PGSSLPASSWORD", "PGOPTIONS"];

/// A value without white space around it, and without the one pair of quotes that `docker --env-file` leaves there. Files of
/// secrets end in a newline, and files of other systems in CR.
pub(crate) fn unwrapped(value: &str) -> &str {
    let value = value.trim();
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).map_or(value, str::trim)
}

/// A variable of the process. Without `HOME`, the home directory is that of the user database, as for libpq.
pub(crate) fn of_process(name: &str) -> Option<String> {
    let of_user = || {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten()?;
        user.dir.into_os_string().into_string().ok()
    };
    let value = std::env::var(name).ok();
    if name == "HOME" { value.filter(|home| !home.is_empty()).or_else(of_user) } else { value }
}

/// The variables of the process, or of a test.
#[derive(Clone, Copy)]
pub struct Environment<'e>(pub &'e dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// The value of a variable that is set, without white space and quotes around it. Passwords and options are as they were set.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?;
        let value = if EXACT.contains(&name) { value } else { unwrapped(&value).to_owned() };
        (!value.is_empty()).then_some(value)
    }

    /// The value of an option, else of a variable, parsed.
    pub(crate) fn read<T>(
        &self,
        option: (&'static str, Option<&str>),
        variable: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingError> {
        self.read_exactly(option, variable, |value| parse(value.trim()))
    }

    /// The same where spaces around an option's value are a part of it.
    pub(crate) fn read_exactly<T>(
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

    pub(crate) fn variable<T>(
        &self,
        variable: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SettingError> {
        Ok(self.read(("", None), variable, parse)?.unwrap_or(default))
    }
}

pub(crate) fn number<T: FromStr + PartialOrd + Display>(
    text: &str,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let wanted = || format!("a whole number from {} to {} is needed", range.start(), range.end());
    text.parse().ok().filter(|value| range.contains(value)).ok_or_else(wanted)
}

/// A bare number is milliseconds; else a number with a unit, such as `30s` or `5min`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
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
pub(crate) fn bytes(text: &str, min: usize, max: usize) -> Result<usize, String> {
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
