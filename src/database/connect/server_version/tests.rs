//! Version texts of servers and the decisions about them. `tests/database/engines.rs` has more, with the whole errors. Each
//! text was printed by a server, at the place named beside it. Some are cut after the relevant part.

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
fn versions_are_judged() {
    for (version, expected) in [
        // Debian's package, two builds of the same sources by others, and what comes before a release.
        ("PostgreSQL 15.20 (Debian 15.20-0+deb12u1) on x86_64-pc-linux-gnu, compiled by ", Ok(None)),
        ("PostgreSQL 12.22 on x86_64-pc-linux-gnu, compiled by gcc (Ubuntu 7.5.0-3ubuntu1~18.04)", Ok(None)),
        ("PostgreSQL 18.4 on x86_64-pc-linux-gnu, compiled by gcc (Ubuntu 7.5.0-3ubuntu1~18.04)", Ok(None)),
        ("PostgreSQL 18beta1 on x86_64-pc-linux-gnu", Ok(None)),
        ("PostgreSQL 9.6.24 on x86_64-pc-linux-gnu", Err("PostgreSQL 9.6.24, which is too old")),
        // Greenplum 6, as tests of its tools quote it.
        (
            "PostgreSQL 9.4.26 (Greenplum Database 6.27.5-WHPG build dev) on x86_64-pc-linux-gnu",
            Err("Greenplum (PostgreSQL 9.4.26), which is too old"),
        ),
        // YugabyteDB: an article on https://dev.to/yugabyte.
        (
            "PostgreSQL 11.2-YB-2.6.1.0-b0 on x86_64-pc-linux-gnu, compiled by gcc (Homebrew gcc 5.5.0_4)",
            Err("YugabyteDB (PostgreSQL 11.2-YB-2.6.1.0-b0), which lacks row locations"),
        ),
        // RisingWave: what its container prints.
        (
            "PostgreSQL 13.14.0-RisingWave-2.3.2 (58c5893670f326f0922b9bc58c61c83cabeccaa8)",
            Err("RisingWave (PostgreSQL 13.14.0-RisingWave-2.3.2), which lacks transactions"),
        ),
        // Cloudberry: the form that its src/test/regress/sql/gp_metadata.sql checks.
        (
            "PostgreSQL 14.4 (Apache Cloudberry 2.0.0 build dev) on x86_64-pc-linux-gnu",
            Ok(Some("Apache Cloudberry (PostgreSQL 14.4)")),
        ),
        ("PostgreSQL", Ok(Some("identifies itself as \"PostgreSQL\""))),
        ("", Ok(Some("identifies itself as \"\""))),
    ] {
        check(version, expected);
    }
    let unbounded = "\u{1b}[2J\u{e9}".repeat(1000);
    let caution = judge(&unbounded).expect("it may work").expect("a caution");
    assert!(caution.len() < 500 && !caution.contains('\u{1b}'), "{caution}");
}
