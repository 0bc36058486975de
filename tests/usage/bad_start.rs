//! Unusable settings, databases and inputs: reported at once with the fix, and nothing is done.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, Database};
use crate::support::oracle::{Nul, expect};
use crate::support::process::Supervised as _;
use crate::support::program::{Workplace, assert_tables};
use crate::support::samples;

#[track_caller]
fn assert_untouched(database: &Database<'_>) {
    let rows = database.client().query("select relname::text from pg_class where relname like 'kill%'", &[]);
    assert!(rows.expect("rows").is_empty());
}

/// Opening a FIFO waits for the other end. Only dumps can be pipes.
#[test]
fn a_fifo_in_place_of_a_file_is_not_waited_for() {
    let work = Workplace::new();
    nix::unistd::mkfifo(&work.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let health = |parameters: &str| {
        let url = format!("host=127.0.0.1 port=1 user=me dbname=kills {parameters}");
        work.program(&["health"]).env("DATABASE_URL", &url)
    };
    for (parameters, place) in [
        ("sslmode=verify-full sslrootcert=fifo", "sslrootcert of the database URL"),
        ("sslmode=verify-full sslrootcert=system", "SSL_CERT_FILE"),
        ("sslmode=require sslcert=fifo sslkey=fifo", "sslcert of the database URL"),
    ] {
        let ended = health(parameters).env("SSL_CERT_FILE", "fifo").expect(2);
        ended.says(&[&format!("cannot use {place} 'fifo': it is not a regular file")]);
    }
    let ended = health("").env("PGPASSFILE", "fifo").expect(6);
    ended.says(&["the password file fifo is ignored: it is not a regular file"]);
}

#[test]
fn invalid_values_are_errors() {
    let work = Workplace::new();
    let database = Cluster::shared().database("values");
    for (name, value, wanted) in [
        ("ALBION_SERVER", "mars", "asia"),
        ("KILLS_LAYOUT", "flat", "archive"),
        ("KILLS_NUL", "drop", "strip"),
        ("KILLS_MAX_REJECTS", "101%", "0.5%"),
        ("KILLS_SEGMENT_BYTES", "4095", "4096"),
        ("KILLS_WORKER_CONCURRENCY", "0", "1 to"),
        ("KILLS_PARSE_THREADS", "many", "1 to"),
        ("KILLS_FLUSH_INTERVAL", "0", "above zero"),
        ("DATABASE_POOL_MIN", "11", "DATABASE_POOL_MAX"),
        ("DATABASE_POOL_MAX", "0", "1 to"),
        ("DATABASE_CONNECTION_TIMEOUT", "-1", "30s"),
        ("DATABASE_RETRY_BASE", "soon", "30s"),
        ("DATABASE_SCHEMA", "pg_kills", "63 bytes"),
        ("KILLS_ON_CONFLICT", "merge", "possible values: skip, update"),
        ("KILLS_LISTEN", "65536", "127.0.0.1:8080"),
        ("KILLS_METRICS_FILE", "/", "in an existing directory"),
        ("RUST_LOG", "loud", "debug or trace"),
    ] {
        let program = work.load(&database, &[]).env(name, value).stdin(samples::sample_events());
        let ended = program.expect(2).says(&[name, value, wanted]);
        assert_eq!(ended.stdout, "", "{name}");
    }
    for args in [
        &["--server", "mars"][..],
        &["--nul", "drop"],
        &["--max-rejects", "-1"],
        &["--layout", "flat"],
        &["--schema", ""],
        &["--no-such-option"],
        &["--database-url", "mysql://me:secret@db/kills"],
        &["--database-url", "postgresql://me:secret@db:99999/kills"],
        &["--database-url", "postgresql://me:secret@db/kills?sslmode=secret"],
        &["--database-url", "postgresql://db/kills", "--embedded", "dir"],
    ] {
        let ended = work.load(&database, args).stdin(samples::sample_events()).expect(2);
        assert_eq!(ended.stdout, "", "{args:?}");
        assert!(!ended.stderr.contains("me:secret"), "{}", ended.stderr);
    }
    work.program(&["load"]).expect(2).says(&["DATABASE_URL", "--embedded"]);
    assert_untouched(&database);
    assert_eq!(fs::read_dir(work.path()).expect("a directory").count(), 0, "no file is left");
}

#[test]
fn an_unreachable_database_is_an_error() {
    let work = Workplace::new();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its number").port()
    };
    let cluster = Cluster::shared();
    let port = cluster.port();
    for (url, words, code) in [
        (format!("postgresql://aegis@127.0.0.1:{closed}/kills"), "refused", 4),
        (format!("postgresql://aegis@127.0.0.1:{port}/no_such_database"), "no_such_database", 7),
        (format!("postgresql://no_such_role@127.0.0.1:{port}/postgres"), "no_such_role", 7),
        ("postgresql://aegis@/kills?host=/no/such/directory".to_owned(), "No such file", 4),
    ] {
        for command in [&["load"][..], &["verify", "--json"], &["schema", "apply"]] {
            let begun = Instant::now();
            let program =
                work.program(command).env("DATABASE_URL", &url).env("DATABASE_CONNECTION_TIMEOUT", "500");
            let ended = program.stdin("no event\n").expect(code);
            // An answer is handled at once, and silence no later than the limit.
            assert!(begun.elapsed() < Duration::from_secs(15), "{command:?} {url}");
            assert_eq!(ended.stdout, "");
            ended.says(&["database", words]);
        }
        let program = work.program(&["load", "--json"]).env("DATABASE_URL", &url);
        let ended = program.env("DATABASE_CONNECTION_TIMEOUT", "500").stdin("no event\n").expect(code);
        assert_eq!(ended.summary().status(), "failed");
        assert!(ended.summary().error().contains(words), "{}", ended.stdout);
        ended.summary().check(&[("events", 0)]);
    }
    assert_eq!(fs::read_dir(work.path()).expect("a directory").count(), 0, "no file is left");
}

#[test]
fn missing_inputs_are_errors() {
    let work = Workplace::new();
    work.write("good", samples::sample_events());
    let database = Cluster::shared().database("inputs");
    for names in [&["missing"][..], &["good/x"], &["missing", "good/x"]] {
        for command in ["load", "verify"] {
            let program = work.program(&[command]).args(names).env("DATABASE_URL", &database.url());
            let ended = program.expect(1).says(names);
            assert_eq!(ended.stdout, "", "{command} {names:?}");
        }
    }
    assert_untouched(&database);
}

#[test]
fn unsupported_formats_get_a_conversion_command() {
    let sound = expect(&samples::sample_events(), Nul::Reject);
    let work = Workplace::new();
    for (name, bytes, words) in [
        ("dump.xz", &b"\xfd7zXZ\0\0\x04"[..], "xz -dc dump.xz | "),
        ("dump.bz2", b"BZh91AY&SY", "bzip2 -dc dump.bz2 | "),
        ("dump.zip", b"PK\x03\x04aaaa", "unzip -q dump.zip -d dump.zip.d && "),
        ("utf16", b"\xff\xfe{\0}\0", "iconv -f UTF-16"),
    ] {
        let database = Cluster::shared().database("foreign");
        work.write(name, bytes);
        work.write("good", samples::sample_events());
        let run = work.load(&database, &[name, "good"]).expect(1).says(&[words]);
        assert!(run.summary().error().contains(words), "{}", run.summary().error());
        assert_tables(&database, "americas", &sound.tables);
        let run = work.load(&database, &[]).stdin(bytes).expect(1);
        assert!(run.summary().error().contains("<stdin>"), "{}", run.summary().error());
    }
}

/// Otherwise they would be ignored and the default used.
#[test]
fn variables_that_are_not_utf_8_are_errors() {
    let work = Workplace::new();
    for name in ["DATABASE_POOL_MAX", "PGPASSWORD", "KILLS_REJECTS_FILE", "ALBION_SERVER"] {
        let script = format!("export {name}=\"$(printf 'zebra\\377')\"; exec \"$0\" load --dry-run");
        let output = std::process::Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_aegis-kills")])
            .current_dir(work.path())
            .stdin(std::process::Stdio::null())
            .output_in_time()
            .expect("a shell");
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(words.contains(&format!("{name} is not UTF-8")) && !words.contains("zebra"), "{words}");
    }
}

#[test]
fn a_load_without_a_game_server_is_an_error() {
    let work = Workplace::new();
    let database = Cluster::shared().database("server");
    let loads = |args: &[&str]| {
        let program = work.load(&database, args).without("ALBION_SERVER");
        program.stdin(samples::sample_events())
    };
    for args in [&[][..], &["--dry-run"], &["--layout", "aegis"]] {
        let ended = loads(args).expect(2).says(&[
            "the game server is required",
            "hint: add --server",
            "ALBION_SERVER",
        ]);
        assert_eq!(ended.stdout, "", "{args:?}");
    }
    assert_untouched(&database);
    loads(&["--server", "Live_AMS"]).expect(0);
    let servers = database.client().query("select distinct server::text from kill_event", &[]).expect("rows");
    assert_eq!(servers.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["europe"]);
}

#[test]
fn an_unreadable_env_file_is_an_error() {
    let work = Workplace::new();
    let path = work.path().join(".env");
    work.write(".env", b"ALBION_SERVER=\xff\n");
    work.program(&["load", "--dry-run"]).expect(2).says(&["line 1 of the file .env", "UTF-8"]);
    fs::remove_file(&path).expect("a file");
    // A byte order mark and line ends of other systems are accepted.
    work.write(".env", "\u{feff}ALBION_SERVER='mars'\r\n");
    let program = work.program(&["load", "--dry-run"]).without("ALBION_SERVER");
    program.expect(2).says(&["ALBION_SERVER", "mars"]);
}
