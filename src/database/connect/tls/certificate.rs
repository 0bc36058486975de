//! Reads facts of X.509 certificates that the TLS library does not report: authority, dates, names of algorithms.

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::crl::CertificateList;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::time::{Time, Validity};

/// The extended key usages that allow a certificate for a TLS server.
const SERVER_USAGES: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"), ObjectIdentifier::new_unwrap("2.5.29.37.0")];

/// Signature algorithms that the TLS library may lack, by OpenSSL's names.
const SIGNATURES: [(&str, &str); 11] = [
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
    ("1.2.840.10045.4.3.1", "ecdsa-with-SHA224"),
    ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
    ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
    ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512"),
    ("1.2.840.113549.1.1.4", "md5WithRSAEncryption"),
    ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS"),
    ("1.2.840.113549.1.1.14", "sha224WithRSAEncryption"),
    ("1.3.101.112", "ED25519"),
    ("1.3.101.113", "ED448"),
];

/// Parses a certificate of any version.
pub(crate) fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, CertificateError> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)
}

/// Whether a certificate may sign others: its basic constraints say so and its key usage does not forbid it. Version
/// 1 has neither. As in OpenSSL, such a certificate is an authority if it signed itself.
pub(crate) fn is_authority(certificate: &Certificate) -> bool {
    let fields = &certificate.tbs_certificate;
    if fields.version == Version::V1 {
        return fields.issuer == fields.subject;
    }
    let is_ca = matches!(fields.get::<BasicConstraints>(), Ok(Some((_, BasicConstraints { ca: true, .. }))));
    let may_sign = match fields.get::<KeyUsage>() {
        Ok(Some((_, usage))) => usage.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    is_ca && may_sign
}

/// Checks that `now` is in the period of validity.
pub(crate) fn check_dates(validity: &Validity, now: UnixTime) -> Result<(), CertificateError> {
    let (not_before, not_after) = (unix(validity.not_before), unix(validity.not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before });
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after });
    }
    Ok(())
}

/// Checks a pinned certificate: its dates, its purpose, and the revocation lists if there are any.
pub(crate) fn check_pinned(
    certificate: &Certificate,
    lists: &[CertificateRevocationListDer<'_>],
    now: UnixTime,
) -> Result<(), CertificateError> {
    let fields = &certificate.tbs_certificate;
    check_dates(&fields.validity, now)?;
    match fields.get::<ExtendedKeyUsage>() {
        Ok(Some((_, usages))) if !usages.0.iter().any(|usage| SERVER_USAGES.contains(usage)) => {
            return Err(CertificateError::InvalidPurpose);
        }
        Ok(_) => {}
        Err(_) => return Err(CertificateError::BadEncoding),
    }
    if lists.is_empty() { Ok(()) } else { check_lists(certificate, lists, now) }
}

/// As in OpenSSL, a current list of the issuer is required.
fn check_lists(
    certificate: &Certificate,
    lists: &[CertificateRevocationListDer<'_>],
    now: UnixTime,
) -> Result<(), CertificateError> {
    let fields = &certificate.tbs_certificate;
    let lists = lists.iter().filter_map(|list| CertificateList::from_der(list).ok());
    let mut verdict = Err(CertificateError::UnknownRevocationStatus);
    for list in lists.map(|list| list.tbs_cert_list).filter(|list| list.issuer == fields.issuer) {
        let mut revoked = list.revoked_certificates.iter().flatten();
        if revoked.any(|revoked| revoked.serial_number == fields.serial_number) {
            return Err(CertificateError::Revoked);
        }
        verdict = match list.next_update.map(unix) {
            Some(next_update) if now > next_update => {
                Err(CertificateError::ExpiredRevocationListContext { time: now, next_update })
            }
            _ => Ok(()),
        };
    }
    verdict
}

fn unix(time: Time) -> UnixTime {
    UnixTime::since_unix_epoch(time.to_unix_duration())
}

pub(crate) fn signature_name(certificate: &Certificate) -> String {
    name_of(certificate.signature_algorithm.oid)
}

/// The name of an algorithm. The identifier lacks the outer header, as in the TLS library.
pub(crate) fn algorithm_name(identifier: &[u8]) -> String {
    // An object identifier is short: its length is one byte.
    let length = identifier.get(1).map_or(0, |length| usize::from(*length) + 2);
    let oid = identifier.get(..length).and_then(|bytes| ObjectIdentifier::from_der(bytes).ok());
    oid.map_or_else(|| "an unknown algorithm".to_owned(), name_of)
}

fn name_of(oid: ObjectIdentifier) -> String {
    let oid = oid.to_string();
    SIGNATURES.iter().find(|(known, _)| *known == oid).map_or(oid, |(_, name)| (*name).to_owned())
}

/// The public key of a certificate as DER (`SubjectPublicKeyInfo`).
pub(crate) fn public_key(certificate: &Certificate) -> Result<Vec<u8>, CertificateError> {
    let key = &certificate.tbs_certificate.subject_public_key_info;
    key.to_der().map_err(|_| CertificateError::BadEncoding)
}
