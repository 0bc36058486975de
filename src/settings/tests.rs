//! Tests of valid and invalid values, and of the errors.

use crate::pipeline::prepare::preparer::Battle;
use crate::settings::environment::{bytes, duration};
use crate::settings::variables::VARIABLES;
use crate::settings::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn load(variables: &[(&str, &str)], args: &LoadArgs) -> Result<LoadSettings, String> {
    let required = [("ALBION_SERVER", "americas")];
    let get = |name: &str| {
        let found = variables.iter().chain(&required).find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    LoadSettings::new(args, Environment(&get)).map_err(|error| error.to_string())
}

#[test]
fn units() {
    assert_eq!(duration("250"), Ok(Duration::from_millis(250)));
    assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
    assert_eq!(duration("5min"), Ok(Duration::from_mins(5)));
    assert_eq!(bytes("8MiB", 1, 1 << 30), Ok(8 << 20));
    assert_eq!(bytes("64K", 1, 1 << 30), Ok(64 << 10));
}

/// Each variable of `.env.example` with its valid limits, the first invalid values beyond them, and a part of the error.
struct Borders {
    name: &'static str,
    good: &'static [&'static str],
    bad: &'static [&'static str],
    wanted: &'static str,
}

const TIMES: [&str; 8] = [
    "KILLS_FLUSH_INTERVAL",
    "DATABASE_CONNECTION_TIMEOUT",
    "DATABASE_IDLE_TIMEOUT",
    "DATABASE_RETRY_BASE",
    "DATABASE_AWAY_TIMEOUT",
    "DATABASE_HEALTH_INTERVAL",
    "DATABASE_STALL_TIMEOUT",
    "KILLS_DRAIN_TIMEOUT",
];

#[rustfmt::skip]
const BORDERS: [Borders; 16] = [
    Borders { name: "ALBION_SERVER", good: &["americas", "EU", " live_sgp"], bad: &["mars", "europe,asia", "1"],
        wanted: "americas, europe, asia" },
    Borders { name: "KILLS_EVENTS_AT", good: &["raw_json", "data.events", "*.data"], bad: &[".", "a.", "a..b"],
        wanted: "data.events" },
    Borders { name: "KILLS_LAYOUT", good: &["archive", "aegis"], bad: &["flat", "archives", "0"], wanted: "archive, aegis" },
    Borders { name: "DATABASE_SCHEMA", good: &["x", " ", "a\"b", SCHEMA_63, " x\r\n", "\"x\""],
        bad: &["pg_x", SCHEMA_64, "a\0b"], wanted: "1 to 63 bytes" },
    Borders { name: "KILLS_LEDGER_SCHEMA", good: &["x", " ", SCHEMA_63], bad: &["pg_x", SCHEMA_64], wanted: "1 to 63 bytes" },
    Borders { name: "KILLS_ON_CONFLICT", good: &["skip", "update"], bad: &["merge", "SKIP"], wanted: "skip, update" },
    Borders { name: "KILLS_NUL", good: &["reject", "strip", "replace"], bad: &["drop", "1"], wanted: "reject, strip, replace" },
    Borders { name: "KILLS_MAX_REJECTS", good: &["0", "18446744073709551615", "0%", "0.5%", "100%"],
        bad: &["-1", "18446744073709551616", "-0.1%", "100.1%", "NaN%", "%", "1.5", "some"], wanted: "0.5%" },
    Borders { name: "KILLS_LISTEN", good: &["0", "1", "65535", ":80", "localhost:80", "[::1]:80", "0.0.0.0:65535", "kills.example.org:80"],
        bad: &["-1", "65536", "127.0.0.1", "127.0.0.1:65536", "example.org", "a b:80", "::1"], wanted: "127.0.0.1:8080" },
    Borders { name: "KILLS_METRICS_FILE", good: &["kills.prom", "/tmp/kills.prom"], bad: &["/", "/no/such/kills.prom"],
        wanted: "in an existing directory" },
    Borders { name: "DATABASE_POOL_MIN", good: &["1", "10"], bad: &["0", "-1", "1001", "two"], wanted: "1 to 1000" },
    Borders { name: "DATABASE_POOL_MAX", good: &["1", "2", "1000"], bad: &["0", "-1", "1001", "2.5"], wanted: "1 to 1000" },
    Borders { name: "KILLS_WORKER_CONCURRENCY", good: &["1", "256"], bad: &["0", "-1", "257", "many"], wanted: "1 to 256" },
    Borders { name: "KILLS_PARSE_THREADS", good: &["1", "256"], bad: &["0", "-1", "257", "many"], wanted: "1 to 256" },
    Borders { name: "KILLS_SEGMENT_BYTES", good: &["4096", "4KiB", "4 K", "268435456", "256MiB"],
        bad: &["0", "4095", "3KiB", "268435457", "257M", "1G", "-1", "8 apples", "18446744073709551616", "17179869184G"],
        wanted: "from 4096 to 268435456 bytes" },
    Borders { name: "DATABASE_RETRY_ATTEMPTS", good: &["1", "1000"], bad: &["0", "-1", "1001", "x"], wanted: "1 to 1000" },
];

const SCHEMA_63: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
const SCHEMA_64: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

const TIME_BORDERS: Borders = Borders {
    name: "",
    good: &["1", "1ms", "31536000000", "8760h", " 30s ", "5min"],
    bad: &["0", "0s", "-1", "-1s", "31536000001", "8761h", "1.5", "soon", "18446744073709551616", "1us1"],
    wanted: "above zero",
};

#[test]
fn the_borders_of_each_variable() {
    let times = TIMES.map(|name| Borders { name, ..TIME_BORDERS });
    for Borders { name, good, bad, wanted } in BORDERS.iter().chain(&times) {
        let with =
            |value| load(&[(*name, value), ("DATABASE_URL", "postgresql://db/kills")], &LoadArgs::default());
        for value in *good {
            assert!(with(value).is_ok(), "{name}={value:?}: {:?}", with(value));
        }
        for value in *bad {
            let words = with(value).expect_err(&format!("{name}={value:?}"));
            assert!(words.contains(name) && words.contains(&format!("'{value}'")), "{words}");
            assert!(words.contains(wanted), "{words}");
        }
        let unset = with("").unwrap_or_else(|words| panic!("an empty {name} is not set: {words}"));
        assert_eq!(unset.event.reading.must_name_server, *name == "ALBION_SERVER");
    }
    let above = [("DATABASE_URL", "postgresql://db/kills"), ("DATABASE_POOL_MIN", "11")];
    assert!(
        load(&above, &LoadArgs::default())
            .is_err_and(|words| words.contains("DATABASE_POOL_MAX, which is 10"))
    );
}

/// Variables without invalid values, or checked elsewhere, have their own tests.
#[test]
fn each_variable_of_the_example_is_tried() {
    let elsewhere = ["DATABASE_URL", "KILLS_EMBEDDED", "KILLS_REJECTS_FILE", "RUST_LOG"];
    let known: BTreeSet<&str> =
        BORDERS.iter().map(|borders| borders.name).chain(TIMES).chain(elsewhere).collect();
    let example = include_str!("../../.env.example");
    let names = example.lines().filter_map(|line| Some(line.trim_start_matches('#').split_once('=')?.0));
    let is_name = |name: &&str| name.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'_');
    let names: BTreeSet<&str> = names.filter(is_name).collect();
    assert_eq!(names, known);
    assert_eq!(names, BTreeSet::from(VARIABLES));
}

#[test]
fn levels_of_the_log() {
    let check = |text: &str| {
        let variable = |name: &str| (name == "RUST_LOG").then(|| text.to_owned());
        crate::settings::environment::check_log(Environment(&variable)).map_err(|error| error.to_string())
    };
    for good in [
        "",
        "off",
        "INFO",
        "warn,rustls=debug",
        "aegis_kills",
        "aegis_kills::input=trace, error",
        "debug/a=b",
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in ["loud", "info,loud", "rustls=loud", "a=b=info", "=info", "1"] {
        let words = check(bad).expect_err(bad);
        assert!(
            words.contains(&format!("'{bad}' for 'RUST_LOG'")) && words.contains("debug or trace"),
            "{words}"
        );
    }
}

/// A crash or a careless `{:?}` must not print a secret.
#[test]
fn no_secret_is_printed_for_debugging() {
    let url = "postgresql://me:zebra@db/kills?options=-c%20kills.token%3Dzebra";
    let args = LoadArgs {
        database: crate::cli::DatabaseArgs { database_url: Some(url.to_owned()), ..Default::default() },
        ..LoadArgs::default()
    };
    let by_option = load(&[("PGPASSWORD", "zebra")], &args).unwrap();
    let by_variable = load(&[("DATABASE_URL", url), ("PGOPTIONS", "zebra")], &LoadArgs::default()).unwrap();
    let by_pairs =
        load(&[("DATABASE_URL", "host=db password=zebra options=zebra")], &LoadArgs::default()).unwrap();
    let by_name =
        load(&[("PGHOST", "db"), ("PGPASSWORD", "zebra"), ("PGOPTIONS", "zebra")], &LoadArgs::default());
    let shown = format!("{args:?} {by_option:?} {by_variable:?} {by_pairs:?} {:?}", by_name.unwrap());
    for trace in ["zebra", "122, 101, 98"] {
        assert!(!shown.contains(trace), "{shown}");
    }
    assert!(shown.contains("\"db\"") && shown.contains("5432"), "{shown}");
}

#[test]
fn battles() {
    let battle = |value: &str| {
        let mut args = LoadArgs { dry_run: true, ..LoadArgs::default() };
        args.event.battle = Some(value.to_owned());
        load(&[], &args).map(|settings| settings.event.reading.battle)
    };
    assert_eq!(battle("1337"), Ok(Battle::Id(1337)));
    assert_eq!(battle("from-name"), Ok(Battle::FromName));
    for bad in ["", "0", "-1", "x", "fromname", "9223372036854775808"] {
        assert!(
            battle(bad).is_err_and(|words| words.contains("--battle") && words.contains("from-name")),
            "{bad}"
        );
    }
}
