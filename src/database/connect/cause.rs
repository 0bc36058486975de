//! The cause of a failed connection, without the texts of wrapping errors.

use crate::database::connect::tls::verifier::VerifierFault;
use crate::database::connect::tls::{SslPolicy, Tls, certificate, file_of};
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
        Some(tls_cause(found, self, config))
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
        return tls_cause(fault, tls, config);
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

/// Describes the fault with the algorithm, the file or the name concerned.
fn tls_cause(fault: &rustls::Error, tls: &Tls, config: &Config) -> String {
    match fault {
        rustls::Error::InvalidCertificate(error) => certificate_cause(error, tls, config),
        rustls::Error::InvalidCertRevocationList(error) => {
            format!("a certificate revocation list cannot be used: {error:?}")
        }
        rustls::Error::AlertReceived(alert) => format!("the server rejected the TLS handshake: {alert:?}"),
        rustls::Error::PeerIncompatible(_) => {
            "no TLS version or cipher suite in common with the server".to_owned()
        }
        rustls::Error::Other(error) => error.0.to_string(),
        rustls::Error::General(text) => text.clone(),
        error => format!("TLS failed: {error}"),
    }
}

fn certificate_cause(error: &CertificateError, tls: &Tls, config: &Config) -> String {
    let unsupported =
        |what: String| format!("the server's certificate is signed with {what}, which is not supported");
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => format!(
            "the server's certificate is not signed by an authority of sslrootcert '{}'",
            file_of(tls.authorities.as_ref()).display()
        ),
        CertificateError::BadSignature => {
            "the server's certificate has a bad signature: it was not made with the key of the authority"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = if presented.is_empty() { "no name".to_owned() } else { join(presented) };
            format!("the server's certificate is for {names}, not for {}", host(config))
        }
        CertificateError::NotValidForName => {
            format!("the server's certificate is not for {}", host(config))
        }
        CertificateError::Revoked => "the server's certificate is revoked".to_owned(),
        CertificateError::UnknownRevocationStatus => {
            "no certificate revocation list covers the server's certificate and its authorities".to_owned()
        }
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the certificate revocation list has expired".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id, ..
        } => unsupported(certificate::algorithm_name(signature_algorithm_id)),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not issued for servers (extended key usage)".to_owned()
        }
        CertificateError::BadEncoding => "the server's certificate is malformed".to_owned(),
        CertificateError::Other(error) => format!("the server's certificate cannot be used: {}", error.0),
        error => format!("the server's certificate cannot be used: {error}"),
    }
}

/// The names of a certificate, which the library formats as `DnsName("db.example")`.
fn join(presented: &[String]) -> String {
    let bare = |name: &String| match name.split('"').nth(1) {
        Some(bare) => bare.to_owned(),
        None => name.clone(),
    };
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

/// The fault that our verifier found, if any.
pub(crate) fn verifier_fault(fault: &rustls::Error) -> Option<&VerifierFault> {
    match fault {
        rustls::Error::Other(error) => error.0.downcast_ref(),
        _ => None,
    }
}

pub(crate) fn host(config: &Config) -> &str {
    match config.get_hosts() {
        [Host::Tcp(name), ..] => name,
        _ => "the server",
    }
}
