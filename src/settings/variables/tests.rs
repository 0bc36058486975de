//! Tests of setting names: correct, misspelled and of other programs.

use crate::settings::variables::*;

#[test]
fn misspelled_names() {
    let check = |name: &str, expected: Option<&str>| {
        assert_eq!(meant(name).as_deref(), expected, "{name}");
    };
    check("DATABSE_URL", Some("DATABASE_URL"));
    check("DATABASE_URI", Some("DATABASE_URL"));
    check("database_url", Some("DATABASE_URL"));
    check("DATABASE_POOL_MX", Some("DATABASE_POOL_MAX"));
    check("KILLS_WORKER_CONCURENCY", Some("KILLS_WORKER_CONCURRENCY"));
    check("KILLS_POOL_MAX", Some("DATABASE_POOL_MAX"));
    check("KILLS_SERVER", Some("ALBION_SERVER"));
    check("KILL_LAYOUT", Some("KILLS_LAYOUT"));
    check("ALBION_SEVER", Some("ALBION_SERVER"));
    check("KILLS_WORKERS", Some("KILLS_WORKER_CONCURRENCY"));
    check("KILLS_THREADS", Some("KILLS_PARSE_THREADS"));
    check("kills_thread", Some("KILLS_PARSE_THREADS"));
    // Two settings have the word.
    check("KILLS_REJECTS", None);
    check("KILLS_FOO", None);
    check("RUST_LOGS", Some("RUST_LOG"));
    check("PGHSOT", Some("PGHOST"));
    check("PGPASSWD", Some("PGPASSWORD"));
    check("pghost", Some("PGHOST"));
    let others = ["DATABASE_USER", "DATABASE_SSL", "DATABASE_POOL_SIZE", "DATABASE_SERVER", "DATABASE_HOST"];
    let more =
        ["PG_HOST", "PGADMIN_DEFAULT_EMAIL", "PGBIN", "APP_NAME", "PATH", "RUST_BACKTRACE", "KILLS_DIR"];
    for name in others.into_iter().chain(more).chain(VARIABLES).chain(["PGHOST", "PGSSLCRL", "PGDATA"]) {
        check(name, None);
    }
}

#[test]
fn unknown_names() {
    for name in ["KILLS_FOO", "KILLS_DIR", "KILLS_WORKERS", "KILLS_", "KILLS_PORTS"] {
        assert!(is_unknown(name), "{name}");
    }
    let services = ["KILLS_PORT", "KILLS_PORT_5432_TCP_ADDR", "KILLS_SERVICE_HOST", "KILLS_SERVICE_PORT"];
    for name in VARIABLES.into_iter().chain(services).chain(["DATABASE_USER", "PGFOO", "KILLSWITCH"]) {
        assert!(!is_unknown(name), "{name}");
    }
}
