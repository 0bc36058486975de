//! Facts that the documents state: test names, metrics, messages, links.

use std::fs;
use std::path::Path;

/// The text of all sources below a directory.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("a file").path();
        text += &if path.is_dir() { sources(&path) } else { fs::read_to_string(path).expect("a source") };
    }
    text
}

/// Checks that each test in the last column of a page's table exists below the directories.
#[track_caller]
fn check(page: &str, heading: &str, directories: &[&str], rows_min: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(page)).expect("the page");
    let (_, page) = page.split_once(heading).expect("the table's heading");
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| --")).skip(1).collect();
    assert!(rows.len() >= rows_min, "{rows:?}");
    let sources: String = directories.iter().map(|directory| sources(&root.join(directory))).collect();
    for row in rows {
        let (_, tests) = row.strip_suffix('|').and_then(|row| row.rsplit_once('|')).expect("a cell");
        for test in tests.split(", ").filter(|test| !test.trim().is_empty()) {
            let test = test.trim().trim_matches('`');
            let is_there = ["", "    "]
                .iter()
                .any(|indent| sources.contains(&format!("#[test]\n{indent}fn {test}() {{")));
            assert!(is_there, "there is no test {test:?}");
        }
    }
}

#[test]
fn each_test_on_the_faults_page_exists() {
    check("docs/faults.md", "tests that try them", &["tests"], 20);
}

#[test]
fn each_test_on_the_security_page_exists() {
    check("SECURITY.md", "Threats and defenses", &["tests", "src"], 8);
}

#[test]
fn the_connections_page_has_all_metrics_and_only_existing_messages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/connections.md")).expect("the page");
    let source = |file: &str| fs::read_to_string(root.join("src").join(file)).expect("a source");
    let metrics = source("report/metrics.rs") + &source("database/metrics.rs");
    let names: Vec<&str> =
        metrics.split("\"aegis_kills_").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}")), "{name} is not on the page");
    }
    let files = [
        "pool/manager.rs",
        "pool/watchdog.rs",
        "pool/gate.rs",
        "pool/supervised.rs",
        "failure/error.rs",
        "failure/outage_kind.rs",
        "connect/fault.rs",
        "connect/cause.rs",
        "connect/hints.rs",
    ];
    let messages: String = files.iter().map(|file| source(&format!("database/{file}"))).collect();
    for words in [
        "Database connected successfully",
        "Database connection pool initialized successfully",
        "Pool configuration: min=",
        "Database health check failed: ",
        "Database operation failed, attempt ",
        "out of disk space",
        "reachable again",
        " s: cancelling the statement",
        "waiting for the index build of that backend",
        "no progress for ",
        "cannot connect to the database",
        "no database connection available within ",
        "lower DATABASE_POOL_MAX",
        "check the password",
        "create the database",
        "check the server's pg_hba.conf",
        "the connection broke",
        "the server's certificate ",
    ] {
        assert!(page.contains(words) && messages.contains(words), "{words}");
    }
}

/// The lines of a page outside its fenced blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    page.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    })
}

/// The anchors of a page's headings, as the hosting sites make them.
fn anchors(page: &str) -> Vec<String> {
    let headings = prose(page).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn each_link_leads_to_an_existing_file_and_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = ["docs", "docs/decisions"].map(|path| fs::read_dir(root.join(path)).expect("a directory"));
    let paths = entries.into_iter().flatten().map(|entry| entry.expect("a file").path());
    let mut pages: Vec<_> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    pages.extend(["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)));
    let (mut links, mut to_headings, mut linked) = (0, 0, String::new());
    for path in &pages {
        let page = fs::read_to_string(path).expect("a page");
        for link in prose(&page).flat_map(|line| line.split("](").skip(1)) {
            let (link, _) = link.split_once(')').unwrap_or_else(|| panic!("{}: {link}", path.display()));
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            assert!(target.exists(), "{}: there is no {link}", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).expect("a page");
                assert!(anchors(&text).contains(&heading.to_owned()), "{}: no {link}", path.display());
                to_headings += 1;
            }
            links += 1;
            linked += file;
        }
    }
    assert!(links > 80 && to_headings > 20, "{links}, {to_headings}");
    // A page without a link to it is not found by readers.
    for path in pages {
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(name == "CHANGELOG.md" || linked.contains(&*name), "nothing leads to {name}");
    }
}

#[test]
fn the_readme_has_at_most_200_lines() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the page");
    assert!(page.lines().count() <= 200, "{}", page.lines().count());
}
