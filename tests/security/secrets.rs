//! Secrets, given in every way, are printed nowhere, for every end of a run and every log level.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::cluster::{Cluster, Database};
use crate::support::fake::{Answer, Fake};
use crate::support::program::{Program, Workplace};
use crate::support::{free_port, log_case};

/// The role's password, plain and percent-encoded.
const PASSWORD: &str = "zebra@7f?1c";
pub(crate) const ENCODED: &str = "zebra%407f%3F1c";

/// Traces of the password: a part of all forms, in hex, in base64 and as a list of bytes.
const TRACES: [&str; 4] = ["zebra", "7a65627261", "emVicm", "122, 101, 98, 114"];

/// The most detailed log, with the libraries enabled by name.
pub(crate) const ALL: &str = "trace,tokio_postgres=trace,postgres=trace,rustls=trace,mio=trace,tokio=trace";

/// Asserts that a text contains no secret.
#[track_caller]
pub(crate) fn assert_clean(what: &str, text: &str) {
    for trace in TRACES {
        assert!(!text.to_lowercase().contains(&trace.to_lowercase()), "{what} holds {trace:?}: {text}");
    }
}

/// A server that requires passwords over TCP, with a role whose password is the secret.
pub(crate) fn guarded() -> Cluster {
    let cluster = Cluster::private(&[]);
    let role = format!("create role keeper superuser login password '{PASSWORD}'");
    cluster.admin().batch_execute(&role).expect("a role");
    let rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    fs::write(cluster.directory().join("data/pg_hba.conf"), rules).expect("the server's directory");
    cluster.restart();
    cluster
}

/// A password file that only its owner can read.
fn write_private(work: &Workplace, name: &str, text: &str) -> String {
    work.write(name, text);
    let path = work.path().join(name);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    path.display().to_string()
}

/// A way to give the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Url,
    Parameter,
    Pairs,
    Variable,
    PassFile,
    HomeFile,
    EnvFile,
    Option,
}

const WAYS: [Way; 8] = [
    Way::Url,
    Way::Parameter,
    Way::Pairs,
    Way::Variable,
    Way::PassFile,
    Way::HomeFile,
    Way::EnvFile,
    Way::Option,
];

/// A command that receives the password in one way, for `host:port/database` and the rest of a URL. All other sources
/// have secrets too, and are overridden.
pub(crate) fn program(work: &Workplace, command: &[&str], way: Way, place: &str, rest: &str) -> Program {
    let (address, database) = place.split_once('/').expect("a database");
    let (host, port) = address.rsplit_once(':').expect("a port");
    let bare = format!("postgresql://keeper@{place}?{rest}");
    let with_login = format!("postgresql://keeper:{ENCODED}@{place}?{rest}");
    let pairs = rest.replace('&', " ");
    let line = format!("*:*:*:keeper:{PASSWORD}\n");
    // Removes the files of an earlier way.
    for name in [".env", ".pgpass"] {
        let _ = fs::remove_file(work.path().join(name));
    }
    let program = work.program(command).env("PGOPTIONS", "-c kills.token=zebra-option");
    let program = program.env("HOME", &work.path().display().to_string()).env("RUST_BACKTRACE", "full");
    match way {
        Way::Url => program.env("DATABASE_URL", &with_login).env("PGPASSWORD", "zebra-other"),
        Way::Parameter => program.env("DATABASE_URL", &format!("{bare}&password={ENCODED}")),
        Way::Pairs => {
            let text = format!(
                "host={host} port={port} dbname={database} user=keeper password='{PASSWORD}' {pairs}"
            );
            program.env("DATABASE_URL", &text)
        }
        Way::Variable => program.env("DATABASE_URL", &bare).env("PGPASSWORD", PASSWORD),
        Way::PassFile => {
            program.env("DATABASE_URL", &bare).env("PGPASSFILE", &write_private(work, "passwords", &line))
        }
        Way::HomeFile => {
            write_private(work, ".pgpass", &line);
            program.env("DATABASE_URL", &bare)
        }
        Way::EnvFile => {
            write_private(work, ".env", &format!("DATABASE_URL='{with_login}'\nPGPASSWORD=zebra-other\n"));
            program
        }
        Way::Option => program.args(&["--database-url", &with_login]).env("DATABASE_URL", "zebra"),
    }
}

/// The connection targets of a run, each with the rest of the URL and the outcome of a load.
fn endings(cluster: &Cluster, database: &Database<'_>, fake: &Fake) -> Vec<(String, String, i32)> {
    let here = format!("127.0.0.1:{}/{}", cluster.port(), database.name());
    let nothing = |rest: &str| (here.clone(), rest.to_owned());
    let mut endings = vec![(here.clone(), String::new(), 0)];
    for ((place, rest), code) in [
        ((format!("127.0.0.1:{}/kills", free_port()), String::new()), 4),
        ((format!("127.0.0.1:{}/kills", fake.port()), String::new()), 4),
        (("no-such-host.invalid:5432/kills".to_owned(), String::new()), 4),
        ((format!("127.0.0.1:{}/nowhere", cluster.port()), String::new()), 7),
        (nothing("sslmode=require"), 7),
        (nothing("channel_binding=require"), 7),
    ] {
        endings.push((place, rest, code));
    }
    for rest in [
        "sslmode=maybe",
        "sslmode=verify-full&sslrootcert=/none",
        "sslpassword=zebra-key",
        "sslcert=passwords.crt&sslkey=zebra.key",
        "connect_timeout=soon",
        "nonsense=zebra-value",
        "schema=pg_mine",
    ] {
        endings.push((here.clone(), rest.to_owned(), 2));
    }
    endings
}

#[test]
fn no_password_is_printed_however_it_is_given_and_a_run_ends() {
    let cluster = guarded();
    let database = cluster.database("secrets");
    let work = Workplace::new();
    // The contents of files are as secret as the URL.
    write_private(&work, "passwords.crt", "zebra, and no certificate");
    write_private(&work, "zebra.key", "zebra, and no key");
    let fake = Fake::new(Answer::Raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()));
    for way in WAYS {
        for (number, (place, rest, code)) in endings(&cluster, &database, &fake).into_iter().enumerate() {
            log_case((way, &place, &rest));
            // Rotates the commands and the log levels.
            let command = [&["load", "--json"][..], &["verify"], &["load"], &["schema", "apply"]][number % 4];
            let program = program(&work, command, way, &place, &rest);
            let program = if number % 2 == 0 { program.env("RUST_LOG", ALL) } else { program.args(&["-vv"]) };
            let program =
                program.env("DATABASE_CONNECTION_TIMEOUT", "200").env("DATABASE_AWAY_TIMEOUT", "200");
            let ended = program.run().expect(code);
            // The key file's name resembles the secret, but is none.
            assert_clean("standard error", &ended.stderr.replace("zebra.key", ""));
            assert_clean("standard output", &ended.stdout);
            let seen = ended.stderr.contains("can be seen in the process list");
            assert_eq!(seen, way == Way::Option && code != 2, "{}", ended.stderr);
        }
        let (place, ..) = endings(&cluster, &database, &fake).swap_remove(0);
        let healthy = program(&work, &["health", "-vv"], way, &place, "").expect(0);
        assert_clean("health", &[healthy.stdout, healthy.stderr].concat());
    }
}

#[test]
fn a_rejected_password_is_not_printed() {
    let cluster = guarded();
    let database = cluster.database("refused");
    cluster.admin().batch_execute("alter role keeper password 'another'").expect("a password");
    let work = Workplace::new();
    for way in WAYS {
        let place = format!("127.0.0.1:{}/{}", cluster.port(), database.name());
        let rejected = program(&work, &["load", "--json"], way, &place, "").env("RUST_LOG", ALL).expect(7);
        assert!(rejected.summary().error().contains("password authentication failed"), "{}", rejected.stdout);
        assert_clean("a rejected login", &[rejected.stdout, rejected.stderr].concat());
    }
}

#[test]
fn unreadable_settings_are_not_printed() {
    let work = Workplace::new();
    for text in [
        "postgresql://me:zebra@db:99999/kills",
        "postgresql://me:zebra@[::1/kills",
        "postgresql://me:ze@zebra@db:x/kills",
        "postgresql://me:zebra/1@db/kills",
        "postgresql://me:1zebra?x@db/kills",
        "postgresql://me:12?zebra=x@db/kills",
        "postgresql://me:%ffzebra@db/kills",
        "postgresql://me:%00zebra@db/kills",
        "postgresql://db/kills?password=zebra%00",
        "postgresql:/me:zebra@db/kills",
        "mysql://me:zebra@db/kills",
        "host=db password=zebra port=many",
        "host=db password=my zebra=x",
        "host=db password='zebra",
        "zebra",
    ] {
        log_case(text);
        let url = work.program(&["load"]).env("DATABASE_URL", text).env("RUST_LOG", "trace").expect(2);
        assert_clean("standard error", &url.stderr);
        assert_clean("standard error", &work.program(&["health", "--database-url", text]).expect(2).stderr);
    }
    for (line, number) in [
        ("PGPASSWORD=zebra zebra", 3),
        ("PGPASSWORD='zebra", 3),
        ("PGPASSWORD=\"ze\\xbra zebra\"", 3),
        ("PGPASSWORD=zebra\0", 3),
        ("A='1\n2'\nPGPASSWORD=${zebra", 5),
    ] {
        log_case(line);
        work.write(".env", format!("# a comment\nKILLS_NUL=reject\n{line}\n\nKILLS_LAYOUT=archive\n"));
        let program = work.program(&["load", "--dry-run"]).env("RUST_BACKTRACE", "full");
        let ended = program.expect(2).says(&[&format!("line {number} of the file .env"), "NAME=value"]);
        assert_clean("standard error", &ended.stderr);
    }
}

#[test]
fn a_password_on_the_command_line_causes_one_warning() {
    let cluster = guarded();
    let database = cluster.database("warned");
    let work = Workplace::new();
    let place = format!("127.0.0.1:{}/{}", cluster.port(), database.name());
    let url = format!("postgresql://keeper:{ENCODED}@{place}");
    let run = |args: &[&str]| work.program(&["load"]).args(args).env("PGPASSWORD", PASSWORD).expect(0).stderr;
    let words = run(&["--database-url", &url]);
    assert_eq!(words.matches("can be seen in the process list").count(), 1, "{words}");
    assert!(words.contains("DATABASE_URL or .env") && words.contains("~/.pgpass"), "{words}");
    assert_eq!(run(&["-q", "--database-url", &url]), "");
    assert_eq!(run(&["--database-url", &format!("postgresql://keeper@{place}")]), "", "it has none");
}
