//! Settings that imply others, and white space in values.

use crate::database::connect::tests::{url, with};
use crate::database::connect::tls::SslPolicy;
use crate::database::connect::*;
use postgres::config::Host;
use std::fs;

#[test]
fn white_space_at_the_ends_becomes_no_part_of_a_name() {
    for text in [
        " postgresql://me@db/kills?schema=public\r\n",
        "postgresql://me%20@db%0A/kills%0D%0A?schema=%20public%0A",
        "\thost=db user='me ' dbname='kills\n' schema='public\r'\n",
    ] {
        let target = url(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let config = &target.hosts[0];
        assert_eq!(config.get_hosts(), [Host::Tcp("db".to_owned())], "{text:?}");
        let found = (config.get_user(), config.get_dbname(), target.schema.as_deref());
        assert_eq!(found, (Some("me"), Some("kills"), Some("public")), "{text:?}");
    }
    let pairs =
        [("PGHOST", "db\r"), ("PGDATABASE", "kills\n"), ("PGUSER", " me"), ("PGPASSWORD", " secret ")];
    let target = from_variables(&with(&pairs)).unwrap().unwrap();
    let config = &target.hosts[0];
    assert_eq!(config.get_hosts(), [Host::Tcp("db".to_owned())]);
    assert_eq!((config.get_user(), config.get_dbname()), (Some("me"), Some("kills")));
    assert_eq!(config.get_password(), Some(&b" secret "[..]));
}

/// A setting whose variable is empty must not lower the checks of the server. As in libpq, such a value is invalid.
#[test]
fn empty_settings_are_invalid_or_not_set_as_in_libpq() {
    for (name, variable) in [
        ("connect_timeout", "PGCONNECT_TIMEOUT"),
        ("target_session_attrs", "PGTARGETSESSIONATTRS"),
        ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
        ("channel_binding", "PGCHANNELBINDING"),
        ("sslmode", "PGSSLMODE"),
        ("sslcertmode", "PGSSLCERTMODE"),
        ("sslnegotiation", "PGSSLNEGOTIATION"),
        ("gssencmode", "PGGSSENCMODE"),
        ("sslaccept", ""),
        ("keepalives", ""),
        ("keepalives_idle", ""),
        ("keepalives_interval", ""),
        ("keepalives_count", ""),
        ("tcp_user_timeout", ""),
    ] {
        for text in [
            format!("postgresql://db?{name}="),
            format!("postgresql://db?{name}=%20"),
            format!("postgresql://db?sslmode=allow&{name}="),
            format!("host=db {name}=''"),
            format!("host=db port=1 {name}="),
        ] {
            let error = url(&text).expect_err(&text).to_string();
            let start = format!("invalid value '' for {name} of the database URL (");
            assert!(error.starts_with(&start), "{text}: {error}");
        }
        if !variable.is_empty() {
            let error =
                from_url("postgresql://db", &with(&[(variable, "")])).expect_err(variable).to_string();
            assert!(error.starts_with(&format!("invalid value '' for {variable} (")), "{error}");
        }
    }
    for name in ["requirepeer", "require_auth", "sslpassword", "sslrootcert"] {
        assert!(url(&format!("postgresql://db?{name}=")).is_ok(), "{name}");
    }
    assert!(url("postgresql://db?service=").is_err());
    assert!(from_url("postgresql://db", &with(&[("PGSERVICE", "")])).is_err());
    // The text has precedence, also over an invalid variable.
    assert!(from_url("postgresql://db?sslmode=require", &with(&[("PGSSLMODE", "")])).is_ok());
    for text in ["postgresql://db?sslmode", "postgresql://db?port=1&hunter2", "postgresql://db?pgbouncer"] {
        let error = url(text).expect_err(text).to_string();
        assert!(error.contains("a parameter has no '='") && !error.contains("hunter2"), "{error}");
    }
}

/// Over a Unix socket nothing is encrypted, and no file of TLS is read.
#[test]
fn a_socket_needs_no_tls() {
    for parameters in [
        "sslmode=require",
        "sslmode=verify-ca",
        "sslmode=verify-full",
        "sslmode=verify-full&sslrootcert=/none&sslcert=/none&sslcrl=/none",
        "sslmode=prefer&sslnegotiation=direct",
    ] {
        let target = url(&format!("postgresql:///kills?host=/tmp&{parameters}")).expect(parameters);
        assert_eq!(target.tls.ways(&target.hosts[0]).len(), 1, "{parameters}");
        let error = url(&format!("postgresql:///kills?host=/tmp,db&port=1&{parameters}"));
        assert_eq!(error.is_ok(), parameters == "sslmode=require", "{parameters}: {error:?}");
    }
    assert!(url("postgresql:///kills?host=/tmp&sslmode=on").is_err());
    assert!(from_url("postgresql:///kills?host=/tmp", &with(&[("PGSSLMODE", "verify-full")])).is_ok());
}

#[test]
fn modes_that_other_settings_imply() {
    let mode = |text: &str, pairs: &[(&str, &str)]| from_url(text, &with(pairs)).unwrap().tls.mode;
    assert_eq!(mode("postgresql://db", &[]), SslPolicy::Prefer);
    assert_eq!(mode("postgresql://db?ssl=true", &[]), SslPolicy::Require);
    assert_eq!(mode("postgresql://db", &[("PGREQUIRESSL", "1")]), SslPolicy::Require);
    assert_eq!(mode("postgresql://db", &[("PGREQUIRESSL", "0")]), SslPolicy::Prefer);
    assert_eq!(mode("postgresql://db?sslmode=disable", &[("PGREQUIRESSL", "1")]), SslPolicy::Disable);
    assert_eq!(mode("postgresql://db", &[("PGREQUIRESSL", "1"), ("PGSSLMODE", "allow")]), SslPolicy::Allow);
    for text in ["postgresql://db?sslaccept=strict", "postgresql://db?sslaccept=strict&sslmode=prefer"] {
        match from_url(text, &with(&[])) {
            Ok(target) => assert_eq!(target.tls.mode, SslPolicy::VerifyFull, "{text}"),
            // A machine without authorities.
            Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
        }
    }
    let lax = url("postgresql://db?sslaccept=accept_invalid_certs").unwrap();
    assert!((lax.tls.mode, lax.warnings.len()) == (SslPolicy::Prefer, 1), "{:?}", lax.warnings);
}

/// Without a home there is no default file. The working directory is not searched.
#[test]
fn no_home() {
    let certificate = rcgen::generate_simple_self_signed(["me".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("me.crt");
    fs::write(&file, certificate.cert.pem()).unwrap();
    let text = format!("postgresql://db?sslcert={}", file.display());
    let error = url(&text).expect_err("no key").to_string();
    assert!(error.contains("sslkey is not") && error.contains("set sslkey"), "{error}");
    // The mode without client certificates reads none.
    assert!(url("postgresql://db?sslcert=/none&sslcertmode=disable").is_ok());
}

#[test]
fn wrong_settings_of_tls_are_named_with_the_remedy() {
    for (text, words) in [
        ("postgresql://db?sslmode=maybe", &["sslmode of the database URL", "maybe", "verify-full"][..]),
        ("postgresql://db?sslcrldir=a", &["sslcrldir of the database URL has no effect without sslrootcert"]),
        ("postgresql://db?require_auth=scram-sha-256", &["require_auth is not supported", "channel_binding"]),
        ("postgresql://db?sslcertmode=require", &["sslcertmode=require is not supported", "clientcert"]),
        ("postgresql://db?sslcertmode=no", &["sslcertmode", "possible values: allow, disable, require"]),
        ("postgresql://db?sslaccept=some", &["sslaccept", "possible values: strict, accept_invalid_certs"]),
        (
            "postgresql://db?sslaccept=strict&sslmode=disable",
            &["sslaccept=strict", "sslmode=disable", "remove one"],
        ),
        (
            "postgresql://db?ssl_min_protocol_version=TLSv2",
            &["TLSv2", "possible values: TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"],
        ),
        (
            "postgresql://db?ssl_max_protocol_version=TLSv1.1",
            &["TLSv1.1", "possible values: TLSv1.2, TLSv1.3"],
        ),
        (
            "postgresql://db?ssl_min_protocol_version=tlsv1.3&ssl_max_protocol_version=TLSv1.2",
            &["ssl_min_protocol_version=TLSv1.3 is higher than ssl_max_protocol_version=TLSv1.2"],
        ),
        (
            "postgresql://db?sslnegotiation=direct",
            &["sslnegotiation=direct", "sslmode=prefer", "sslmode=require"],
        ),
        ("postgresql://db?sslnegotiation=now", &["sslnegotiation", "possible values: postgres, direct"]),
        ("postgresql://db?sslsni=yes", &["sslsni", "'yes'", "0 to 1"]),
        ("postgresql://db?channel_binding=1", &["channel_binding", "require"]),
        ("postgresql://db?sslpassword=hunter2", &["sslpassword is not supported", "openssl pkey"]),
        ("postgresql://db?sslidentity=a.p12", &["sslidentity is not supported", "sslcert"]),
        ("postgresql://db?sslcrl=a", &["sslcrl of the database URL has no effect without sslrootcert"]),
        ("postgresql://db?gssencmode=require", &["gssencmode=require is not supported", "sslmode"]),
        ("postgresql://db?gssencmode=on", &["gssencmode", "'on'", "possible values: disable, prefer"]),
        ("postgresql://db?ssl_mode=require", &["unknown parameter 'ssl_mode'", "sslmode"]),
        ("postgresql://db?sslmode=verify-full", &["sslmode=verify-full", "sslrootcert=FILE", "system"]),
        ("postgresql://db?sslmode=verify-ca", &["sslmode=verify-ca", "sslrootcert"]),
        (
            "postgresql://db?sslmode=require&sslrootcert=system",
            &["sslmode=require", "too weak", "verify-full"],
        ),
    ] {
        let words: &[&str] = words;
        let error = url(text).expect_err(text).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
    }
}

/// Messages repeat the values of the parameters, and all users of the database see the names of sessions.
#[test]
fn a_connection_string_is_no_value_of_a_parameter() {
    for (value, encoded) in [
        ("postgresql://me:secret@db/kills", "postgresql%3A%2F%2Fme%3Asecret%40db%2Fkills"),
        ("me:se cret@db", "me%3Ase%20cret%40db"),
        ("host=db password=secret", "host%3Ddb%20password%3Dsecret"),
    ] {
        for (name, variable) in [
            ("application_name", "PGAPPNAME"),
            ("host", "PGHOST"),
            ("dbname", "PGDATABASE"),
            ("user", "PGUSER"),
            ("passfile", "PGPASSFILE"),
            ("sslrootcert", "PGSSLROOTCERT"),
        ] {
            let of_variable = from_url("postgresql://", &with(&[(variable, value)])).expect_err(variable);
            let of_text = url(&format!("postgresql://?{name}={encoded}")).expect_err(name);
            for (error, place) in [(of_variable, variable), (of_text, name)] {
                let words = format!("{error} {error:?}");
                assert!(words.contains(&format!("'postgresql://…' for {place}")), "{words}");
                assert!(words.contains("expected a value without a login (user:password@host)"), "{words}");
                assert!(!words.contains("secret") && !words.contains("cret@"), "{words}");
            }
        }
        let pairs = [("PGPASSWORD", value), ("PGOPTIONS", value)];
        let config = from_url("postgresql://db", &with(&pairs)).unwrap().hosts.remove(0);
        assert_eq!(config.get_password(), Some(value.as_bytes()));
        assert_eq!(config.get_options(), Some(value));
    }
}
