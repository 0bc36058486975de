//! The parameters of a connection by libpq's names, their variables, and the origin of each value for error messages.

use crate::conceal::{CONCEALED, is_connection_string};
use crate::database::connect::error::TargetError;
use crate::database::connect::text;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Whether a value may be secret.
const SECRET: bool = true;
const PUBLIC: bool = false;

/// Whether an empty value is invalid, as in libpq. To count it as not set would weaken the checks of the server, as in
/// `sslmode=${UNSET}`.
const NEVER_EMPTY: bool = true;
const MAY_BE_EMPTY: bool = false;

/// Each parameter with its variable.
const KNOWN: [(&str, &str, bool, bool); 32] = [
    ("host", "PGHOST", PUBLIC, MAY_BE_EMPTY),
    ("hostaddr", "PGHOSTADDR", PUBLIC, MAY_BE_EMPTY),
    ("port", "PGPORT", PUBLIC, MAY_BE_EMPTY),
    ("dbname", "PGDATABASE", PUBLIC, MAY_BE_EMPTY),
    ("user", "PGUSER", PUBLIC, MAY_BE_EMPTY),
    ("password", "PGPASSWORD", SECRET, MAY_BE_EMPTY),
    ("passfile", "PGPASSFILE", PUBLIC, MAY_BE_EMPTY),
    ("connect_timeout", "PGCONNECT_TIMEOUT", PUBLIC, NEVER_EMPTY),
    ("application_name", "PGAPPNAME", PUBLIC, MAY_BE_EMPTY),
    ("options", "PGOPTIONS", SECRET, MAY_BE_EMPTY),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", PUBLIC, NEVER_EMPTY),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", PUBLIC, NEVER_EMPTY),
    ("channel_binding", "PGCHANNELBINDING", PUBLIC, NEVER_EMPTY),
    ("sslmode", "PGSSLMODE", PUBLIC, NEVER_EMPTY),
    ("sslrootcert", "PGSSLROOTCERT", PUBLIC, MAY_BE_EMPTY),
    ("sslcert", "PGSSLCERT", PUBLIC, MAY_BE_EMPTY),
    ("sslkey", "PGSSLKEY", PUBLIC, MAY_BE_EMPTY),
    ("sslcrl", "PGSSLCRL", PUBLIC, MAY_BE_EMPTY),
    ("sslcrldir", "PGSSLCRLDIR", PUBLIC, MAY_BE_EMPTY),
    ("sslcertmode", "PGSSLCERTMODE", PUBLIC, NEVER_EMPTY),
    ("sslnegotiation", "PGSSLNEGOTIATION", PUBLIC, NEVER_EMPTY),
    ("sslsni", "PGSSLSNI", PUBLIC, MAY_BE_EMPTY),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", PUBLIC, MAY_BE_EMPTY),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", PUBLIC, MAY_BE_EMPTY),
    ("gssencmode", "PGGSSENCMODE", PUBLIC, NEVER_EMPTY),
    ("sslaccept", "", PUBLIC, NEVER_EMPTY),
    ("keepalives", "", PUBLIC, NEVER_EMPTY),
    ("keepalives_idle", "", PUBLIC, NEVER_EMPTY),
    ("keepalives_interval", "", PUBLIC, NEVER_EMPTY),
    ("keepalives_count", "", PUBLIC, NEVER_EMPTY),
    ("tcp_user_timeout", "", PUBLIC, NEVER_EMPTY),
    ("schema", "", PUBLIC, MAY_BE_EMPTY),
];

/// Parameters of libpq or Prisma that this program does not support, their variables, and a remedy. To ignore them
/// could be wrong.
const NOT_OFFERED: [(&str, &str, &str); 7] = [
    ("service", "PGSERVICE", "put the entries of the service file into DATABASE_URL"),
    ("servicefile", "PGSERVICEFILE", "put the entries of the service file into DATABASE_URL"),
    ("sslpassword", "", "decrypt the key (openssl pkey -in KEY -out NEW) and name the new file with sslkey"),
    ("sslidentity", "", "name a certificate and its key in PEM with sslcert and sslkey"),
    (
        "requirepeer",
        "PGREQUIREPEER",
        "remove it, and keep the socket in a directory that only its owner can write",
    ),
    (
        "require_auth",
        "PGREQUIREAUTH",
        "remove it; channel_binding=require makes the server authenticate with scram-sha-256",
    ),
    ("replication", "", "remove it"),
];

/// Values that this program does not support: parameter, variable, value and remedy.
const VALUES_NOT_OFFERED: [(&str, &str, &str, &str); 2] = [
    ("gssencmode", "PGGSSENCMODE", "require", "remove it, and encrypt with sslmode"),
    (
        "sslcertmode",
        "PGSSLCERTMODE",
        "require",
        "remove it; clientcert=verify-full in pg_hba.conf makes the server ask for the certificate",
    ),
];

/// The variables of libpq that are read or rejected.
pub fn variables() -> impl Iterator<Item = &'static str> {
    let read = KNOWN.into_iter().map(|(_, variable, ..)| variable);
    let rejected = NOT_OFFERED.into_iter().map(|(_, variable, _)| variable);
    read.chain(rejected).filter(|variable| !variable.is_empty())
}

/// Parameters without an effect here.
const DROPPED: [&str; 14] = [
    "connection_limit",
    "pool_timeout",
    "pgbouncer",
    "socket_timeout",
    "statement_cache_size",
    "single_use_connections",
    "max_connection_lifetime",
    "max_idle_connection_lifetime",
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gsslib",
    "krbsrvname",
    "sslcompression",
];

/// Whether a variable is invalid if it is empty. Other empty variables count as not set.
pub(crate) fn is_never_empty(variable: &str) -> bool {
    variable == "PGSERVICE" || KNOWN.iter().any(|(_, of, _, never_empty)| *of == variable && *never_empty)
}

/// Whether the value of a parameter is never secret.
pub(crate) fn is_public_name(name: &str) -> bool {
    DROPPED.contains(&name) || KNOWN.iter().any(|(known, _, secret, _)| *known == name && !secret)
}

/// Parameters in which white space at the ends is significant.
const AS_GIVEN: [&str; 2] = ["password", "options"];

#[derive(Default)]
pub(crate) struct Parameters {
    values: BTreeMap<&'static str, Value>,
}

/// A value, and its origin for error messages.
pub(crate) struct Value {
    pub(crate) text: String,
    pub(crate) place: String,
}

impl Parameters {
    /// Reads a connection string. Ignored parameters become warnings.
    pub(crate) fn of_text(text: &str, warnings: &mut Vec<String>) -> Result<Self, TargetError> {
        let mut parameters = Self::default();
        for (name, value) in text::parse(text)? {
            reject_value(&name, &value, |(parameter, ..)| parameter)?;
            if DROPPED.contains(&name.as_str()) {
                warnings.push(dropped(&name));
            } else if name == "sslaccept" && value == "accept_invalid_certs" {
                warnings.push("ignored sslaccept in the database URL: sslmode selects the checks".to_owned());
            } else if let Some((known, _, remedy)) = NOT_OFFERED.iter().find(|known| known.0 == name) {
                // As in libpq, an empty one is not set. Only a service is then searched for, and not found.
                if !value.is_empty() || *known == "service" {
                    return Err(TargetError::NotOffered { name: known, remedy });
                }
            } else if name == "ssl" && value == "true" {
                parameters.set("sslmode", "require".to_owned(), place("ssl"))?;
            } else if let Some((known, ..)) = KNOWN.iter().find(|known| known.0 == name) {
                parameters.set(known, value, place(known))?;
            } else {
                return Err(unknown(&name, text::may_be_password(text, &name)));
            }
        }
        Ok(parameters)
    }

    /// Fills unset parameters from the `PG*` variables.
    pub(crate) fn fill(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), TargetError> {
        let variable = |name: &str| if name.is_empty() { None } else { variable(name) };
        for (_, name, remedy) in NOT_OFFERED {
            if variable(name).is_some() {
                return Err(TargetError::NotOffered { name, remedy });
            }
        }
        for (_, name, _, _) in VALUES_NOT_OFFERED {
            reject_value(name, &variable(name).unwrap_or_default(), |(_, variable, ..)| variable)?;
        }
        // The variables of the host and its address do not apply to a host in the text.
        let has_host = self.values.contains_key("host") || self.values.contains_key("hostaddr");
        for (name, of, ..) in KNOWN {
            let other_host = has_host && matches!(name, "host" | "hostaddr");
            if !other_host
                && !self.values.contains_key(name)
                && let Some(value) = variable(of)
            {
                self.set(name, value, of.to_owned())?;
            }
        }
        // The old variable of libpq for `sslmode=require`, used as a default.
        if !self.values.contains_key("sslmode")
            && variable("PGREQUIRESSL").is_some_and(|value| value.starts_with('1'))
        {
            self.set("sslmode", "require".to_owned(), "PGREQUIRESSL".to_owned())?;
        }
        Ok(())
    }

    fn set(&mut self, name: &'static str, text: String, place: String) -> Result<(), TargetError> {
        // Messages of this program and of the server repeat the other values.
        if is_public_name(name) && is_connection_string(&text) {
            let wanted = "expected a value without a login (user:password@host) or a password".to_owned();
            return Err(TargetError::Value { place, value: CONCEALED.to_owned(), wanted });
        }
        // A file or secret may leave a newline, which would become part of a name.
        let text = if AS_GIVEN.contains(&name) { text } else { text.trim().to_owned() };
        // As in libpq, other empty values count as not set.
        let never_empty = KNOWN.iter().any(|(known, _, _, never_empty)| *known == name && *never_empty);
        if text.is_empty() && !never_empty {
            self.values.remove(name);
        } else {
            self.values.insert(name, Value { text, place });
        }
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|value| value.text.as_str())
    }

    /// The values of a list; empty if it is not set.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.text(name).map(|text| text.split(',').map(str::trim).collect()).unwrap_or_default()
    }

    pub(crate) fn number<T: FromStr + PartialOrd + Display>(
        &self,
        name: &str,
        range: RangeInclusive<T>,
        unit: &str,
    ) -> Result<Option<T>, TargetError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let parsed = value.text.trim().parse().ok().filter(|number| range.contains(number));
        let wanted = || format!("expected a whole number{unit} from {} to {}", range.start(), range.end());
        parsed.map(Some).ok_or_else(|| value.wrong(wanted()))
    }

    /// The meaning of a value that is one of `words`.
    pub(crate) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, TargetError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let known = words.iter().find(|(word, _)| *word == value.text).map(|(_, meaning)| *meaning);
        let all = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        known.map(Some).ok_or_else(|| value.not_among(&all()))
    }
}

impl Value {
    pub(crate) fn wrong(&self, wanted: impl Into<String>) -> TargetError {
        TargetError::Value { place: self.place.clone(), value: self.text.clone(), wanted: wanted.into() }
    }

    /// The error of a value that is not one of `words`.
    pub(crate) fn not_among(&self, words: &[&str]) -> TargetError {
        self.wrong(format!("possible values: {}", words.join(", ")))
    }
}

fn place(name: &str) -> String {
    format!("{name} of the database URL")
}

fn reject_value(
    name: &str,
    value: &str,
    of: impl Fn((&'static str, &'static str, &'static str, &'static str)) -> &'static str,
) -> Result<(), TargetError> {
    match VALUES_NOT_OFFERED.into_iter().find(|known| of(*known) == name && known.2 == value) {
        Some(known) => Err(TargetError::ValueNotOffered { name: of(known), value: known.2, remedy: known.3 }),
        None => Ok(()),
    }
}

fn dropped(name: &str) -> String {
    let why = match name {
        "pgbouncer" => "poolers are detected",
        "gssdelegation" | "gsslib" | "krbsrvname" => "GSSAPI is not supported",
        "client_encoding" => "it is always UTF8",
        "sslcompression" => "TLS is never compressed",
        _ => "it has no effect here",
    };
    format!("ignored {name} in the database URL: {why}")
}

fn unknown(name: &str, may_be_password: bool) -> TargetError {
    // A text that is not a name may be part of a password.
    let is_name = name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_');
    TargetError::Unknown {
        name: if is_name && !may_be_password { name.to_owned() } else { "…".to_owned() },
        known: KNOWN.map(|(name, ..)| name).join(", "),
    }
}
