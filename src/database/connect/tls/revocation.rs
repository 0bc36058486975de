//! Certificate revocation lists: `sslcrl`, `sslcrldir` and `~/.postgresql/root.crl`.

use crate::database::connect::error::TargetError;
use crate::database::connect::parameters::{Parameters, Value};
use crate::database::connect::tls::file::read_file;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::VerifierBuilderError;
use rustls::{CertRevocationListError, RootCertStore};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Lists = Vec<CertificateRevocationListDer<'static>>;

/// All named lists, else those of the default file if it exists. As in libpq, a certificate is then rejected unless
/// there is a list of its issuer.
pub(crate) fn lists(parameters: &Parameters, home: Option<&Path>) -> Result<Lists, TargetError> {
    let (file, dir) = (parameters.get("sslcrl"), parameters.get("sslcrldir"));
    let mut found = Lists::new();
    if let Some(Value { text, place }) = file {
        found.extend(of_file(Path::new(text), place)?);
    }
    if let Some(Value { text, place }) = dir {
        found.extend(of_directory(Path::new(text), place)?);
    }
    let default = home.map(|home| home.join("root.crl")).filter(|path| path.exists());
    if let (None, None, Some(path)) = (file, dir, default) {
        found.extend(of_file(&path, "the default sslcrl")?);
    }
    Ok(found)
}

/// Rejects lists without authorities, because they would have no effect.
pub(crate) fn reject_without_authorities(parameters: &Parameters) -> Result<(), TargetError> {
    match parameters.get("sslcrl").or(parameters.get("sslcrldir")) {
        Some(value) => Err(TargetError::ListsWithoutAuthorities { place: value.place.clone() }),
        None => Ok(()),
    }
}

fn of_directory(dir: &Path, place: &str) -> Result<Lists, TargetError> {
    let unreadable = |error: std::io::Error| fault(place, dir, &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut found = Lists::new();
    for path in paths {
        found.extend(of_file(&path, place)?);
    }
    if found.is_empty() {
        Err(fault(place, dir, &"it holds no file with a revocation list"))
    } else {
        Ok(found)
    }
}

fn of_file(path: &Path, place: &str) -> Result<Lists, TargetError> {
    let bytes = read_file(path).map_err(|error| fault(place, path, &error))?;
    let found: Result<Lists, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(fault(place, path, &"it holds no revocation list in PEM")),
        Ok(found) => check(&found).map(|()| found).map_err(|why| fault(place, path, &why)),
        Err(error) => Err(fault(place, path, &error)),
    }
}

/// Checks that the TLS library can use the lists. The library reports a fault only when it verifies a certificate.
fn check(lists: &Lists) -> Result<(), String> {
    let some_root = idle_anchor();
    let builder = WebPkiServerVerifier::builder_with_provider(
        Arc::new(RootCertStore { roots: vec![some_root] }),
        Arc::new(ring::default_provider()),
    );
    match builder.with_crls(lists.iter().cloned()).build() {
        Err(VerifierBuilderError::InvalidCrl(CertRevocationListError::UnsupportedCrlVersion)) => {
            Err("it is of version 1".to_owned())
        }
        Err(VerifierBuilderError::InvalidCrl(error)) => {
            Err(format!("it is not a valid revocation list ({error:?})"))
        }
        _ => Ok(()),
    }
}

/// A trust anchor that signs nothing. The library builds no verifier without one.
fn idle_anchor() -> rustls::pki_types::TrustAnchor<'static> {
    rustls::pki_types::TrustAnchor {
        subject: Vec::new().into(),
        subject_public_key_info: Vec::new().into(),
        name_constraints: None,
    }
}

fn fault(place: &str, path: &Path, why: &dyn ToString) -> TargetError {
    TargetError::Lists { place: place.to_owned(), path: PathBuf::from(path), why: why.to_string() }
}
