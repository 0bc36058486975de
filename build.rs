//! Tells the program its version: the package's, and the commit where it is built in a checkout.
//!
//! Only the files of `.git` beside this one are read, so that a package that is built inside of another repository
//! has none, and the same commit gives the same bytes.

use std::fs;
use std::path::{Path, PathBuf};

/// Digits of the commit's name: what git shows where short names collide.
const COMMIT_DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = env!("CARGO_PKG_VERSION");
    let told = match commit() {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    };
    println!("cargo::rustc-env=AEGIS_KILLS_VERSION={told}");
}

fn commit() -> Option<String> {
    // As it is now: one that was compiled in would be that of 'cargo package', where it was the last to build this.
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    // A package alone has this file. Cargo takes what it built of a package for what it would build here, unless something
    // that it is to look at is missing.
    let _ = read(&package.join("Cargo.toml.orig"));
    let git = folder(&package)?;
    let head = read(&git.join("HEAD"))?;
    let commit = match head.strip_prefix("ref: ") {
        None => head,
        Some(name) => named(&common(&git), name)?,
    };
    let is_name = commit.len() >= COMMIT_DIGITS && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_name.then(|| commit[..COMMIT_DIGITS].to_owned())
}

/// The folder that git keeps for a checkout; of a further work tree there is a file that names it.
fn folder(checkout: &Path) -> Option<PathBuf> {
    let git = checkout.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    Some(checkout.join(read(&git)?.strip_prefix("gitdir: ")?))
}

/// The folder that all work trees share.
fn common(git: &Path) -> PathBuf {
    read(&git.join("commondir")).map_or_else(|| git.to_owned(), |path| git.join(path))
}

/// The commit of a branch: in a file of its own, else in the list of those that were packed.
fn named(git: &Path, name: &str) -> Option<String> {
    read(&git.join(name)).or_else(|| {
        // The next commit gives the branch a file, and this one is written with it.
        let _ = read(&git.join("logs").join(name));
        let packed = read(&git.join("packed-refs"))?;
        packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned))
    })
}

/// A file's text, and a reason to look again once it changes. One that is not there is none: cargo would always look again.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text.trim_end().to_owned())
}
