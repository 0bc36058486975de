//! Facts that the documents state: test names, metrics, messages, links.

use std::fs;
use std::path::{Path, PathBuf};

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
    let messages = messages + &source("error_chain.rs");
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
        "the server closed the connection",
        "the server's certificate ",
    ] {
        assert!(page.contains(words) && messages.contains(words), "{words}");
    }
}

#[test]
fn each_page_has_the_longest_delay_of_the_retries() {
    let seconds = aegis_kills::RetryPolicy::default().delay_max.as_secs();
    let up_to = format!("with jitter, up to {seconds} s");
    for (page, words) in [
        ("docs/settings.md", &up_to),
        ("docs/faults.md", &up_to),
        (".env.example", &up_to),
        ("docs/decisions/waits.md", &format!("| the next attempt | {seconds} s each")),
    ] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page");
        assert!(text.contains(words), "{page} lacks {words:?}");
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
    let Links { pages, count, to_headings, files } = check_links(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(count > 80 && to_headings > 20, "{count}, {to_headings}");
    // A page without a link to it is not found by readers.
    for path in pages {
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(name == "CHANGELOG.md" || files.contains(&*name), "nothing leads to {name}");
    }
}

/// The links of all pages.
pub(crate) struct Links {
    pages: Vec<PathBuf>,
    pub(crate) count: usize,
    to_headings: usize,
    /// The linked files, joined.
    files: String,
}

/// Checks that the links of the documents in `root`, a checkout or an unpacked archive, lead to files and headings.
#[track_caller]
pub(crate) fn check_links(root: &Path) -> Links {
    let entries = ["docs", "docs/decisions"].map(|path| fs::read_dir(root.join(path)).expect("a directory"));
    let paths = entries.into_iter().flatten().map(|entry| entry.expect("a file").path());
    let mut pages: Vec<_> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    pages.extend(["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)));
    let (mut count, mut to_headings, mut files) = (0, 0, String::new());
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
            count += 1;
            files += file;
        }
    }
    Links { pages, count, to_headings, files }
}

/// The files and directories of the checkout, relative to it, with a slash before each. Skips hidden directories and
/// those of cargo.
fn checkout(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        let relative = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("a path of the checkout");
        found.push(format!("/{}", relative.display()));
        if !path.is_symlink() && path.is_dir() && !name.starts_with('.') && name != "target" {
            checkout(&path, found);
        }
    }
}

/// The paths that a page has in back quotes or in a fenced block: words with a slash or the ending of a file.
fn named_paths(page: &str) -> Vec<String> {
    const ENDINGS: [&str; 11] =
        [".rs", ".md", ".sql", ".py", ".yaml", ".toml", ".json", ".svg", ".dict", ".service", ".example"];
    let is_path = |word: &&str| {
        word.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '.')
            && !word.contains(' ')
            // A placeholder.
            && !word.contains("NAME")
            && (word.contains('/') || ENDINGS.iter().any(|ending| word.ends_with(ending)))
    };
    let (mut paths, mut is_fenced) = (Vec::new(), false);
    for line in page.lines() {
        is_fenced ^= line.starts_with("```");
        let spans: Vec<&str> = if is_fenced {
            line.split([' ', ',']).collect()
        } else {
            line.split('`').skip(1).step_by(2).collect()
        };
        for word in spans.into_iter().filter(is_path) {
            // `{a,b}.rs` is two paths.
            let parts = word.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?)));
            match parts {
                Some((head, (names, tail))) => {
                    paths.extend(names.split(',').map(|name| format!("{head}{name}{tail}")));
                }
                None => paths.push(word.to_owned()),
            }
        }
    }
    paths
}

#[test]
fn each_path_on_the_architecture_page_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).expect("the page");
    let mut found = Vec::new();
    checkout(root, &mut found);
    let paths = named_paths(&page);
    assert!(paths.len() > 200, "{}", paths.len());
    // A path may lack its first directories.
    let is_there = |path: &&String| {
        let end = format!("/{}", path.trim_end_matches('/'));
        found.iter().any(|file| file.ends_with(&end))
    };
    let missing: Vec<&String> = paths.iter().filter(|path| !is_there(path)).collect();
    assert!(missing.is_empty(), "docs/architecture.md names paths that do not exist: {missing:#?}");
    // The lists of files to change have complete paths, because many files share their last directories.
    let (_, lists) = page.split_once("\n## Where to make a change\n").expect("the lists");
    let (lists, _) = lists.split_once("\n## ").expect("the next heading");
    let is_whole = |path: &String| found.contains(&format!("/{}", path.trim_end_matches('/')));
    let shortened: Vec<String> = named_paths(lists).into_iter().filter(|path| !is_whole(path)).collect();
    assert!(shortened.is_empty(), "docs/architecture.md shortens paths of files to change: {shortened:#?}");
}

#[test]
fn paths_on_a_page_are_found() {
    let page = "`a/b.rs`, `c.sql`, `d/`, `e f/g.rs`, `h` and `x/NAME.rs`\n```text\n x   i.rs, j/k.rs\n```\n`l/{m,n}.rs`";
    assert_eq!(named_paths(page), ["a/b.rs", "c.sql", "d/", "i.rs", "j/k.rs", "l/m.rs", "l/n.rs"]);
}

#[test]
fn the_readme_has_at_most_200_lines() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the page");
    assert!(page.lines().count() <= 200, "{}", page.lines().count());
}
