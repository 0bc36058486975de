//! Where the database is: connection URLs as libpq and Prisma write them, and the `PG*` variables.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use postgres::Config;

/// Where the database is, and what the URL said about things that are no business of a connection.
#[derive(Debug, Clone)]
pub struct Target {
    /// What the client connects with.
    pub config: Config,
    /// The schema that a Prisma URL names.
    pub schema: Option<String>,
    /// What was dropped from the URL, in words for the log.
    pub warnings: Vec<String>,
}

/// A URL or variable that can't be used. It never holds the password.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Nothing says where the database is.
    #[error(
        "no database is named: set DATABASE_URL (postgresql://user:password@host:5432/database), or PGHOST and \
         PGDATABASE, or give --database-url, or --embedded DIR for a private one"
    )]
    Missing,
    /// The text is no URL of PostgreSQL.
    #[error(
        "the database URL {url:?} can't be read; postgresql://user:password@host:5432/database is the form, with \
         special characters in the parts written as %40 and the like"
    )]
    Url {
        /// The URL without its password.
        url: String,
        /// Why.
        #[source]
        source: Option<postgres::Error>,
    },
    /// A `PG*` variable has a value that makes no sense.
    #[error("{name} is {value:?}; {wanted} is needed")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        wanted: &'static str,
    },
    /// A mode of TLS that this program does not offer.
    #[error(
        "sslmode={mode} is not offered; connections are not encrypted by this version: sslmode=disable or prefer"
    )]
    Tls {
        /// The mode.
        mode: String,
    },
}

/// Parameters that Prisma puts into a URL for itself.
const PRISMA_PARAMETERS: [&str; 11] = [
    "connection_limit",
    "pool_timeout",
    "pgbouncer",
    "socket_timeout",
    "statement_cache_size",
    "sslaccept",
    "sslidentity",
    "sslpassword",
    "single_use_connections",
    "max_connection_lifetime",
    "max_idle_connection_lifetime",
];

/// Reads a connection URL, or the `key=value` form of libpq.
pub fn from_url(url: &str) -> Result<Target, TargetError> {
    let fault = |source| TargetError::Url { url: without_password(url), source };
    let mut warnings = Vec::new();
    let mut schema = None;
    let mut kept = Vec::new();
    let is_url = url.starts_with("postgresql://") || url.starts_with("postgres://");
    if url.contains("://") && !is_url {
        return Err(fault(None));
    }
    let (base, query) = match url.split_once('?') {
        Some((base, query)) if is_url => (base, query),
        _ => (url, ""),
    };
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name == "schema" {
            schema = Some(decode(value).ok_or_else(|| fault(None))?);
        } else if PRISMA_PARAMETERS.contains(&name) {
            warnings.push(format!("{name} of the database URL is for Prisma, and is dropped"));
        } else if name == "sslmode" && !matches!(value, "disable" | "prefer" | "allow") {
            return Err(TargetError::Tls { mode: value.to_owned() });
        } else if name != "sslmode" {
            kept.push(parameter);
        }
    }
    let mut plain = base.to_owned();
    if !kept.is_empty() {
        plain = format!("{plain}?{}", kept.join("&"));
    }
    let mut config: Config = plain.parse().map_err(|source| fault(Some(source)))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        let port = config.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
        config.host(&local_host(port));
    }
    Ok(Target { config: with_habits(config), schema, warnings })
}

/// Reads libpq's `PG*` variables by `variable`; `None` where neither host nor database is named.
pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Target>, TargetError> {
    if variable("PGHOST").is_none() && variable("PGDATABASE").is_none() {
        return Ok(None);
    }
    let mut config = Config::new();
    let user = variable("PGUSER").or_else(|| variable("USER")).unwrap_or_else(|| "postgres".to_owned());
    config.dbname(variable("PGDATABASE").as_deref().unwrap_or(&user));
    config.user(&user);
    config.host(variable("PGHOST").as_deref().unwrap_or("localhost"));
    if let Some(port) = variable("PGPORT") {
        let wanted = "a port from 1 to 65535";
        let number =
            port.parse().map_err(|_| TargetError::Variable { name: "PGPORT", value: port, wanted })?;
        config.port(number);
    }
    if let Some(password) = variable("PGPASSWORD") {
        config.password(password);
    }
    Ok(Some(Target { config: with_habits(config), schema: None, warnings: Vec::new() }))
}

const DEFAULT_PORT: u16 = 5432;

/// Where a server is if no host is named: as for libpq a Unix socket of this machine, in the folders that Debian,
/// Red Hat and PostgreSQL itself choose; else `localhost`.
fn local_host(port: u16) -> String {
    let folders = ["/var/run/postgresql", "/run/postgresql", "/tmp"];
    let has_socket = |folder: &&str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
    folders.into_iter().find(has_socket).unwrap_or("localhost").to_owned()
}

/// What every connection is given: a name, and TCP that notices within a minute when the other side is gone.
fn with_habits(mut config: Config) -> Config {
    if config.get_application_name().is_none() {
        config.application_name("aegis-kills");
    }
    config.keepalives_idle(Duration::from_secs(30));
    config.keepalives_interval(Duration::from_secs(10));
    config.keepalives_retries(3);
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(10));
    }
    config
}

fn decode(value: &str) -> Option<String> {
    percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned)
}

/// The URL for an error message, its password and every parameter that may hold one left out.
fn without_password(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        // The key=value form can hold a password anywhere.
        return "…".to_owned();
    };
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:…@{host}")
        }
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prisma_url() {
        let url = "postgresql://me:p%40ss@db.example:5433/kills?schema=my%20schema&connection_limit=5&pgbouncer=true";
        let target = from_url(url).unwrap();
        assert_eq!(target.schema.as_deref(), Some("my schema"));
        assert_eq!(target.warnings.len(), 2);
        assert_eq!(target.config.get_password(), Some(&b"p@ss"[..]));
        assert_eq!(target.config.get_ports(), [5433]);
        assert_eq!(target.config.get_dbname(), Some("kills"));
    }

    #[test]
    fn errors_hold_no_password() {
        for url in [
            "mysql://me:hunter2@db/kills",
            "postgresql://me:hunter2@db:99999/kills",
            "postgresql://me:hunter2@db/kills?nonsense=hunter2",
            "postgresql://me:hun@ter2@db:x/kills",
            "host=db password=hunter2 nonsense=1",
            "postgresql://me:hunter2@db/kills?sslmode=verify-full",
        ] {
            let error = from_url(url).expect_err(url);
            let words = format!("{error} {error:?}");
            assert!(!words.contains("hunter2") && !words.contains("ter2"), "{words}");
        }
    }

    #[test]
    fn variables() {
        let set = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert!(from_variables(set(&[])).unwrap().is_none());
        let target = from_variables(set(&[("PGHOST", "/tmp"), ("PGUSER", "me")])).unwrap().unwrap();
        assert_eq!(target.config.get_dbname(), Some("me"));
        let error = from_variables(set(&[("PGHOST", "db"), ("PGPORT", "many")])).unwrap_err();
        assert_eq!(error.to_string(), "PGPORT is \"many\"; a port from 1 to 65535 is needed");
    }
}
