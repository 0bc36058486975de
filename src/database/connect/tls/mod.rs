//! TLS as defined by libpq's `sslmode`, with rustls.
//!
//! - `disable`: never. `allow`: if the server refuses a plain session. `prefer`: if the server offers it; a plain
//!   session if it does not, or if the handshake or the login fails.
//! - `require`: always.
//! - `verify-ca`: always; the certificate's chain, dates and revocation are checked. `verify-full`: also the name.
//!
//! As in libpq, a file of authorities turns `require` into `verify-ca`. `prefer` and `allow` then fall back to a
//! plain session instead of accepting a wrong certificate. Unlike in libpq, a named but missing file is an error, and
//! names are only the certificate's subject alternative names. A Unix socket is never encrypted, in any mode.
//!
//! A certificate in `sslrootcert` that is not an authority is pinned: it is accepted as the server's own, and signs
//! no other.

pub(crate) mod certificate;
pub(crate) mod file;
pub(crate) mod revocation;
pub(crate) mod verifier;
pub(crate) mod versions;

use crate::database::connect::error::TargetError;
use crate::database::connect::parameters::{Parameters, Value};
use crate::database::connect::tls::file::read_file;
use crate::database::connect::tls::verifier::{Check, Verifier};
use crate::database::connect::tls::versions::versions;
use crate::error_chain::system_text;
use crate::file_system::permissions::is_of_another;
use postgres::Config;
use postgres::config::{Host, SslMode, SslNegotiation};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, SupportedProtocolVersion};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Creates the TLS streams of sessions.
pub(crate) type Connector = MakeRustlsConnect;

/// The modes of `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslPolicy {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: [(&str, SslPolicy); 6] = [
    ("disable", SslPolicy::Disable),
    ("allow", SslPolicy::Allow),
    ("prefer", SslPolicy::Prefer),
    ("require", SslPolicy::Require),
    ("verify-ca", SslPolicy::VerifyCa),
    ("verify-full", SslPolicy::VerifyFull),
];

/// The encryption of connections, and the checks of the server.
#[derive(Clone)]
pub struct Tls {
    pub(crate) mode: SslPolicy,
    pub(crate) authorities: Option<Authorities>,
    /// The file of the client's certificate.
    pub(crate) certificate: Option<PathBuf>,
    verifier: Arc<Verifier>,
    negotiation: SslNegotiation,
    connector: Connector,
    /// Whether a session without encryption after a TLS fault was logged.
    pub(crate) has_warned: Arc<AtomicBool>,
}

/// The accepted authorities of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authorities {
    /// The trust store of this machine.
    System,
    /// The certificates in a file.
    File(PathBuf),
}

impl SslPolicy {
    pub(crate) fn name(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

fn checked_mode(
    mode: Option<SslPolicy>,
    authorities: Option<&Authorities>,
    is_strict: bool,
) -> Result<SslPolicy, TargetError> {
    match (mode, authorities) {
        (Some(SslPolicy::Disable), _) if is_strict => Err(TargetError::StrictButDisabled),
        _ if is_strict => Ok(SslPolicy::VerifyFull),
        (Some(mode), Some(Authorities::System)) if mode != SslPolicy::VerifyFull => {
            Err(TargetError::WeakMode { mode: mode.name() })
        }
        (None, Some(Authorities::System)) => Ok(SslPolicy::VerifyFull),
        (mode, _) => Ok(mode.unwrap_or(SslPolicy::Prefer)),
    }
}

impl Tls {
    /// Reads the parameters, and the files that they name or that are in `~/.postgresql`. If all hosts are Unix
    /// sockets, it reads no file and disables TLS.
    pub(crate) fn new(
        parameters: &Parameters,
        home: Option<&Path>,
        is_network: bool,
    ) -> Result<Self, TargetError> {
        let home = home.map(|home| home.join(".postgresql"));
        let mode = parameters.word("sslmode", &MODES)?;
        // As in Prisma.
        let is_strict = parameters.word("sslaccept", &[("strict", true), ("accept_invalid_certs", false)])?;
        let is_strict = is_strict.unwrap_or(false);
        let versions = versions(parameters)?;
        let words = [("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];
        let negotiation = parameters.word("sslnegotiation", &words)?.unwrap_or_default();
        if !is_network {
            let verifier = Verifier::new(Check::Nothing, Vec::new(), Vec::new());
            let verifier = verifier.map_err(|error| TargetError::Tls(error.to_string()))?;
            return Self::with(SslPolicy::Disable, None, negotiation, verifier, None, true, &versions);
        }
        let authorities = match parameters.get("sslrootcert") {
            Some(Value { text, .. }) if text == "system" => Some(Authorities::System),
            Some(Value { text, .. }) => Some(Authorities::File(PathBuf::from(text))),
            // Prisma's strict mode needs authorities.
            None if is_strict => default_file(home.as_deref(), "root.crt")
                .map_or(Some(Authorities::System), |file| Some(Authorities::File(file))),
            None => default_file(home.as_deref(), "root.crt").map(Authorities::File),
        };
        let mode = checked_mode(mode, authorities.as_ref(), is_strict)?;
        let may_be_plain = matches!(mode, SslPolicy::Disable | SslPolicy::Allow | SslPolicy::Prefer);
        if negotiation == SslNegotiation::Direct && may_be_plain {
            return Err(TargetError::WeakNegotiation { mode: mode.name() });
        }
        let check = match (mode, &authorities) {
            (SslPolicy::Disable, _) => Check::Nothing,
            (SslPolicy::VerifyFull, Some(_)) => Check::ChainAndName,
            (SslPolicy::VerifyCa | SslPolicy::VerifyFull, None) => {
                let default = home.map(|home| format!(", or put it at {}", home.join("root.crt").display()));
                let default = default.unwrap_or_default();
                return Err(TargetError::NoAuthorities { mode: mode.name(), default });
            }
            (_, Some(_)) => Check::Chain,
            (_, None) => Check::Nothing,
        };
        let place = parameters.get("sslrootcert").map_or("the default sslrootcert", |value| &value.place);
        let (roots, lists) = match &authorities {
            Some(authorities) if check != Check::Nothing => {
                (roots(authorities, place)?, revocation::lists(parameters, home.as_deref())?)
            }
            _ if mode == SslPolicy::Disable => (Vec::new(), Vec::new()),
            _ => {
                revocation::reject_without_authorities(parameters)?;
                (Vec::new(), Vec::new())
            }
        };
        let verifier = Verifier::new(check, roots, lists).map_err(|why| {
            unusable(file_of(authorities.as_ref()), place, format!("{why}\nhint: {WANTED}"))
        })?;
        let identity = match mode {
            SslPolicy::Disable => None,
            _ => Identity::read(parameters, home.as_deref())?,
        };
        let sends_name = parameters.number("sslsni", 0..=1, "")?.unwrap_or(1) == 1;
        Self::with(mode, authorities, negotiation, verifier, identity, sends_name, &versions)
    }

    fn with(
        mode: SslPolicy,
        authorities: Option<Authorities>,
        negotiation: SslNegotiation,
        verifier: Verifier,
        identity: Option<Identity>,
        sends_name: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Self, TargetError> {
        let verifier = Arc::new(verifier);
        let certificate = identity.as_ref().map(|identity| identity.certificate.clone());
        let mut config = client_config(Arc::clone(&verifier), identity, versions)?;
        config.enable_sni = sends_name;
        if negotiation == SslNegotiation::Direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        let connector = MakeRustlsConnect::new(config);
        let has_warned = Arc::default();
        Ok(Self { mode, authorities, certificate, verifier, negotiation, connector, has_warned })
    }

    /// The signature algorithm of the certificate that a server presented last.
    pub(crate) fn algorithm(&self) -> Option<String> {
        self.verifier.algorithm()
    }

    pub(crate) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// The configurations with which to connect to a host, in order.
    pub(crate) fn ways(&self, config: &Config) -> Vec<Config> {
        let is_socket = matches!(config.get_hosts(), [Host::Unix(_)]) && config.get_hostaddrs().is_empty();
        let modes: &[SslMode] = match self.mode {
            _ if is_socket => &[SslMode::Disable],
            SslPolicy::Disable => &[SslMode::Disable],
            SslPolicy::Allow => &[SslMode::Disable, SslMode::Require],
            SslPolicy::Prefer => &[SslMode::Prefer, SslMode::Disable],
            SslPolicy::Require | SslPolicy::VerifyCa | SslPolicy::VerifyFull => &[SslMode::Require],
        };
        let way = |mode: &SslMode| {
            let mut config = config.clone();
            config.ssl_mode(*mode);
            if *mode != SslMode::Disable {
                config.ssl_negotiation(self.negotiation);
            }
            config
        };
        modes.iter().map(way).collect()
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

pub(crate) fn file_of(authorities: Option<&Authorities>) -> &Path {
    match authorities {
        Some(Authorities::File(path)) => path,
        Some(Authorities::System) | None => Path::new("system"),
    }
}

fn roots(authorities: &Authorities, place: &str) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    match authorities {
        Authorities::File(path) => certificates(path, place),
        Authorities::System => {
            // The library would wait for the writer of a FIFO.
            let variable = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
            if let Some(path) = variable.filter(|path| path.exists()) {
                contents(&path, "SSL_CERT_FILE")?;
            }
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
                return Err(TargetError::NoSystemAuthorities { why });
            }
            Ok(found.certs)
        }
    }
}

const WANTED: &str = "name a PEM file that this user can read";

fn unusable(path: &Path, place: &str, why: String) -> TargetError {
    TargetError::File { place: place.to_owned(), path: path.to_owned(), why }
}

fn contents(path: &Path, place: &str) -> Result<Vec<u8>, TargetError> {
    read_file(path).map_err(|error| unusable(path, place, format!("{}\nhint: {WANTED}", system_text(&error))))
}

fn certificates(path: &Path, place: &str) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    let unreadable = |why: String| unusable(path, place, why);
    let bytes = contents(path, place)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            let why = "it holds no certificate in PEM\nhint: to convert one from DER, run: openssl x509 -inform DER \
                       -in FILE -out NEW";
            Err(unreadable(why.to_owned()))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(format!("it is not a certificate in PEM: {error}\nhint: {WANTED}"))),
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
    /// None if none is named and the default file does not exist.
    fn read(parameters: &Parameters, home: Option<&Path>) -> Result<Option<Self>, TargetError> {
        let is_sent = [("allow", true), ("disable", false), ("require", true)];
        if parameters.word("sslcertmode", &is_sent)? == Some(false) {
            return Ok(None);
        }
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
            (None, None) => return Err(TargetError::NoKey),
        };
        let key = private_key(&key_file, place)?;
        Ok(Some(Self { chain, key, certificate, key_file }))
    }
}

fn private_key(path: &Path, place: &str) -> Result<PrivateKeyDer<'static>, TargetError> {
    let unreadable = |why: String| unusable(path, place, why);
    let not_there =
        "\nhint: set sslkey to the private key of sslcert (the sslcert of Prisma is sslrootcert here)";
    let file =
        fs::metadata(path).map_err(|error| unreadable(format!("{}{not_there}", system_text(&error))))?;
    if !file.is_file() {
        return Err(unreadable(format!("it is not a regular file\nhint: {WANTED}")));
    }
    // As in libpq: keys of root are often readable by a group.
    let open_bits = if file.uid() == 0 { 0o037 } else { 0o077 };
    if file.mode() & open_bits != 0 {
        return Err(TargetError::OpenKey { place: place.to_owned(), path: path.to_owned() });
    }
    if is_of_another(&file) {
        let why = format!("it belongs to another user (id {}), who could have put it there", file.uid());
        return Err(unreadable(format!(
            "{why}\nhint: run as that user, or run: chown \"$(id -u)\" {}",
            path.display()
        )));
    }
    let text = contents(path, place)?;
    let is_encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| memchr::memmem::find(&text, mark.as_bytes()).is_some());
    if is_encrypted {
        let why = "it is encrypted, and sslpassword is not supported\nhint: decrypt it with: openssl pkey -in KEY -out NEW";
        return Err(unreadable(why.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| unreadable(format!("it holds no private key in PEM\nhint: {WANTED}")))
}

fn client_config(
    verifier: Arc<Verifier>,
    identity: Option<Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ClientConfig, TargetError> {
    let builder = ClientConfig::builder_with_provider(verifier.provider())
        .with_protocol_versions(versions)
        .expect("the provider has all versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(Identity { chain, key, certificate, key_file }) => {
            let why = |error: rustls::Error| error.to_string();
            let pair = |error| TargetError::Pair { certificate, key: key_file, why: why(error) };
            builder.with_client_auth_cert(chain, key).map_err(pair)
        }
    }
}
