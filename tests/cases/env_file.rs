//! `.env`: its forms, and what wins over it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::program::{Program, Workplace};
use crate::support::tell;

fn health(program: Program) -> Value {
    serde_json::from_str(&program.expect(0).stdout).expect("JSON")
}

#[test]
fn forms_of_a_line() {
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
        tell(line);
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
fn a_file_that_cannot_be_used_is_told_and_nothing_of_it_is_shown() {
    let database = Cluster::shared().database("env");
    let work = Workplace::new();
    let run = || work.program(&["health"]).env("DATABASE_URL", &database.url());
    run().expect(0);
    work.write(".env", "DATABASE_URL=postgresql://me:hunter2@db/kills?a=b c\n");
    let said = run().expect(2).says(&["line 1 of the file .env can't be understood"]);
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    fs::remove_file(work.path().join(".env")).expect("a file");
    fs::create_dir(work.path().join(".env")).expect("a folder");
    run().expect(2).says(&["the file .env can't be read"]);
    fs::remove_dir(work.path().join(".env")).expect("a folder");
    if !nix::unistd::geteuid().is_root() {
        work.write(".env", "DATABASE_POOL_MAX=12\n");
        fs::set_permissions(work.path().join(".env"), fs::Permissions::from_mode(0o000)).expect("its mode");
        run().expect(2).says(&["the file .env can't be read", "denied"]);
    }
}
