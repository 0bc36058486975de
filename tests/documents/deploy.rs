//! `deploy/`, `docs/deployment.md` and `.env.example` match the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aegis_kills::internals::{Cli, LoadArgs};
use aegis_kills::internals::{Environment, LoadSettings};
use clap::Parser as _;
use serde_json::Value;

use crate::support::not_tried;
use crate::support::process::Supervised as _;

/// The longest time that a stopped run takes after the drain: the run's end in the ledger.
const END_MAX: Duration = Duration::from_secs(5);

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_file() && path.to_string_lossy().ends_with(extension)).collect()
}

/// The names of this program's variables.
fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = |word: &&str| {
        let prefix = ["KILLS_", "DATABASE_", "ALBION_"].iter().find_map(|prefix| word.strip_prefix(prefix));
        prefix.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_uppercase()))
    };
    words.filter(ours).map(str::to_owned).collect()
}

/// The variables that the program reads: texts in its source that look like one.
fn program_variables() -> BTreeSet<String> {
    let sources = files("src/settings", ".rs");
    // The list of names for suggestions reads none.
    let left_out = |path: &Path| ["tests.rs", "variables.rs"].iter().any(|name| path.ends_with(name));
    let sources = sources.iter().filter(|path| !left_out(path)).map(read);
    sources
        .flat_map(|source| source.split('"').skip(1).step_by(2).flat_map(variables).collect::<Vec<_>>())
        .collect()
}

#[test]
fn documented_variables_exist_and_all_are_documented() {
    let there = program_variables();
    assert!(there.len() > 20 && there.contains("DATABASE_URL"), "{there:?}");
    let mut texts = files("deploy", "");
    texts.extend(
        [
            "docs/deployment.md",
            "docs/faq.md",
            "docs/operations.md",
            "docs/scaling.md",
            "docs/settings.md",
            ".env.example",
            "README.md",
        ]
        .map(PathBuf::from),
    );
    for path in texts {
        let unknown: Vec<_> = variables(&read(&path)).difference(&there).cloned().collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
    }
    let example = read(".env.example");
    let is_set = |name: &String| {
        example.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{name}=")))
    };
    let unexplained: Vec<_> = there.iter().filter(|name| !is_set(name)).collect();
    assert!(unexplained.is_empty(), ".env.example lacks {unexplained:?}");
    let page = read("docs/settings.md");
    let unexplained: Vec<_> =
        there.iter().filter(|name| !page.contains(&format!("\n| `{name}` |"))).collect();
    assert!(unexplained.is_empty(), "docs/settings.md lacks {unexplained:?}");
}

/// The commands of the program in a text, split into arguments.
fn commands(text: &str) -> Vec<Vec<String>> {
    const SUBCOMMANDS: [&str; 9] =
        ["load", "verify", "delete", "health", "schema", "embedded", "generate", "completions", "man"];
    let text = text.replace("\\\n", " ");
    let after = text.split("aegis-kills ").skip(1);
    let until = |rest: &str| {
        let ends = ["\n", "  ", "|", ";", "&", "<", ">", "`", "'", "\"", "\\", "#", ")"];
        let end = ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
        rest[..end].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    // A text can name `delete`, which needs arguments.
    let is_command = |words: &Vec<String>| {
        words
            .first()
            .is_some_and(|word| SUBCOMMANDS.contains(&&**word) && (word != "delete" || words.len() > 1))
    };
    after.map(until).filter(is_command).collect()
}

#[test]
fn documented_commands_are_valid() {
    let mut count = 0;
    let mut texts = files("deploy", "");
    let pages = [
        "docs/databases.md",
        "docs/deployment.md",
        "docs/faq.md",
        "docs/operations.md",
        "docs/scaling.md",
        "README.md",
    ];
    texts.extend(pages.map(PathBuf::from));
    for path in texts {
        for words in commands(&read(&path)) {
            let parsed = Cli::try_parse_from([&["aegis-kills".to_owned()], &words[..]].concat());
            let wrong = parsed.err().filter(clap::Error::use_stderr);
            assert!(wrong.is_none(), "{}: {words:?}: {}", path.display(), wrong.expect("an error"));
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

/// In `.env` the last of several values counts, so a pasted block has one.
#[test]
fn each_example_of_a_provider_sets_the_url_once() {
    let page = read("docs/databases.md");
    let blocks = page.split("```text\n").skip(1).filter_map(|rest| rest.split("```").next());
    let urls = |block: &str| block.lines().filter(|line| line.starts_with("DATABASE_URL=")).count();
    let counts: Vec<usize> = blocks.map(urls).filter(|count| *count > 0).collect();
    assert_eq!(counts, [1; 4], "Supabase, Neon, RDS, Railway");
}

/// The time that a run needs between SIGTERM and SIGKILL.
fn grace() -> Duration {
    let mut args = LoadArgs::default();
    args.dry_run = true;
    let server = |name: &str| (name == "ALBION_SERVER").then(|| "europe".to_owned());
    LoadSettings::new(&args, Environment(&server)).expect("the defaults").drain_timeout + END_MAX
}

#[track_caller]
fn is_enough(seconds: Option<u64>) {
    assert!(seconds.is_some_and(|seconds| Duration::from_secs(seconds) > grace()), "{seconds:?}");
}

/// Two servers in one place can contradict each other.
#[test]
fn each_file_passes_the_server_of_the_variable() {
    let mut loads = 0;
    for path in files("deploy", "") {
        let text = read(&path);
        let lines = text.lines().filter(|line| !line.trim_start().starts_with(['#', '-']));
        for line in lines.filter(|line| line.contains("aegis-kills load")) {
            let (_, arguments) = line.split_once("aegis-kills load").expect("a load");
            assert!(arguments.contains("--server"), "{}: {line}", path.display());
            assert!(arguments.contains("ALBION_SERVER"), "{}: {line}", path.display());
            loads += 1;
        }
    }
    assert_eq!(loads, 4);
    let args = &manifest("deploy/cronjob.yaml", "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        ["containers"][0]["args"];
    assert_eq!(args.to_string(), r#"["load","-q","--server","$(ALBION_SERVER)","/dumps"]"#);
}

#[test]
fn the_railway_files_match_the_program() {
    let is_railway =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("railway"));
    let paths: Vec<PathBuf> = files("deploy", ".json").into_iter().filter(is_railway).collect();
    assert_eq!(paths.len(), 2);
    for path in paths {
        let file: Value = serde_json::from_str(&read(&path)).expect("JSON");
        let dockerfile = file["build"]["dockerfilePath"].as_str().expect("a path");
        assert!(read(dockerfile).contains("FROM "));
        let deploy = &file["deploy"];
        // Railway rejects a string here, despite its documentation.
        is_enough(deploy["drainingSeconds"].as_u64());
        let start = deploy["startCommand"].as_str().expect("a command");
        assert!(
            start.contains("exec aegis-kills load --server "),
            "the program itself hears SIGTERM: {start}"
        );
        // Railway's health check uses a host name of its own, which the pages reject like any foreign name.
        let serves = start.contains("--listen 0.0.0.0:$PORT");
        assert!(deploy["healthcheckPath"].is_null());
        assert_eq!(deploy["cronSchedule"].is_string(), !serves);
    }
}

/// The Kubernetes manifest of this kind.
fn manifest(path: &str, kind: &str) -> Value {
    let file: Value = serde_saphyr::from_str(&read(path)).expect("YAML");
    assert_eq!((&file["apiVersion"], &file["kind"]), (&Value::from("batch/v1"), &Value::from(kind)));
    file
}

/// Checks a pod that loads, and returns its container.
fn pod_fits(spec: &Value) -> &Value {
    let pod = &spec["template"]["spec"];
    is_enough(pod["terminationGracePeriodSeconds"].as_u64());
    assert_eq!(pod["restartPolicy"], "Never", "a podFailurePolicy needs it");
    let load = &pod["containers"][0];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(load["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(load["securityContext"]["allowPrivilegeEscalation"], false);
    let user = pod["securityContext"]["runAsUser"].as_u64().expect("a number");
    assert!(read("deploy/Dockerfile").contains(&format!("\nUSER {user}:{user}\n")));
    let server =
        load["env"].as_array().expect("variables").iter().find(|entry| entry["name"] == "ALBION_SERVER");
    assert!(server.is_some(), "no load without it");
    let url = load["env"].as_array().expect("variables").iter().find(|entry| entry["name"] == "DATABASE_URL");
    assert!(url.expect("the URL")["valueFrom"]["secretKeyRef"].is_object());
    for entry in load["env"].as_array().expect("variables") {
        assert!(entry["value"].is_string() || entry["valueFrom"].is_object(), "{entry} is no text");
    }
    load
}

/// The action for each named exit code.
fn failure_actions(spec: &Value) -> BTreeSet<(u64, &str)> {
    let container = &spec["template"]["spec"]["containers"][0]["name"];
    let rules = spec["podFailurePolicy"]["rules"].as_array().expect("rules");
    let mut actions = BTreeSet::new();
    for rule in rules.iter().filter(|rule| rule["onExitCodes"].is_object()) {
        let codes = &rule["onExitCodes"];
        assert_eq!((&codes["containerName"], &codes["operator"]), (container, &Value::from("In")));
        let action = rule["action"].as_str().expect("an action");
        let codes = codes["values"].as_array().expect("codes").iter();
        actions.extend(codes.map(|code| (code.as_u64().expect("a code"), action)));
    }
    actions
}

#[test]
fn the_cron_job_matches_the_program() {
    let job = manifest("deploy/cronjob.yaml", "CronJob");
    assert_eq!(job["spec"]["concurrencyPolicy"], "Forbid");
    let spec = &job["spec"]["jobTemplate"]["spec"];
    pod_fits(spec);
    let same_again = [1, 2, 3, 5, 7].map(|code| (code, "FailJob"));
    assert_eq!(failure_actions(spec), same_again.into(), "what would end the same way again");
}

#[test]
fn the_indexed_job_matches_the_program() {
    let job = manifest("deploy/job-indexed.yaml", "Job");
    let spec = &job["spec"];
    let load = pod_fits(spec);
    assert_eq!(spec["completionMode"], "Indexed");
    let shares = load["env"].as_array().expect("variables").iter().find(|entry| entry["name"] == "SHARES");
    assert_eq!(shares.expect("a variable")["value"], spec["completions"].to_string());
    // Rejects of one share do not end the others. A wrong setting is wrong for all.
    let actions = [(1, "FailIndex"), (2, "FailJob"), (3, "FailIndex"), (5, "FailIndex"), (7, "FailJob")];
    assert_eq!(failure_actions(spec), actions.into());
    assert!(spec["backoffLimitPerIndex"].is_u64(), "FailIndex needs it");
    assert!(spec["backoffLimit"].is_null(), "it would count the tries of all shares");
}

/// The value of a setting that a unit has once.
fn unit_value<'u>(unit: &'u str, name: &str) -> &'u str {
    let mut found = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = found.next().unwrap_or_else(|| panic!("{name} is missing"));
    assert_eq!(found.next(), None, "{name}");
    value
}

#[test]
fn the_systemd_units_match_the_program() {
    let service = read("deploy/aegis-kills.service");
    is_enough(unit_value(&service, "TimeoutStopSec").parse().ok());
    assert_eq!(unit_value(&service, "SuccessExitStatus"), "129 130 143");
    assert_eq!(unit_value(&service, "Type"), "oneshot");
    assert_eq!(unit_value(&service, "Restart"), "on-failure");
    assert_eq!(unit_value(&service, "RestartPreventExitStatus"), "1 2 3 5 7");
    assert!(!unit_value(&service, "Environment=ALBION_SERVER").is_empty());
    assert_eq!(unit_value(&service, "NoNewPrivileges"), "yes");
    assert_eq!(unit_value(&service, "ProtectSystem"), "strict");
    assert_ne!(unit_value(&service, "User"), "root");
    // Files are written only into the service's own directories.
    let state =
        unit_value(&service, "StateDirectory").split(' ').map(|name| Path::new("/var/lib").join(name));
    let state: Vec<PathBuf> = state.collect();
    let metrics = unit_value(&service, "Environment=KILLS_METRICS_FILE");
    assert!(state.iter().any(|directory| Path::new(metrics).parent() == Some(directory)), "{metrics}");
    assert!(state.iter().any(|directory| Path::new(unit_value(&service, "WorkingDirectory")) == directory));
    let start = unit_value(&service, "ExecStart");
    assert!(start.starts_with("/usr/local/bin/aegis-kills load -q --server ${ALBION_SERVER} "), "{start}");

    // The program of the unit must exist.
    let directory = tempfile::tempdir().expect("a directory");
    let mut units = Vec::new();
    for unit in files("deploy", ".service").into_iter().chain(files("deploy", ".timer")) {
        let text = read(&unit).replace("/usr/local/bin/aegis-kills", env!("CARGO_BIN_EXE_aegis-kills"));
        units.push(directory.path().join(unit.file_name().expect("a name")));
        fs::write(units.last().expect("a unit"), text).expect("a file");
    }
    let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output_in_time();
    match verify {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => not_tried("systemd-analyze verify", &error.to_string()),
    }
}

/// The instructions of a Dockerfile, one line each.
fn instructions() -> Vec<(String, String)> {
    let text = read("deploy/Dockerfile");
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let text = text.join("\n").replace("\\\n", " ");
    let split =
        |line: &str| line.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()));
    text.lines().filter_map(split).collect()
}

fn values(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|(found, _)| found == name).map(|(_, rest)| rest).collect()
}

#[test]
fn the_image_matches_its_description() {
    let entry: Vec<String> = serde_json::from_str(&values("ENTRYPOINT")[0]).expect("the exec form");
    assert_eq!(entry, ["aegis-kills"]);
    let user = values("USER").pop().expect("a user");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    let runs = values("RUN");
    assert!(
        runs.iter().filter(|run| run.contains("cargo build")).all(|run| run.contains("--release --locked"))
    );
    assert!(runs.iter().any(|run| run.contains("ca-certificates")));
    // The program needs the C library of the release that it was linked on.
    let from = values("FROM");
    let (build, last) = (from[0].split(' ').next().expect("an image"), &from[1]);
    let release = last.strip_prefix("debian:").and_then(|tag| tag.strip_suffix("-slim")).expect("a release");
    let manifest = read("Cargo.toml");
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    assert_eq!(build, format!("rust:{}-slim-{release}", rust.trim_matches('"')));
}

#[test]
fn the_image_has_only_the_named_files_and_no_secret() {
    let fixed = values("ENV").into_iter().chain(values("ARG")).collect::<String>();
    assert!(variables(&fixed).is_empty() && !fixed.contains("PASS"), "{fixed}");
    assert!(values("VOLUME").is_empty(), "Railway refuses it");
    let ignore = read(".dockerignore");
    let mut lines = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "nothing is sent but what is named");
    let sent: BTreeSet<&str> = lines.filter_map(|line| line.strip_prefix('!')).collect();
    let copies = values("COPY");
    let of_us = copies.iter().filter(|copy| !copy.starts_with("--from"));
    let taken = of_us.flat_map(|copy| copy.rsplit_once(' ').expect("two words").0.split(' ')).collect();
    assert_eq!(sent, taken);
}

#[test]
fn the_layer_of_the_dependencies_has_a_file_for_each_target() {
    let runs = values("RUN");
    let stub = runs.iter().find(|run| run.contains("mkdir src")).expect("the layer");
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::write(directory.path().join(name), read(name)).expect("a file");
    }
    // Cargo checks the manifest before it builds anything.
    let look = format!("'{}' metadata --no-deps --locked --offline --format-version 1", env!("CARGO"));
    let script = stub.replace("cargo build --release --locked", &look);
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .current_dir(&directory)
        .output_in_time()
        .expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
