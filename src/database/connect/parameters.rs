//! The parameters of a connection, by libpq's names: which there are, the variable that stands for each, and
//! where each value came from, so that an error can say so.

use super::TargetError;
use super::text;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Each parameter, and its variable.
const KNOWN: [(&str, &str); 23] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("application_name", "PGAPPNAME"),
    ("options", "PGOPTIONS"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("keepalives", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("keepalives_count", ""),
    ("tcp_user_timeout", ""),
    ("schema", ""),
];

/// What libpq or Prisma has, and this program has not: to go on without it could be wrong.
const NOT_OFFERED: [(&str, &str, &str); 9] = [
    ("service", "PGSERVICE", "write what the service file says into DATABASE_URL"),
    ("servicefile", "PGSERVICEFILE", "write what the service file says into DATABASE_URL"),
    (
        "sslpassword",
        "",
        "take the key's password away (openssl pkey -in KEY -out NEW), and name the new key by sslkey",
    ),
    ("sslidentity", "", "name a certificate and its key in PEM by sslcert and sslkey"),
    ("sslcrl", "PGSSLCRL", "leave it out, and have revoked certificates replaced"),
    ("sslcrldir", "PGSSLCRLDIR", "leave it out, and have revoked certificates replaced"),
    (
        "requirepeer",
        "PGREQUIREPEER",
        "leave it out, and keep the socket in a folder that only its owner can write",
    ),
    (
        "require_auth",
        "PGREQUIREAUTH",
        "leave it out; with channel_binding=require the server must ask for scram-sha-256",
    ),
    ("replication", "", "leave it out"),
];

const NO_GSSAPI: &str = "GSSAPI is not used; encrypt by sslmode";

/// What means nothing to this program, or is always as it does it.
const DROPPED: [&str; 20] = [
    "connection_limit",
    "pool_timeout",
    "pgbouncer",
    "socket_timeout",
    "statement_cache_size",
    "sslaccept",
    "single_use_connections",
    "max_connection_lifetime",
    "max_idle_connection_lifetime",
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "gssdelegation",
    "gsslib",
    "krbsrvname",
    "sslcompression",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "sslnegotiation",
];

/// The values of one connection.
#[derive(Default)]
pub(super) struct Parameters {
    values: BTreeMap<&'static str, Value>,
}

/// A value, and what to call it in an error.
pub(super) struct Value {
    pub(super) text: String,
    pub(super) place: String,
}

impl Parameters {
    /// Those of a connection string; what is dropped is a warning.
    pub(super) fn of_text(text: &str, warnings: &mut Vec<String>) -> Result<Self, TargetError> {
        let mut parameters = Self::default();
        for (name, value) in text::parse(text)? {
            if name == "gssencmode" && value == "require" {
                return Err(TargetError::NotOffered { name: "gssencmode=require", remedy: NO_GSSAPI });
            } else if DROPPED.contains(&name.as_str()) {
                warnings.push(dropped(&name));
            } else if let Some((name, _, remedy)) = NOT_OFFERED.iter().find(|known| known.0 == name) {
                return Err(TargetError::NotOffered { name, remedy });
            } else if name == "ssl" && value == "true" {
                parameters.set("sslmode", "require".to_owned(), place("ssl"));
            } else if let Some((known, _)) = KNOWN.iter().find(|known| known.0 == name) {
                parameters.set(known, value, place(known));
            } else {
                return Err(unknown(&name, text::may_be_password(text, &name)));
            }
        }
        Ok(parameters)
    }

    /// Fills what is not set from the `PG*` variables.
    pub(super) fn fill(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), TargetError> {
        let variable = |name: &str| if name.is_empty() { None } else { variable(name) };
        for (_, name, remedy) in NOT_OFFERED {
            if variable(name).is_some() {
                return Err(TargetError::NotOffered { name, remedy });
            }
        }
        if variable("PGGSSENCMODE").as_deref() == Some("require") {
            return Err(TargetError::NotOffered { name: "PGGSSENCMODE=require", remedy: NO_GSSAPI });
        }
        // A host that the text names is not at the variable's address.
        let has_host = self.values.contains_key("host") || self.values.contains_key("hostaddr");
        for (name, of) in KNOWN {
            let other_host = has_host && matches!(name, "host" | "hostaddr");
            if !other_host
                && !self.values.contains_key(name)
                && let Some(value) = variable(of)
            {
                self.set(name, value, of.to_owned());
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &'static str, text: String, place: String) {
        // As for libpq, what is empty is not set.
        if text.is_empty() {
            self.values.remove(name);
        } else {
            self.values.insert(name, Value { text, place });
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|value| value.text.as_str())
    }

    /// The values of a list; none where it is not set.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        self.text(name).map(|text| text.split(',').map(str::trim).collect()).unwrap_or_default()
    }

    /// A number.
    pub(super) fn number<T: FromStr + PartialOrd + Display>(
        &self,
        name: &str,
        range: RangeInclusive<T>,
        unit: &str,
    ) -> Result<Option<T>, TargetError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let parsed = value.text.trim().parse().ok().filter(|number| range.contains(number));
        let wanted = || format!("a whole number{unit} from {} to {}", range.start(), range.end());
        parsed.map(Some).ok_or_else(|| value.wrong(wanted()))
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, TargetError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let known = words.iter().find(|(word, _)| *word == value.text).map(|(_, meaning)| *meaning);
        let wanted = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        known.map(Some).ok_or_else(|| value.wrong(format!("one of {}", wanted())))
    }
}

impl Value {
    pub(super) fn wrong(&self, wanted: impl Into<String>) -> TargetError {
        TargetError::Value { place: self.place.clone(), value: self.text.clone(), wanted: wanted.into() }
    }
}

fn place(name: &str) -> String {
    format!("{name} of the database URL")
}

fn dropped(name: &str) -> String {
    let why = match name {
        "pgbouncer" => "a pooler is noticed by itself",
        "sslaccept" => "sslmode says what is checked",
        "gssencmode" | "gssdelegation" | "gsslib" | "krbsrvname" => "GSSAPI is not used",
        "client_encoding" => "it is always UTF8",
        name if name.starts_with("ssl") => "TLS is as rustls has it",
        _ => "it means nothing to this program",
    };
    format!("{name} of the database URL is dropped: {why}")
}

fn unknown(name: &str, may_be_password: bool) -> TargetError {
    // What is no name may be a part of a password.
    let is_name = name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_');
    TargetError::Unknown {
        name: if is_name && !may_be_password { name.to_owned() } else { "…".to_owned() },
        known: KNOWN.map(|(name, _)| name).join(", "),
    }
}
