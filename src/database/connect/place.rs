//! A host that is not there, or no PostgreSQL: what that means, and what can be done.

use crate::causes::cause_of;
use postgres::config::Host;
use postgres::{Config, Error};
use std::fmt::Write as _;
use std::io;

/// Where a connection goes to: a host and port, or a socket.
pub(super) fn of(config: &Config) -> String {
    let port = config.get_ports().first().copied().unwrap_or_default();
    let mut place = match config.get_hosts() {
        [Host::Tcp(name), ..] if name.contains(':') => format!("[{name}]:{port}"),
        [Host::Tcp(name), ..] => format!("{name}:{port}"),
        [Host::Unix(folder), ..] => folder.join(format!(".s.PGSQL.{port}")).display().to_string(),
        [] => "the server".to_owned(),
    };
    if let [address, ..] = config.get_hostaddrs() {
        let _ = write!(place, " ({address})");
    }
    place
}

/// None where the error says it all.
pub(super) fn unreached_words(error: &Error, config: &Config) -> Option<String> {
    let place = of(config);
    let foreign = || {
        format!(
            "what answers at {place} is no PostgreSQL, or something between alters what is sent; mend the host and the port"
        )
    };
    match error.to_string().as_str() {
        "unexpected message from server" | "error parsing response from server" => return Some(foreign()),
        "connection closed" => return Some(closed(&place)),
        _ => {}
    }
    let cause: &io::Error = cause_of(error)?;
    Some(match cause.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "nothing listens at {place}; start the server, mend the host and the port, or have it listen there (its \
             listen_addresses)"
        ),
        io::ErrorKind::NotFound => format!(
            "there is no socket {place}; start the server, or give as host the folder that its unix_socket_directories names"
        ),
        io::ErrorKind::PermissionDenied if cause.to_string().starts_with("database") => format!(
            "the server at {place} is not as target_session_attrs asks; name one that is (several hosts are tried in turn), or \
             leave target_session_attrs out"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("this user has no right to use {place}; run as one who has, or name the host by TCP")
        }
        io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => {
            format!("no answer comes from {place}; mend the host, or have firewalls let the port through")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            closed(&place)
        }
        _ => match cause.to_string() {
            words if ["failed to lookup", "could not resolve"].iter().any(|begin| words.contains(begin)) => {
                format!("the name of the host {place} is not known; mend it, or see to this machine's DNS")
            }
            words if words.contains("SUN_LEN") => format!(
                "the socket's path {place} is too long for this system; have the server put a socket into a folder \
                 with a short path"
            ),
            _ => foreign(),
        },
    })
}

fn closed(place: &str) -> String {
    format!(
        "{place} closes the connection before anyone is let in; its log may say why, or it is no PostgreSQL: then mend the \
         host and the port"
    )
}
