//! The structure and the language of the code: no import cycles, small files and directories, unique type names, plain
//! words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILES_MAX: usize = 14;
const LINES_MAX: usize = 400;

/// Words that the style guide replaces, in lower case, matched as whole words. A trailing `*` stands for any ending.
const REPLACED_WORDS: [&str; 24] = [
    "mend*",
    "told",
    "tell",
    "tells",
    "telling",
    "in words",
    "stays away",
    "stay away",
    "is away",
    "was away",
    "stands still",
    "stand still",
    "goes on",
    "go on",
    "went on",
    "try again",
    "tried again",
    "trying again",
    "asked again",
    "packed",
    "folder*",
    "put off",
    "let in",
    "weakness*",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory of the checkout, or the file itself.
fn files_below(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_file() {
        found.push(path.to_owned());
    } else if let Ok(entries) = fs::read_dir(path) {
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for entry in &entries {
            files_below(entry, found);
        }
    }
}

fn rust_files() -> Vec<PathBuf> {
    rust_files_below("src")
}

fn rust_files_below(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files_below(&root().join(directory), &mut found);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(found.len() > 100, "{}", found.len());
    found
}

/// The module that a file defines: `database::pool::gate`.
fn module(path: &Path) -> Vec<String> {
    let relative = path.strip_prefix(root().join("src")).expect("a file of src").with_extension("");
    let mut parts: Vec<String> =
        relative.iter().map(|part| part.to_str().expect("a name in UTF-8").to_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&&**last)) {
        parts.pop();
    }
    parts
}

/// The code of a file without its tests and comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a file");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
    let (mut depth, mut begin, mut found) = (0, 0, Vec::new());
    for (at, letter) in body.char_indices().chain([(body.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = body[begin..at].trim();
                if !part.is_empty() {
                    found.extend(paths(part).into_iter().map(|path| format!("{}{path}", head.trim())));
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The paths of all `use` declarations.
fn used_paths(code: &str) -> Vec<String> {
    let uses = code.split("use ").skip(1).filter_map(|rest| rest.split_once(';')).map(|(tree, _)| tree);
    uses.flat_map(paths).collect()
}

/// The imports of a file from the crate, as absolute paths.
fn imports(path: &Path) -> Vec<Vec<String>> {
    let (code, module) = (code(path), module(path));
    let absolute = |path: String| {
        let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let mut base = module.clone();
        match parts.first().map(String::as_str) {
            Some("crate") => base.clear(),
            Some("super") => drop(base.pop()),
            Some("self") => {}
            _ => return None,
        }
        parts.remove(0);
        while parts.first().is_some_and(|part| part == "super") {
            base.pop();
            parts.remove(0);
        }
        base.extend(parts);
        Some(base)
    };
    used_paths(&code).into_iter().filter_map(absolute).collect()
}

/// Each file with the files that it imports. A file may import those that contain its module.
fn import_graph() -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let files = rust_files();
    let modules: BTreeSet<Vec<String>> = files.iter().map(|path| module(path)).collect();
    let mut graph = BTreeMap::new();
    for path in files.iter().filter(|path| !module(path).contains(&"tests".to_owned())) {
        let from = module(path);
        let target = |path: Vec<String>| {
            (1..=path.len()).rev().map(|length| path[..length].to_vec()).find(|part| modules.contains(part))
        };
        let targets =
            imports(path).into_iter().filter_map(target).filter(|to| !from.starts_with(to)).collect();
        graph.insert(from, targets);
    }
    graph
}

#[test]
fn imports_have_no_cycles() {
    let mut graph = import_graph();
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 500, "the imports are read");
    // Repeatedly removes files without imports. A cycle remains.
    loop {
        let free: Vec<_> =
            graph.iter().filter(|(_, to)| to.is_empty()).map(|(from, _)| from.clone()).collect();
        if free.is_empty() {
            break;
        }
        for from in free {
            graph.remove(&from);
            for to in graph.values_mut() {
                to.remove(&from);
            }
        }
    }
    // Removes files that only lead to a cycle.
    loop {
        let imported: BTreeSet<_> = graph.values().flatten().cloned().collect();
        let before = graph.len();
        graph.retain(|from, _| imported.contains(from));
        if graph.len() == before {
            break;
        }
    }
    let cycle: Vec<String> = graph.keys().map(|module| module.join("::")).collect();
    assert!(cycle.is_empty(), "these files import each other: {cycle:?}");
}

/// `scripts/schedules` cannot interrupt a wait outside `src/sync`.
#[test]
fn input_and_pipeline_wait_only_through_sync() {
    const WAITING: [&str; 6] = [
        "std::sync::Mutex",
        "std::sync::Condvar",
        "std::sync::RwLock",
        "std::thread",
        "crossbeam_channel",
        "rayon",
    ];
    let mut found = Vec::new();
    for path in rust_files() {
        let module = module(&path);
        let is_explored = module.first().is_some_and(|first| ["input", "pipeline"].contains(&&**first));
        if is_explored && !module.contains(&"tests".to_owned()) {
            let code = code(&path);
            let waits = |waiting: &&str| {
                code.contains(&format!("{waiting}::")) || used_paths(&code).iter().any(|used| used == waiting)
            };
            found.extend(
                WAITING.iter().filter(|waiting| waits(waiting)).map(|waiting| (module.join("::"), *waiting)),
            );
        }
    }
    assert!(found.is_empty(), "not through crate::sync: {found:#?}");
}

#[test]
fn files_and_directories_are_small() {
    let mut long = Vec::new();
    for path in rust_files().into_iter().chain(rust_files_below("tests")) {
        let lines = fs::read_to_string(&path).expect("a file").lines().count();
        if lines > LINES_MAX {
            long.push(format!("{} ({lines} lines)", path.display()));
        }
    }
    let mut directories = BTreeMap::<PathBuf, usize>::new();
    for path in rust_files() {
        *directories.entry(path.parent().expect("a directory").to_owned()).or_default() += 1;
    }
    let full: Vec<_> = directories.into_iter().filter(|(_, files)| *files > FILES_MAX).collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines: {long:#?}");
    assert!(full.is_empty(), "over {FILES_MAX} files: {full:#?}");
}

#[test]
fn type_names_are_unique() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for path in rust_files().iter().filter(|path| !module(path).contains(&"tests".to_owned())) {
        // Indented items belong to a function or an implementation.
        for line in code(path).lines() {
            let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
            let name =
                ["struct ", "enum ", "trait ", "type "].iter().find_map(|kind| line.strip_prefix(kind));
            let Some(name) = name else { continue };
            let end = name.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(name.len());
            places.entry(name[..end].to_owned()).or_default().push(module(path).join("::"));
        }
    }
    assert!(places.len() > 300, "{}", places.len());
    places.retain(|_, modules| modules.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

/// The replaced words in a text, with their line numbers.
fn replaced_words(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.to_lowercase().replace('_', " ");
        for word in REPLACED_WORDS {
            let (stem, any_ending) = word.strip_suffix('*').map_or((word, false), |stem| (stem, true));
            let is_word = |at: usize| {
                let before = line[..at].chars().next_back();
                let after = line[at + stem.len()..].chars().next();
                // A dot precedes a method of a library, such as Python's `tell`.
                !before.is_some_and(|before| before.is_alphanumeric() || before == '.')
                    && (any_ending || !after.is_some_and(char::is_alphanumeric))
            };
            if line.match_indices(stem).any(|(at, _)| is_word(at)) {
                found.push((number + 1, word));
            }
        }
    }
    found
}

#[test]
fn replaced_words_are_found() {
    let found = |text| replaced_words(text).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
    assert_eq!(found("Once that is mended, fn is_told() goes on"), ["mend*", "told", "goes on"]);
    assert_eq!(found("unpacked retold amend floor_char_boundary: fix the directory"), [""; 0]);
}

#[test]
fn no_replaced_word_is_used() {
    let mut files = Vec::new();
    for path in [
        "src",
        "tests",
        "benches",
        "docs",
        "scripts",
        "deploy",
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
    ] {
        files_below(&root().join(path), &mut files);
    }
    let own = root().join("tests/documents/structure.rs");
    let mut found = Vec::new();
    for path in files
        .iter()
        .filter(|path| **path != own && !path.components().any(|part| part.as_os_str() == "fixtures"))
    {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let name = path.strip_prefix(root()).expect("a file of the checkout").display();
        found.extend(replaced_words(&text).into_iter().map(|(line, word)| format!("{name}:{line}: {word}")));
    }
    assert!(files.len() > 300, "{}", files.len());
    assert!(found.is_empty(), "{} places: {found:#?}", found.len());
}

/// Calls that can wait.
const WAITING_CALLS: [&str; 14] = [
    ".recv()",
    "recv_timeout(",
    "select_biased!",
    ".wait(",
    ".wait_timeout",
    ".wait_for",
    ".wait_during",
    ".join()",
    "sleep(",
    "lock_shared()",
    concat!(".out", "put()"),
    "command.status()",
    ".incoming()",
    "RwLock<()>",
];

#[test]
fn the_page_on_waits_lists_each_file_with_a_wait() {
    let page = fs::read_to_string(root().join("docs/decisions/waits.md")).expect("the page");
    let (_, places) = page.split_once("### Places").expect("a section");
    let places = places
        .split_whitespace()
        .filter(|word| word.split_once('.').is_some_and(|(_, ending)| ending == "rs"));
    let listed: BTreeSet<String> = places.map(str::to_owned).collect();
    let src = root().join("src");
    let is_of_tests =
        |name: &str| name.starts_with("sync/") || name.contains("/tests") || name.ends_with("/fake.rs");
    let mut waiting = BTreeSet::new();
    for path in rust_files() {
        let name = path.strip_prefix(&src).expect("a file of src").display().to_string();
        let text = code(&path);
        if !is_of_tests(&name) && WAITING_CALLS.iter().any(|call| text.contains(call)) {
            waiting.insert(name);
        }
    }
    assert_eq!(listed, waiting);
}
