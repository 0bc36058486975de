//! Attacks on TLS: a server without its certificate's key, a server owner who acts as an authority, unverifiable
//! certificates, and stricter settings.

use std::fs;
use std::process::Command;

use crate::support::cluster::Database;
use crate::support::impostor::Impostor;
use crate::support::process::Supervised as _;
use crate::support::program::{Ended, Workplace};
use crate::support::tls::{HOST, TlsCluster};
use crate::support::{find_program, log_case, not_tried};

/// A load of no events.
fn load(work: &Workplace, database: &Database<'_>, login: &str, port: u32, parameters: &str) -> Ended {
    let url =
        format!("postgresql://{login}@{HOST}:{port}/{}?hostaddr=127.0.0.1{parameters}", database.name());
    let home = work.path().display().to_string();
    let program = work.program(&["load"]).env("DATABASE_URL", &url).env("HOME", &home);
    program.env("DATABASE_CONNECTION_TIMEOUT", "5s").run()
}

fn openssl(work: &Workplace, args: &str) {
    let run = Command::new("openssl").args(args.split_whitespace()).current_dir(work.path()).output_in_time();
    let run = run.expect("openssl");
    assert!(run.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&run.stderr));
}

fn has_openssl() -> bool {
    let found = find_program(&["openssl"], &[]).is_some();
    if !found {
        not_tried("certificates of openssl", "there is no openssl");
    }
    found
}

/// Without the certificate's key nobody can read the session, in any mode and version of TLS.
#[test]
fn a_server_without_the_certificate_key_reads_nothing() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = tls.cluster.database("tls");
    let (certificate, ca) = (tls.file("right.crt"), tls.file("ours.crt"));
    let thief = Impostor::new(tls.cluster.port(), &certificate, &tls.file("somebody.key"));
    let owner = Impostor::new(tls.cluster.port(), &certificate, &tls.file("right.key"));
    for version in ["TLSv1.2", "TLSv1.3"] {
        let range = format!("&ssl_min_protocol_version={version}&ssl_max_protocol_version={version}");
        for mode in ["allow", "prefer", "require", "verify-ca", "verify-full"] {
            log_case((version, mode));
            let root = if mode.starts_with("verify") { format!("&sslrootcert={ca}") } else { String::new() };
            let parameters = format!("&sslmode={mode}&channel_binding=require{range}{root}");
            let run = load(&work, &database, "secretive:hunter2", thief.port().into(), &parameters);
            assert_ne!(run.code, 0, "{}", run.stderr);
            assert!(!run.stderr.contains("signed by no authority"), "{}", run.stderr);
            if mode.starts_with("verify") || mode == "require" {
                run.says(&[
                    "does not hold the key of the certificate",
                    "hint: check which server answers at kills.test:",
                ]);
            }
            assert_eq!(thief.bytes_read(), 0, "{mode}");
            // So the key makes the difference. (`allow` begins unencrypted, where no key is needed.)
            if mode != "allow" {
                load(&work, &database, "secretive:hunter2", owner.port().into(), &parameters).expect(0);
                assert!(owner.bytes_read() > 0);
            }
        }
    }
}

/// Certificates of version 1 are in use, because older manuals create them. The proof of the key is required there too.
#[test]
fn version_1_certificates_need_the_key_too() {
    if !has_openssl() {
        return;
    }
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = tls.cluster.database("tls");
    openssl(&work, "req -new -newkey rsa:2048 -nodes -keyout old.key -subj /CN=kills.test -out old.csr");
    openssl(&work, "x509 -req -in old.csr -signkey old.key -days 365 -out old.crt");
    fs::set_permissions(work.path().join("old.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("its mode");
    tls.show("old");
    openssl(&work, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other.key");
    let thief = Impostor::new(tls.cluster.port(), &tls.file("old.crt"), &tls.file("other.key"));
    for version in ["TLSv1.2", "TLSv1.3"] {
        let parameters = format!(
            "&sslmode=require&channel_binding=require&ssl_min_protocol_version={version}&ssl_max_protocol_version={version}"
        );
        load(&work, &database, "secretive:hunter2", tls.cluster.port(), &parameters).expect(0);
        load(&work, &database, "secretive:hunter2", thief.port().into(), &parameters)
            .expect(7)
            .says(&["does not hold the key"]);
    }
    assert_eq!(thief.bytes_read(), 0);
}

/// The error names an unverifiable certificate or an impossible channel binding, and no hint weakens the protection.
#[test]
fn unsupported_algorithms_are_named() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = tls.cluster.database("tls");
    let port = tls.cluster.port();
    tls.show("edwards");
    // The signature's algorithm, chosen by the authority, determines the binding.
    load(&work, &database, "secretive:hunter2", port, "&sslmode=require&channel_binding=require").expect(0);
    if !has_openssl() {
        return;
    }
    work.write("names.cnf", format!("subjectAltName=DNS:{HOST}\n"));
    let make = |name: &str, signed: &str| {
        openssl(
            &work,
            &format!(
                "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key \
            -subj /CN={HOST} -out {name}.csr"
            ),
        );
        openssl(
            &work,
            &format!(
                "x509 -req -in {name}.csr -days 9 -extfile names.cnf -CAcreateserial {signed} -out {name}.crt"
            ),
        );
        fs::set_permissions(
            work.path().join(format!("{name}.key")),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .expect("its mode");
    };
    openssl(&work, "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out pss-ca.key");
    openssl(&work, "req -x509 -new -key pss-ca.key -subj /CN=pss -days 9 -out pss-ca.crt");
    openssl(&work, "genpkey -algorithm ED25519 -out ed-ca.key");
    openssl(&work, "req -x509 -new -key ed-ca.key -subj /CN=ed -days 9 -out ed-ca.crt");
    make("sha512", "-sha512 -CA ours.crt -CAkey ours.key");
    make("pss", "-CA pss-ca.crt -CAkey pss-ca.key");
    make("ed", "-CA ed-ca.crt -CAkey ed-ca.key");
    for (name, ca, verified, algorithm) in [
        ("sha512", "ours.crt", false, "ecdsa-with-SHA512"),
        ("pss", "pss-ca.crt", false, "RSASSA-PSS"),
        ("ed", "ed-ca.crt", true, "ED25519"),
    ] {
        log_case(name);
        tls.show(name);
        let root = format!("&sslmode=verify-full&sslrootcert={}", tls.file(ca));
        let checked = load(&work, &database, "secretive:hunter2", port, &root);
        let unbound = "&sslmode=require&channel_binding=require";
        let bound = load(&work, &database, "secretive:hunter2", port, unbound)
            .expect(7)
            .says(&["server did not use channel binding", &format!("signed with {algorithm}")]);
        if verified {
            checked.expect(0);
        } else {
            let checked =
                checked.expect(7).says(&[&format!("signed with {algorithm}, which is not supported")]);
            for run in [checked, bound] {
                let advises = |words: &str| run.stderr.contains(words);
                assert!(
                    !advises("sslmode=require") && !advises("without") && !advises("leave"),
                    "{}",
                    run.stderr
                );
            }
        }
        load(&work, &database, "secretive:hunter2", port, "&sslmode=require").expect(0);
    }
}

/// TLS versions outside the configured range.
#[test]
fn unsupported_tls_versions_are_errors() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = tls.cluster.database("tls");
    let port = tls.cluster.port();
    tls.cluster
        .admin()
        .batch_execute("alter system set ssl_max_protocol_version = 'TLSv1.2'")
        .expect("a setting");
    tls.cluster.restart();
    load(&work, &database, "crypt", port, "&sslmode=require&ssl_max_protocol_version=TLSv1.2").expect(0);
    let newer = load(&work, &database, "crypt", port, "&sslmode=require&ssl_min_protocol_version=TLSv1.3");
    newer.expect(7).says(&["rejected the TLS handshake: ProtocolVersion", "hint:"]);
}

/// Unusable lists and files are reported before any connection.
#[test]
fn unusable_revocation_lists_are_errors() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = tls.cluster.database("tls");
    work.write("words.crl", "these are words");
    work.write("torn.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    fs::create_dir(work.path().join("empty")).expect("a directory");
    fs::create_dir(work.path().join("lists")).expect("a directory");
    fs::copy(tls.file("ours.crl"), work.path().join("lists/4711.r0")).expect("a copy");
    let verify = format!("&sslmode=verify-full&sslrootcert={}", tls.file("ours.crt"));
    for (parameter, words) in [
        ("sslcrl=none.crl", "No such file"),
        ("sslcrl=words.crl", "no revocation list in PEM"),
        ("sslcrl=torn.crl", "it is not a valid revocation list"),
        ("sslcrldir=none", "No such file"),
        ("sslcrldir=empty", "no file with a revocation list"),
    ] {
        let run = load(&work, &database, "crypt", tls.cluster.port(), &format!("{verify}&{parameter}"));
        run.expect(2).says(&[parameter.split_once('=').expect("a pair").1, words, "hint:"]);
    }
    let run = load(&work, &database, "crypt", tls.cluster.port(), &format!("{verify}&sslcrldir=lists"));
    run.expect(0);
    tls.show("revoked");
    let run = load(&work, &database, "crypt", tls.cluster.port(), &format!("{verify}&sslcrldir=lists"));
    run.expect(7).says(&["the server's certificate is revoked"]);
}

/// A local socket needs no TLS.
#[test]
fn a_unix_socket_works_in_each_sslmode() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = tls.cluster.database("tls");
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = format!("{}&sslmode={mode}", database.url());
        work.program(&["load"]).env("DATABASE_URL", &url).expect(0);
        let run = work.program(&["load"]).env("DATABASE_URL", &database.url()).env("PGSSLMODE", mode);
        run.expect(0);
    }
}
