//! `.env`: its forms, and its priority.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::program::{Program, Workplace};
use crate::support::{log_case, not_tried};

fn health(program: Program) -> Value {
    serde_json::from_str(&program.expect(0).stdout).expect("JSON")
}

#[test]
fn each_form_of_a_line_is_read() {
    let database = Cluster::shared().database("env");
    let work = Workplace::new();
    for (line, max) in [
        ("DATABASE_POOL_MAX=12", 12),
        ("export DATABASE_POOL_MAX=12", 12),
        ("  DATABASE_POOL_MAX = 12  ", 12),
        ("DATABASE_POOL_MAX=\"12\"", 12),
        ("DATABASE_POOL_MAX='12'", 12),
        ("DATABASE_POOL_MAX=12 # as many as that", 12),
        ("# DATABASE_POOL_MAX=12", 10),
        ("DATABASE_POOL_MAX=", 10),
        ("\u{feff}DATABASE_POOL_MAX=12", 12),
        ("DATABASE_POOL_MAX=12\r", 12),
        ("A_THING=12\nDATABASE_POOL_MAX=${A_THING}", 12),
    ] {
        log_case(line);
        work.write(".env", format!("{line}\n\nDATABASE_URL='{}'\n", database.url()));
        let report = health(work.program(&["health", "--json"]));
        assert_eq!(report["pool"]["max"], max, "{line}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_an_option_over_both() {
    let (first, second) = (Cluster::shared().database("first"), Cluster::shared().database("second"));
    let work = Workplace::new();
    work.write(
        ".env",
        "DATABASE_URL=postgresql://nowhere.invalid/none\nDATABASE_POOL_MAX=7\nALBION_SERVER=asia\n",
    );
    let program = work.program(&["health", "--json"]).env("DATABASE_URL", &first.url());
    let report = health(program.env("DATABASE_POOL_MAX", "8"));
    assert_eq!(report["pool"]["max"], 8);
    let load = |args: &[&str]| work.program(&["load", "--json"]).args(args).env("DATABASE_URL", &first.url());
    assert_eq!(load(&[]).without("ALBION_SERVER").expect(0).summary().0["server"], "asia");
    let run = load(&["--server", "europe", "--database-url", &second.url()]).env("ALBION_SERVER", "americas");
    assert_eq!(run.expect(0).summary().0["server"], "europe");
    let runs = "select count(*) from kill_load_run where server = 'europe'";
    let count: i64 = second.client().query_one(runs, &[]).expect("a ledger").get(0);
    assert_eq!(count, 1);
}

#[test]
fn an_unusable_env_file_is_an_error_without_its_contents() {
    let database = Cluster::shared().database("env");
    let work = Workplace::new();
    let run = || work.program(&["health"]).env("DATABASE_URL", &database.url());
    run().expect(0);
    work.write(".env", "DATABASE_URL=postgresql://me:hunter2@db/kills?a=b c\n");
    let said = run().expect(2).says(&["line 1 of the file .env is invalid"]);
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    if !is_root() {
        work.write(".env", "DATABASE_POOL_MAX=12\n");
        fs::set_permissions(work.path().join(".env"), fs::Permissions::from_mode(0o000)).expect("its mode");
        run().expect(2).says(&["cannot read the file .env", "denied"]);
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn an_env_file_that_is_not_regular_is_not_read() {
    let work = Workplace::new();
    let path = work.path().join(".env");
    let run = |kind: &str| {
        let ended = work.program(&["load", "--dry-run"]).expect(0);
        let warning = format!("the file .env is {kind}, so it is not read; export the variables instead");
        assert_eq!(ended.stderr.matches(&warning).count(), 1, "{}", ended.stderr);
    };
    fs::create_dir(&path).expect("a directory");
    run("a directory");
    fs::remove_dir(&path).expect("a directory");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    run("a FIFO");
    fs::remove_file(&path).expect("a FIFO");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    run("a socket");
    fs::remove_file(&path).expect("a socket");
    symlink("/dev/zero", &path).expect("a link");
    run("a device");
    // It stands for an empty file.
    fs::remove_file(&path).expect("a link");
    symlink("/dev/null", &path).expect("a link");
    let ended = work.program(&["load", "--dry-run"]).expect(0);
    assert!(!ended.stderr.contains(".env"), "{}", ended.stderr);
}

#[test]
fn an_env_file_writable_by_others_is_rejected() {
    let work = Workplace::new();
    let path = work.path().join(".env");
    let run = || work.program(&["load", "--dry-run"]);
    for (mode, code) in [(0o602, 2), (0o666, 2), (0o644, 0), (0o600, 0)] {
        log_case(format!("{mode:o}"));
        work.write(".env", "KILLS_NUL=strip\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        let ended = run().expect(code);
        if code == 2 {
            ended.says(&["other users can write the file .env", "chmod go-w .env"]);
        }
    }
    if !is_root() {
        return not_tried("a .env of another user", "this is not root");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).expect("its mode");
    run().expect(2).says(&["other users can write the file .env"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    chown(&path, Some(4711), None).expect("root may");
    run().expect(2).says(&["belongs to another user (id 4711)"]);
    chown(&path, Some(0), None).expect("root may");
    fs::rename(&path, work.path().join("settings")).expect("a file");
    symlink("settings", &path).expect("a link");
    run().expect(0);
    lchown(&path, Some(4711), None).expect("root may");
    run().expect(2).says(&["belongs to another user (id 4711)"]);
}

#[test]
fn a_readable_password_causes_a_warning() {
    let work = Workplace::new();
    let path = work.path().join(".env");
    for (mode, is_warned_of) in [(0o600, false), (0o604, true)] {
        work.write(".env", "PGPASSWORD=zebra\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        let ended = work.program(&["load", "--dry-run"]).expect(0);
        assert_eq!(ended.stderr.contains("chmod 600 .env"), is_warned_of, "{}", ended.stderr);
        assert!(!ended.stderr.contains("zebra"), "{}", ended.stderr);
    }
}

/// The file does not set variables that libraries or other programs read.
#[test]
fn nothing_but_settings_reaches_the_program() {
    let work = Workplace::new();
    let home = work.path().display().to_string();
    work.write("ca.pem", "this is no certificate");
    // If one of them were set, the library would fail to load, read other roots, or search another PATH.
    work.write(
        ".env",
        format!(
            "LD_PRELOAD={home}/x.so\nSSL_CERT_FILE={home}/ca.pem\nPATH=/nowhere\nTMPDIR={home}\nHOME={home}\n"
        ),
    );
    work.write(".pgpass", "*:*:*:*:zebra\n");
    let ended = work.program(&["embedded", "start", "db"]).env("HOME", "/").expect(0);
    assert!(!ended.stderr.contains("preload") && ended.stderr.is_empty(), "{}", ended.stderr);
    let pid = fs::read_to_string(work.path().join("db/data/postmaster.pid")).expect("a running server");
    let place = format!("/proc/{}/environ", pid.lines().next().expect("a process"));
    if let Ok(variables) = fs::read_to_string(place) {
        for name in ["LD_PRELOAD", "SSL_CERT_FILE", "TMPDIR=", "PATH=/nowhere"] {
            assert!(!variables.contains(name), "{variables}");
        }
    }
    work.program(&["embedded", "stop", "db"]).expect(0);
    let said = work
        .program(&["load"])
        .env("DATABASE_URL", "host=127.0.0.1 port=1 sslrootcert=system sslmode=verify-full");
    let said = said.env("DATABASE_AWAY_TIMEOUT", "1").run();
    assert!(!said.stderr.contains("certificate"), "{}", said.stderr);
}

#[test]
fn unknown_lines_are_handled_as_documented() {
    let work = Workplace::new();
    work.write("a.ndjson", "");
    let run = || work.program(&["load", "--dry-run", "a.ndjson"]);
    for line in ["APP_NAME=My Kill Board", "CFG={\"a\": 1}", "NOTE=it's", "[section]", "KEY: value"] {
        log_case(line);
        work.write(".env", format!("{line}\nALBION_SERVER=asia\n"));
        let ended = run().without("ALBION_SERVER").expect(0);
        ended.says(&["line 1 of the file .env is not NAME=value"]).says_in_output("asia");
    }
    work.write(".env", "KILLS_FOO=1\n");
    run()
        .env("KILLS_BAR", "1")
        .expect(0)
        .says(&["sets KILLS_FOO, which is not a", "variable KILLS_BAR is not a"]);
    for line in
        ["KILLS_WORKER_CONCURENCY=5", "KILLS_WORKERS=8", "DATABASE_POOL_MX=5", "DATABSE_URL=postgresql:///x"]
    {
        log_case(line);
        work.write(".env", format!("{line}\n"));
        let (name, _) = line.split_once('=').expect("a name");
        run().expect(2).says(&[name, "write "]);
        fs::remove_file(work.path().join(".env")).expect("a file");
        run().env(name, "5").expect(0).says(&[name, "is not a setting"]);
    }
}

/// Shell completion and package builds have nothing to set.
#[test]
fn commands_without_settings_never_fail_because_of_it() {
    let work = Workplace::new();
    for text in ["KILLS_NUL=a b c\n", "KILLS_WORKER_CONCURENCY=5\n", "RUST_LOG=loud\n"] {
        work.write(".env", text);
        for args in [&["generate", "--events", "1"][..], &["completions", "bash"], &["man"]] {
            let ended = work.program(args).env("RUST_LOG", "loud").env("KILLS_NUL", "no").expect(0);
            assert!(!ended.stderr.contains(".env"), "{}", ended.stderr);
        }
        work.program(&["load", "--dry-run"]).expect(2);
    }
    // The server can still be inspected and stopped.
    work.write(".env", "KILLS_WORKER_CONCURENCY=5\n");
    work.program(&["embedded", "status", "none"]).expect(2).says(&["WARN"]).says_in_output("No private");
}

/// Line ends of secret files and other systems, and the quotes that `docker --env-file` keeps.
#[test]
fn white_space_and_quotes_around_values_are_removed() {
    let database = Cluster::shared().database("env");
    let work = Workplace::new();
    let url = database.url();
    let prisma = format!("{url}&schema=public");
    for (url, schema) in [
        (format!("{prisma}\n"), ""),
        (format!("  {prisma}\r\n"), ""),
        (format!("\"{prisma}\""), ""),
        (format!("'{url}'"), "public\r"),
        (url.clone(), " public\n"),
        (url.clone(), "\"public\""),
        (url.clone(), "'public'\r"),
    ] {
        log_case((&url, schema));
        let program = work.program(&["schema", "apply"]).env("DATABASE_URL", &url);
        let program = program.env("DATABASE_SCHEMA", schema).env("KILLS_LEDGER_SCHEMA", " 'public'\r");
        program.env("KILLS_LAYOUT", "\"archive\"\r").expect(0);
    }
    for schema in ["public ", "public\r", "\"public\"", "'public'"] {
        log_case(schema);
        let program = work.program(&["schema", "apply", "--schema", schema]).env("DATABASE_URL", &url);
        // Both are right: the intended name, or an error.
        let code = program.run().code;
        assert!(code == 0 || code == 2, "{schema:?}: {code}");
    }
    let made_so = "select count(*) from pg_namespace where nspname <> 'public' and nspname ~ 'public'";
    let made_so: i64 = database.client().query_one(made_so, &[]).expect("a count").get(0);
    assert_eq!(made_so, 0, "a name with white space or quotes");
    let encoded = work.program(&["schema", "apply"]).env("DATABASE_URL", &format!("{url}&schema=public%0A"));
    let code = encoded.run().code;
    assert!(code == 0 || code == 2, "{code}");
    let made =
        "select string_agg(nspname, ',') from pg_namespace where nspname !~ '^pg_|^information_schema$'";
    let names: String = database.client().query_one(made, &[]).expect("names").get(0);
    assert_eq!(names, "public");
    let run = work.program(&["schema", "apply", "--schema", "kills"]).env("DATABASE_URL", &url);
    let run = run.expect(0).says_in_output("tables created in schema \"kills\"");
    assert_eq!(run.stderr, "");
    work.write("broken", "no event\n");
    let run = work.program(&["load", "--dry-run", "broken"]).env("KILLS_REJECTS_FILE", "\"rejected\"\r");
    run.expect(3);
    assert!(work.path().join("rejected").is_file());
}
