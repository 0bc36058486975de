//! Unusual schema names: all commands quote them everywhere, in each layout.

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::dumps::{small_event, version};
use crate::support::log_case;
use crate::support::oracle::Layout;
use crate::support::program::Workplace;

/// Characters that end a name, a text, a block or a statement, or have a meaning in a shell, a format or a pattern.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "two words",
        "UPPER",
        "select",
        "a\"b",
        "it's",
        "a\\b",
        "\\",
        "\\' or true; --",
        "x'; drop schema public cascade; --",
        "x\"; drop schema public cascade; --",
        "a.b",
        "$$",
        "$_$ a $$ b $_$",
        "dollar$",
        "$1",
        "%I %s %",
        "{0} {}",
        "a\nb",
        "tab\tbell\u{7}",
        "/* no comment",
        "-- no comment",
        "Schlüssel κλειδί 鍵 🔑",
        "e\u{301}\u{202e}",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(63));
    names.push(format!("{}\"", "'".repeat(62)));
    names.push(format!("x{}", "鍵".repeat(20)));
    names
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[test]
fn each_command_works_in_a_schema_of_any_name() {
    let work = Workplace::new();
    let database = Cluster::shared().database("names");
    let mut client = database.client();
    // With this default a backslash escapes in a string literal, unless the session overrides it.
    let old_ways = format!("alter database {} set standard_conforming_strings = off", database.name());
    client.batch_execute(&old_ways).expect("a setting");
    client.batch_execute("create table public.untouched ()").expect("a table");
    let (first, second) = (version(1, 1), version(1, 2));
    let both = format!("{first}\n{}\n", small_event(2));
    for name in names() {
        for (layout, (table, _)) in Layout::ALL.map(|layout| (layout.name(), layout.tables()[0])) {
            log_case((layout, &name));
            let program = |command: &[&str]| {
                let program = work.program(command).env("DATABASE_URL", &database.url());
                program.env("DATABASE_SCHEMA", &name).args(&["--layout", layout])
            };
            program(&["schema", "apply"]).expect(0);
            program(&["load", "--json"]).stdin(both.clone()).expect(0).summary().check(&[("inserted", 2)]);
            let update = program(&["load", "--json", "--on-conflict", "update"]).stdin(second.clone());
            update.expect(0).summary().check(&[("updated", 1)]);
            program(&["verify", "--ids-only"]).stdin(both.clone()).expect(0);
            program(&["verify"]).stdin(second.clone()).expect(0);
            let health: Value =
                serde_json::from_str(&program(&["health", "--json"]).expect(0).stdout).expect("JSON");
            assert_eq!(health["last_run"]["layout"], layout);
            let words = health["recommendations"].to_string();
            assert!(!words.contains("index"), "{words}");
            let sql = format!("select count(*) from {}.{table}", quoted(&name));
            assert_eq!(client.query_one(&sql, &[]).expect("a count").get::<_, i64>(0), 2);
        }
    }
    let sql = "select count(*) from pg_tables where schemaname = 'public'";
    assert_eq!(client.query_one(sql, &[]).expect("a count").get::<_, i64>(0), 1, "nothing is made elsewhere");
    let sql = "select count(*) from pg_namespace where nspname !~ '^(pg_|public$|information_schema$)'";
    let schemas = client.query_one(sql, &[]).expect("a count").get::<_, i64>(0);
    assert_eq!(usize::try_from(schemas), Ok(names().len()));
}

#[test]
fn invalid_schema_names_are_errors() {
    let work = Workplace::new();
    let database = Cluster::shared().database("nameless");
    for name in [&"x".repeat(64), &"鍵".repeat(22), "pg_kills", "pg_catalog"] {
        for way in ["DATABASE_SCHEMA", "--schema", "schema of the database URL"] {
            let program = work.program(&["load"]).stdin("");
            let ended = match way {
                "--schema" => program.args(&[way, name]).env("DATABASE_URL", &database.url()),
                "DATABASE_SCHEMA" => program.env(way, name).env("DATABASE_URL", &database.url()),
                _ => program.env("DATABASE_URL", &format!("{}&schema={name}", database.url())),
            };
            ended.expect(2).says(&[way, name, "1 to 63 bytes", "pg_"]);
        }
    }
}
