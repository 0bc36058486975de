//! The cause of a failed connection, without the texts of wrapping errors, and the hints for faults of TLS.

use crate::database::connect::tls::verifier::VerifierFault;
use crate::database::connect::tls::{Authorities, SslPolicy, Tls, certificate, file_of};
use crate::error_chain::{CLOSED, SERVER_TEXT_BYTES_MAX, cause_of, server_message, system_text, truncated};
use postgres::config::{Host, SslMode};
use postgres::{Config, Error};
use rustls::{AlertDescription, CertificateError};
use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::Ordering;

impl Tls {
    /// The cause of this error if the next way of connecting may be used after it.
    pub(crate) fn fallback_cause(&self, error: &Error, config: &Config) -> Option<String> {
        if error.code() == Some(&postgres::error::SqlState::INVALID_AUTHORIZATION_SPECIFICATION) {
            return Some(
                error
                    .as_db_error()
                    .map_or_else(|| error.to_string(), |said| server_message(said).into_owned()),
            );
        }
        let found = tls_fault(error).filter(|_| self.mode == SslPolicy::Prefer)?;
        Some(explained(found, self, config).0)
    }

    /// Warns once that a session is not encrypted because an encrypted one failed for this cause.
    pub(crate) fn warn_of_plain(&self, config: &Config, cause: &str) {
        let is_plain = self.mode == SslPolicy::Prefer && config.get_ssl_mode() == SslMode::Disable;
        if is_plain && !self.has_warned.swap(true, Ordering::Relaxed) {
            log::warn!(
                "the connection is not encrypted: it failed with TLS ({cause}), and sslmode=prefer allows plain text; \
                 sslmode=require prevents this"
            );
        }
    }
}

/// The host and port, or the path of the socket.
pub(crate) fn place(config: &Config) -> String {
    let port = config.get_ports().first().copied().unwrap_or_default();
    let mut place = match config.get_hosts() {
        [Host::Tcp(name), ..] if name.contains(':') => format!("[{name}]:{port}"),
        [Host::Tcp(name), ..] => format!("{name}:{port}"),
        [Host::Unix(dir), ..] => dir.join(format!(".s.PGSQL.{port}")).display().to_string(),
        [] => "the server".to_owned(),
    };
    if let [address, ..] = config.get_hostaddrs()
        && place != format!("{address}:{port}")
        && place != format!("[{address}]:{port}")
    {
        let _ = write!(place, " ({address})");
    }
    place
}

/// The message of the server, of the system or of TLS, without wrapping texts.
pub(crate) fn cause(error: &Error, tls: &Tls, config: &Config) -> String {
    if let Some(fault) = tls_fault(error) {
        return explained(fault, tls, config).0;
    }
    if let Some(refused) = error.as_db_error() {
        let shown = |detail| format!(": {}", truncated(detail, SERVER_TEXT_BYTES_MAX));
        return format!("{}{}", server_message(refused), refused.detail().map(shown).unwrap_or_default());
    }
    if let Some(cause) = cause_of::<io::Error>(error) {
        return match cause.kind() {
            // The client library reports a closed connection in this way.
            io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
            _ => system_text(cause),
        };
    }
    match error.source() {
        Some(cause) => cause.to_string(),
        None if error.is_closed() => CLOSED.to_owned(),
        None => error.to_string(),
    }
}

/// The permanent TLS fault behind an error, such as one of certificates or versions. A cut connection or garbled
/// bytes are not permanent.
pub(crate) fn tls_fault(error: &Error) -> Option<&rustls::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        // The source of an I/O error is the source of the error inside it, so look at that error first.
        let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let fault = held.and_then(|held| held.downcast_ref()).or_else(|| cause.downcast_ref());
        if let Some(fault) = fault {
            return is_permanent(fault).then_some(fault);
        }
        source = cause.source();
    }
    None
}

fn is_permanent(fault: &rustls::Error) -> bool {
    use rustls::Error;
    match fault {
        Error::InvalidCertificate(_)
        | Error::NoCertificatesPresented
        | Error::UnsupportedNameType
        | Error::PeerIncompatible(_)
        | Error::InvalidCertRevocationList(_)
        | Error::General(_)
        | Error::Other(_) => true,
        Error::AlertReceived(alert) => !matches!(
            alert,
            AlertDescription::CloseNotify
                | AlertDescription::UserCanceled
                | AlertDescription::InternalError
                | AlertDescription::BadRecordMac
                | AlertDescription::UnexpectedMessage
                | AlertDescription::DecodeError
        ),
        _ => false,
    }
}

/// The cause of a TLS fault, with the algorithm, the file or the name concerned, and a hint.
pub(crate) fn explained(fault: &rustls::Error, tls: &Tls, config: &Config) -> (String, String) {
    let versions = || {
        "enable TLS 1.2 or 1.3 on the server, within ssl_min_protocol_version and ssl_max_protocol_version"
            .to_owned()
    };
    match fault {
        rustls::Error::InvalidCertificate(error) => of_certificate(error, tls, config),
        rustls::Error::InvalidCertRevocationList(error) => (
            format!("a certificate revocation list cannot be used: {error:?}"),
            "replace the list in sslcrl or sslcrldir with one that the authority signed".to_owned(),
        ),
        rustls::Error::AlertReceived(alert) => (
            format!("the server rejected the TLS handshake: {alert:?}"),
            match &tls.certificate {
                Some(file) => format!(
                    "check that sslcert '{}' is valid, and signed by an authority of the server's ssl_ca_file",
                    file.display()
                ),
                None => "if the server asks for a client certificate, set sslcert and sslkey; otherwise check its TLS versions \
                         (ssl_min_protocol_version)"
                    .to_owned(),
            },
        ),
        rustls::Error::PeerIncompatible(_) => {
            ("no TLS version or cipher suite in common with the server".to_owned(), versions())
        }
        rustls::Error::Other(error) => {
            let hint = match error.0.downcast_ref() {
                Some(VerifierFault::KeyNotHeld) => format!(
                    "check which server answers at {}: this may be a man-in-the-middle attack",
                    place(config)
                ),
                Some(VerifierFault::ShortKey) => format!(
                    "issue {} a certificate with an ECDSA key, or an RSA key of 2048 bits",
                    host(config)
                ),
                Some(VerifierFault::AuthorityDates) => {
                    "renew the authority's certificate in sslrootcert".to_owned()
                }
                None => versions(),
            };
            (error.0.to_string(), hint)
        }
        rustls::Error::General(text) => (text.clone(), versions()),
        error => (format!("TLS failed: {error}"), versions()),
    }
}

fn of_certificate(error: &CertificateError, tls: &Tls, config: &Config) -> (String, String) {
    use CertificateError as E;
    let (host, file) = (host(config), file_of(tls.authorities.as_ref()).display());
    let (cause, hint) = match error {
        E::Expired | E::ExpiredContext { .. } => {
            ("has expired".to_owned(), format!("renew the certificate on {host}"))
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            ("is not valid yet".to_owned(), format!("check the clocks of this machine and of {host}"))
        }
        E::UnknownIssuer => (
            format!("is not signed by an authority of sslrootcert '{file}'"),
            if tls.authorities == Some(Authorities::System) {
                "set sslrootcert to the certificate of the authority that signed the server's".to_owned()
            } else {
                format!(
                    "add the certificate of the authority that signed the server's to {file}, or name another file with \
                     sslrootcert"
                )
            },
        ),
        E::BadSignature => (
            "has a bad signature: it was not made with the key of the authority".to_owned(),
            format!(
                "check that {file} holds the current certificate of the authority, and that no proxy intercepts TLS"
            ),
        ),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            let names = match error {
                E::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                    "for no name, ".to_owned()
                }
                E::NotValidForNameContext { presented, .. } => format!("for {}, ", join(presented)),
                _ => String::new(),
            };
            (
                format!("is {names}not for {host}"),
                format!(
                    "use a host name from the certificate, or issue one with {host} among its subject alternative names"
                ),
            )
        }
        E::Revoked => ("is revoked".to_owned(), format!("issue {host} a new certificate")),
        E::UnknownRevocationStatus => {
            return (
                "no certificate revocation list covers the server's certificate and its authorities"
                    .to_owned(),
                "add the current lists of all authorities of the chain to sslcrl or sslcrldir".to_owned(),
            );
        }
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
            return (
                "the certificate revocation list has expired".to_owned(),
                "get the authority's current list, and put it in sslcrl or sslcrldir".to_owned(),
            );
        }
        E::UnsupportedSignatureAlgorithmContext { signature_algorithm_id: id, .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id: id, .. } => (
            format!("is signed with {}, which is not supported", certificate::algorithm_name(id)),
            "issue a certificate signed with ecdsa-with-SHA256, ecdsa-with-SHA384 or sha256WithRSAEncryption"
                .to_owned(),
        ),
        error => (
            match error {
                E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
                    "is not issued for servers (extended key usage)".to_owned()
                }
                E::BadEncoding => "is malformed".to_owned(),
                E::Other(error) => format!("cannot be used: {}", error.0),
                error => format!("cannot be used: {error}"),
            },
            format!("issue {host} a server certificate of X.509 version 3 with subject alternative names"),
        ),
    };
    (format!("the server's certificate {cause}"), hint)
}

/// The names of a certificate, which the library formats as `DnsName("db.example")`.
fn join(presented: &[String]) -> String {
    let bare = |name: &String| match name.split('"').nth(1) {
        Some(bare) => bare.to_owned(),
        None => name.clone(),
    };
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

pub(crate) fn host(config: &Config) -> &str {
    match config.get_hosts() {
        [Host::Tcp(name), ..] => name,
        _ => "the server",
    }
}
