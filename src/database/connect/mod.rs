//! Connection parameters: URLs in the forms of libpq and Prisma, the `PG*` variables, `~/.pgpass`, and TLS.
//!
//! Invariant: no error or warning contains a password, or a text that could be a part of one.

pub(crate) mod attributes;
pub(crate) mod cause;
pub(crate) mod error;
pub(crate) mod fault;
pub(crate) mod hints;
pub(crate) mod parameters;
pub(crate) mod pgpass;
pub(crate) mod server_version;
pub(crate) mod shown_url;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod tls;

use crate::database::connect::attributes::SessionAttributes;
use crate::database::connect::error::TargetError;
use crate::database::connect::tls::Tls;
use parameters::{Parameters, is_public_name};
use pgpass::{Login, PasswordFile};
use postgres::Config;
use postgres::config::{ChannelBinding, Host, LoadBalanceHosts};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The hosts of the database, and the other settings of its URL.
#[derive(Clone)]
pub struct Target {
    /// One client configuration per host, in the order of the attempts.
    pub hosts: Vec<Config>,
    /// Whether the order of the hosts is random.
    pub any_order: bool,
    /// The kind of server that a session may use (`target_session_attrs`).
    pub attributes: SessionAttributes,
    /// Encryption, and the checks of the server's certificate.
    pub tls: Tls,
    /// The limit for a login at one host (`connect_timeout`), if it is set.
    pub connect_timeout: Option<Duration>,
    /// The schema in a Prisma URL.
    pub schema: Option<String>,
    /// Warnings for the log, for example about ignored parameters.
    pub warnings: Vec<String>,
}

/// Omits passwords and `options`, which can set a secret of the database.
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

/// Looks up a variable of the process or of a test. An empty variable counts as not set, unless
/// [`is_never_empty`](parameters::is_never_empty).
pub(crate) type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

/// Reads a connection URL, or the `key=value` form of libpq. The `PG*` variables and `~/.pgpass` fill in missing
/// values.
pub fn from_url(url: &str, variables: Variables<'_>) -> Result<Target, TargetError> {
    let mut warnings = Vec::new();
    let mut parameters = Parameters::of_text(url.trim(), &mut warnings)?;
    parameters.fill(variables)?;
    target(&parameters, variables, warnings)
}

/// Whether a connection URL, or the `key=value` form, contains a password.
pub(crate) fn holds_password(url: &str) -> bool {
    let is_password = |(name, value): &(String, String)| name == "password" && !value.is_empty();
    text::parse(url.trim()).is_ok_and(|pairs| pairs.iter().any(is_password))
}

/// Whether a parameter can be shown: it is never secret, and its value does not look like a misplaced login.
fn is_public_pair((name, value): &(String, String)) -> bool {
    let is_address = |host: &str| !host.contains(':') || host.parse::<IpAddr>().is_ok();
    let holds_login = value.contains('@') || value.contains('=') || !value.split(',').all(is_address);
    is_public_name(name) && !holds_login
}

/// Reads libpq's `PG*` variables. Returns `None` if they name neither a host nor a database.
pub(crate) fn from_variables(variables: Variables<'_>) -> Result<Option<Target>, TargetError> {
    let mut parameters = Parameters::default();
    parameters.fill(variables)?;
    if ["host", "hostaddr", "dbname"].iter().all(|name| parameters.get(name).is_none()) {
        return Ok(None);
    }
    target(&parameters, variables, Vec::new()).map(Some)
}

impl Target {
    /// The `application_name` of the sessions, if it is set.
    pub fn application_name(&self) -> Option<&str> {
        self.hosts.first().and_then(|config| config.get_application_name())
    }
}

/// The directories that Debian, Red Hat and PostgreSQL itself use for Unix sockets.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// The host if none is named: a Unix socket of this machine as for libpq, else `localhost`.
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
        connect_timeout: connect_timeout(parameters)?,
        schema: parameters.text("schema").map(str::to_owned),
        warnings,
    })
}

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
            // The certificate is then checked for the address.
            ("", Some(address)) => address.to_string(),
            ("", None) => local_host(port).to_owned(),
            (name, _) => name.to_owned(),
        };
        Ok(HostAddress { host, address, port })
    };
    (0..count).map(place).collect()
}

/// The value of `connect_timeout`. As in libpq, 0 is no limit, and 1 s counts as 2 s.
fn connect_timeout(parameters: &Parameters) -> Result<Option<Duration>, TargetError> {
    let seconds = parameters.number("connect_timeout", 0..=86_400_u64, " of seconds")?;
    Ok(seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.max(2))))
}

/// The settings that all hosts share. TCP detects a dead peer within a minute.
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
    config.connect_timeout(connect_timeout(parameters)?.unwrap_or(Duration::from_secs(10)));
    config.keepalives(parameters.number("keepalives", 0..=1, "")?.unwrap_or(1) == 1);
    config.keepalives_idle(seconds("keepalives_idle", 30)?);
    config.keepalives_interval(seconds("keepalives_interval", 10)?);
    let count = parameters.number("keepalives_count", 0..=127, "")?;
    config.keepalives_retries(count.filter(|count| *count > 0).unwrap_or(3));
    // Milliseconds as in libpq. The URL parser of the client library reads seconds.
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
    // Without GSSAPI, both do the same.
    parameters.word("gssencmode", &[("disable", ()), ("prefer", ())])?;
    Ok(config)
}
