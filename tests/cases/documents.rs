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
