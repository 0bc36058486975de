//! Hints for failed connections. One table maps the SQLSTATE to a hint, with the server's routine where one SQLSTATE
//! stands for several faults. It ignores the message, which the server translates. Exception: an English message narrows
//! the hint for a role that cannot log in.
//!
//! Invariant: no hint advises less protection than the settings ask for.

use crate::database::connect::cause::{explained, host, place, tls_fault};
use crate::database::connect::tls::{SslPolicy, Tls};
use crate::error_chain::cause_of;
use crate::layout::identifier::quote_identifier;
use crate::shell::shell_quoted;
use postgres::config::Host;
use postgres::error::DbError;
use postgres::{Config, Error};
use std::error::Error as _;
use std::io;

struct Facts<'f> {
    user: &'f str,
    database: &'f str,
    tls: &'f Tls,
    config: &'f Config,
    /// The message of the server, or an empty text.
    message: &'f str,
}

type Make = fn(&Facts<'_>) -> String;

/// SQLSTATEs, the routine (empty: any), and the hint. The first matching entry counts.
const TABLE: [(&[&str], &str, Make); 13] = [
    (&["28P01"], "", |_| {
        "check the password; the URL, PGPASSWORD and ~/.pgpass are read in this order".to_owned()
    }),
    // The role does not exist, or lacks LOGIN.
    (&["28000"], "InitializeSessionUserId", |facts| login(facts.user, facts.message)),
    // The server does not know the certificate that the client saw, or knows of a login method that was withheld from it.
    (&["28000"], "read_client_final_message", |facts| other_certificate(facts)),
    (&["28000"], "read_client_first_message", |facts| other_certificate(facts)),
    (&["28000"], "", |facts| no_entry(facts)),
    (&["3D000"], "", |facts| match facts.database.len() {
        0..=63 => format!("create the database ({}), or name another one", createdb(facts)),
        length => format!("use a database name of at most 63 bytes; this one has {length}"),
    }),
    // The database does not accept connections.
    (&["55000"], "", |facts| {
        let database = quote_identifier(facts.database);
        format!(
            "name another database, or run in the server: ALTER DATABASE {database} ALLOW_CONNECTIONS true"
        )
    }),
    (&["22023", "42501", "42601", "42704", "55P02"], "", |facts| {
        if facts.config.get_options().is_some() {
            return "correct the options parameter of the URL, or PGOPTIONS".to_owned();
        }
        let (user, database) = (quote_identifier(facts.user), quote_identifier(facts.database));
        format!("have the owner run: GRANT CONNECT ON DATABASE {database} TO {user}")
    }),
    (&["53300"], "", |_| {
        "lower DATABASE_POOL_MAX here or in other clients, or raise the limit: max_connections of the server, or CONNECTION \
         LIMIT of the role or database"
            .to_owned()
    }),
    (&["0A000"], "", |_| "connect to PostgreSQL 12 or later, or to its pooler".to_owned()),
    (&["08P01"], "", |_| "see the log of the server, or of the pooler in front of it".to_owned()),
    (&["57P01", "57P02"], "", |_| "start the server again".to_owned()),
    (&["53100"], "", |_| "free space on the server's disk".to_owned()),
];

/// The hint if no server matches `target_session_attrs`.
pub(crate) const UNMET: &str = "add the host of such a server to the URL, or change target_session_attrs";

const FOREIGN: &str = "check host and port: the peer is not PostgreSQL, or the network alters the data";

/// None if the cause needs no hint.
pub(crate) fn hint(error: &Error, tls: &Tls, config: &Config) -> Option<String> {
    let (user, database) = (config.get_user().unwrap_or_default(), config.get_dbname().unwrap_or_default());
    let message = error.as_db_error().map(DbError::message).unwrap_or_default();
    let facts = Facts { user, database, tls, config, message };
    if let Some(fault) = tls_fault(error) {
        return Some(explained(fault, tls, config).1);
    }
    match error.as_db_error() {
        Some(refused) => {
            let (code, routine) = (refused.code().code(), refused.routine().unwrap_or_default());
            let fits = |(codes, of, _): &&(&[&str], &str, Make)| {
                codes.contains(&code) && (of.is_empty() || *of == routine)
            };
            TABLE.iter().find(fits).map(|(_, _, make)| make(&facts))
        }
        None => client_error(error, &facts).or_else(|| unreachable(error, &facts)),
    }
}

/// The hint for a role that does not exist or lacks LOGIN, which have one SQLSTATE. A translated message gets both remedies.
fn login(user: &str, message: &str) -> String {
    let user = quote_identifier(user);
    let (create, alter) = (format!("CREATE ROLE {user} LOGIN"), format!("ALTER ROLE {user} LOGIN"));
    let statement = if message.ends_with("does not exist") {
        create
    } else if message.ends_with("is not permitted to log in") {
        alter
    } else {
        format!("{alter}; if the role does not exist: {create}")
    };
    format!("connect as another user, or run in psql as a superuser: {statement}")
}

fn other_certificate(facts: &Facts<'_>) -> String {
    format!(
        "check which server answers at {}: this may be a man-in-the-middle attack, or a proxy with a certificate of its own",
        place(facts.config)
    )
}

fn no_entry(facts: &Facts<'_>) -> String {
    let (user, database) = (facts.user, facts.database);
    let is_socket = matches!(facts.config.get_hosts(), [Host::Unix(_)]);
    let more = match (&facts.tls.certificate, facts.tls.mode) {
        _ if is_socket => "",
        (_, SslPolicy::Disable) => "; entries of type hostssl need sslmode=require or higher",
        (None, _) => "; entries with cert or clientcert need a client certificate (sslcert, sslkey)",
        (Some(_), _) => {
            "; the common name of the client certificate must be the user's name, or be mapped to it in pg_ident.conf"
        }
    };
    format!(
        "check the server's pg_hba.conf: an entry must admit user '{user}' to database '{database}'{more}"
    )
}

fn createdb(facts: &Facts<'_>) -> String {
    let port = facts.config.get_ports().first().copied().unwrap_or_default();
    let place = match (facts.config.get_hostaddrs(), facts.config.get_hosts()) {
        ([address, ..], _) => address.to_string(),
        (_, [Host::Tcp(name), ..]) => name.clone(),
        (_, [Host::Unix(dir), ..]) => dir.display().to_string(),
        _ => "localhost".to_owned(),
    };
    let words =
        ["-h", &place, "-p", &port.to_string(), "-U", facts.user, "--", facts.database].map(shell_quoted);
    format!("createdb {}", words.join(" "))
        .replace(" -- ", if facts.database.starts_with('-') { " -- " } else { " " })
}

/// Errors of the client library differ only in their text, which is never translated.
fn client_error(error: &Error, facts: &Facts<'_>) -> Option<String> {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    Some(match cause.as_str() {
        "password missing" => "put the password in the URL, PGPASSWORD or ~/.pgpass".to_owned(),
        "server does not support TLS" => format!(
            "enable TLS on the server (ssl = on), which sslmode={} requires; check host and port if it is not PostgreSQL",
            facts.tls.mode.name()
        ),
        "unsupported authentication method" | "unsupported SASL mechanism" => {
            "change the server's pg_hba.conf to scram-sha-256, md5, password, cert or trust".to_owned()
        }
        "server did not use channel binding" => no_channel_binding(facts),
        _ => return None,
    })
}

/// The signature algorithms whose hash the client library knows.
const BOUND: [&str; 2] = ["ecdsa-with-SHA256", "ecdsa-with-SHA384"];

fn no_channel_binding(facts: &Facts<'_>) -> String {
    // Only RSA algorithms without channel binding have a name here; others appear as numbers.
    let unbound = |name: &String| !BOUND.contains(&name.as_str()) && !name.starts_with("1.2.840.113549.1.1.");
    match facts.tls.algorithm().filter(unbound) {
        Some(name) if facts.tls.mode != SslPolicy::Disable && name != "sha1WithRSAEncryption" => format!(
            "channel_binding=require is not supported for a certificate signed with {name}: issue one signed with \
             ecdsa-with-SHA256, ecdsa-with-SHA384 or sha256WithRSAEncryption"
        ),
        _ => {
            "channel_binding=require needs TLS and a role with a password stored by scram-sha-256".to_owned()
        }
    }
}

fn unreachable(error: &Error, facts: &Facts<'_>) -> Option<String> {
    let closed = || "see the log of the server; check host and port if it is not PostgreSQL".to_owned();
    match error.to_string().as_str() {
        "unexpected message from server" | "error parsing response from server" => {
            return Some(FOREIGN.to_owned());
        }
        "connection closed" => return Some(closed()),
        _ => {}
    }
    let cause: &io::Error = cause_of(error)?;
    Some(match cause.kind() {
        io::ErrorKind::ConnectionRefused => {
            "start the server, correct host and port, or add the address to listen_addresses of the server"
                .to_owned()
        }
        io::ErrorKind::NotFound => {
            "start the server, or set host to the directory of its unix_socket_directories".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "run as a user who can write to the socket, or set host to connect by TCP".to_owned()
        }
        io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => "correct the host, or open the port in the firewalls".to_owned(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => closed(),
        _ => match cause.to_string() {
            text if text.contains("failed to lookup") || text.contains("could not resolve") => {
                format!("correct the host name '{}', or check DNS", host(facts.config))
            }
            // The system resolves short forms of addresses such as 127.1, but the TLS library does not.
            text if text.contains("invalid dns name") => {
                "write the host as a name or as a whole address such as 192.0.2.1, because TLS needs it"
                    .to_owned()
            }
            text if text.contains("SUN_LEN") => {
                "move the socket of the server to a directory with a shorter path".to_owned()
            }
            _ => FOREIGN.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_for_a_login_fits_the_role() {
        for (message, end) in [
            ("role \"a b\" does not exist", "as a superuser: CREATE ROLE \"a b\" LOGIN"),
            ("role \"a b\" is not permitted to log in", "as a superuser: ALTER ROLE \"a b\" LOGIN"),
            (
                "Rolle »a b« existiert nicht",
                ": ALTER ROLE \"a b\" LOGIN; if the role does not exist: CREATE ROLE \"a b\" LOGIN",
            ),
        ] {
            let hint = login("a b", message);
            assert!(hint.ends_with(end), "{hint}");
        }
    }
}
