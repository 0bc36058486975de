//! Events in the rows of a text: CSV, JSON in strings, and output of `psql` and `sqlite3`.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{EVENTS, check, has, pretty, shell};
use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, join, lines};
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;

#[test]
fn csv_without_a_header_and_pretty_json_load_with_the_command_in_their_error() {
    let work = Workplace::new();
    let dump = generated(EVENTS, 2, 0.0);
    let compact: Vec<String> =
        lines(&dump).iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let python = "python3 -c 'import csv, json, sys;";
    for (form, events) in [("compact", compact), ("pretty", pretty(&dump))] {
        for (columns, header, before, after) in [
            ("two", "", "7,", ""),
            ("one", "", "", ""),
            ("first", "", "", ";x"),
            ("named", "id,raw\n", "\"7,\n\",", ""),
            ("marked", "\u{feff}raw,id\r\n", "", ",7\r"),
        ] {
            let cell = |event: &String| format!("{before}\"{}\"{after}\n", event.replace('"', "\"\""));
            let rows: String = events.iter().map(cell).collect();
            let name = format!("{form}-{columns}.csv");
            work.write(&name, format!("{header}{rows}"));
            check(&work, &name, "CSV", python);
        }
    }
}

#[test]
fn json_in_strings_and_in_the_only_column_loads_with_the_command_in_its_error() {
    let work = Workplace::new();
    let events = pretty(&generated(EVENTS, 2, 0.0));
    let strings = events.iter().map(|event| Value::from(event.as_str()).to_string());
    work.write("strings", join(&strings.collect::<Vec<_>>()));
    check(&work, "strings", "JSON in strings", "jq -r . strings | ");
    let insert = |event: &String| format!("INSERT INTO k VALUES ('{}');\n", event.replace('\'', "''"));
    let inserts: String = events.iter().map(insert).collect();
    for (name, column, command) in [
        ("doc.db", "doc text", r#"sqlite3 doc.db 'SELECT "doc" FROM "k"' | "#),
        ("event.db", "event", r#"sqlite3 event.db 'SELECT "event" FROM "k"' | "#),
        ("raw.db", "\"raw json\"", r#"sqlite3 raw.db 'SELECT "raw json" FROM "k"' | "#),
    ] {
        work.write("sql", format!("BEGIN; CREATE TABLE k ({column});\n{inserts}COMMIT;\n"));
        if has("sqlite3") {
            shell(&work, &format!("sqlite3 {name} < sql")).expect(0);
            check(&work, name, "an SQLite database", command);
        }
    }
}

#[test]
fn printed_rows_load_with_the_command_in_their_error() {
    let work = Workplace::new();
    let database = Cluster::shared().database("printed");
    let create = "create table compact (event text); create table pretty (event text)";
    database.client().batch_execute(create).expect("tables");
    // Text that the formats escape, or that looks like their separators.
    let odd = |event: &String| {
        let mut event: Value = serde_json::from_str(event).expect("JSON");
        event["Killer"]["Name"] = "a|b \"c\" \\ \u{e9}".into();
        event
    };
    for event in pretty(&generated(EVENTS, 2, 0.0)) {
        let event = odd(&event);
        let pretty = serde_json::to_string_pretty(&event).expect("JSON");
        for (table, text) in [("compact", event.to_string()), ("pretty", pretty)] {
            let insert = format!("insert into {table} values ($1)");
            database.client().execute(&insert, &[&text]).expect("a row");
        }
    }
    if !has("psql") {
        return;
    }
    let psql = |option: &str, sql: &str, name: &str| {
        let mut psql = Command::new("psql");
        psql.args(["-X", option, "-o", name, "-c", sql, &database.url()]);
        let printed = psql.current_dir(work.path()).env("PGCLIENTENCODING", "UTF8").output_in_time();
        assert!(printed.expect("psql").status.success(), "{sql}");
    };
    for table in ["compact", "pretty"] {
        for (number, columns) in ["1 as id, event", "event, 1 as id", "event"].iter().enumerate() {
            let name = format!("{table}-{number}.copy");
            psql("-q", &format!("copy (select {columns} from {table}) to stdout"), &name);
            check(&work, &name, "text with escapes and tabs, as of COPY", "tr ");
        }
        let rows = fs::read_to_string(work.path().join(format!("{table}-0.copy"))).expect("rows");
        let name = format!("{table}-header.copy");
        work.write(&name, format!("id\tevent\n{rows}"));
        check(&work, &name, "text with escapes and tabs, as of COPY", "tr ");
        let columns = ["event", "1 as id, event", "1 as id, 'x y' as x, event, 2 as y"];
        for (number, columns) in columns.iter().enumerate() {
            let name = format!("{table}-{number}.txt");
            psql("-q", &format!("select {columns} from {table}"), &name);
            check(&work, &name, "a table printed by psql", "sed -E ");
        }
        for (number, columns) in ["1, event", "1, 'x', event, 2, null"].iter().enumerate() {
            let name = format!("{table}-{number}.at");
            psql("-At", &format!("select {columns} from {table}"), &name);
            check(&work, &name, "text with | between columns, as of psql -A", "sed -E ");
        }
    }
    for (name, column, command) in [
        ("named.sql", "raw_json", "sed '$ a SELECT \"raw_json\" FROM \"kills\";' < "),
        ("other.sql", "y", "sed "),
    ] {
        let insert = |event: &String| {
            format!("INSERT INTO kills VALUES (1, '{}');\n", odd(event).to_string().replace('\'', "''"))
        };
        let inserts: String = pretty(&generated(EVENTS, 2, 0.0)).iter().map(insert).collect();
        work.write(
            name,
            format!(
                "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE kills (x INTEGER, {column} TEXT);\n\
                 {inserts}COMMIT;\n"
            ),
        );
        check(&work, name, "an SQLite script (.dump)", command);
    }
}

#[test]
fn rows_around_json_load_with_the_command_in_their_error() {
    let work = Workplace::new();
    let mut events = Vec::new();
    for line in lines(&generated(EVENTS, 2, 0.0)) {
        let mut event: Value = serde_json::from_slice(line).expect("JSON");
        event["Killer"]["Name"] = "it's, [a|b] \"c\" \\ \u{e9}".into();
        events.push(event.to_string());
    }
    let rows = |row: &dyn Fn(&str) -> String| events.iter().map(|event| row(event)).collect::<String>();
    let words = "rows with text around JSON, as of psql -x or sqlite3 -box";
    for (name, text) in [
        ("record", rows(&|event| format!("-[ RECORD 1 ]----\nid  | 1\nraw | {event}\nx   | it's\n"))),
        ("unaligned", "id|raw|x\n".to_owned() + &rows(&|event| format!("1|{event}|x\n")) + "(20 rows)\n"),
        ("commas", rows(&|event| format!("1,{event},it's\n"))),
        ("semicolons", "id;raw;x\n".to_owned() + &rows(&|event| format!("1;{event};it's\n"))),
        ("lines", rows(&|event| format!("   id = 1\n  raw = {event}\n    x = it's\n\n"))),
        ("log", rows(&|event| format!("12:00:01 INFO kill: {event}\n"))),
        (
            "box",
            "┌───┬───┐\n│ x │ y │\n├───┼───┤\n".to_owned()
                + &rows(&|event| format!("│ 1 │ {event} │\n"))
                + "└───┴───┘\n",
        ),
        ("markdown", "| x | y |\n|---|---|\n".to_owned() + &rows(&|event| format!("| 1 | {event} |\n"))),
    ] {
        work.write(name, text);
        check(&work, name, words, "sed -nE ");
    }
    let quoted = |event: &str| event.replace('\'', "''");
    for (name, text) in [
        ("quote", rows(&|event| format!("1,'{}','it''s'\n", quoted(event)))),
        ("insert", rows(&|event| format!("INSERT INTO k VALUES(1,'{}','it''s');\n", quoted(event)))),
    ] {
        work.write(name, text);
        check(&work, name, "rows with quoted strings, as of sqlite3 -quote", "sed ");
    }
}
