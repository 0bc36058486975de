//! Version texts of servers and the decisions about them. Each text was printed by a server, at the place named
//! beside it. Some are cut after the relevant part.

use crate::database::connect::server_version::*;

fn check(version: &str, expected: Result<Option<&str>, &str>) {
    match (judge(version), expected) {
        (Ok(None), Ok(None)) => {}
        (Ok(Some(caution)), Ok(Some(words))) => assert!(caution.contains(words), "{caution}"),
        (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
        (found, expected) => panic!("{version}: {found:?}, not {expected:?}"),
    }
}

#[test]
fn postgresql_from_version_12_on_whoever_built_it() {
    for version in [
        // Debian's package, two builds of the same sources by others, and what comes before a release.
        "PostgreSQL 15.20 (Debian 15.20-0+deb12u1) on x86_64-pc-linux-gnu, compiled by ",
        "PostgreSQL 12.22 on x86_64-pc-linux-gnu, compiled by gcc (Ubuntu 7.5.0-3ubuntu1~18.04) 7.5.0, 64-bit",
        "PostgreSQL 18.4 on x86_64-pc-linux-gnu, compiled by gcc (Ubuntu 7.5.0-3ubuntu1~18.04) 7.5.0, 64-bit",
        "PostgreSQL 18beta1 on x86_64-pc-linux-gnu",
    ] {
        check(version, Ok(None));
    }
}

#[test]
fn postgresql_that_is_too_old() {
    for (version, name) in [
        (
            "PostgreSQL 11.22 on x86_64-pc-linux-gnu, compiled by gcc (Ubuntu 7.5.0-3ubuntu1~18.04) 7.5.0",
            "PostgreSQL 11.22,",
        ),
        ("PostgreSQL 9.6.24 on x86_64-pc-linux-gnu", "PostgreSQL 9.6.24,"),
        // Greenplum 6, as tests of its tools quote it.
        (
            "PostgreSQL 9.4.26 (Greenplum Database 6.27.5-WHPG build dev) on x86_64-pc-linux-gnu",
            "Greenplum (PostgreSQL 9.4.26),",
        ),
    ] {
        check(version, Err(name));
        check(version, Err("too old\nhint: use PostgreSQL 12 or later"));
    }
}

#[test]
fn databases_that_lack_something() {
    for (version, words) in [
        // CockroachDB, as its shell greets with it.
        (
            "CockroachDB CCL v21.1.5 (x86_64-apple-darwin19, built 2021/07/02 04:00:15, go1.15.11)",
            "CockroachDB (CockroachDB CCL v21.1.5), which lacks temporary tables",
        ),
        // YugabyteDB: articles on https://dev.to/yugabyte, and the banner of a later psql session.
        (
            "PostgreSQL 11.2-YB-2.6.1.0-b0 on x86_64-pc-linux-gnu, compiled by gcc (Homebrew gcc 5.5.0_4)",
            "YugabyteDB (PostgreSQL 11.2-YB-2.6.1.0-b0), which lacks row locations",
        ),
        (
            "PostgreSQL 15.12-YB-2.25.2.0-b0 on x86_64-pc-linux-gnu",
            "YugabyteDB (PostgreSQL 15.12-YB-2.25.2.0-b0)",
        ),
        // https://docs.aws.amazon.com/redshift/latest/dg/r_VERSION.html
        (
            "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 \
             (Red Hat 3.4.2-6.fc3), Redshift 1.0.12103",
            "Amazon Redshift (PostgreSQL 8.0.2), which lacks enforced unique keys",
        ),
        // RisingWave: what its container prints.
        (
            "PostgreSQL 13.14.0-RisingWave-2.3.2 (58c5893670f326f0922b9bc58c61c83cabeccaa8)",
            "RisingWave (PostgreSQL 13.14.0-RisingWave-2.3.2), which lacks transactions",
        ),
    ] {
        check(version, Err(words));
        check(version, Err("\nhint: use PostgreSQL 12 or later, with or without Citus"));
    }
}

#[test]
fn databases_that_may_work() {
    for (version, words) in [
        // Greenplum 7, as its gpstate prints it.
        (
            "PostgreSQL 12.12 (Greenplum Database 7.4.0 build commit:27de6dc6d00607a5630a41fd2c0ad489f40e2ad4)",
            "the server is Greenplum (PostgreSQL 12.12), which is not tested: each UPDATE locks",
        ),
        // Cloudberry: the form that its src/test/regress/sql/gp_metadata.sql checks.
        (
            "PostgreSQL 14.4 (Apache Cloudberry 2.0.0 build dev) on x86_64-pc-linux-gnu",
            "Apache Cloudberry (PostgreSQL 14.4)",
        ),
        ("Duck 1.2 (build 3)", "identifies itself as \"Duck 1.2\", but only PostgreSQL is tested"),
        ("PostgreSQL", "identifies itself as \"PostgreSQL\""),
        ("", "identifies itself as \"\""),
    ] {
        check(version, Ok(Some(words)));
    }
    let unbounded = "\u{1b}[2J\u{e9}".repeat(1000);
    let caution = judge(&unbounded).expect("it may work").expect("a caution");
    assert!(caution.len() < 500 && !caution.contains('\u{1b}'), "{caution}");
}
