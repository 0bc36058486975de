//! TLS is at least as strict as in libpq: `psql` and the program get the same server, parameters and files.

use std::fmt;
use std::path::Path;

use crate::support::cluster::Database;
use crate::support::log_case;
use crate::support::program::Workplace;
use crate::support::tls::{HOST, TlsCluster};

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// The outcome of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Rejected,
    Plain,
    Encrypted,
}

use Verdict::{Encrypted, Rejected};

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The server's certificate, and the parameters.
struct Attempt {
    what: &'static str,
    shown: &'static str,
    root: &'static str,
    list: &'static str,
    /// Whether the file contains the presented certificate itself, which is no authority. OpenSSL requires the authority
    /// of every certificate that is not self-signed, so psql rejects it. The program accepts it as pinned.
    is_pinned: bool,
}

const ATTEMPTS: [Attempt; 15] = [
    Attempt { what: "right CA", shown: "right", root: "ours.crt", list: "", is_pinned: false },
    Attempt { what: "no sslrootcert", shown: "right", root: "", list: "", is_pinned: false },
    Attempt { what: "other CA", shown: "foreign", root: "ours.crt", list: "", is_pinned: false },
    Attempt { what: "other CA, not checked", shown: "foreign", root: "", list: "", is_pinned: false },
    Attempt { what: "self-signed", shown: "alone", root: "ours.crt", list: "", is_pinned: false },
    Attempt { what: "self-signed and named", shown: "alone", root: "alone.crt", list: "", is_pinned: false },
    Attempt { what: "expired", shown: "expired", root: "ours.crt", list: "", is_pinned: false },
    Attempt {
        what: "expired, self-signed and named",
        shown: "alone-expired",
        root: "alone-expired.crt",
        list: "",
        is_pinned: false,
    },
    Attempt { what: "wrong name", shown: "elsewhere", root: "ours.crt", list: "", is_pinned: false },
    Attempt { what: "revoked", shown: "revoked", root: "ours.crt", list: "ours.crl", is_pinned: false },
    Attempt { what: "not revoked", shown: "right", root: "ours.crt", list: "ours.crl", is_pinned: false },
    Attempt {
        what: "list of another CA",
        shown: "right",
        root: "ours.crt",
        list: "foreign.crl",
        is_pinned: false,
    },
    Attempt {
        what: "list out of date",
        shown: "right",
        root: "ours.crt",
        list: "past.crl",
        is_pinned: false,
    },
    Attempt {
        what: "signed by a leaf in sslrootcert",
        shown: "by-leaf",
        root: "right.crt",
        list: "",
        is_pinned: false,
    },
    Attempt { what: "leaf in sslrootcert", shown: "right", root: "right.crt", list: "", is_pinned: true },
];

/// A URL of the database.
fn url(tls: &TlsCluster, database: &Database<'_>, user: &str, mode: &str, tried: &Attempt) -> String {
    let file = |name: &str, parameter: &str| match name {
        "" => String::new(),
        name => format!("&{parameter}={}", tls.file(name)),
    };
    format!(
        "postgresql://{user}@{HOST}:{}/{}?hostaddr=127.0.0.1&sslmode={mode}{}{}",
        tls.cluster.port(),
        database.name(),
        file(tried.root, "sslrootcert"),
        file(tried.list, "sslcrl"),
    )
}

fn home(work: &Workplace) -> String {
    work.path().join("home").display().to_string()
}

fn psql(work: &Workplace, url: &str) -> (Verdict, String) {
    let question = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let ended = work.other_program("psql", &["-XAtw", "-c", question, url]).env("HOME", &home(work)).run();
    let verdict = match ended.stdout.trim() {
        "t" => Encrypted,
        "f" => Verdict::Plain,
        _ => Rejected,
    };
    (verdict, ended.stderr)
}

fn program(work: &Workplace, database: &Database<'_>, url: &str) -> (Verdict, String) {
    let program = work.program(&["load"]).env("DATABASE_URL", url).env("HOME", &home(work));
    let ended = program.env("DATABASE_CONNECTION_TIMEOUT", "5s").run();
    let rows =
        database.client().query("with gone as (delete from witness returning *) select * from gone", &[]);
    let verdict = match &rows.expect("rows")[..] {
        [] => Rejected,
        [row, ..] if row.get(0) => Encrypted,
        _ => Verdict::Plain,
    };
    assert_eq!(verdict == Rejected, ended.code != 0, "{}", ended.stderr);
    (verdict, ended.stderr)
}

/// Records for each run whether its session is encrypted.
const WITNESS: &str = "create table witness (ssl boolean);
    create function note() returns trigger language plpgsql as $$ begin
        insert into public.witness select ssl from pg_stat_ssl where pid = pg_backend_pid();
        return new;
    end $$;
    create trigger note before insert on kill_load_run for each row execute function note()";

#[test]
fn each_sslmode_is_as_strict_as_psql() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = tls.cluster.database("tls");
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    database.client().batch_execute(WITNESS).expect("a trigger");
    let mut wrong = Vec::new();
    for tried in ATTEMPTS {
        log_case((tried.what, tried.shown));
        tls.show(tried.shown);
        // One role can connect either way, the other only with TLS.
        for (user, modes) in [("aegis", &MODES[..]), ("crypt", &MODES[1..3])] {
            for mode in modes {
                let url = url(&tls, &database, user, mode, &tried);
                let (theirs, their_words) = psql(&work, &url);
                let (ours, our_words) = program(&work, &database, &url);
                let is_checked = *mode != "disable" && (*mode, user) != ("allow", "aegis");
                let expected = if tried.is_pinned && is_checked {
                    assert_ne!(theirs, Encrypted, "{}, {mode}", tried.what);
                    Encrypted
                } else {
                    theirs
                };
                if ours != expected {
                    wrong.push(format!(
                        "{}, {user}, {mode}: psql {theirs}, we {ours}\n  {their_words}  {our_words}",
                        tried.what
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The files in `~/.postgresql` are read as libpq reads them.
#[test]
fn certificate_files_of_the_home_directory_are_used_like_psql() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = tls.cluster.database("tls");
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    database.client().batch_execute(WITNESS).expect("a trigger");
    let directory = work.path().join("home/.postgresql");
    std::fs::create_dir_all(&directory).expect("a directory");
    let nothing = Attempt { what: "", shown: "", root: "", list: "", is_pinned: false };
    let copy = |from: &str, to: &str| {
        std::fs::copy(Path::new(&tls.file(from)), directory.join(to)).expect("a copy");
    };
    copy("ours.crt", "root.crt");
    for (list, shown, expected) in [
        (None, "revoked", Encrypted),
        (Some("ours.crl"), "revoked", Rejected),
        (Some("ours.crl"), "right", Encrypted),
    ] {
        if let Some(list) = list {
            copy(list, "root.crl");
        }
        tls.show(shown);
        for mode in ["require", "verify-full"] {
            let url = url(&tls, &database, "aegis", mode, &nothing);
            let (theirs, words) = psql(&work, &url);
            assert_eq!(theirs, expected, "{list:?} {shown} {mode}: {words}");
            let (ours, words) = program(&work, &database, &url);
            assert_eq!(ours, expected, "{list:?} {shown} {mode}: {words}");
        }
    }
}

/// The settings of TLS, of the choice of a server and of its checks, with their variables.
const CHECKED: [(&str, &str); 31] = [
    ("sslmode", "PGSSLMODE"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslcertmode", "PGSSLCERTMODE"),
    ("sslsni", "PGSSLSNI"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    ("gssencmode", "PGGSSENCMODE"),
    ("gssdelegation", "PGGSSDELEGATION"),
    ("gsslib", "PGGSSLIB"),
    ("krbsrvname", "PGKRBSRVNAME"),
    ("requirepeer", "PGREQUIREPEER"),
    ("require_auth", "PGREQUIREAUTH"),
    ("service", "PGSERVICE"),
    ("passfile", "PGPASSFILE"),
    ("application_name", "PGAPPNAME"),
    ("options", "PGOPTIONS"),
    ("sslpassword", ""),
    ("keepalives", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("keepalives_count", ""),
    ("tcp_user_timeout", ""),
];

/// `?sslmode=${UNSET}` must not mean `prefer`.
#[test]
fn empty_settings_are_as_strict_as_in_psql() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = tls.cluster.database("tls");
    let base = format!("postgresql://aegis@127.0.0.1:{}/{}", tls.cluster.port(), database.name());
    let pairs = format!("host=127.0.0.1 port={} user=aegis dbname={}", tls.cluster.port(), database.name());
    for (name, variable) in CHECKED {
        let mut attempts = vec![
            (format!("{base}?{name}="), ""),
            (format!("{base}?{name}"), ""),
            (format!("{base}?{name}=%20"), ""),
            (format!("{base}?sslmode=require&{name}="), ""),
            (format!("{pairs} {name}=''"), ""),
            (format!("{pairs} {name}="), ""),
        ];
        if !variable.is_empty() {
            attempts.push((base.clone(), variable));
        }
        for (url, variable) in attempts {
            log_case((&url, variable));
            let psql =
                work.other_program("psql", &["-XAtw", "-c", "select 1", &url]).env("HOME", &home(&work));
            let ours = work.program(&["health", "-q"]).env("DATABASE_URL", &url).env("HOME", &home(&work));
            let (psql, ours) = match variable {
                "" => (psql.run(), ours.run()),
                name => (psql.env(name, "").run(), ours.env(name, "").run()),
            };
            // Older versions of psql reject some parameters, and ignore their variables.
            let is_unknown = ["invalid URI query parameter", "invalid connection option"];
            let is_unknown = is_unknown.iter().any(|text| psql.stderr.contains(text));
            let is_newer = ["sslnegotiation", "sslcertmode", "load_balance_hosts"].contains(&name);
            // White space is removed here.
            let is_blank = url.ends_with("%20");
            if psql.code == 0 {
                assert!(ours.code != 2 || is_newer || is_blank, "{name}: {}", ours.stderr);
            } else {
                assert!(ours.code == 2 || is_unknown || is_blank, "{name}: {} {}", psql.stderr, ours.stderr);
            }
        }
    }
}
