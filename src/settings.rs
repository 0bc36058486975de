//! From what was typed and set to what the parts need: every value is checked here, before anything is done.
//!
//! An option wins over a variable, a variable over the default. A variable that is empty counts as not set.

use crate::cli::{DatabaseArgs, EventArgs, LoadArgs, SchemaArgs, VerifyArgs};
use crate::database::{Held, PoolSettings, RetryPolicy, Target, TargetError, from_url, from_variables};
use crate::input::{SegmentLimits, Source};
use crate::kill::{NulPolicy, Server};
use crate::layout::Layout;
use crate::pipeline::{PipelineSettings, RejectLimit};
use jiff::SignedDuration;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
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
}

/// The variables of the process, or of a test.
#[derive(Clone, Copy)]
pub struct Environment<'e>(pub &'e dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The value of an option, else of a variable, parsed.
    fn read<T>(
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

    fn variable<T>(
        &self,
        variable: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SettingError> {
        Ok(self.read(("", None), variable, parse)?.unwrap_or(default))
    }
}

/// Where the database is, and how it is spoken to.
#[derive(Debug)]
pub struct DatabaseSettings {
    /// The server.
    pub place: DatabasePlace,
    /// The PostgreSQL schema, where it is set.
    schema: Option<String>,
    /// The pool.
    pub pool: PoolSettings,
}

/// A server of the user's, or a private one.
#[derive(Debug)]
pub enum DatabasePlace {
    /// Somewhere.
    Target(Box<Target>),
    /// In a folder.
    Embedded(PathBuf),
}

impl DatabaseSettings {
    /// Reads options and variables.
    pub fn new(args: &DatabaseArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        Ok(Self { place: place(args, env)?, schema: schema_name(args, env)?, pool: pool(env)? })
    }

    /// The PostgreSQL schema: what is set, else what the URL says, else `public`.
    pub fn schema(&self) -> &str {
        let of_url = match &self.place {
            DatabasePlace::Target(target) => target.schema.as_deref(),
            DatabasePlace::Embedded(_) => None,
        };
        self.schema.as_deref().or(of_url).unwrap_or(DEFAULT_SCHEMA)
    }
}

fn place(args: &DatabaseArgs, env: Environment<'_>) -> Result<DatabasePlace, SettingError> {
    let target = |url: &str| -> Result<DatabasePlace, SettingError> {
        Ok(DatabasePlace::Target(Box::new(from_url(url)?)))
    };
    if let Some(url) = &args.database_url {
        return target(url);
    }
    if let Some(dir) = args.embedded.clone().or_else(|| env.get("KILLS_EMBEDDED").map(PathBuf::from)) {
        return Ok(DatabasePlace::Embedded(dir));
    }
    if let Some(url) = env.get("DATABASE_URL") {
        return target(&url);
    }
    match from_variables(|name| env.get(name))? {
        Some(target) => Ok(DatabasePlace::Target(Box::new(target))),
        None => Err(TargetError::Missing.into()),
    }
}

fn pool(env: Environment<'_>) -> Result<PoolSettings, SettingError> {
    let max = env.variable("DATABASE_POOL_MAX", 10, |text| number(text, 1..=1000))?;
    let min = env.variable("DATABASE_POOL_MIN", 2.min(max), |text| number(text, 1..=1000))?;
    if min > max {
        return Err(SettingError::Value {
            place: "DATABASE_POOL_MIN",
            value: min.to_string(),
            wanted: format!("at most DATABASE_POOL_MAX, which is {max}, is needed"),
        });
    }
    let milliseconds = |variable, default| env.variable(variable, Duration::from_millis(default), duration);
    Ok(PoolSettings {
        min,
        max,
        connection_timeout: milliseconds("DATABASE_CONNECTION_TIMEOUT", 30_000)?,
        idle_timeout: milliseconds("DATABASE_IDLE_TIMEOUT", 60_000)?,
    })
}

/// What the events are.
#[derive(Debug, Clone, Copy)]
pub struct EventSettings {
    /// The game server.
    pub server: Server,
    /// The tables.
    pub layout: Layout,
    /// What becomes of a NUL.
    pub nul: NulPolicy,
}

impl EventSettings {
    fn new(args: &EventArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        let server = env.read(("--server", args.server.as_deref()), "ALBION_SERVER", Server::from_str)?;
        let nul = env.read(("--nul", args.nul.as_deref()), "KILLS_NUL", NulPolicy::from_str)?;
        Ok(Self {
            server: server.unwrap_or(Server::Americas),
            layout: layout(args.layout.as_deref(), env)?,
            nul: nul.unwrap_or_default(),
        })
    }
}

fn layout(option: Option<&str>, env: Environment<'_>) -> Result<Layout, SettingError> {
    Ok(env.read(("--layout", option), "KILLS_LAYOUT", Layout::from_str)?.unwrap_or(Layout::Archive))
}

/// What `load` needs.
#[derive(Debug)]
pub struct LoadSettings {
    /// The dumps.
    pub sources: Vec<Source>,
    /// The database; none in a dry run.
    pub database: Option<DatabaseSettings>,
    /// The events.
    pub event: EventSettings,
    /// The threads and limits.
    pub pipeline: PipelineSettings,
    /// What is done with segments that were loaded before.
    pub held: Held,
    /// When a batch is tried again.
    pub retry: RetryPolicy,
    /// Where rejects go, where it is set.
    pub rejects: Option<PathBuf>,
}

impl LoadSettings {
    /// Reads options and variables.
    pub fn new(args: &LoadArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        let event = EventSettings::new(&args.event, env)?;
        let reject_limit = env.read(
            ("--max-rejects", args.max_rejects.as_deref()),
            "KILLS_MAX_REJECTS",
            RejectLimit::from_str,
        )?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pipeline = PipelineSettings {
            workers: env.variable("KILLS_WORKER_CONCURRENCY", 3, |text| number(text, 1..=256))?,
            parse_threads: env.variable("KILLS_PARSE_THREADS", cores, |text| number(text, 1..=256))?,
            segment: segment_limits(env)?,
            server: event.server,
            nul: event.nul,
            reject_limit,
        };
        Ok(Self {
            sources: sources(&args.files),
            database: if args.dry_run { None } else { Some(DatabaseSettings::new(&args.database, env)?) },
            event,
            pipeline,
            held: if args.force { Held::LoadAgain } else { Held::Skip },
            retry: retry(env)?,
            rejects: args.rejects.clone().or_else(|| env.get("KILLS_REJECTS_FILE").map(PathBuf::from)),
        })
    }
}

/// What `verify` needs.
#[derive(Debug)]
pub struct VerifySettings {
    /// The dumps.
    pub sources: Vec<Source>,
    /// The database.
    pub database: DatabaseSettings,
    /// The events.
    pub event: EventSettings,
    /// How the input is cut.
    pub segment: SegmentLimits,
}

impl VerifySettings {
    /// Reads options and variables.
    pub fn new(args: &VerifyArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            sources: sources(&args.files),
            database: DatabaseSettings::new(&args.database, env)?,
            event: EventSettings::new(&args.event, env)?,
            segment: segment_limits(env)?,
        })
    }
}

/// What `schema` needs of its options: the layout, and the schema's name, for which no database need be named.
pub fn schema(args: &SchemaArgs, env: Environment<'_>) -> Result<(Layout, String), SettingError> {
    let layout = layout(args.layout.as_deref(), env)?;
    let of_url = match place(&args.database, env) {
        Ok(DatabasePlace::Target(target)) => target.schema,
        Ok(DatabasePlace::Embedded(_)) | Err(SettingError::Target(TargetError::Missing)) => None,
        Err(error) => return Err(error),
    };
    let name = schema_name(&args.database, env)?.or(of_url);
    Ok((layout, name.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned())))
}

const DEFAULT_SCHEMA: &str = "public";

fn schema_name(args: &DatabaseArgs, env: Environment<'_>) -> Result<Option<String>, SettingError> {
    env.read(("--schema", args.schema.as_deref()), "DATABASE_SCHEMA", |name| match name {
        "" => Err("a name is needed".to_owned()),
        name => Ok(name.to_owned()),
    })
}

fn sources(files: &[PathBuf]) -> Vec<Source> {
    if files.is_empty() {
        return vec![Source::Stdin];
    }
    let source =
        |file: &PathBuf| if file == Path::new("-") { Source::Stdin } else { Source::File(file.clone()) };
    files.iter().map(source).collect()
}

fn segment_limits(env: Environment<'_>) -> Result<SegmentLimits, SettingError> {
    Ok(SegmentLimits {
        segment_bytes: env
            .variable("KILLS_SEGMENT_BYTES", 8 << 20, |text| bytes(text, 4 << 10, 256 << 20))?,
        line_max_bytes: 16 << 20,
        flush_interval: env.variable("KILLS_FLUSH_INTERVAL", Duration::from_secs(1), duration)?,
    })
}

fn retry(env: Environment<'_>) -> Result<RetryPolicy, SettingError> {
    let default = RetryPolicy::default();
    Ok(RetryPolicy {
        attempts_max: env
            .variable("DATABASE_RETRY_ATTEMPTS", default.attempts_max, |text| number(text, 1..=1000))?,
        delay_base: env.variable("DATABASE_RETRY_BASE", default.delay_base, duration)?,
        delay_max: default.delay_max,
    })
}

fn number<T: FromStr + PartialOrd + Display>(text: &str, range: RangeInclusive<T>) -> Result<T, String> {
    let wanted = || format!("a whole number from {} to {} is needed", range.start(), range.end());
    text.parse().ok().filter(|value| range.contains(value)).ok_or_else(wanted)
}

/// A bare number is milliseconds; else a number with a unit, such as `30s` or `5min`.
fn duration(text: &str) -> Result<Duration, String> {
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
fn bytes(text: &str, min: usize, max: usize) -> Result<usize, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)], args: &LoadArgs) -> Result<LoadSettings, String> {
        let get =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        LoadSettings::new(args, Environment(&get)).map_err(|error| error.to_string())
    }

    #[test]
    fn wrong_values_name_the_variable_the_value_and_what_would_do() {
        let check = |name: &str, value: &str, wanted: &str| {
            let error =
                load(&[("DATABASE_URL", "postgresql://db/kills"), (name, value)], &LoadArgs::default());
            let words = error.expect_err(name);
            assert!(words.contains(name) && words.contains(&format!("{value:?}")), "{words}");
            assert!(words.contains(wanted), "{words}");
        };
        check("ALBION_SERVER", "west", "americas, europe, asia");
        check("KILLS_LAYOUT", "flat", "archive");
        check("KILLS_NUL", "drop", "reject, strip, replace");
        check("KILLS_MAX_REJECTS", "some", "0.5%");
        check("KILLS_WORKER_CONCURRENCY", "0", "1 to 256");
        check("KILLS_PARSE_THREADS", "-1", "1 to 256");
        check("KILLS_SEGMENT_BYTES", "8 apples", "8MiB");
        check("KILLS_SEGMENT_BYTES", "1", "8MiB");
        check("KILLS_FLUSH_INTERVAL", "0", "above zero");
        check("KILLS_FLUSH_INTERVAL", "soon", "30s");
        check("DATABASE_POOL_MIN", "0", "1 to 1000");
        check("DATABASE_POOL_MAX", "x", "1 to 1000");
        check("DATABASE_POOL_MAX", "0", "1 to 1000");
        check("DATABASE_CONNECTION_TIMEOUT", "-5s", "30s");
        check("DATABASE_IDLE_TIMEOUT", "5parsec", "30s");
        check("DATABASE_RETRY_ATTEMPTS", "0", "1 to 1000");
    }

    #[test]
    fn min_over_max() {
        let words = load(
            &[("DATABASE_URL", "postgresql://db/k"), ("DATABASE_POOL_MIN", "5"), ("DATABASE_POOL_MAX", "4")],
            &LoadArgs::default(),
        );
        let words = words.expect_err("min is over max");
        assert!(
            words.contains("DATABASE_POOL_MIN") && words.contains("DATABASE_POOL_MAX, which is 4"),
            "{words}"
        );
    }

    #[test]
    fn an_option_wins_over_a_variable_and_a_variable_over_the_default() {
        let variables =
            [("DATABASE_URL", "postgresql://db/kills"), ("ALBION_SERVER", "asia"), ("KILLS_NUL", "")];
        let mut args = LoadArgs::default();
        let settings = load(&variables, &args).unwrap();
        assert_eq!(settings.event.server, Server::Asia);
        assert_eq!(settings.event.nul, NulPolicy::Reject);
        args.event.server = Some("europe".to_owned());
        assert_eq!(load(&variables, &args).unwrap().event.server, Server::Europe);
    }

    #[test]
    fn no_database_is_an_error_unless_nothing_is_to_be_written() {
        let mut args = LoadArgs::default();
        assert!(load(&[], &args).expect_err("no database").contains("DATABASE_URL"));
        args.dry_run = true;
        assert!(load(&[], &args).unwrap().database.is_none());
    }

    #[test]
    fn units() {
        assert_eq!(duration("250"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5min"), Ok(Duration::from_secs(300)));
        assert_eq!(bytes("8MiB", 1, 1 << 30), Ok(8 << 20));
        assert_eq!(bytes("64K", 1, 1 << 30), Ok(64 << 10));
    }
}
