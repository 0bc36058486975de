//! The summary of `load` for people: its contents, and that its commands work.

use std::fs;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, join, small_event};
use crate::support::program::{Ended, Program, Workplace};
use crate::support::{find_program, not_tried};

fn load(work: &Workplace, database: &Database<'_>, args: &[&str]) -> Program {
    work.program(&["load"]).args(args).env("DATABASE_URL", &database.url())
}

/// The command below these words.
#[track_caller]
fn command<'e>(ended: &'e Ended, what_for: &str) -> &'e str {
    let mut lines = ended.stdout.lines().skip_while(|line| line.trim() != format!("{what_for}:"));
    lines.nth(1).unwrap_or_else(|| panic!("{what_for:?} is missing in {}", ended.stdout)).trim()
}

#[track_caller]
fn says(ended: &Ended, lines: &[&str]) {
    for line in lines {
        assert!(
            ended.stdout.lines().any(|said| said.trim() == *line),
            "{line:?} is missing in {}",
            ended.stdout
        );
    }
}

/// Events 1 to 9, and twelve that are rejected for five reasons. Some reasons contain a place.
fn with_rejects() -> Vec<u8> {
    let mut lines: Vec<String> = (1..10).map(|id| small_event(id).to_string()).collect();
    for id in 0..5 {
        let mut event = small_event(100 + id);
        event["Participants"] =
            (0..=id).map(|n| serde_json::json!({"Id": if n < id { "x" } else { "" }})).collect();
        lines.push(event.to_string());
    }
    lines.extend((10..13).map(|len| small_event(7).to_string()[..len].to_owned()));
    let mut nameless = small_event(8);
    nameless["Killer"]["Name"] = "".into();
    lines.extend([nameless.to_string(), nameless.to_string(), "[1]".to_owned(), "{}".to_owned()]);
    join(&lines)
}

#[test]
fn the_suggested_verify_command_confirms_a_complete_load() {
    let database = Cluster::shared().database("complete");
    let work = Workplace::new();
    work.write("a dump.ndjson", generated(20, 91, 0.0));
    let load = |args: &[&str]| load(&work, &database, args).env("ALBION_SERVER", "asia");
    let first = load(&["--schema", "its schema", "a dump.ndjson"]).expect(0);
    let complete = "Complete: 20 events, all stored by this run or an earlier one.\n";
    assert!(first.stdout.starts_with(complete), "{}", first.stdout);
    says(&first, &["20  inserted", "20  events in 20 lines, asia"]);
    let check = command(&first, "to check it");
    assert!(check.ends_with("verify --schema 'its schema' --server asia 'a dump.ndjson'"), "{check}");
    work.other_program("sh", &["-c", check]).env("DATABASE_URL", &database.url()).expect(0);
    says(&load(&["--schema", "its schema", "a dump.ndjson"]).expect(0), &["20  already loaded"]);
    assert_eq!(load(&["-q", "--schema", "its schema", "a dump.ndjson"]).expect(0).stdout, "");
}

#[test]
fn suggested_commands_keep_file_names_that_look_like_logins() {
    let database = Cluster::shared().database("names");
    let work = Workplace::new();
    std::fs::create_dir_all(work.path().join("partition_key=5")).expect("a directory");
    for name in ["a:b@c.ndjson", "kills token=5.ndjson", "partition_key=5/dump.ndjson"] {
        work.write(name, generated(20, 91, 0.0));
        let ended = load(&work, &database, &["--force", name]).expect(0);
        let check = command(&ended, "to check it");
        work.other_program("sh", &["-c", check]).env("DATABASE_URL", &database.url()).expect(0);
        let sources = "select sources[1] from kill_load_run order by started desc limit 1";
        let source: String = database.client().query_one(sources, &[]).expect("a run").get(0);
        assert_eq!(source, name);
    }
}

/// A shell's `<(…)` is such a path, too.
#[test]
fn suggested_commands_read_no_pipe_a_second_time() {
    let database = Cluster::shared().database("pipes");
    let work = Workplace::new();
    work.write("dump", generated(20, 91, 0.0));
    mkfifo(&work.path().join("pipe"), Mode::S_IRWXU).expect("a FIFO");
    let run = |script: &str, code| {
        let shell = work.other_program("sh", &["-c", script, env!("CARGO_BIN_EXE_aegis-kills")]);
        shell.env("DATABASE_URL", &database.url()).expect(code)
    };
    for (feed, path) in
        [("cat dump |", "/dev/stdin"), ("cat dump |", "/dev/fd/0"), ("cat dump > pipe &", "pipe")]
    {
        let dry = run(&format!("{feed} \"$0\" load --dry-run {path}"), 0);
        let load = command(&dry, "to load it, with the same input");
        assert!(load.ends_with(" load --server americas -"), "{load}");
        run(&format!("cat dump | {load}"), 0);
        let loaded = run(&format!("{feed} \"$0\" load --force {path}"), 0);
        assert!(!loaded.stdout.contains("to check it"), "{}", loaded.stdout);
        database.client().batch_execute("truncate kill_event, kill_player, kill_loot").expect("empty tables");
        let verified = run(&format!("{feed} \"$0\" verify {path}"), 6);
        let load = verified.stdout.lines().last().expect("a command").trim();
        assert!(load.starts_with("… | ") && load.ends_with(" --force -"), "{load}");
        run(&load.replacen('…', "cat dump", 1), 0);
    }
}

#[test]
fn suggested_commands_take_a_path_that_looks_like_a_login_from_the_variable() {
    let database = Cluster::shared().database("paths");
    let work = Workplace::new();
    for path in ["ns:a@b", "-ns:a@b"] {
        work.write("dump", format!("{{\"{path}\": {}}}\n", small_event(1)));
        let ended = load(&work, &database, &["--force", &format!("--events-at={path}"), "dump"]).expect(0);
        let check = command(&ended, "to check it");
        assert!(!check.contains(path), "{check}");
        let shell = || work.other_program("sh", &["-c", check]).env("DATABASE_URL", &database.url());
        shell().env("KILLS_EVENTS_AT", path).expect(0);
        let unset = shell().run().says(&["KILLS_EVENTS_AT: set it to the path"]);
        assert_ne!(unset.code, 0);
    }
}

#[test]
fn the_summary_lists_the_most_frequent_reject_reasons() {
    let database = Cluster::shared().database("reasons");
    let work = Workplace::new();
    work.write("dump.ndjson", with_rejects());
    let args = ["-q", "--nul", "strip", "--rejects", "the rejects", "dump.ndjson"];
    let ended = load(&work, &database, &args).expect(3);
    assert!(
        ended.stdout.starts_with("Loaded all but the rejects: 12 of 21 events were rejected.\n"),
        "{}",
        ended.stdout
    );
    says(
        &ended,
        &[
            "9  inserted",
            "12  rejected",
            "21  events in 21 lines, americas",
            "5  Participants[].Id: required field is missing or empty",
            "3  not JSON: unexpected end",
            "2  Killer.Name: required field is missing or empty",
            "2  for other reasons",
            "rejects, each with its place and reason: the rejects",
        ],
    );
    let correct = command(&ended, "to load the corrected rejects");
    assert!(
        correct.ends_with("load --server americas --nul strip --rejects 'the rejects.again' 'the rejects'"),
        "{correct}"
    );
    let before = fs::read(work.path().join("the rejects")).expect("rejects");
    work.other_program("sh", &["-c", correct]).env("DATABASE_URL", &database.url()).expect(3);
    assert_eq!(fs::read(work.path().join("the rejects")).expect("rejects"), before);
    if find_program(&["jq"], &[]).is_none() {
        return not_tried("the command that lists the rejects", "jq is not installed");
    }
    let see = command(&ended, "to list the rejects");
    let seen = work.other_program("sh", &["-c", see]).expect(0).stdout;
    assert_eq!(
        seen.lines().next(),
        Some("dump.ndjson\t10\tParticipants[0].Id\trequired field is missing or empty")
    );
}

/// Under another server, each load would only reject them again.
#[test]
fn rejects_that_all_name_a_server_are_loaded_under_it() {
    let database = Cluster::shared().database("named_rejects");
    let work = Workplace::new();
    let named = |id| {
        let mut event = small_event(id);
        event["server"] = "sgp".into();
        format!("{event}\n")
    };
    let text = named(1) + &named(2);
    work.write("all", &text);
    work.write("some", text + "no event\n");
    let reload = |dump: &str| {
        let rejects = format!("{dump}.rejects");
        let ended = load(&work, &database, &["--rejects", &rejects, dump]).expect(3);
        command(&ended, "to load the corrected rejects").to_owned()
    };
    let some = reload("some");
    assert!(some.ends_with("load --server americas --rejects some.rejects.again some.rejects"), "{some}");
    let all = reload("all");
    assert!(all.ends_with("load --server asia --rejects all.rejects.again all.rejects"), "{all}");
    let ended = work.other_program("sh", &["-c", &all]).env("DATABASE_URL", &database.url()).expect(0);
    says(&ended, &["2  inserted", "2  events in 2 lines, asia"]);
    // So is an input that is abandoned.
    work.write("many", (1..=1000).map(named).collect::<String>());
    let ended = load(&work, &database, &["many"]).expect(1).says(&["hint: load it with --server asia, or"]);
    let again = command(&ended, "to load it under the game server that it names");
    assert!(again.ends_with("load --server asia many"), "{again}");
}

/// As in a mail of cron, whose reader is in another directory.
#[test]
fn suggested_commands_work_after_a_change_to_the_named_directory() {
    let database = Cluster::shared().database("elsewhere");
    let (work, other) = (Workplace::new(), Workplace::new());
    let directory = work.path().join("its kills");
    fs::create_dir(&directory).expect("a directory");
    fs::write(directory.join("dump"), with_rejects()).expect("a dump");
    let paste = |said: &str, pasted: &str| {
        let mut directories = said.lines().filter_map(|line| {
            let line = line.trim();
            line.strip_prefix("working directory: ").or_else(|| line.strip_prefix("Working directory: "))
        });
        let named = directories.next().unwrap_or_else(|| panic!("no directory in {said}"));
        assert!(named.ends_with("/its kills'") && directories.next().is_none(), "{said}");
        let script = format!("cd {named} && {pasted}");
        other.other_program("sh", &["-c", &script]).env("DATABASE_URL", &database.url())
    };
    let program = env!("CARGO_BIN_EXE_aegis-kills");
    let begin = format!("cd '{}' && {program}", directory.display());
    let run = |args: &str| {
        let shell = other.other_program("sh", &["-c", &format!("{begin} {args}")]);
        shell.env("DATABASE_URL", &database.url())
    };
    let ended = run("load -q dump").expect(3);
    paste(&ended.stdout, command(&ended, "to load the corrected rejects")).expect(3);
    if find_program(&["jq"], &[]).is_some() {
        paste(&ended.stdout, command(&ended, "to list the rejects")).expect(0);
    } else {
        not_tried("the command that lists the rejects", "jq is not installed");
    }
    let tried = run("load --dry-run --force dump").expect(3);
    paste(&tried.stdout, command(&tried, "to load it")).expect(3);
    database.client().batch_execute("delete from kill_event where event_id = 1").expect("to delete");
    let verified = run("verify dump").expect(6);
    paste(&verified.stdout, command(&verified, "To load the missing events")).expect(3);
    assert!(!run("load --json --force dump").expect(3).stdout.contains("working directory"));
}

#[test]
fn suggested_commands_contain_no_password() {
    let database = Cluster::shared().database("concealed");
    let work = Workplace::new();
    work.write("dump.ndjson", generated(5, 92, 0.0));
    let url = database.url();
    let joint = if url.contains('?') { '&' } else { '?' };
    for (url, shown) in [
        (format!("{url}{joint}password=zebra"), format!("--database-url '{url}'")),
        (format!("{url}{joint}options=-c%20my.token%3Dzebra"), "--database-url 'postgresql://…'".to_owned()),
        (url.clone(), format!("--database-url '{url}'")),
    ] {
        let ended = work.program(&["load", "--database-url", &url, "dump.ndjson"]).expect(0);
        let check = command(&ended, "to check it").replace(&url, &format!("'{url}'")).replace("''", "'");
        assert!(check.contains(&shown) && !ended.stdout.contains("zebra"), "{check}, {shown}");
    }
}

/// Values with events inside: the suggested command reads them, and the load after that as well.
#[test]
fn the_suggested_command_has_the_advised_path() {
    let work = Workplace::new();
    let database = Cluster::shared().database("inside");
    let envelope = |id| serde_json::json!({"wrap": {"ev": [small_event(id)]}}).to_string();
    work.write("dump.ndjson", join(&(1..4).map(envelope).collect::<Vec<_>>()));
    // So many that the input is abandoned.
    work.write("long.ndjson", join(&(1..1200).map(envelope).collect::<Vec<_>>()));
    let shell = |command: &str| {
        work.other_program("sh", &["-c", command]).env("DATABASE_URL", &database.url()).expect(0)
    };
    for (file, code) in [("dump.ndjson", 3), ("long.ndjson", 1)] {
        let ended = work.program(&["load", "--dry-run", file]).expect(code);
        assert!(!ended.stdout.contains("to load it"), "{}", ended.stdout);
        let dry = command(&ended, "to read the events inside the values").to_owned();
        assert!(dry.contains(" --events-at wrap.ev ") && dry.contains(" --dry-run"), "{dry}");
        let load = shell(&dry);
        shell(command(&load, "to load it"));
    }
    work.write("other.ndjson", join(&(2000..2003).map(envelope).collect::<Vec<_>>()));
    let ended = load(&work, &database, &["--rejects", "some", "other.ndjson"]).expect(3);
    says(&shell(command(&ended, "to load the events inside the rejects")), &["3  inserted"]);
}

/// An input that is never read as it is: the suggested command loads it, and no other is suggested.
#[test]
fn a_format_that_needs_a_conversion_suggests_only_that() {
    let work = Workplace::new();
    let database = Cluster::shared().database("convert");
    let dump = String::from_utf8(generated(5, 93, 0.0)).expect("UTF-8");
    let units: Vec<u8> =
        "\u{feff}".encode_utf16().chain(dump.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    work.write("dump.utf16", units);
    let ended = load(&work, &database, &["dump.utf16"]).expect(1);
    assert!(!ended.stdout.contains("to resume"), "{}", ended.stdout);
    let convert = command(&ended, "to convert and load it");
    let loaded = work.other_program("sh", &["-c", convert]).env("DATABASE_URL", &database.url()).expect(0);
    says(&loaded, &["5  inserted"]);
}

#[test]
fn a_dry_run_suggests_the_load_command() {
    let work = Workplace::new();
    work.write("dump.ndjson", with_rejects());
    let ended = work.program(&["load", "--dry-run", "--force", "dump.ndjson"]).expect(3);
    says(&ended, &["9  can be loaded", "12  rejected", "21  events in 21 lines, americas"]);
    let load = command(&ended, "to load it");
    assert!(load.ends_with("load --server americas --force dump.ndjson"), "{load}");
}
