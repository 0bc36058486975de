//! What to do about an error of connecting, in words that name the mode, the file and the remedy.

use super::tls::{Mode, Tls, file_of};
use postgres::Config;
use postgres::config::Host;
use rustls::{AlertDescription, CertificateError};
use std::error::Error as _;
use std::fmt;
use std::io;

/// What an error of connecting means, and what can be done.
#[derive(Debug)]
pub(in super::super) struct Advice(String);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Advice {
    /// None where the error says it all.
    pub(in super::super) fn on(error: &postgres::Error, tls: &Tls, config: &Config) -> Option<Self> {
        let words = match (tls_fault(error), error.code()) {
            (Some(fault), _) => Some(tls_words(fault, tls, config)),
            (None, Some(code)) => refused_words(code.code(), error, tls, config),
            (None, None) => own_words(error, tls),
        };
        words.map(Self)
    }
}

/// The fault of TLS that an error comes from, if it is one that stays: of certificates, versions and the like. A cut
/// connection or garbled bytes are none.
pub(in super::super) fn tls_fault(error: &postgres::Error) -> Option<&rustls::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        // An error of input and output names the cause of what it holds, and hides what it holds.
        let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let fault = held.and_then(|held| held.downcast_ref()).or_else(|| cause.downcast_ref());
        if let Some(fault) = fault {
            return stays(fault).then_some(fault);
        }
        source = cause.source();
    }
    None
}

fn stays(fault: &rustls::Error) -> bool {
    use rustls::Error;
    match fault {
        Error::InvalidCertificate(_)
        | Error::NoCertificatesPresented
        | Error::UnsupportedNameType
        | Error::PeerIncompatible(_)
        | Error::InvalidCertRevocationList(_)
        | Error::General(_) => true,
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

fn tls_words(fault: &rustls::Error, tls: &Tls, config: &Config) -> String {
    let (mode, file) = (tls.mode.name(), file_of(tls.authorities.as_ref()).display());
    let host = host(config);
    match fault {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the server's certificate has expired (sslmode={mode}); have it renewed on {host}")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
                "the server's certificate is not valid yet (sslmode={mode}); check the clocks of this machine and of {host}"
            ),
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the server's certificate is signed by no authority of sslrootcert {file} (sslmode={mode}); put the \
                 certificate of the authority that signed it there, or name another file by sslrootcert"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "the server's certificate is not for the host {host} (sslmode={mode}); use a name that is among its \
                 subject alternative names, have it made for this one, or use sslmode=verify-ca, which does not \
                 look at names"
            ),
            _ => format!(
                "the server's certificate can't be used for sslmode={mode}; have one of X.509 version 3 with subject \
                 alternative names made for {host}, or use sslmode=require without sslrootcert"
            ),
        },
        rustls::Error::AlertReceived(_) => match &tls.certificate {
            Some(file) => format!(
                "the server {host} refused the handshake (sslmode={mode}); sslcert {} must be valid, and signed by \
                 an authority that the server knows (its ssl_ca_file)",
                file.display()
            ),
            None => format!(
                "the server {host} refused the handshake (sslmode={mode}); it may want a client certificate: name one by \
                 sslcert and sslkey"
            ),
        },
        _ => format!("TLS with {host} failed (sslmode={mode}); the server must speak TLS 1.2 or 1.3"),
    }
}

fn refused_words(code: &str, error: &postgres::Error, tls: &Tls, config: &Config) -> Option<String> {
    let message = error.as_db_error().map(postgres::error::DbError::message).unwrap_or_default();
    let (user, database) = (config.get_user().unwrap_or_default(), config.get_dbname().unwrap_or_default());
    Some(match code {
        "28P01" => format!(
            "the server refused the password of {user:?}; it is taken from the URL, else from PGPASSWORD, else from \
             ~/.pgpass"
        ),
        "28000" if message.contains("client certificate") => format!(
            "the server wants a client certificate of {user:?}; name one whose common name is that by sslcert and sslkey"
        ),
        "28000" if message.contains("certificate authentication failed") => format!(
            "the client certificate is not one of {user:?}; its common name must be the user's name, or be mapped to it in \
             pg_ident.conf"
        ),
        "28000" if message.contains("no encryption") && tls.mode == Mode::Disable => {
            "the server may want encryption, and sslmode=disable forbids it; use sslmode=require or more"
                .to_owned()
        }
        "28000" => {
            format!("the server does not let {user:?} into {database:?}; its pg_hba.conf says who may")
        }
        "3D000" => {
            format!("there is no database {database:?}; make it by: createdb {database}, or name another")
        }
        "53300" => "the server has no room for one more connection; close some that are idle, raise max_connections or \
             the role's connection limit, or lower DATABASE_POOL_MAX"
            .to_owned(),
        _ => return None,
    })
}

/// Errors that the client library finds itself have no type of their own.
fn own_words(error: &postgres::Error, tls: &Tls) -> Option<String> {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    Some(match cause.as_str() {
        "password missing" => {
            "the server wants a password; put it into the URL, PGPASSWORD or ~/.pgpass".to_owned()
        }
        "server does not support TLS" => format!(
            "the server does not offer TLS, and sslmode={} asks for it; turn it on there (ssl = on), or use sslmode=prefer",
            tls.mode.name()
        ),
        "server did not use channel binding" => {
            "the server does not bind the password to TLS; leave out channel_binding=require".to_owned()
        }
        _ => return None,
    })
}

fn host(config: &Config) -> String {
    match config.get_hosts() {
        [Host::Tcp(name), ..] => format!("{name:?}"),
        _ => "the server".to_owned(),
    }
}
