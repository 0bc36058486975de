use super::environment::{bytes, duration};
use super::*;
use std::time::Duration;

fn load(variables: &[(&str, &str)], args: &LoadArgs) -> Result<LoadSettings, String> {
    let get =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    LoadSettings::new(args, Environment(&get)).map_err(|error| error.to_string())
}

#[test]
fn wrong_values_name_the_variable_the_value_and_what_would_do() {
    let check = |name: &str, value: &str, wanted: &str| {
        let error = load(&[("DATABASE_URL", "postgresql://db/kills"), (name, value)], &LoadArgs::default());
        let words = error.expect_err(name);
        assert!(words.contains(name) && words.contains(&format!("{value:?}")), "{words}");
        assert!(words.contains(wanted), "{words}");
    };
    check("ALBION_SERVER", "west", "americas, europe, asia");
    check("KILLS_LAYOUT", "flat", "archive");
    check("DATABASE_SCHEMA", "pg_kills", "63 bytes");
    check("KILLS_NUL", "drop", "reject, strip, replace");
    check("KILLS_ON_CONFLICT", "merge", "skip or update");
    check("KILLS_MAX_REJECTS", "some", "0.5%");
    check("KILLS_WORKER_CONCURRENCY", "0", "1 to 256");
    check("KILLS_PARSE_THREADS", "-1", "1 to 256");
    check("KILLS_SEGMENT_BYTES", "8 apples", "8MiB");
    check("KILLS_SEGMENT_BYTES", "1", "8MiB");
    check("KILLS_FLUSH_INTERVAL", "0", "above zero");
    check("KILLS_FLUSH_INTERVAL", "soon", "30s");
    check("DATABASE_POOL_MIN", "0", "1 to 1000");
    check("DATABASE_POOL_MAX", "x", "1 to 1000");
    check("DATABASE_POOL_MAX", "0", "1 to 1000");
    check("DATABASE_CONNECTION_TIMEOUT", "-5s", "30s");
    check("DATABASE_IDLE_TIMEOUT", "5parsec", "30s");
    check("DATABASE_RETRY_ATTEMPTS", "0", "1 to 1000");
}

#[test]
fn min_over_max() {
    let words = load(
        &[("DATABASE_URL", "postgresql://db/k"), ("DATABASE_POOL_MIN", "5"), ("DATABASE_POOL_MAX", "4")],
        &LoadArgs::default(),
    );
    let words = words.expect_err("min is over max");
    assert!(
        words.contains("DATABASE_POOL_MIN") && words.contains("DATABASE_POOL_MAX, which is 4"),
        "{words}"
    );
}

#[test]
fn an_option_wins_over_a_variable_and_a_variable_over_the_default() {
    let variables = [("DATABASE_URL", "postgresql://db/kills"), ("ALBION_SERVER", "asia"), ("KILLS_NUL", "")];
    let mut args = LoadArgs::default();
    let settings = load(&variables, &args).unwrap();
    assert_eq!(settings.event.server, Server::Asia);
    assert_eq!(settings.event.nul, NulPolicy::Reject);
    args.event.server = Some("europe".to_owned());
    assert_eq!(load(&variables, &args).unwrap().event.server, Server::Europe);
}

#[test]
fn no_database_is_an_error_unless_nothing_is_to_be_written() {
    let mut args = LoadArgs::default();
    assert!(load(&[], &args).expect_err("no database").contains("DATABASE_URL"));
    args.dry_run = true;
    assert!(load(&[], &args).unwrap().database.is_none());
}

#[test]
fn units() {
    assert_eq!(duration("250"), Ok(Duration::from_millis(250)));
    assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
    assert_eq!(duration("5min"), Ok(Duration::from_mins(5)));
    assert_eq!(bytes("8MiB", 1, 1 << 30), Ok(8 << 20));
    assert_eq!(bytes("64K", 1, 1 << 30), Ok(64 << 10));
}
