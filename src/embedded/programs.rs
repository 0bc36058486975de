//! Finds PostgreSQL's server programs on the machine.
//!
//! - A directory counts only if it contains `initdb`, `pg_ctl` and `postgres`, and `postgres` reports a supported
//!   version.
//! - Directories on `PATH` come before the usual places, and there the newest version comes first.
//! - The search reads directories and runs programs through [`SearchPath`] only, so that tests can use a fake machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::embedded::account::Account;
use crate::embedded::error::EmbeddedError;
use crate::embedded::process::output_of;

/// The oldest major version that is used. The commands support no older server either.
pub(crate) const MAJOR_MIN: u32 = 12;

/// Where packages install the programs, relative to the root directory. A `*` stands for the rest of a name.
const USUAL_PLACES: [&str; 9] = [
    "usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
    "usr/pgsql-*/bin",                                   // PostgreSQL's own packages for Red Hat
    "usr/lib64/pgsql/bin",                               // Red Hat's packages
    "usr/bin",                                           // Fedora, Arch, if PATH lacks it
    "opt/homebrew/opt/postgresql*/bin",                  // Homebrew on Apple silicon
    "usr/local/opt/postgresql*/bin",                     // Homebrew on Intel
    "opt/homebrew/bin",                                  // Homebrew, linked
    "Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
    "usr/local/pgsql/bin",                               // built from source
];

/// A complete set of PostgreSQL's server programs in one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    bin: PathBuf,
    version: String,
    major: u32,
}

/// Where to search for server programs: the directories of `PATH`, and the root directory of the usual places.
#[derive(Debug)]
struct SearchPath {
    path: Vec<PathBuf>,
    root: PathBuf,
}

impl Programs {
    /// Finds the preferred programs on this machine. Without any, [`EmbeddedError::NoPrograms`] names the packages to
    /// install.
    pub fn find() -> Result<Self, EmbeddedError> {
        let account = Account::for_paths(&[])?;
        let ask = |program: &Path, argument: &str| ask(&account, program, argument);
        all(&SearchPath::of_this_machine(), &ask).next().ok_or(EmbeddedError::NoPrograms)
    }

    /// Finds the programs for the data in `directory`, which was created by major version `data`.
    pub fn find_for(directory: &Path, data: &str, account: &Account) -> Result<Self, EmbeddedError> {
        let ask = |program: &Path, argument: &str| ask(account, program, argument);
        choose(all(&SearchPath::of_this_machine(), &ask).collect(), directory, data)
    }

    /// The directory of the programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The path of one of the programs, such as `pg_ctl`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The version that `postgres` reports, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the programs in `bin` if they are complete and of a supported version.
    fn in_directory(bin: PathBuf, ask: &dyn Fn(&Path, &str) -> Option<String>) -> Option<Self> {
        if !["initdb", "pg_ctl", "postgres"].iter().all(|name| bin.join(name).is_file()) {
            return None;
        }
        let output = ask(&bin.join("postgres"), "--version")?;
        let Some((version, major)) = parse_version(&output) else {
            log::debug!("skipped {}: no version reported", bin.display());
            return None;
        };
        if major < MAJOR_MIN {
            log::debug!("skipped {}: PostgreSQL {version} is too old", bin.display());
            return None;
        }
        Some(Self { bin, version, major })
    }
}

impl SearchPath {
    /// The directories of `PATH` and the usual places of this machine.
    fn of_this_machine() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self { path: env::split_paths(&path).collect(), root: PathBuf::from("/") }
    }

    /// Directories that may contain the programs, in order of preference, without duplicates, with links resolved.
    fn directories(&self, ask: &dyn Fn(&Path, &str) -> Option<String>) -> Vec<PathBuf> {
        // With a relative entry, the result would depend on the working directory.
        let path = || self.path.iter().filter(|directory| directory.is_absolute());
        // A link on PATH leads to the directory with the other programs.
        let linked = path().flat_map(|directory| {
            ["postgres", "pg_ctl", "initdb"]
                .into_iter()
                .filter_map(|name| fs::canonicalize(directory.join(name)).ok())
                .filter_map(|program| program.parent().map(Path::to_path_buf))
        });
        let configured = path()
            .map(|directory| directory.join("pg_config"))
            .filter(|program| program.is_file())
            .filter_map(|program| ask(&program, "--bindir"))
            .map(|directory| PathBuf::from(directory.trim_end_matches('\n')));
        let usual = USUAL_PLACES.iter().flat_map(|pattern| expand(&self.root, pattern));

        let mut directories: Vec<PathBuf> = Vec::new();
        for directory in linked.chain(path().cloned()).chain(configured).chain(usual) {
            if let Ok(directory) = fs::canonicalize(directory)
                && !directories.contains(&directory)
            {
                directories.push(directory);
            }
        }
        directories
    }
}

/// All server programs of `places`, in order of preference. `ask` runs a program with one argument and returns its
/// output.
fn all<'a>(
    places: &SearchPath,
    ask: &'a dyn Fn(&Path, &str) -> Option<String>,
) -> impl Iterator<Item = Programs> + use<'a> {
    let directories = places.directories(ask);
    directories.into_iter().filter_map(move |bin| Programs::in_directory(bin, ask))
}

/// Returns the first of `found` that can serve the data in `directory`, which was created by version `data`.
fn choose(found: Vec<Programs>, directory: &Path, data: &str) -> Result<Programs, EmbeddedError> {
    if found.is_empty() {
        return Err(EmbeddedError::NoPrograms);
    }
    let versions: Vec<String> = found.iter().map(|programs| programs.version.clone()).collect();
    found.into_iter().find(|programs| programs.major.to_string() == data).ok_or_else(|| {
        EmbeddedError::Version {
            directory: directory.to_path_buf(),
            data: data.to_owned(),
            found: versions.join(", "),
        }
    })
}

/// Directories under `root` that match `pattern`, with the highest version of a `*` first.
fn expand(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut directories = vec![root.to_path_buf()];
    for part in pattern.split('/') {
        directories = match part.strip_suffix('*') {
            None => directories.into_iter().map(|directory| directory.join(part)).collect(),
            Some(prefix) => directories.iter().flat_map(|directory| versions(directory, prefix)).collect(),
        };
    }
    directories
}

/// The entries of `directory` whose names start with `prefix`, with the highest version first.
fn versions(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    // Names with equal versions are ordered by name, independent of the file system.
    names.sort_by_cached_key(|name| std::cmp::Reverse((version_key(name), name.clone())));
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// The sort key of a name: its numbers, so that `9.6` is before `15`. `latest`, the link of Postgres.app, is the
/// highest.
fn version_key(name: &str) -> Vec<u32> {
    if name == "latest" {
        return vec![u32::MAX];
    }
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Parses version and major version from `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_version(output: &str) -> Option<(String, u32)> {
    let version = output.split_once(") ")?.1.split_whitespace().next()?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((version.to_owned(), digits.parse().ok()?))
}

/// Runs `program` with one argument as the account and returns its standard output, or nothing if it fails.
fn ask(account: &Account, program: &Path, argument: &str) -> Option<String> {
    let (status, output) = output_of(account.command(program).arg(argument))?;
    String::from_utf8(output).ok().filter(|_| status.success())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A fake machine in a temporary directory. Its programs are files that contain their output.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a temporary directory"))
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.path(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("its directory");
            fs::write(path, text).expect("the file");
        }

        fn install(&self, bin: &str, version: &str) {
            self.write(&format!("{bin}/initdb"), "");
            self.write(&format!("{bin}/pg_ctl"), "");
            self.write(&format!("{bin}/postgres"), &format!("postgres (PostgreSQL) {version}\n"));
        }

        fn link(&self, target: &str, link: &str) {
            let link = self.path(link);
            fs::create_dir_all(link.parent().expect("a parent")).expect("its directory");
            symlink(self.path(target), link).expect("the link");
        }

        fn found(&self, path: &[&str]) -> Vec<Programs> {
            let places = SearchPath {
                path: path.iter().map(|directory| self.path(directory)).collect(),
                root: self.0.path().to_path_buf(),
            };
            all(&places, &|program, _| fs::read_to_string(program).ok()).collect()
        }

        /// Checks the directories found, relative to the machine's root.
        fn check(&self, path: &[&str], expected: &[&str]) {
            let root = fs::canonicalize(self.0.path()).expect("the root");
            let found: Vec<String> = self
                .found(path)
                .iter()
                .map(|programs| programs.bin.strip_prefix(&root).expect("below").display().to_string())
                .collect();
            assert_eq!(found, expected, "with PATH {path:?}");
        }
    }

    #[test]
    fn nothing_installed_is_an_error_that_says_what_to_install() {
        let machine = Machine::new();
        machine.check(&["usr/bin", "missing"], &[]);
        let error = choose(machine.found(&[]), Path::new("/d/data"), "15").expect_err("no programs");
        let text = error.to_string();
        for word in
            ["initdb", "apt install postgresql", "dnf install postgresql-server", "brew install", "PATH"]
        {
            assert!(text.contains(word), "{word} is missing in: {text}");
        }
    }

    #[test]
    fn the_usual_places_are_searched_newest_first() {
        let machine = Machine::new();
        machine.install("usr/lib/postgresql/9.6/bin", "9.6.24");
        machine.install("usr/lib/postgresql/14/bin", "14.9 (Debian 14.9-1)");
        machine.install("usr/lib/postgresql/15/bin", "15.18");
        machine.install("usr/pgsql-16/bin", "16.1");
        machine.install("opt/homebrew/opt/postgresql@17/bin", "17.2 (Homebrew)");
        machine.install("Applications/Postgres.app/Contents/Versions/13/bin", "13.1");
        machine.install("Applications/Postgres.app/Contents/Versions/18/bin", "18beta1 (Postgres.app)");
        machine.link(
            "Applications/Postgres.app/Contents/Versions/13",
            "Applications/Postgres.app/Contents/Versions/latest",
        );
        machine.check(
            &[],
            &[
                "usr/lib/postgresql/15/bin",
                "usr/lib/postgresql/14/bin",
                "usr/pgsql-16/bin",
                "opt/homebrew/opt/postgresql@17/bin",
                "Applications/Postgres.app/Contents/Versions/13/bin",
                "Applications/Postgres.app/Contents/Versions/18/bin",
            ],
        );
    }

    #[test]
    fn path_comes_first_and_its_links_are_followed() {
        let machine = Machine::new();
        machine.install("usr/lib/postgresql/16/bin", "16.1");
        machine.install("opt/mine/bin", "15.2");
        machine.link("opt/mine/bin/postgres", "usr/local/bin/postgres");
        machine.check(&["usr/local/bin"], &["opt/mine/bin", "usr/lib/postgresql/16/bin"]);
    }

    #[test]
    fn the_directory_that_pg_config_reports_is_searched() {
        let machine = Machine::new();
        machine.install("opt/odd/bin", "15.2");
        machine.write("usr/bin/pg_config", &format!("{}\n", machine.path("opt/odd/bin").display()));
        machine.check(&["usr/bin"], &["opt/odd/bin"]);
    }

    #[test]
    fn a_directory_without_a_program_or_a_version_is_skipped() {
        let machine = Machine::new();
        machine.write("usr/lib/postgresql/17/bin/postgres", "postgres (PostgreSQL) 17.1\n");
        machine.install("usr/lib/postgresql/16/bin", "strange");
        machine.install("usr/lib/postgresql/15/bin", "15.2");
        machine.check(&[], &["usr/lib/postgresql/15/bin"]);
    }

    #[test]
    fn data_requires_programs_of_its_version() {
        let machine = Machine::new();
        machine.install("usr/lib/postgresql/14/bin", "14.9");
        machine.install("usr/lib/postgresql/15/bin", "15.18");
        let directory = Path::new("/d/data");
        let programs = choose(machine.found(&[]), directory, "14").expect("14 is there");
        assert_eq!((programs.major, programs.version()), (14, "14.9"));

        let text = choose(machine.found(&[]), directory, "13").expect_err("13 is not").to_string();
        for word in ["/d/data", "PostgreSQL 13", "15.18, 14.9"] {
            assert!(text.contains(word), "{word} is missing in: {text}");
        }
    }
}
