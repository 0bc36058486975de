//! What the documents say about the tests is true.

use std::fs;
use std::path::Path;

#[test]
fn each_test_that_the_faults_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/faults.md")).expect("the page");
    let (_, page) = page.split_once("tests that try them").expect("the table's heading");
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| --")).skip(1).collect();
    assert!(rows.len() > 20, "{rows:?}");
    let mut sources = String::new();
    for entry in fs::read_dir(root.join("tests/cases")).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.is_file() {
            sources += &fs::read_to_string(path).expect("a source");
        }
    }
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().expect("a cell");
        for test in tests.split(", ") {
            let test = test.trim_matches('`');
            assert!(sources.contains(&format!("#[test]\nfn {test}() {{")), "there is no test {test:?}");
        }
    }
}

#[test]
fn the_page_on_connections_knows_all_metrics_and_no_message_that_is_not_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/connections.md")).expect("the page");
    let source = |file: &str| fs::read_to_string(root.join("src").join(file)).expect("a source");
    let metrics = source("report/metrics.rs") + &source("database/figures.rs");
    let names: Vec<&str> =
        metrics.split("\"aegis_kills_").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}")), "{name} is not on the page");
    }
    let files = ["manager.rs", "watchdog.rs", "gate.rs", "call.rs", "classify.rs", "connect/advice.rs"];
    let messages: String = files.iter().map(|file| source(&format!("database/{file}"))).collect();
    for words in [
        "Database connected successfully",
        "Database connection pool initialized successfully",
        "Pool configuration: min=",
        "Database health check failed: ",
        "Database operation failed, attempt ",
        "the database is away: ",
        "the database does as it is asked again",
        "a statement made no progress for ",
        "no progress for ",
        "the database can't be reached",
        "no connection to the database could be had within ",
        "the server has no room for one more connection",
        "the server refused the password of ",
        "there is no database ",
        "the connection broke",
        "the server's certificate ",
    ] {
        assert!(page.contains(words) && messages.contains(words), "{words}");
    }
}
