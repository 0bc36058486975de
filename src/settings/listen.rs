//! The address of the pages.

use std::fmt;
use std::net::SocketAddr;

/// The address of the pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// An IP address or a name.
    pub host: String,
    /// The port; 0 lets the system choose one.
    pub port: u16,
    /// The host if it is a name. Requests may use it.
    pub name: Option<String>,
    /// Whether the value comes from the environment or `.env`, not from the option.
    pub is_variable: bool,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Parses a host and a port. A bare port binds to 127.0.0.1.
pub(crate) fn listen(text: &str, is_variable: bool) -> Result<Listen, String> {
    let wanted = || {
        "expected an address and port such as 127.0.0.1:8080 or [::1]:8080, or a bare port up to 65535"
            .to_owned()
    };
    let listen = |host: &str, port, name| Listen { host: host.to_owned(), port, name, is_variable };
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(listen("127.0.0.1", port, None));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(listen(&address.ip().to_string(), address.port(), None));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    let port = port.parse::<u16>().map_err(|_| wanted())?;
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if !host.contains(|letter: char| letter.is_ascii_alphabetic()) || !host.chars().all(is_of_name) {
        return Err(wanted());
    }
    // Use one address, because `localhost` can resolve to several.
    let address = if host == "localhost" { "127.0.0.1" } else { host };
    Ok(listen(address, port, Some(host.to_owned())))
}
