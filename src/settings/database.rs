//! Where the database is, and the pool.

use super::environment::{Environment, SettingError, duration, number};
use crate::cli::DatabaseArgs;
use crate::database::{PoolSettings, Target, TargetError, from_url, from_variables};
use std::path::PathBuf;
use std::time::Duration;

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
        self.schema.as_deref().or(self.place.schema()).unwrap_or(DEFAULT_SCHEMA)
    }
}

impl DatabasePlace {
    /// The schema that the URL names.
    fn schema(&self) -> Option<&str> {
        match self {
            DatabasePlace::Target(target) => target.schema.as_deref(),
            DatabasePlace::Embedded(_) => None,
        }
    }
}

const DEFAULT_SCHEMA: &str = "public";

/// The PostgreSQL schema, as [`DatabaseSettings::schema`] has it, where no database need be named.
pub(super) fn schema_without_database(
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
    env.read(("--schema", args.schema.as_deref()), "DATABASE_SCHEMA", |name| match name {
        "" => Err("a name is needed".to_owned()),
        name => Ok(name.to_owned()),
    })
}

fn place(args: &DatabaseArgs, env: Environment<'_>) -> Result<DatabasePlace, SettingError> {
    let target = |url: &str| -> Result<DatabasePlace, SettingError> {
        Ok(DatabasePlace::Target(Box::new(from_url(url)?)))
    };
    if let Some(url) = &args.database_url {
        return target(url);
    }
    if let Some(dir) = &args.embedded {
        return Ok(DatabasePlace::Embedded(dir.clone()));
    }
    match (env.get("KILLS_EMBEDDED"), env.get("DATABASE_URL")) {
        (Some(_), Some(_)) => Err(SettingError::TwoDatabases),
        (Some(dir), None) => Ok(DatabasePlace::Embedded(PathBuf::from(dir))),
        (None, Some(url)) => target(&url),
        (None, None) => match from_variables(|name| env.get(name))? {
            Some(target) => Ok(DatabasePlace::Target(Box::new(target))),
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
