//! The settings of the database and the pool.

use crate::cli::DatabaseArgs;
use crate::conceal::is_connection_string;
use crate::database::connect::error::TargetError;
use crate::database::connect::{Target, from_url, from_variables, holds_password};
use crate::database::pool::connections::PoolSettings;
use crate::database::pool::outage_settings::OutageSettings;
use crate::database::pool::retry::RetryPolicy;
use crate::settings::environment::{Environment, SettingError, duration, number, unwrapped};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug)]
pub struct DatabaseSettings {
    pub place: DatabasePlace,
    schema: Option<String>,
    pub ledger_schema: Option<String>,
    pub pool: PoolSettings,
    pub trouble: OutageSettings,
}

/// The user's server, or a private one.
#[derive(Debug)]
pub enum DatabasePlace {
    /// The server of the URL or the variables.
    Target(Box<Target>),
    /// The private server in this directory.
    Embedded(PathBuf),
}

impl DatabaseSettings {
    /// Reads options and variables.
    pub fn new(args: &DatabaseArgs, env: Environment<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            place: place(args, env)?,
            schema: schema_name(args, env)?,
            ledger_schema: ledger_schema(args, env)?,
            pool: pool(env)?,
            trouble: trouble(env)?,
        })
    }

    /// The PostgreSQL schema: the setting, else the one in the URL, else `public`.
    pub fn schema(&self) -> &str {
        self.schema.as_deref().or(self.place.schema()).unwrap_or(DEFAULT_SCHEMA)
    }
}

impl DatabasePlace {
    fn schema(&self) -> Option<&str> {
        match self {
            DatabasePlace::Target(target) => target.schema.as_deref(),
            DatabasePlace::Embedded(_) => None,
        }
    }
}

const DEFAULT_SCHEMA: &str = "public";

/// A warning, because a program cannot hide its arguments.
const SEEN_PASSWORD: &str = "the password in --database-url can be seen in the process list by every user of \
    this machine; put the URL into DATABASE_URL or .env, or only the password into PGPASSWORD or ~/.pgpass";

/// The PostgreSQL schema, as in [`DatabaseSettings::schema`], for commands that need no database.
pub(crate) fn schema_without_database(
    args: &DatabaseArgs,
    env: Environment<'_>,
) -> Result<String, SettingError> {
    let place = match place(args, env) {
        Err(SettingError::Target(TargetError::Missing)) => None,
        place => Some(place?),
    };
    let of_url = place.as_ref().and_then(DatabasePlace::schema);
    Ok(schema_name(args, env)?.unwrap_or_else(|| of_url.unwrap_or(DEFAULT_SCHEMA).to_owned()))
}

fn schema_name(args: &DatabaseArgs, env: Environment<'_>) -> Result<Option<String>, SettingError> {
    env.read(("--schema", args.schema.as_deref()), "DATABASE_SCHEMA", checked_schema)
}

pub(crate) fn ledger_schema(
    args: &DatabaseArgs,
    env: Environment<'_>,
) -> Result<Option<String>, SettingError> {
    env.read(("--ledger-schema", args.ledger_schema.as_deref()), "KILLS_LEDGER_SCHEMA", checked_schema)
}

/// PostgreSQL truncates names after 63 bytes and reserves the prefix `pg_`.
fn checked_schema(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > 63 || name.starts_with("pg_") || name.contains('\0') {
        return Err("expected a name of 1 to 63 bytes that does not begin with pg_".to_owned());
    }
    // The output of commands repeats the name, also as a part of statements.
    if is_connection_string(name) {
        return Err("expected a name, not a connection string".to_owned());
    }
    // Quotes or line ends around a name usually come from a file by mistake.
    if unwrapped(name) != name {
        return Err("expected a name without quotes or white space around it".to_owned());
    }
    Ok(name.to_owned())
}

fn place(args: &DatabaseArgs, env: Environment<'_>) -> Result<DatabasePlace, SettingError> {
    let target = |url: &str| -> Result<Target, SettingError> {
        let target = from_url(unwrapped(url), &|name| env.get(name))?;
        if let Some(schema) = &target.schema {
            checked_schema(schema).map_err(|wanted| SettingError::Value {
                place: "schema of the database URL",
                value: schema.clone(),
                wanted,
            })?;
        }
        Ok(target)
    };
    let boxed = |target| DatabasePlace::Target(Box::new(target));
    if let Some(url) = &args.database_url {
        let mut target = target(url)?;
        if holds_password(url) {
            target.warnings.push(SEEN_PASSWORD.to_owned());
        }
        return Ok(boxed(target));
    }
    if let Some(dir) = &args.embedded {
        return Ok(DatabasePlace::Embedded(dir.clone()));
    }
    match (env.get("KILLS_EMBEDDED"), env.get("DATABASE_URL")) {
        (Some(_), Some(_)) => Err(SettingError::TwoDatabases),
        (Some(dir), None) => Ok(DatabasePlace::Embedded(PathBuf::from(dir))),
        (None, Some(url)) => target(&url).map(boxed),
        (None, None) => match from_variables(&|name| env.get(name))? {
            Some(target) => Ok(boxed(target)),
            None => Err(TargetError::Missing.into()),
        },
    }
}

fn pool(env: Environment<'_>) -> Result<PoolSettings, SettingError> {
    let max = env.variable("DATABASE_POOL_MAX", 10, |text| number(text, 1..=1000))?;
    let min = env.variable("DATABASE_POOL_MIN", 2.min(max), |text| number(text, 1..=1000))?;
    if min > max {
        return Err(SettingError::Value {
            place: "DATABASE_POOL_MIN",
            value: min.to_string(),
            wanted: format!("expected at most DATABASE_POOL_MAX, which is {max}"),
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

fn trouble(env: Environment<'_>) -> Result<OutageSettings, SettingError> {
    let default = RetryPolicy::default();
    let attempts = |text: &str| number(text, 1..=1000);
    Ok(OutageSettings {
        retry: RetryPolicy {
            attempts_max: env.variable("DATABASE_RETRY_ATTEMPTS", default.attempts_max, attempts)?,
            delay_base: env.variable("DATABASE_RETRY_BASE", default.delay_base, duration)?,
            delay_max: default.delay_max,
        },
        away_timeout: env.variable("DATABASE_AWAY_TIMEOUT", Duration::from_mins(5), duration)?,
        stall_timeout: env.variable("DATABASE_STALL_TIMEOUT", Duration::from_mins(1), duration)?,
        health_interval: env.variable("DATABASE_HEALTH_INTERVAL", Duration::from_mins(5), duration)?,
    })
}
