//! Servers that let nobody in, and what is no PostgreSQL at all: each is told with its place and the remedy, and ends a
//! load with code 4.

use std::fs;
use std::net::TcpListener;

use crate::support::cluster::Cluster;
use crate::support::fake::{Answer, Fake, login, message, refusal};
use crate::support::program::{Ended, Workplace};
use crate::support::tell;

/// Waits no longer than it must.
fn load(work: &Workplace, url: &str) -> Ended {
    let program = work.program(&["load"]).env("DATABASE_URL", url).env("DATABASE_AWAY_TIMEOUT", "300");
    program.env("DATABASE_CONNECTION_TIMEOUT", "300").run()
}

// What is said of it.
const FOREIGN: &[&str] = &["what answers at 127.0.0.1:", "is no PostgreSQL", "mend the host and the port"];
const LOGIN: &[&str] = &["a way to log in that is not supported", "scram-sha-256"];
const CLOSED: &[&str] = &["127.0.0.1:", "closes the connection", "its log may say why"];
const NO_TLS: &[&str] = &["does not offer TLS", "sslmode=require", "ssl = on", "if it is no PostgreSQL"];

#[test]
fn what_answers_is_named_with_the_remedy() {
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
        tell((name, mode));
        let fake = Fake::new(answer);
        let url = format!("postgresql://me:hunter2@127.0.0.1:{}/kills?sslmode={mode}", fake.port());
        let ended = load(&work, &url).says(&["the database can't be reached"]).says(words);
        // Garbage may break the connection, or be understood as a message that does not fit.
        let allowed = match words {
            FOREIGN => &[4, 7][..],
            CLOSED => &[4],
            _ => &[7],
        };
        assert!(allowed.contains(&ended.code), "{}: {}", ended.code, ended.stderr);
        assert!(!ended.stderr.contains("hunter2") && ended.stdout.is_empty(), "{}", ended.stderr);
    }
}

#[test]
fn refusals_are_told_with_the_remedy() {
    let work = Workplace::new();
    let no_entry =
        "no pg_hba.conf entry for host \"10.0.0.1\", user \"me\", database \"kills\", no encryption";
    for (code, message, mode, words) in [
        (
            "28P01",
            "password authentication failed",
            "prefer",
            "refused the password of \"me\"; it is taken from",
        ),
        ("28000", no_entry, "prefer", "does not let \"me\" into \"kills\"; its pg_hba.conf says who may"),
        ("28000", no_entry, "disable", "use sslmode=require"),
        ("28000", "role \"me\" is not permitted to log in", "prefer", "does not let \"me\" into"),
        ("3D000", "database \"kills\" does not exist", "prefer", "make it by: createdb kills"),
        ("57P03", "the database system is starting up", "prefer", "wait until it is ready"),
        ("53300", "sorry, too many clients already", "prefer", "lower DATABASE_POOL_MAX"),
        ("0A000", "unsupported frontend protocol 3.0", "prefer", "PostgreSQL of version 12 or later"),
        ("08P01", "expected SASL response, got message type 88", "prefer", "or a pooler before it"),
    ] {
        tell((code, message, mode));
        let fake = Fake::new(Answer::Plain(refusal(code, message)));
        let url = format!("postgresql://me@127.0.0.1:{}/kills?sslmode={mode}", fake.port());
        // An outage, and a want of room, may pass.
        let ending = if matches!(code, "57P03" | "53300" | "08P01") { 4 } else { 7 };
        load(&work, &url).expect(ending).says(&["the database can't be reached", words, message, code]);
    }
}

#[test]
fn a_real_server_refuses_with_the_remedy() {
    let rules = "local all all trust\nhost all barred 127.0.0.1/32 reject\nhost all absent 127.0.0.1/32 gss\n\
                 host all all 127.0.0.1/32 scram-sha-256\n";
    let cluster = Cluster::private(&[]);
    let made =
        "create role me login password 'right'; create role full login password 'right' connection limit 0;
        create role barred login; create role locked nologin password 'right'";
    cluster.admin().batch_execute(made).expect("roles");
    fs::write(cluster.folder().join("data/pg_hba.conf"), rules).expect("the server's folder");
    cluster.restart();
    let work = Workplace::new();
    for (login, database, words) in [
        ("me:wrong", "postgres", &["refused the password of \"me\"", "PGPASSWORD", "~/.pgpass"][..]),
        ("me", "postgres", &["the server wants a password", "~/.pgpass"]),
        ("nobody:right", "postgres", &["refused the password of \"nobody\""]),
        ("me:right", &"x".repeat(64), &["the database's name has 64 bytes", "63 at most"]),
        ("me:right", "nowhere", &["no database \"nowhere\"", "createdb nowhere"]),
        ("full:right", "postgres", &["no room for \"full\"", "limit of the role"]),
        ("barred:right", "postgres", &["does not let \"barred\" into \"postgres\"", "pg_hba.conf"]),
        ("me:right", "postgres?target_session_attrs=read-only", &["not as target_session_attrs asks"]),
        ("me:right", "postgres?options=-c%20nonsense%3D1", &["does not take the options", "PGOPTIONS"]),
        ("me:right", "postgres?options=-c%20work_mem%3Dmany", &["does not take the options", "work_mem"]),
        ("me:right", "postgres?options=nonsense", &["does not take the options", "PGOPTIONS"]),
        ("locked:right", "postgres", &["does not let \"locked\"", "not permitted to log in"]),
    ] {
        tell((login, database));
        let url = format!("postgresql://{login}@127.0.0.1:{}/{database}", cluster.port());
        let ending = if login.starts_with("full") || database.contains("read-only") { 4 } else { 7 };
        load(&work, &url).expect(ending).says(words);
    }
}

#[test]
fn places_where_nothing_is() {
    let work = Workplace::new();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = closed.expect("a port").port();
    let long = "x".repeat(120);
    for (place, words) in [
        (format!("127.0.0.1:{port}/kills"), &["nothing listens at 127.0.0.1", "start the server"][..]),
        ("no-such-host.invalid/kills".to_owned(), &["no-such-host.invalid:5432", "not known", "DNS"]),
        (format!("{}/kills", "h".repeat(300)), &["not known", "mend it"]),
        ("kills.test/kills?hostaddr=127.0.0.1&port=1".to_owned(), &["kills.test:1 (127.0.0.1)"]),
        ("/kills?host=/no/where&port=6000".to_owned(), &["no socket /no/where/.s.PGSQL.6000", "folder"]),
        (format!("/kills?host=/{long}"), &["path", "too long", "short path"]),
    ] {
        tell(&place);
        load(&work, &format!("postgresql://me:hunter2@{place}")).expect(4).says(words);
    }
}
