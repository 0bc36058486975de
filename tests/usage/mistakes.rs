//! Mistakes of new users: the error names the place, the value and the fix, and nothing is done in part.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;
use crate::support::{eventually, log_case};

fn tables(database: &Database<'_>) -> i64 {
    let count = "select count(*) from pg_tables where schemaname = 'public'";
    database.client().query_one(count, &[]).expect("a count").get(0)
}

#[test]
fn wrong_arguments_are_named() {
    let work = Workplace::new();
    work.write("dump.ndjson", generated(3, 1, 0.0));
    for (args, words) in [
        (&["laod", "dump.ndjson"][..], &["'laod'", "'load'"][..]),
        (&["dump.ndjson"], &["to load a file, run: aegis-kills load dump.ndjson"]),
        (&["no such/dump.gz"], &["run: aegis-kills load 'no such/dump.gz'"]),
        (&["load", "--sever", "europe"], &["'--sever'", "'--server'"]),
        (&["load", "--databse-url", "x"], &["'--databse-url'", "'--database-url'"]),
        (&["verify", "--on-conflict", "update"], &["'--on-conflict' is an option of 'aegis-kills load'"]),
        (&["load", "--events", "3"], &["'--events' is an option of 'aegis-kills generate'"]),
        (&["load", "--watch"], &["'--watch' is an option of 'aegis-kills health'"]),
        (
            &["--server", "europe", "load"],
            &["'--server' is an option of 'aegis-kills load'; put it after the command"],
        ),
        (&["load", "--server", "mars"], &["--server", "'mars'", "americas, europe, asia"]),
        (&["load", "--rejects", "dump.ndjson", "dump.ndjson"], &["--rejects", "dump.ndjson", "another file"]),
        (&["load", "--metrics-file", "./dump.ndjson", "dump.ndjson"], &["--metrics-file", "another file"]),
        (&["load", "--rejects", "new", "--metrics-file", "./new"], &["--metrics-file", "another file"]),
        (&["completions"], &["<SHELL>"]),
        (&["completions", "csh"], &["'csh'", "zsh"]),
        (&["generate"], &["--events"]),
        (&["embedded", "status"], &["<DIR>"]),
        (&["load", "--embedded", "."], &["is not empty", "choose a new or an empty directory"]),
        (
            &["load", "--embedded", "dump.ndjson"],
            &["is not a directory", "choose a new or an empty directory"],
        ),
        (&["load", "dump.ndjson"], &["DATABASE_URL", "--embedded"]),
    ] {
        log_case(args);
        let mut program = work.program(args);
        if !args.contains(&"--embedded") && args != ["load", "dump.ndjson"] {
            program = program.env("DATABASE_URL", "postgresql://127.0.0.1:1/none");
        }
        let ended = program.expect(2).says(words);
        assert_eq!(ended.stdout, "");
        assert!(!ended.stderr.contains("to pass '"), "a tip that leads astray: {}", ended.stderr);
    }
    let left = fs::read_dir(work.path()).expect("a directory").count();
    assert_eq!(left, 1, "nothing is made");
    let is_same = fs::read(work.path().join("dump.ndjson")).expect("the dump") == generated(3, 1, 0.0);
    assert!(is_same, "the dump is left as it is");
}

#[test]
fn unintended_files_are_named() {
    let database = Cluster::shared().database("notmeant");
    let work = Workplace::new();
    work.write("words", "kills of today\nby Bob\n");
    work.write("page.html", "<!DOCTYPE html>\n<p>Not found\n");
    for name in ["words", "page.html"] {
        let run = work.load(&database, &[name]).expect(3);
        run.says(&[name, "does not begin with JSON", "possibly not a kill dump"])
            .summary()
            .check(&[("rejected", 2)]);
    }
    // A pattern that matches the reject file of an earlier load.
    let rejects = fs::read_dir(work.path()).expect("a directory").filter_map(|entry| {
        let name = entry.expect("a file").file_name().into_string().expect("text");
        name.starts_with("rejects-").then_some(name)
    });
    let rejects = rejects.min().expect("a reject file");
    let run = work.load(&database, &[&rejects]).expect(3);
    run.summary().check(&[("events", 2), ("rejected", 2)]);

    work.write("empty", "");
    work.load(&database, &["empty"]).expect(0).says(&["empty is empty"]);
    fs::create_dir(work.path().join("dumps")).expect("a directory");
    for (pattern, directory) in [
        ("dumps/*.ndjson", ": ls dumps"),
        ("dumps/none/*.ndjson", ": ls dumps"),
        ("none/*.gz", ": ls ."),
        ("kills-[0-9].gz", ": ls ."),
    ] {
        work.load(&database, &[pattern]).expect(1).says(&["no file matches", pattern, directory]);
    }
}

#[test]
fn a_port_in_use_is_an_error_before_the_load() {
    let database = Cluster::shared().database("taken");
    let work = Workplace::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its number").port().to_string();
    for program in
        [work.load(&database, &["--listen", &port]), work.load(&database, &["--dry-run", "--listen", &port])]
    {
        let ended = program.stdin(generated(3, 1, 0.0)).expect(2);
        ended.says(&[&format!("cannot listen on 127.0.0.1:{port}"), "--listen", "in use"]);
    }
    assert_eq!(tables(&database), 0);
}

#[test]
fn a_password_with_url_characters_gets_a_hint() {
    let cluster = Cluster::private(&[]);
    let signs = "create role me superuser login password 'p@s#s:1'";
    cluster.admin().batch_execute(signs).expect("a role");
    let rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    fs::write(cluster.directory().join("data/pg_hba.conf"), rules).expect("the server's directory");
    cluster.restart();
    let work = Workplace::new();
    let url = |password: &str| format!("postgresql://me:{password}@127.0.0.1:{}/postgres", cluster.port());
    for (password, code, words) in [
        ("p@s#s:1", 0, &[][..]),
        ("p%40s%23s%3A1", 0, &[]),
        ("p/s", 2, &["write / as %2F"]),
        ("p?s", 2, &["? as %3F"]),
        ("p%s", 2, &["write a literal % as %25"]),
    ] {
        log_case(password);
        let ended = work.program(&["schema", "apply"]).env("DATABASE_URL", &url(password)).run();
        let ended = ended.expect(code).says(words);
        assert!(!ended.stderr.contains(&format!(":{password}@")), "{}", ended.stderr);
    }
}

#[test]
fn incompatible_tables_are_named() {
    let database = Cluster::shared().database("make");
    let work = Workplace::new();
    work.write("dump", generated(3, 1, 0.0));
    let old = "create schema old; create table old.kill_event (event_id bigint primary key)";
    database.client().batch_execute(old).expect("a table");
    work.program(&["load", "--schema", "old", "dump"]).env("DATABASE_URL", &database.url()).expect(7).says(
        &[
            "schema \"old\" are incompatible",
            "kill_event lacks the columns server, occurred_at, ",
            "--schema",
            "schema print",
        ],
    );
    for (schema, more, words) in [
        (
            "missing",
            &["--layout", "archive"][..],
            "schema \"missing\" has no table kill_event (layout archive)",
        ),
        ("missing", &["--layout", "aegis"], "schema \"missing\" has no table KillEvent (layout aegis)"),
        ("old", &["-v"], "schema \"old\" has no table kill_player (layout archive)"),
        ("old", &["--ids-only"], "the tables in schema \"old\" are incompatible"),
    ] {
        let verify = work.program(&["verify", "--schema", schema, "dump"]).args(more);
        verify.env("DATABASE_URL", &database.url()).expect(7).says(&[words, "--schema"]);
    }
    let make = "create role made_no_tables login; revoke create on schema public from public";
    database.client().batch_execute(make).expect("a role");
    let url = database.tcp_url().replace("//aegis@", "//made_no_tables@");
    let program = work.program(&["load", "dump"]).env("DATABASE_URL", &url);
    program.expect(7).says(&[
        "cannot create missing objects in schema \"public\"",
        "aegis-kills schema apply",
        "denied",
    ]);
    work.load(&database, &["dump"]).expect(0);
    let program = work.program(&["verify", "dump"]).env("DATABASE_URL", &url);
    program.expect(7).says(&["cannot read the tables in schema \"public\"", "SELECT"]);
    database.client().batch_execute("drop role made_no_tables").expect("no role");
}

/// Runs a shell pipeline in which `$0` is the program.
fn shell(work: &Workplace, database: &Database<'_>, script: &str) -> (String, String) {
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_aegis-kills")]).current_dir(work.path());
    command.env("ALBION_SERVER", "americas");
    let output = command.env("DATABASE_URL", database.url()).output_in_time().expect("a shell");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
    let database = Cluster::shared().database("head");
    let work = Workplace::new();
    work.write("dump", generated(3, 1, 0.0));
    work.load(&database, &["dump"]).expect(0);
    for (command, code) in [
        ("generate --events 2000", 0),
        ("schema print", 0),
        ("load --json dump", 0),
        ("load dump", 0),
        ("verify --json dump", 0),
        ("verify --server asia dump", 6),
        ("health", 0),
        ("load --help", 0),
        ("completions zsh", 0),
        ("man", 0),
    ] {
        log_case(command);
        let (codes, stderr) =
            shell(&work, &database, &format!("$0 {command} | true; echo \"${{PIPESTATUS[0]}}\""));
        assert_eq!((codes.trim(), stderr.as_str()), (code.to_string().as_str(), ""), "{command}");
    }
    for command in ["generate --events 9", "schema print", "load --json dump", "verify dump", "man"] {
        log_case(command);
        let (code, stderr) = shell(&work, &database, &format!("$0 {command} >/dev/full; echo $?"));
        assert_eq!(code.trim(), "1");
        assert!(stderr.contains("standard output") && stderr.contains("No space left"), "{stderr}");
    }
}

#[test]
fn a_terminal_as_input_gets_a_hint() {
    let work = Workplace::new();
    // The util-linux program, which gives another program a terminal.
    let has_script = Command::new("script").arg("--version").output_in_time();
    if !has_script.is_ok_and(|tried| tried.status.success()) {
        return;
    }
    let program = env!("CARGO_BIN_EXE_aegis-kills");
    let command = format!("{program} load --dry-run");
    let mut running = work.other_program("script", &["-qefc", &command, "typed"]).start();
    let shown = || fs::read_to_string(work.path().join("typed")).unwrap_or_default();
    eventually(Duration::from_mins(1), "it says that it waits", || shown().contains("waiting for events"));
    assert!(shown().contains("Ctrl-D ends the input"), "{}", shown());
    // Ctrl-D.
    running.feed(b"\x04");
    let ended = running.finish();
    assert!(ended.expect(0).stdout.contains("0 events"));
}
