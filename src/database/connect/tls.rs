//! TLS as libpq's `sslmode` has it, by rustls.
//!
//! - `disable`: never. `allow`: if the server refuses a plain session. `prefer`: if the server offers it; a plain session
//!   if it does not, or if the handshake or the login fails. Nothing is checked in these modes: who can alter what is
//!   sent can have it sent in plain as well. libpq looks at the certificate where there is a file of authorities, and goes on
//!   in plain where it is wrong (`prefer`), or fails where the server insists; here it is encrypted in these cases.
//! - `require`: always; nothing is checked, unless there is a file of authorities, and then as `verify-ca`. A file that is
//!   named and missing is an error; libpq would check nothing.
//! - `verify-ca`: the certificate's chain and dates. `verify-full`: the name, too.
//!
//! A Unix socket is never encrypted, in any mode. Names are those of the certificate's subject alternative names alone.

use super::parameters::{Parameters, Value};
use super::verifier::{Check, Verifier};
use super::{TargetError, advice};
use postgres::Config;
use postgres::config::{Host, SslMode};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What makes a session's TLS.
pub(in super::super) type Connector = MakeRustlsConnect;

/// One of libpq's modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: [(&str, Mode); 6] = [
    ("disable", Mode::Disable),
    ("allow", Mode::Allow),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

/// What of the connections is encrypted, and what is checked of the server.
#[derive(Clone)]
pub struct Tls {
    pub(super) mode: Mode,
    pub(super) authorities: Option<Authorities>,
    /// The file of the client's certificate.
    pub(super) certificate: Option<PathBuf>,
    connector: Connector,
}

/// Who may have signed the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Authorities {
    /// Those that this machine trusts.
    System,
    /// Those in a file.
    File(PathBuf),
}

/// Files or modes of TLS that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is nothing to check the server's certificate by.
    #[error(
        "sslmode={mode} needs the certificate of the authority that signed the server's: name its file by \
         sslrootcert=FILE (PGSSLROOTCERT){default}, or give sslrootcert=system for the authorities that this \
         machine trusts"
    )]
    NoAuthorities {
        /// The mode.
        mode: &'static str,
        /// The file that is looked for by default.
        default: String,
    },
    /// A mode that would not check what the authorities of the system sign for anyone.
    #[error(
        "sslmode={mode} is too weak for sslrootcert=system, whose authorities sign certificates for anyone; use \
         sslmode=verify-full, or leave sslmode out"
    )]
    WeakMode {
        /// The mode.
        mode: &'static str,
    },
    /// The machine's own authorities can't be read.
    #[error(
        "sslrootcert=system finds no authorities on this machine{why}; install ca-certificates, or name a file"
    )]
    System {
        /// Why.
        why: String,
    },
    /// A file is missing, or can't be read.
    #[error("{place} {path:?} can't be read: {why}")]
    File {
        /// What named the file.
        place: String,
        /// The file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// A private key that others can read.
    #[error(
        "{place} {path:?} can be read by others, and so is no secret; mend it by: chmod 600 {path} (640 if root owns it)"
    )]
    OpenKey {
        /// What named the file.
        place: String,
        /// The file.
        path: PathBuf,
    },
    /// A key of another certificate.
    #[error("the client certificate {certificate:?} and the key {key:?} can't be used together: {why}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        why: String,
    },
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

impl Tls {
    /// Reads the parameters, and the files that they name or that lie in `~/.postgresql`.
    pub(super) fn new(parameters: &Parameters, home: Option<&Path>) -> Result<Self, TargetError> {
        let home = home.map(|home| home.join(".postgresql"));
        let mode = parameters.word("sslmode", &MODES)?;
        let authorities = match parameters.get("sslrootcert") {
            Some(Value { text, .. }) if text == "system" => Some(Authorities::System),
            Some(Value { text, .. }) => Some(Authorities::File(PathBuf::from(text))),
            None => default_file(home.as_deref(), "root.crt").map(Authorities::File),
        };
        let mode = match (mode, &authorities) {
            (Some(mode), Some(Authorities::System)) if mode != Mode::VerifyFull => {
                return Err(TlsError::WeakMode { mode: mode.name() }.into());
            }
            (None, Some(Authorities::System)) => Mode::VerifyFull,
            (mode, _) => mode.unwrap_or(Mode::Prefer),
        };
        let check = match (mode, &authorities) {
            (Mode::VerifyFull, Some(_)) => Check::ChainAndName,
            (Mode::VerifyCa | Mode::Require, Some(_)) => Check::Chain,
            (Mode::VerifyCa | Mode::VerifyFull, None) => {
                let default = home.map(|home| format!(", or put it at {}", home.join("root.crt").display()));
                let default = default.unwrap_or_default();
                return Err(TlsError::NoAuthorities { mode: mode.name(), default }.into());
            }
            _ => Check::Nothing,
        };
        let place = parameters.get("sslrootcert").map_or("the default sslrootcert", |value| &value.place);
        let roots = match &authorities {
            Some(authorities) if check != Check::Nothing => roots(authorities, place)?,
            _ => Vec::new(),
        };
        let verifier = Verifier::new(check, roots).map_err(|why| TlsError::File {
            place: place.to_owned(),
            path: file_of(authorities.as_ref()).to_owned(),
            why: format!("{why}; certificates in PEM are needed"),
        })?;
        let identity = match mode {
            Mode::Disable => None,
            _ => Identity::read(parameters, home.as_deref())?,
        };
        let certificate = identity.as_ref().map(|identity| identity.certificate.clone());
        Ok(Self { mode, authorities, certificate, connector: connector(verifier, identity)? })
    }

    pub(in super::super) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// The ways in which a host is tried, one after the other.
    pub(in super::super) fn ways(&self, config: &Config) -> Vec<Config> {
        let is_socket = matches!(config.get_hosts(), [Host::Unix(_)]) && config.get_hostaddrs().is_empty();
        let modes: &[SslMode] = match self.mode {
            _ if is_socket => &[SslMode::Disable],
            Mode::Disable => &[SslMode::Disable],
            Mode::Allow => &[SslMode::Disable, SslMode::Require],
            Mode::Prefer => &[SslMode::Prefer, SslMode::Disable],
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => &[SslMode::Require],
        };
        let way = |mode: &SslMode| {
            let mut config = config.clone();
            config.ssl_mode(*mode);
            config
        };
        modes.iter().map(way).collect()
    }

    /// Whether the next way is to be tried after an error of this one.
    pub(in super::super) fn tries_on(&self, error: &postgres::Error) -> bool {
        let refused = error.code() == Some(&postgres::error::SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
        refused || (self.mode == Mode::Prefer && advice::tls_fault(error).is_some())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("mode", &self.mode)
            .field("authorities", &self.authorities)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn default_file(home: Option<&Path>, name: &str) -> Option<PathBuf> {
    home.map(|home| home.join(name)).filter(|file| file.exists())
}

pub(super) fn file_of(authorities: Option<&Authorities>) -> &Path {
    match authorities {
        Some(Authorities::File(path)) => path,
        Some(Authorities::System) | None => Path::new("system"),
    }
}

fn roots(authorities: &Authorities, place: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match authorities {
        Authorities::File(path) => certificates(path, place),
        Authorities::System => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
                return Err(TlsError::System { why });
            }
            Ok(found.certs)
        }
    }
}

const WANTED: &str = "name a file in PEM that this user may read";

fn certificates(path: &Path, place: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |why: String| TlsError::File { place: place.to_owned(), path: path.to_owned(), why };
    let bytes = fs::read(path).map_err(|error| unreadable(format!("{error}; {WANTED}")))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            let why = "it holds no certificate in PEM; one in DER is converted by: openssl x509 -inform DER -in FILE -out NEW";
            Err(unreadable(why.to_owned()))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(format!("it is no certificate in PEM: {error}; {WANTED}"))),
    }
}

/// The client's certificate, with its chain, and its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    certificate: PathBuf,
    key_file: PathBuf,
}

impl Identity {
    /// None where none is named, and none lies at the default's place.
    fn read(parameters: &Parameters, home: Option<&Path>) -> Result<Option<Self>, TlsError> {
        let (certificate, place) = match parameters.get("sslcert") {
            Some(value) => (PathBuf::from(&value.text), value.place.as_str()),
            None => match default_file(home, "postgresql.crt") {
                Some(file) => (file, "the default sslcert"),
                None => return Ok(None),
            },
        };
        let chain = certificates(&certificate, place)?;
        let (key_file, place) = match (parameters.get("sslkey"), home) {
            (Some(value), _) => (PathBuf::from(&value.text), value.place.as_str()),
            (None, Some(home)) => (home.join("postgresql.key"), "the default sslkey"),
            (None, None) => (PathBuf::from("postgresql.key"), "the default sslkey"),
        };
        let key = private_key(&key_file, place)?;
        Ok(Some(Self { chain, key, certificate, key_file }))
    }
}

fn private_key(path: &Path, place: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let unreadable = |why: String| TlsError::File { place: place.to_owned(), path: path.to_owned(), why };
    let not_there = "; the key of sslcert is named by sslkey (what Prisma calls sslcert is sslrootcert here)";
    let file = fs::metadata(path).map_err(|error| unreadable(format!("{error}{not_there}")))?;
    if !file.is_file() {
        return Err(unreadable(format!("it is no plain file; {WANTED}")));
    }
    // As libpq has it: root's keys are often lent to a group.
    let open_bits = if file.uid() == 0 { 0o037 } else { 0o077 };
    if file.mode() & open_bits != 0 {
        return Err(TlsError::OpenKey { place: place.to_owned(), path: path.to_owned() });
    }
    let text = fs::read(path).map_err(|error| unreadable(format!("{error}; {WANTED}")))?;
    let is_encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| memchr::memmem::find(&text, mark.as_bytes()).is_some());
    if is_encrypted {
        let why =
            "it is encrypted, and sslpassword is not supported; decrypt it by: openssl pkey -in KEY -out NEW";
        return Err(unreadable(why.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| unreadable(format!("it holds no private key in PEM; {WANTED}")))
}

fn connector(verifier: Verifier, identity: Option<Identity>) -> Result<Connector, TlsError> {
    let builder = ClientConfig::builder_with_provider(verifier.provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key, certificate, key_file }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| TlsError::Pair { certificate, key: key_file, why: error.to_string() })?,
    };
    Ok(MakeRustlsConnect::new(config))
}
