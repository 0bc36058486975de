//! Where the database is, and how it is reached: connection URLs as libpq and Prisma write them, the `PG*` variables,
//! `~/.pgpass`, TLS.
//!
//! Invariant: no error or warning holds a password, nor a text that could be a part of one.

pub(crate) mod attributes;
pub(crate) mod cause;
pub(crate) mod error;
pub(crate) mod fault;
pub(crate) mod hints;
pub(crate) mod parameters;
pub(crate) mod pgpass;
pub(crate) mod server_version;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod tls;

use crate::database::connect::attributes::SessionAttributes;
use crate::database::connect::error::TargetError;
use crate::database::connect::tls::Tls;
use parameters::Parameters;
use pgpass::{Login, PasswordFile};
use postgres::Config;
use postgres::config::{ChannelBinding, Host, LoadBalanceHosts};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the database is, and what the URL said about things that are no business of a connection.
#[derive(Clone)]
pub struct Target {
    /// What the client connects with: one for each host, to be tried in this order.
    pub hosts: Vec<Config>,
    /// Whether the hosts are tried in any order.
    pub any_order: bool,
    /// Which of them a session may use.
    pub attributes: SessionAttributes,
    /// What is encrypted and checked.
    pub tls: Tls,
    /// The schema that a Prisma URL names.
    pub schema: Option<String>,
    /// What was dropped, in words for the log.
    pub warnings: Vec<String>,
}

/// A password is no one's business, nor are `options`, which may set a secret of the database's own.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.hosts.iter().map(|config| (config.get_hosts(), config.get_ports()));
        f.debug_struct("Target")
            .field("hosts", &places.collect::<Vec<_>>())
            .field("any_order", &self.any_order)
            .field("attributes", &self.attributes)
            .field("tls", &self.tls)
            .field("schema", &self.schema)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// The variables of the process, or of a test; one that is empty is not set.
pub(crate) type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

/// Reads a connection URL, or the `key=value` form of libpq; what it leaves out is filled in from the `PG*`
/// variables and `~/.pgpass`.
pub fn from_url(url: &str, variables: Variables<'_>) -> Result<Target, TargetError> {
    let mut warnings = Vec::new();
    let mut parameters = Parameters::of_text(url.trim(), &mut warnings)?;
    parameters.fill(variables)?;
    target(&parameters, variables, warnings)
}

/// Whether a connection URL, or the `key=value` form, holds a password itself.
pub(crate) fn holds_password(url: &str) -> bool {
    let is_password = |(name, value): &(String, String)| name == "password" && !value.is_empty();
    text::parse(url.trim()).is_ok_and(|pairs| pairs.iter().any(is_password))
}

/// Reads libpq's `PG*` variables; `None` where they name neither a host nor a database.
pub(crate) fn from_variables(variables: Variables<'_>) -> Result<Option<Target>, TargetError> {
    let mut parameters = Parameters::default();
    parameters.fill(variables)?;
    if ["host", "hostaddr", "dbname"].iter().all(|name| parameters.get(name).is_none()) {
        return Ok(None);
    }
    target(&parameters, variables, Vec::new()).map(Some)
}

impl Target {
    /// What the sessions are to call themselves, where that is set.
    pub fn application_name(&self) -> Option<&str> {
        self.hosts.first().and_then(|config| config.get_application_name())
    }
}

/// Directories that Debian, Red Hat and PostgreSQL itself choose for Unix sockets.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// Where a server is if no host is named: as for libpq a Unix socket of this machine; else `localhost`.
fn local_host(port: u16) -> &'static str {
    let has_socket = |directory: &&str| Path::new(directory).join(format!(".s.PGSQL.{port}")).exists();
    SOCKET_DIRECTORIES.into_iter().find(has_socket).unwrap_or("localhost")
}

fn target(
    parameters: &Parameters,
    variables: Variables<'_>,
    mut warnings: Vec<String>,
) -> Result<Target, TargetError> {
    let home = variables("HOME").map(PathBuf::from);
    let base = base_config(parameters)?;
    let passwords = match (parameters.text("password"), parameters.text("passfile")) {
        (Some(_), _) => PasswordFile::default(),
        (None, Some(file)) => {
            let path = Path::new(file);
            if !path.exists() {
                warnings.push(format!("the password file {file} (passfile, PGPASSFILE) does not exist"));
            }
            PasswordFile::read(path, &mut warnings)
        }
        (None, None) => match &home {
            Some(home) => PasswordFile::read(&home.join(".pgpass"), &mut warnings),
            None => PasswordFile::default(),
        },
    };
    let mut hosts = Vec::new();
    for place in places(parameters)? {
        let mut config = base.clone();
        config.host(&place.host).port(place.port);
        if let Some(address) = place.address {
            config.hostaddr(address);
        }
        let login = Login {
            host: if SOCKET_DIRECTORIES.contains(&place.host.as_str()) { "localhost" } else { &place.host },
            port: place.port,
            database: base.get_dbname().unwrap_or_default(),
            user: base.get_user().unwrap_or_default(),
        };
        if let Some(password) = passwords.password(login) {
            config.password(password);
        }
        hosts.push(config);
    }
    let is_network = |config: &Config| {
        !matches!(config.get_hosts(), [Host::Unix(_)]) || !config.get_hostaddrs().is_empty()
    };
    let tls = Tls::new(parameters, home.as_deref(), hosts.iter().any(is_network))?;
    Ok(Target {
        hosts,
        any_order: base.get_load_balance_hosts() == LoadBalanceHosts::Random,
        attributes: SessionAttributes::of(parameters)?,
        tls,
        schema: parameters.text("schema").map(str::to_owned),
        warnings,
    })
}

/// One of the hosts.
struct HostAddress {
    host: String,
    address: Option<IpAddr>,
    port: u16,
}

fn places(parameters: &Parameters) -> Result<Vec<HostAddress>, TargetError> {
    const DEFAULT_PORT: u16 = 5432;
    let (names, addresses) = (parameters.list("host"), parameters.list("hostaddr"));
    let ports = parameters.list("port");
    let count = names.len().max(addresses.len()).max(1);
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        let (name, or_one) = ("hostaddr", "");
        return Err(TargetError::Count { name, count: addresses.len(), hosts: names.len(), or_one });
    }
    if ports.len() > 1 && ports.len() != count {
        let (name, or_one) = ("port", ", or one for all of them");
        return Err(TargetError::Count { name, count: ports.len(), hosts: count, or_one });
    }
    let wrong = |name, wanted: &str| match parameters.get(name) {
        Some(value) => value.wrong(wanted),
        None => TargetError::Missing,
    };
    let place = |number: usize| {
        let port = match ports.get(number).or(ports.first()).copied().unwrap_or_default() {
            "" => DEFAULT_PORT,
            text => match text.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(wrong("port", "expected a port from 1 to 65535")),
            },
        };
        let address: Option<IpAddr> = match addresses.get(number).copied().unwrap_or_default() {
            "" => None,
            text => Some(
                text.parse().map_err(|_| wrong("hostaddr", "expected an IP address such as 192.0.2.1"))?,
            ),
        };
        let host = match (names.get(number).copied().unwrap_or_default(), address) {
            // The address is then the name that a certificate is asked for.
            ("", Some(address)) => address.to_string(),
            ("", None) => local_host(port).to_owned(),
            (name, _) => name.to_owned(),
        };
        Ok(HostAddress { host, address, port })
    };
    (0..count).map(place).collect()
}

/// What is the same for all hosts; among it TCP that notices within a minute when the other side is gone.
fn base_config(parameters: &Parameters) -> Result<Config, TargetError> {
    let mut config = Config::new();
    let user = match parameters.text("user") {
        Some(user) => user.to_owned(),
        None => nix::unistd::User::from_uid(nix::unistd::geteuid())
            .ok()
            .flatten()
            .map_or_else(|| "postgres".to_owned(), |user| user.name),
    };
    config.dbname(parameters.text("dbname").unwrap_or(&user)).user(&user);
    if let Some(password) = parameters.text("password") {
        config.password(password);
    }
    config.application_name(parameters.text("application_name").unwrap_or("aegis-kills"));
    if let Some(options) = parameters.text("options") {
        config.options(options);
    }
    let seconds = |name, default| -> Result<Duration, TargetError> {
        let number = parameters.number(name, 0..=86_400, " of seconds")?;
        Ok(Duration::from_secs(number.filter(|seconds| *seconds > 0).unwrap_or(default)))
    };
    config.connect_timeout(seconds("connect_timeout", 10)?);
    config.keepalives(parameters.number("keepalives", 0..=1, "")?.unwrap_or(1) == 1);
    config.keepalives_idle(seconds("keepalives_idle", 30)?);
    config.keepalives_interval(seconds("keepalives_interval", 10)?);
    let count = parameters.number("keepalives_count", 0..=127, "")?;
    config.keepalives_retries(count.filter(|count| *count > 0).unwrap_or(3));
    // The client library's own reading of a URL takes this for seconds; it is milliseconds for libpq.
    let user_timeout = parameters.number("tcp_user_timeout", 0..=86_400_000, " of milliseconds")?;
    let user_timeout = user_timeout.filter(|milliseconds| *milliseconds > 0).unwrap_or(30_000);
    config.tcp_user_timeout(Duration::from_millis(user_timeout));
    let order = [("disable", LoadBalanceHosts::Disable), ("random", LoadBalanceHosts::Random)];
    if let Some(order) = parameters.word("load_balance_hosts", &order)? {
        config.load_balance_hosts(order);
    }
    let binding = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    if let Some(binding) = parameters.word("channel_binding", &binding)? {
        config.channel_binding(binding);
    }
    Ok(config)
}
