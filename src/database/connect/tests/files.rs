//! Certificates and keys that can't be used.

use crate::database::connect::tests::url;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const NAME_A_FILE: &str = "name a PEM file that this user can read";
const CONVERT: &str = "openssl x509 -inform DER";

/// Each file of TLS, with each of its faults.
#[test]
fn files_that_can_not_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let write = |name: &str, text: &[u8], mode| {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(path("directory")).unwrap();
    write("empty", b"", 0o600);
    write("words", b"these are words", 0o600);
    write("der", b"\x30\x82\x01\x0a", 0o600);
    write("torn", b"-----BEGIN CERTIFICATE-----\nAAAA\n", 0o600);
    write("hollow", b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", 0o600);
    write("untrue", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600);
    write("open", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o644);
    write("barred", b"", 0o000);
    let certificate = rcgen::generate_simple_self_signed(["me".to_owned()]).unwrap();
    write("good.crt", certificate.cert.pem().as_bytes(), 0o600);
    write("other.key", rcgen::KeyPair::generate().unwrap().serialize_pem().as_bytes(), 0o600);
    let as_root = nix::unistd::geteuid().is_root();
    for (name, of_certificate, of_key) in [
        ("none", &["No such file", NAME_A_FILE][..], &["No such file", "set sslkey"][..]),
        ("directory", &["Is a directory", NAME_A_FILE], &["not a regular file", NAME_A_FILE]),
        ("words/x", &["Not a directory", NAME_A_FILE], &["Not a directory", "set sslkey"]),
        ("empty", &["no certificate in PEM", CONVERT], &["no private key in PEM", NAME_A_FILE]),
        ("words", &["no certificate in PEM", CONVERT], &["no private key in PEM", NAME_A_FILE]),
        ("der", &["no certificate in PEM", CONVERT], &["no private key in PEM", NAME_A_FILE]),
        ("torn", &["certificate in PEM"], &["no private key in PEM", NAME_A_FILE]),
        ("hollow", &["not a certificate in PEM", NAME_A_FILE], &["no private key in PEM", NAME_A_FILE]),
        ("open", &["no certificate in PEM"], &["can be read by other users", "chmod 600"]),
        ("barred", if as_root { &["no certificate"] } else { &["Permission denied", NAME_A_FILE] }, &[]),
    ] {
        let good = path("good.crt");
        let file = path(name);
        for (parameters, place, words) in [
            (format!("sslmode=verify-full&sslrootcert={file}"), "sslrootcert", of_certificate),
            (format!("sslcert={file}&sslkey={}", path("other.key")), "sslcert", of_certificate),
            (format!("sslcert={good}&sslkey={file}"), "sslkey", of_key),
        ] {
            let error = url(&format!("postgresql://db?{parameters}")).expect_err(&parameters).to_string();
            let of_place = format!("{place} of the database URL");
            assert!(error.contains(&of_place) && error.contains(name), "{error}");
            assert!(words.iter().all(|word| error.contains(word)), "{parameters}: {words:?}, {error}");
        }
    }
    let other = format!("postgresql://db?sslcert={}&sslkey={}", path("good.crt"), path("other.key"));
    let error = url(&other).expect_err("another key").to_string();
    assert!(error.contains("cannot use the client certificate") && error.contains("other.key"), "{error}");
    let untrue = format!("postgresql://db?sslmode=verify-ca&sslrootcert={}", path("untrue"));
    let error = url(&untrue).expect_err("no certificate").to_string();
    assert!(error.contains("untrue") && error.contains(NAME_A_FILE), "{error}");
}
