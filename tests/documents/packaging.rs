//! The workflows, the scripts that they call, and the archive of a release.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::documents::facts::check_links;
use crate::support::process::Supervised as _;
use crate::support::program::Workplace;
use crate::support::{find_program, not_tried};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn entries(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).expect("a directory");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// All texts in a value, with the key of each.
fn texts<'v>(key: &'v str, value: &'v Value, found: &mut Vec<(&'v str, &'v str)>) {
    match value {
        Value::String(text) => found.push((key, text)),
        Value::Array(values) => values.iter().for_each(|value| texts(key, value, found)),
        Value::Object(values) => values.iter().for_each(|(key, value)| texts(key, value, found)),
        _ => {}
    }
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs scripts/package.
fn package(directory: &Path, args: &[&str]) -> Output {
    let mut script = Command::new(root().join("scripts/package"));
    script.args(args).env("SOURCE_DATE_EPOCH", "1700000000").current_dir(directory);
    script.output_in_time().expect("a script")
}

#[test]
fn the_workflows_call_existing_scripts_with_the_least_permissions() {
    let workflows = entries(".github/workflows");
    assert_eq!(workflows.len(), 2);
    let mut calls = 0;
    for path in &workflows {
        let workflow: Value = serde_saphyr::from_str(&read(path)).expect("YAML");
        assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}), "{}", path.display());
        for (name, job) in workflow["jobs"].as_object().expect("jobs") {
            assert!(job["timeout-minutes"].is_u64(), "{name}");
            let mut found = Vec::new();
            texts("", job, &mut found);
            for (_, action) in found.iter().filter(|(key, _)| *key == "uses") {
                let (action, version) = action.split_once('@').expect("a version");
                assert!(action.starts_with("actions/"), "{action}");
                assert!(
                    version[1..].parse::<u32>().is_ok() && version.starts_with('v'),
                    "{action}@{version}"
                );
            }
            for (_, run) in found.iter().filter(|(key, _)| *key == "run") {
                // A value of an event in a script could be a command.
                assert!(!run.contains("${{ github."), "{run}");
                for word in
                    run.split_whitespace().filter(|word| word.contains("scripts/") || word.contains(".ci/"))
                {
                    let mode = fs::metadata(root().join(word)).expect(word).permissions().mode();
                    assert_eq!(mode & 0o111, 0o111, "{word}");
                    calls += 1;
                }
            }
        }
    }
    assert!(calls >= 8, "{calls}");
    let ci = read(".github/workflows/ci.yml");
    assert!(ci.contains("run: .ci/run\n") && ci.contains("run: scripts/lint\n"));
    let release: Value = serde_saphyr::from_str(&read(".github/workflows/release.yml")).expect("YAML");
    let machines = |job: &str| {
        let include = release["jobs"][job]["strategy"]["matrix"]["include"].as_array().expect("machines");
        include.iter().map(|entry| entry["machine"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(machines("archive"), ["x86_64", "aarch64"]);
    assert_eq!(machines("image"), ["amd64", "arm64"]);
}

#[test]
fn the_scripts_parse() {
    let mut scripts: Vec<PathBuf> = entries("scripts");
    scripts.push(root().join(".ci/run"));
    let mut checked = 0;
    for path in scripts {
        if read(&path).lines().next().is_some_and(|first| first.contains("python")) {
            continue;
        }
        succeeded(&Command::new("bash").arg("-n").arg(&path).output_in_time().expect("bash"));
        checked += 1;
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn the_screenshots_keep_an_option_and_its_value_on_a_line() {
    let Some(python) = find_program(&["python3"], &[]) else {
        return not_tried("the lines of the screenshots", "python3 is not installed");
    };
    let program = "import runpy, sys; script = runpy.run_path(sys.argv[1], run_name='script')
for width in range(20, 140):
    words = 'aegis-kills load --rejects rejects.ndjson --server americas kills-1.ndjson.gz'.split()
    script['wrapped'].__globals__['COLUMNS'] = width
    print('\\n'.join(script['wrapped']('    ' + ' '.join(words))))";
    let mut script = Command::new(python);
    script.args(["-c", program]).arg(root().join("scripts/screenshots"));
    let lines = succeeded(&script.output_in_time().expect("python3"));
    assert!(lines.lines().count() > 200, "{lines}");
    for line in lines.lines() {
        let words: Vec<&str> = line.trim_end_matches('\\').split_whitespace().collect();
        assert!(words.last().is_some_and(|word| !word.starts_with("--")), "{line:?}");
    }
}

#[test]
fn the_version_is_the_same_everywhere() {
    let tag = format!("v{VERSION}");
    succeeded(&package(root(), &["--check-tag", &tag]));
    assert_eq!(package(root(), &["--check-tag", "v0.0.1"]).status.code(), Some(1));
    let notes = succeeded(&package(root(), &["--notes", &tag]));
    assert!(notes.contains("### Added") && !notes.contains("\n## ["), "{notes}");
    for path in ["deploy/cronjob.yaml", "deploy/job-indexed.yaml", "docs/deployment.md"] {
        let image = format!("registry.example.com/aegis-kills:{VERSION}");
        assert!(read(path).contains(&image), "{path}: {image}");
    }
    assert!(read("fuzz/Cargo.lock").contains(&format!("name = \"aegis-kills\"\nversion = \"{VERSION}\"\n")));
}

#[test]
fn the_archive_is_complete_and_reproducible() {
    for program in ["objcopy", "sha256sum"] {
        if Command::new(program).arg("--version").output_in_time().is_err() {
            return not_tried("the archive of a release", &format!("{program} is not installed"));
        }
    }
    let work = Workplace::new();
    let program = env!("CARGO_BIN_EXE_aegis-kills");
    let build = |results| succeeded(&package(work.path(), &["--program", program, "--results", results]));
    build("one");
    let checksums = succeeded(&package(work.path(), &["--checksums", "one"]));
    let names: Vec<&str> = checksums.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    let [debug, archive] = names[..] else { panic!("{checksums}") };
    assert!(
        archive.starts_with(&format!("aegis-kills-{VERSION}-")) && archive.ends_with(".tar.gz"),
        "{archive}"
    );
    build("two");
    let bytes = |results: &str| fs::read(work.path().join(results).join(archive)).expect("an archive");
    assert_eq!(bytes("one"), bytes("two"));
    // The documented installation, in a home without any of its directories.
    let page = read("docs/releases.md");
    let commands = ["sha256sum --check", "mkdir -p ~/.local &&"];
    let lines = commands.map(|start| {
        let line = page.lines().map(str::trim_start).find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start}")).to_owned()
    });
    let home = work.path().join("home");
    fs::create_dir(&home).expect("a directory");
    let script = format!("set -e; cd one; {}", lines.join("; "));
    let home_text = home.to_str().expect("UTF-8");
    work.other_program("/bin/sh", &["-c", &script]).env("HOME", home_text).expect(0);
    let prefix = home.join(".local");
    let installed = prefix.join("bin/aegis-kills");
    let version =
        succeeded(&Command::new(&installed).arg("--version").output_in_time().expect("the program"));
    assert!(version.starts_with(&format!("aegis-kills {VERSION}")), "{version}");
    for file in [
        "share/man/man1/aegis-kills.1",
        "share/man/man1/aegis-kills-load.1",
        "share/bash-completion/completions/aegis-kills",
        "share/zsh/site-functions/_aegis-kills",
        "share/fish/vendor_completions.d/aegis-kills.fish",
        "share/doc/aegis-kills/README.md",
        "share/doc/aegis-kills/LICENSE",
        "share/doc/aegis-kills/THIRD-PARTY-NOTICES",
        "share/doc/aegis-kills/.env.example",
        "share/doc/aegis-kills/docs/releases.md",
        "share/doc/aegis-kills/deploy/role.sql",
    ] {
        assert!(fs::metadata(prefix.join(file)).is_ok_and(|file| file.len() > 0), "{file}");
    }
    check_installer(&work, archive);
    assert!(check_links(&prefix.join("share/doc/aegis-kills")).count > 80, "the archive lacks documents");
    let size = |path: PathBuf| fs::metadata(path).expect("a file").len();
    let (full, stripped) = (size(program.into()), size(installed.clone()));
    assert!(stripped < full, "{stripped} of {full}");
    // The program names the file with its debug information.
    assert!(
        fs::read(&installed)
            .expect("the program")
            .windows(debug.len())
            .any(|bytes| bytes == debug.as_bytes())
    );
}

/// The script of a release installs its archive, and leaves nothing of an archive that was changed.
fn check_installer(work: &Workplace, archive: &str) {
    if Command::new("curl").arg("--version").output_in_time().is_err() {
        return not_tried("the script that installs a release", "curl is not installed");
    }
    let release = work.path().join("one");
    let url = format!("file://{}", release.display());
    let mut script = Command::new(root().join("scripts/package"));
    script.args(["--installer", "one"]).env("RELEASE_URL", &url).current_dir(work.path());
    succeeded(&script.output_in_time().expect("a script"));
    let home = work.path().join("other home");
    let install = || work.other_program("sh", &["one/install.sh", "--prefix", "other home/.local"]);
    // An existing directory keeps its mode.
    let share = home.join(".local/share");
    fs::create_dir_all(&share).expect("a directory");
    fs::set_permissions(&share, fs::Permissions::from_mode(0o700)).expect("a mode");
    let ended = install().expect(0);
    assert_eq!(fs::metadata(&share).expect("a directory").permissions().mode() & 0o777, 0o700);
    let installed = home.join(".local/bin/aegis-kills");
    let line = format!("installed aegis-kills {VERSION}");
    assert!(ended.stdout.starts_with(&line) && ended.stdout.contains("hint: put it on PATH: "), "{ended:?}");
    succeeded(&Command::new(&installed).arg("--version").output_in_time().expect("the program"));
    assert!(home.join(".local/share/man/man1/aegis-kills.1").exists());

    fs::remove_dir_all(&home).expect("a directory");
    let mut bytes = fs::read(release.join(archive)).expect("an archive");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(release.join(archive), bytes).expect("an archive");
    let ended = install().expect(1);
    assert!(ended.stderr.contains("error: aegis-kills-") && ended.stderr.contains("SHA256SUMS"), "{ended:?}");
    assert!(!installed.exists());
    fs::remove_file(release.join("SHA256SUMS")).expect("a file");
    assert!(install().expect(1).stderr.contains("error: cannot download file://"));
    // The documented command names the file of the release.
    assert!(read("docs/releases.md").contains("/releases/latest/download/install.sh\" | sh\n"));
    assert!(read(".github/workflows/release.yml").contains("scripts/package --installer results\n"));
}
