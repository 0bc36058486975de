//! Servers that reject every login, and services that are not PostgreSQL. The error names the address and the fix, and
//! the load ends with code 4.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::cluster::Cluster;
use crate::support::fake::{Answer, Fake, login, message, refusal};
use crate::support::log_case;
use crate::support::program::{Ended, Workplace};

/// A load with short retries.
fn load(work: &Workplace, url: &str) -> Ended {
    let program = work.program(&["load"]).env("DATABASE_URL", url).env("DATABASE_AWAY_TIMEOUT", "300");
    program.env("DATABASE_CONNECTION_TIMEOUT", "300").run()
}

// The texts of the error.
const FOREIGN: &[&str] = &["127.0.0.1:", "check host and port: the peer is not PostgreSQL"];
const LOGIN: &[&str] = &["unsupported ", "scram-sha-256"];
const CLOSED: &[&str] = &["127.0.0.1:", "the server closed the connection", "see the log of the server"];
const NO_TLS: &[&str] =
    &["server does not support TLS", "sslmode=require", "ssl = on", "if it is not PostgreSQL"];

#[test]
fn a_server_that_is_not_postgresql_is_named_with_the_fix() {
    let work = Workplace::new();
    let raw = |bytes: &[u8]| Answer::Raw(bytes.to_vec());
    let http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for (name, answer, mode, words) in [
        ("a web server", raw(http), "prefer", FOREIGN),
        ("a web server, by TLS", raw(http), "require", NO_TLS),
        ("an SSH server", raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "prefer", FOREIGN),
        ("an SSH server, by TLS", raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "require", FOREIGN),
        ("a MySQL", raw(b"\x4a\0\0\0\x0a8.0.36\0abcdefgh\0"), "prefer", FOREIGN),
        ("garbage", raw(&[0xee; 200]), "prefer", FOREIGN),
        ("garbage after the refusal of TLS", Answer::Plain(vec![0xee; 200]), "prefer", FOREIGN),
        ("half a message", Answer::Plain(b"R\0\0".to_vec()), "prefer", FOREIGN),
        ("a message without end", Answer::Plain(b"R\x7f\xff\xff\xff".to_vec()), "prefer", FOREIGN),
        ("a message too early", Answer::Plain(message(b'Z', b"I")), "prefer", FOREIGN),
        ("a message that is none", Answer::Plain(message(b'E', b"Sno end")), "prefer", FOREIGN),
        ("closed at once", raw(b""), "prefer", CLOSED),
        ("closed at once, by TLS", raw(b""), "require", CLOSED),
        ("closed at the login", Answer::Plain(Vec::new()), "prefer", CLOSED),
        ("closed after the password", Answer::Plain(login(3, b"")), "prefer", CLOSED),
        ("no TLS", Answer::Plain(login(0, b"")), "require", NO_TLS),
        ("Kerberos", Answer::Plain(login(2, b"")), "prefer", LOGIN),
        ("GSSAPI", Answer::Plain(login(7, b"")), "prefer", LOGIN),
        ("SSPI", Answer::Plain(login(9, b"")), "prefer", LOGIN),
        ("OAuth", Answer::Plain(login(10, b"OAUTHBEARER\0\0")), "prefer", LOGIN),
    ] {
        log_case((name, mode));
        let fake = Fake::new(answer);
        let url = format!("postgresql://me:hunter2@127.0.0.1:{}/kills?sslmode={mode}", fake.port());
        let ended = load(&work, &url);
        // A closed or garbled connection may be an outage, a rejection is not.
        let endings: &[i32] = match words {
            words if words == CLOSED => &[4],
            words if words == FOREIGN => &[4, 7],
            _ => &[7],
        };
        assert!(endings.contains(&ended.code), "{}: {}", ended.code, ended.stderr);
        let ended = ended.says(&["cannot connect to the database: 127.0.0.1:", "\nhint: "]).says(words);
        assert!(!ended.stderr.contains("hunter2") && ended.stdout.is_empty(), "{}", ended.stderr);
    }
}

#[test]
fn rejected_logins_are_reported_with_the_fix() {
    let work = Workplace::new();
    let no_entry =
        "no pg_hba.conf entry for host \"10.0.0.1\", user \"me\", database \"kills\", no encryption";
    for (code, message, mode, words) in [
        (
            "28P01",
            "password authentication failed",
            "prefer",
            "check the password; the URL, PGPASSWORD and ~/.pgpass",
        ),
        ("28000", no_entry, "prefer", "pg_hba.conf: an entry must admit user 'me' to database 'kills'"),
        ("28000", no_entry, "disable", "hostssl need sslmode=require"),
        (
            "3D000",
            "database \"kills\" does not exist",
            "prefer",
            "create the database (createdb -h 127.0.0.1 -p",
        ),
        ("57P03", "the database system is starting up", "prefer", "is starting up"),
        ("53300", "sorry, too many clients already", "prefer", "lower DATABASE_POOL_MAX"),
        ("0A000", "unsupported frontend protocol 3.0", "prefer", "connect to PostgreSQL 12 or later"),
        ("08P01", "expected SASL response, got message type 88", "prefer", "or of the pooler in front of it"),
    ] {
        log_case((code, message, mode));
        let fake = Fake::new(Answer::Plain(refusal(code, message)));
        let url = format!("postgresql://me@127.0.0.1:{}/kills?sslmode={mode}", fake.port());
        // An outage and a lack of connections may end.
        let ending = if matches!(code, "57P03" | "53300" | "08P01") { 4 } else { 7 };
        let ended =
            load(&work, &url).expect(ending).says(&["cannot connect to the database: 127.0.0.1:", words]);
        for line in ended.stderr.lines().filter(|line| line.contains("cannot connect")) {
            assert_eq!(line.matches(message).count(), 1, "{line}");
        }
        assert!(!ended.stderr.contains("FATAL") && !ended.stderr.contains("db error"), "{}", ended.stderr);
    }
}

/// A proxy with a certificate of its own, or an attacker, passes the login on to the server.
#[test]
fn a_failed_channel_binding_is_reported_as_a_possible_attack() {
    let work = Workplace::new();
    for (text, routine) in [
        ("SCRAM channel binding check failed", "read_client_final_message"),
        ("client supports SCRAM channel binding but thinks the server does not", "read_client_first_message"),
    ] {
        let refusal = format!("SFATAL\0VFATAL\0C28000\0M{text}\0R{routine}\0\0");
        let fake = Fake::new(Answer::Plain(message(b'E', refusal.as_bytes())));
        let url = format!("postgresql://me@127.0.0.1:{}/kills?sslmode=prefer", fake.port());
        let ended = load(&work, &url).expect(7).says(&[text, "this may be a man-in-the-middle attack"]);
        assert!(!ended.stderr.contains("pg_hba.conf"), "{}", ended.stderr);
    }
}

#[test]
fn a_silent_server_is_waited_for_as_long_as_connect_timeout_says() {
    let work = Workplace::new();
    // The system accepts the connections.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("its number").port();
    let url = format!("postgresql://me@127.0.0.1:{port}/kills?sslmode=disable&connect_timeout");
    for (seconds, limit, words) in
        [(1, "30s", "within 2 s"), (3, "30s", "within 3 s"), (60, "300", "within 0.3 s")]
    {
        log_case((seconds, limit));
        let program = work.program(&["load"]).env("DATABASE_URL", &format!("{url}={seconds}"));
        let program = program.env("DATABASE_AWAY_TIMEOUT", "30s").env("DATABASE_CONNECTION_TIMEOUT", limit);
        let begun = Instant::now();
        program.expect(4).says(&["the database did not answer", words]);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
    drop(silent);
}

#[test]
fn rejected_logins_of_a_real_server_are_reported_with_the_fix() {
    let rules = "local all all trust\nhost all barred 127.0.0.1/32 reject\n\
                 host all all 127.0.0.1/32 scram-sha-256\n";
    let cluster = Cluster::private(&[]);
    let made =
        "create role me login password 'right'; create role full login password 'right' connection limit 0;
        create role barred login; create role locked nologin password 'right'";
    cluster.admin().batch_execute(made).expect("roles");
    fs::write(cluster.directory().join("data/pg_hba.conf"), rules).expect("the server's directory");
    cluster.restart();
    let work = Workplace::new();
    for (login, database, words) in [
        (
            "me:wrong",
            "postgres",
            &["password authentication failed for user \"me\"", "PGPASSWORD", "~/.pgpass"][..],
        ),
        ("me", "postgres", &["password missing", "put the password in the URL, PGPASSWORD or ~/.pgpass"]),
        ("nobody:right", "postgres", &["password authentication failed for user \"nobody\""]),
        ("me:right", &"x".repeat(64), &["at most 63 bytes; this one has 64"]),
        (
            "me:right",
            "nowhere",
            &["database \"nowhere\" does not exist", "createdb -h 127.0.0.1 -p", " -U me nowhere)"],
        ),
        ("full:right", "postgres", &["too many connections for role \"full\"", "CONNECTION LIMIT"]),
        (
            "barred:right",
            "postgres",
            &["pg_hba.conf rejects", "an entry must admit user 'barred' to database 'postgres'"],
        ),
        (
            "me:right",
            "postgres?target_session_attrs=read-only",
            &[
                "target_session_attrs=read-only is not met: the session is not read-only",
                "hint: add the host",
            ],
        ),
        ("me:right", "postgres?options=-c%20nonsense%3D1", &["options parameter of the URL, or PGOPTIONS"]),
        ("me:right", "postgres?options=-c%20work_mem%3Dmany", &["options parameter of the URL", "work_mem"]),
        ("me:right", "postgres?options=nonsense", &["options parameter of the URL, or PGOPTIONS"]),
        (
            "locked:right",
            "postgres",
            &["role \"locked\" is not permitted to log in", "ALTER ROLE \"locked\" LOGIN"],
        ),
    ] {
        log_case((login, database));
        let url = format!("postgresql://{login}@127.0.0.1:{}/{database}", cluster.port());
        let ending = if login.starts_with("full") || database.contains("read-only") { 4 } else { 7 };
        load(&work, &url).expect(ending).says(words);
    }
}

#[test]
fn unreachable_addresses_are_reported() {
    let work = Workplace::new();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = closed.expect("a port").port();
    let long = "x".repeat(120);
    for (place, words) in [
        (format!("127.0.0.1:{port}/kills"), &["127.0.0.1:", "onnection refused", "start the server"][..]),
        (
            "no-such-host.invalid/kills".to_owned(),
            &["no-such-host.invalid:5432: ", "correct the host name 'no-such-host.invalid', or check DNS"],
        ),
        (format!("{}/kills", "h".repeat(300)), &["correct the host name 'hhh"]),
        ("kills.test/kills?hostaddr=127.0.0.1&port=1".to_owned(), &["kills.test:1 (127.0.0.1)"]),
        (
            "/kills?host=/no/where&port=6000".to_owned(),
            &["/no/where/.s.PGSQL.6000: No such file", "unix_socket_directories"],
        ),
        (format!("/kills?host=/{long}"), &["path", "directory with a shorter path"]),
    ] {
        log_case(&place);
        load(&work, &format!("postgresql://me:hunter2@{place}")).expect(4).says(words);
    }
}
