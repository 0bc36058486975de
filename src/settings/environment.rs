//! Reads and parses variables and options.

use crate::conceal::shown;
use crate::database::connect::error::TargetError;
use crate::database::connect::parameters::is_never_empty;
use crate::event::server::Server;
use jiff::SignedDuration;
use std::fmt::Display;
use std::io;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    #[error("invalid value '{}' for '{place}' ({wanted})", shown(value))]
    Value { place: &'static str, value: String, wanted: String },
    #[error(
        "the game server is required: ids of different servers collide, and the dump does not name its server\nhint: add \
         {}, or set ALBION_SERVER",
        server_options()
    )]
    ServerRequired,
    /// The server is named, but the option that leads to it is missing.
    #[error(
        "the game server is required: ids of different servers collide, and no event at the top level names its server\nhint: an \
         event that names its server seems to be at '{events_at}': add --events-at '{events_at}'"
    )]
    ServerInEnvelope { events_at: String },
    #[error(
        "the game server is required: --before deletes the events of one server\nhint: add {}, or set ALBION_SERVER",
        server_options()
    )]
    ServerOfOldEvents,
    /// An invalid database URL or variable.
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(
        "KILLS_EMBEDDED and DATABASE_URL are both set, but a command uses one database\nhint: unset one of them"
    )]
    TwoDatabases,
    #[error("cannot read the file .env\nhint: make it readable for this user, or remove it")]
    EnvFile(#[source] std::io::Error),
    #[error("the file .env belongs to another user (id {uid}) and is not used\nhint: remove it, or run as root: chown \"$(id -u)\" .env", uid = uid)]
    EnvFileOwner { uid: u32 },
    #[error(
        "other users can write the file .env (mode {mode:o}), so it is not used\nhint: run: chmod go-w .env"
    )]
    EnvFileMode { mode: u32 },
    #[error(
        "line {line} of the file .env is invalid\nhint: write NAME=value in UTF-8, with the value in single quotes if it has spaces, $ or #"
    )]
    EnvFileLine { line: usize },
    #[error("the file .env sets {name}, which is not a setting\nhint: write {meant}, or remove the line")]
    Misspelled { name: String, meant: String },
    #[error("cannot listen on {address}\nhint: choose another address with --listen or KILLS_LISTEN")]
    Listen { address: String, source: io::Error },
    #[error("{name} is not UTF-8\nhint: set it in UTF-8, or unset it")]
    NotText { name: String },
}

/// The possible options for the game server, as in "--server a, --server b or --server c".
fn server_options() -> String {
    let [others @ .., last] = Server::ALL.map(|server| format!("--server {server}"));
    format!("{} or {last}", others.join(", "))
}

/// The prefixes of the program's variables and of libpq's.
const PREFIXES: [&str; 4] = ["KILLS_", "DATABASE_", "ALBION_", "PG"];

/// Rejects variables that are not UTF-8. They would be ignored otherwise.
pub(crate) fn check() -> Result<(), SettingError> {
    let is_ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let wrong = std::env::vars_os().find_map(|(name, value)| {
        let name = name.to_str().filter(|name| is_ours(name))?;
        value.to_str().is_none().then(|| name.to_owned())
    });
    wrong.map_or(Ok(()), |name| Err(SettingError::NotText { name }))
}

/// Rejects an invalid `RUST_LOG`. The logger would ignore a part of it, or take a misspelled level for a module name and log
/// nothing.
pub(crate) fn check_log(env: Environment<'_>) -> Result<(), SettingError> {
    let is_level = |word: &str| word.trim().parse::<log::LevelFilter>().is_ok();
    let is_module = |word: &str| word.trim().starts_with("aegis_kills") || word.contains("::");
    let parse = |text: &str| {
        let directives = text.split('/').next().unwrap_or_default();
        let fits = |directive: &str| match directive.split_once('=') {
            Some((module, level)) => !module.trim().is_empty() && is_level(level),
            None => directive.trim().is_empty() || is_level(directive) || is_module(directive),
        };
        let wanted = "expected off, error, warn, info, debug or trace, or module=level, separated by commas";
        // One `/` may precede a text to search for.
        let is_one_filter = text.matches('/').count() <= 1;
        if is_one_filter && directives.split(',').all(fits) { Ok(()) } else { Err(wanted.to_owned()) }
    };
    env.variable("RUST_LOG", (), parse)
}

/// Variables in which spaces and quotes can be intended.
const EXACT: [&str; 3] = ["PGPASSWORD", "PGSSLPASSWORD", "PGOPTIONS"];

/// Removes white space and one pair of quotes around a value. `docker --env-file` keeps quotes, secret files end with a
/// newline, and files of other systems with CR.
pub(crate) fn unwrapped(value: &str) -> &str {
    let value = value.trim();
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).map_or(value, str::trim)
}

/// A variable of the process. If `HOME` is unset, the user database has the home directory, as for libpq.
pub(crate) fn of_process(name: &str) -> Option<String> {
    let of_user = || {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten()?;
        user.dir.into_os_string().into_string().ok()
    };
    let value = std::env::var(name).ok();
    if name == "HOME" { value.filter(|home| !home.is_empty()).or_else(of_user) } else { value }
}

/// In place of the variable of an option that has none.
pub(crate) const NO_VARIABLE: &str = "";

/// The variables of the process, or of a test.
#[derive(Clone, Copy)]
pub struct Environment<'e>(pub &'e dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// The value of a variable, without white space and quotes around it, except for passwords and options. It is concealed
    /// if it is a connection string in the wrong place. An empty variable counts as unset, unless libpq rejects it.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = (self.0)(name)?;
        let value = match name {
            _ if EXACT.contains(&name) => value,
            "DATABASE_URL" | "KILLS_EVENTS_AT" => unwrapped(&value).to_owned(),
            _ => shown(unwrapped(&value)).into_owned(),
        };
        (!value.is_empty() || is_never_empty(name)).then_some(value)
    }

    /// Parses the value of an option, else of a variable, if the option has one.
    pub(crate) fn read<T>(
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
    let wanted = || format!("expected a whole number from {} to {}", range.start(), range.end());
    text.parse().ok().filter(|value| range.contains(value)).ok_or_else(wanted)
}

/// Parses a duration: a number of milliseconds, or a number with a unit such as `30s` or `5min`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wanted =
        || "expected a time above zero: milliseconds, or a number with a unit such as 30s or 5min".to_owned();
    let parsed = if let Ok(milliseconds) = text.parse() {
        Duration::from_millis(milliseconds)
    } else {
        let signed: SignedDuration = text.parse().map_err(|_| wanted())?;
        signed.try_into().map_err(|_| wanted())?
    };
    // A year is a sensible maximum, and adding it to a clock cannot overflow.
    if parsed.is_zero() || parsed > Duration::from_hours(365 * 24) {
        return Err(wanted());
    }
    Ok(parsed)
}

/// Parses a size: a number of bytes, or a number with the unit KiB, MiB or GiB. `iB` is optional.
pub(crate) fn bytes(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let wanted = || format!("expected a size from {min} to {max} bytes, such as 8388608 or 8MiB");
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
