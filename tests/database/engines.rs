//! Servers that speak the protocol but are not PostgreSQL, or are too old. The error names the server and what is
//! supported, before any other statement. A server that may work is used, with a warning.

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, small_event};
use crate::support::fake::{Answer, Fake};
use crate::support::log_case;
use crate::support::program::{Workplace, assert_loaded};

const REDSHIFT: &str = "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 \
                        (Red Hat 3.4.2-6.fc3), Redshift 1.0.12103";
const GREENPLUM: &str = "PostgreSQL 12.12 (Greenplum Database 7.4.0 build \
                         commit:27de6dc6d00607a5630a41fd2c0ad489f40e2ad4) on x86_64-pc-linux-gnu";

/// Replaces the function `version()` of a database, and returns its URL.
fn url_of(database: &Database<'_>, version: &str) -> String {
    let made = format!(
        "begin; alter function pg_catalog.version() rename to own_version;
         create function pg_catalog.version() returns text language sql as $$ select '{version}' $$; commit"
    );
    database.client().batch_execute(&made).expect("a function");
    database.tcp_url()
}

#[test]
fn unsupported_servers_are_named_with_the_supported_versions() {
    let work = Workplace::new();
    for (version, words) in [
        (
            "CockroachDB CCL v21.1.5 (x86_64-apple-darwin19, built 2021/07/02 04:00:15, go1.15.11)",
            "the server is CockroachDB (CockroachDB CCL v21.1.5), which lacks temporary tables",
        ),
        (
            "PostgreSQL 15.12-YB-2.25.2.0-b0 on x86_64-pc-linux-gnu",
            "the server is YugabyteDB (PostgreSQL 15.12-YB-2.25.2.0-b0), which lacks row locations (ctid)",
        ),
        (REDSHIFT, "the server is Amazon Redshift (PostgreSQL 8.0.2), which lacks enforced unique keys"),
        ("PostgreSQL 11.22 on x86_64-pc-linux-gnu", "the server is PostgreSQL 11.22, which is too old"),
    ] {
        let fake = Fake::new(Answer::Session(version));
        let url = format!("postgresql://me@127.0.0.1:{}/kills", fake.port());
        for command in [&["load"][..], &["verify"], &["schema", "apply"]] {
            log_case((version, command));
            let ended = work.program(command).env("DATABASE_URL", &url).stdin("").expect(7);
            let ended =
                ended.says(&["the database can't be used: ", words, "\nhint: use PostgreSQL 12 or later"]);
            assert_eq!((ended.stderr.lines().count(), &*ended.stdout), (2, ""), "{}", ended.stderr);
        }
        let health = work.program(&["health"]).env("DATABASE_URL", &url).expect(6).stdout;
        assert!(health.contains(words), "{health}");
        assert_eq!(fake.queries(), ["Q SELECT pg_catalog.version()"; 4]);
    }
}

#[test]
fn unsupported_servers_are_left_unchanged() {
    let work = Workplace::new();
    let database = Cluster::shared().database("engine");
    let url = url_of(&database, REDSHIFT);
    for command in [&["load", "--json"][..], &["schema", "apply"]] {
        work.program(command).env("DATABASE_URL", &url).stdin(small_event(1).to_string()).expect(7);
    }
    let count = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    assert_eq!(database.client().query_one(count, &[]).expect("a count").get::<_, i64>(0), 0);
}

#[test]
fn untested_servers_are_used_with_one_warning() {
    let work = Workplace::new();
    let dump = generated(300, 1, 5.0);
    for (version, words) in [
        (GREENPLUM, "the server is Greenplum (PostgreSQL 12.12), which is not tested: each UPDATE"),
        ("Duck 1.2 (build 3)", "the server identifies itself as \"Duck 1.2\", but only PostgreSQL is tested"),
    ] {
        log_case(version);
        let database = Cluster::shared().database("engine");
        let program = work.program(&["load", "--json"]).env("DATABASE_URL", &url_of(&database, version));
        let run = program.segment_bytes(100_000).stdin(dump.clone()).expect(0);
        assert_loaded(&database, &dump, &run);
        assert_eq!(run.stderr.matches(words).count(), 1, "{}", run.stderr);
    }
}
