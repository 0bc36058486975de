//! The third-party notices list exactly the libraries that are linked into the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::process::Supervised as _;

/// The platform that `scripts/notices` passes to cargo.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The linked libraries as the notices list them: name, version and license.
fn linked(metadata: &Value) -> BTreeSet<String> {
    let packages: BTreeMap<&str, &Value> =
        list(metadata, "packages").iter().map(|package| (text(package, "id"), package)).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"], "nodes").iter().map(|node| (text(node, "id"), node)).collect();
    let mut found = BTreeSet::new();
    let mut next = vec![text(&metadata["resolve"], "root")];
    while let Some(id) = next.pop() {
        for dependency in list(nodes[id], "deps") {
            let package = packages[text(dependency, "pkg")];
            let is_linked = list(dependency, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
            let is_macro = list(package, "targets")
                .iter()
                .any(|target| list(target, "kind").iter().any(|kind| kind == "proc-macro"));
            let license = package["license"].as_str().unwrap_or("see its license file");
            let name = format!("- {} {}: {license}", text(package, "name"), text(package, "version"));
            if is_linked && !is_macro && found.insert(name) {
                next.push(text(dependency, "pkg"));
            }
        }
    }
    found
}

#[test]
fn the_notices_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", PLATFORM];
    let output = Command::new(cargo).args(args).current_dir(root).output_in_time().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let notices = fs::read_to_string(root.join("THIRD-PARTY-NOTICES")).expect("the notices");
    let named: BTreeSet<String> = notices
        .lines()
        .take_while(|line| *line != "License texts")
        .filter(|line| line.starts_with("- "))
        .map(str::to_owned)
        .collect();
    assert_eq!(named, linked(&metadata), "run scripts/notices");
    assert!(named.len() > 50 && notices.contains("Permission is hereby granted"), "{}", named.len());
    let dockerfile = fs::read_to_string(root.join("deploy/Dockerfile")).expect("the file");
    assert!(dockerfile.contains("THIRD-PARTY-NOTICES"), "the image lacks them");
}
