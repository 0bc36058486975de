//! Checks a server's certificate as far as the mode requires.
//!
//! Invariant: in every mode the server proves that it holds the key of the certificate that it presents. Without that
//! proof, channel binding would bind a password to a certificate that anyone can copy.

use crate::database::connect::tls::certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::Encode as _;
use x509_cert::time::Validity;

/// The checks in addition to the proof of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    Nothing,
    /// The issuer, the dates and revocation.
    Chain,
    ChainAndName,
}

/// Faults for which the TLS library has no error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VerifierFault {
    /// The key of the certificate did not make the signature of the handshake.
    #[error("the server does not hold the key of the certificate that it presents")]
    KeyNotHeld,
    /// A key too weak to be verified.
    #[error("the server's certificate has an RSA key of fewer than 2048 bits")]
    ShortKey,
    /// An authority whose own certificate is out of date.
    #[error("the certificate of the authority that signed the server's has expired or is not valid yet")]
    AuthorityDates,
}

impl From<VerifierFault> for Error {
    fn from(fault: VerifierFault) -> Self {
        Error::Other(OtherError(Arc::new(fault)))
    }
}

/// A certificate that may sign others.
#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    validity: Validity,
}

/// Checks certificates against a set of authorities and pinned certificates.
#[derive(Debug)]
pub(crate) struct Verifier {
    check: Check,
    authorities: Vec<Authority>,
    /// All certificates of the set. A server may present any of them itself, authority or not.
    pinned: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: Arc<CryptoProvider>,
    /// The signature algorithm of the certificate that was presented last.
    algorithm: Mutex<Option<String>>,
}

impl Verifier {
    /// Fails if none of the certificates can be used.
    pub(crate) fn new(
        check: Check,
        known: Vec<CertificateDer<'static>>,
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Self, Error> {
        let mut authorities = Vec::new();
        let mut pinned = Vec::new();
        let is_empty = known.is_empty();
        for der in known {
            let Ok(parsed) = certificate::parse(&der) else { continue };
            let mut store = RootCertStore::empty();
            if certificate::is_authority(&parsed) && store.add(der.clone()).is_ok() {
                let validity = parsed.tbs_certificate.validity;
                authorities.extend(store.roots.pop().map(|anchor| Authority { anchor, validity }));
            }
            pinned.push(der);
        }
        if pinned.is_empty() && !is_empty {
            return Err(CertificateError::BadEncoding.into());
        }
        let provider = Arc::new(ring::default_provider());
        Ok(Self { check, authorities, pinned, lists, provider, algorithm: Mutex::default() })
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
    }

    /// The signature algorithm of the certificate that was presented last; none before the first.
    pub(crate) fn algorithm(&self) -> Option<String> {
        self.algorithm.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks that an authority signed the certificate, directly or through `intermediates`.
    fn check_chain(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let is_current = |authority: &&Authority| certificate::check_dates(&authority.validity, now).is_ok();
        let current: Vec<&Authority> = self.authorities.iter().filter(is_current).collect();
        match self.check_chain_to(&current, shown, intermediates, name, now) {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
                if current.len() < self.authorities.len() =>
            {
                let all: Vec<&Authority> = self.authorities.iter().collect();
                self.check_chain_to(&all, shown, intermediates, name, now)?;
                Err(VerifierFault::AuthorityDates.into())
            }
            result => result,
        }
    }

    fn check_chain_to(
        &self,
        authorities: &[&Authority],
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if authorities.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let roots = authorities.iter().map(|authority| authority.anchor.clone()).collect();
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(RootCertStore { roots }),
            Arc::clone(&self.provider),
        )
        .with_crls(self.lists.iter().cloned())
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
        match verifier.verify_server_cert(shown, intermediates, name, &[], now) {
            // It checks the name last. Not every mode requires that.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Parses a certificate of version 1 or 2, which the TLS library does not support. None for version 3.
    fn old(shown: &CertificateDer<'_>) -> Option<Certificate> {
        let parsed = certificate::parse(shown).ok()?;
        (parsed.tbs_certificate.version != Version::V3).then_some(parsed)
    }

    /// [`verify_tls12_signature`] for a certificate of version 1 or 2.
    fn verify_tls12_signature_with_raw_key(
        &self,
        message: &[u8],
        shown: &Certificate,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let bad = |_| CertificateError::BadEncoding;
        let info = &shown.tbs_certificate.subject_public_key_info;
        let key = info.subject_public_key.as_bytes().ok_or(CertificateError::BadEncoding)?;
        let identifier = info.algorithm.to_der().map_err(bad)?;
        let algorithms = self.provider.signature_verification_algorithms.mapping.iter();
        let candidates = algorithms.filter(|(scheme, _)| *scheme == signed.scheme).flat_map(|(_, all)| *all);
        for algorithm in candidates {
            // The identifiers of the library lack the outer header of two bytes.
            if identifier.get(2..) == Some(algorithm.public_key_alg_id().as_ref()) {
                return match algorithm.verify_signature(key, message, signed.signature()) {
                    Ok(()) => Ok(HandshakeSignatureValid::assertion()),
                    Err(_) => Err(CertificateError::BadSignature.into()),
                };
            }
        }
        Err(Error::General("the server's certificate has a key of an unsupported type".to_owned()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = certificate::parse(shown);
        *self.algorithm.lock().unwrap_or_else(PoisonError::into_inner) =
            certificate.as_ref().ok().map(certificate::signature_name);
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(shown)?;
        if self.pinned.contains(shown) {
            certificate::check_pinned(&certificate?, &self.lists, now)?;
        } else {
            self.check_chain(shown, intermediates, name, now)?;
        }
        if self.check == Check::ChainAndName {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let result = match Self::old(shown) {
            None => verify_tls12_signature(message, shown, signed, algorithms),
            Some(old) => self.verify_tls12_signature_with_raw_key(message, &old, signed),
        };
        result.map_err(|error| of_handshake(error, shown))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let result = match Self::old(shown) {
            None => verify_tls13_signature(message, shown, signed, algorithms),
            Some(old) => {
                let key = SubjectPublicKeyInfoDer::from(certificate::public_key(&old)?);
                verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
            }
        };
        result.map_err(|error| of_handshake(error, shown))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Distinguishes a bad signature of the handshake from one of a certificate. For an RSA key that is too short, the
/// library reports the same error.
fn of_handshake(error: Error, shown: &CertificateDer<'_>) -> Error {
    const SHORTEST_RSA_BYTES: usize = 256;
    const RSA: &str = "1.2.840.113549.1.1.1";
    let is_short = || {
        certificate::parse(shown).is_ok_and(|parsed| {
            let key = parsed.tbs_certificate.subject_public_key_info;
            key.algorithm.oid.to_string() == RSA
                && key.subject_public_key.raw_bytes().len() < SHORTEST_RSA_BYTES
        })
    };
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) if is_short() => {
            VerifierFault::ShortKey.into()
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => VerifierFault::KeyNotHeld.into(),
        error => error,
    }
}
