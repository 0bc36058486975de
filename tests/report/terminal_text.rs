//! File names, texts of dumps and texts of the database that contain terminal control sequences: escaped for people,
//! exact in JSON.

use serde_json::Value;

use crate::support::cluster::Cluster;
use crate::support::dumps::{join, small_event};
use crate::support::log_case;
use crate::support::program::{Ended, Workplace};

/// Sets the title, clears the screen, rings the bell, uses a C1 control, overrides the direction, overwrites the line.
const HOSTILE: &str = "kills\u{1b}]0;evil\u{7}\u{1b}[2J\u{9b}31m\u{202e}txt\r\u{7f}.ndjson";

#[track_caller]
fn assert_plain(ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        let found = text.chars().find(|letter| {
            letter.is_control() && !matches!(letter, '\n' | '\t')
                || ('\u{202a}'..='\u{202e}').contains(letter)
        });
        assert!(found.is_none(), "{found:?} in {text:?}");
    }
}

#[test]
fn control_characters_in_file_names_are_escaped() {
    let database = Cluster::shared().database("terminal");
    let work = Workplace::new();
    work.write(
        HOSTILE,
        join(&[small_event(1).to_string(), "{\"no\": \"event\"}".to_owned(), "no JSON".to_owned()]),
    );
    let missing = format!("missing{HOSTILE}");
    let url = database.url();
    let run = |args: &[&str]| work.program(args).env("DATABASE_URL", &url).run();
    for args in [
        &["load", "--server", "europe", HOSTILE][..],
        &["load", "-v", "--server", "europe", "--force", HOSTILE],
        &["load", "--dry-run", "--server", "europe", HOSTILE],
        &["load", "--dry-run", "--server", "europe", &missing],
        &["verify", "--server", "europe", HOSTILE],
        &["verify", "--server", "europe", &missing],
        &["load", "--dry-run", "--server", HOSTILE],
        &["load", "--dry-run", "--server", "europe", "--rejects", "no\u{1b}[2J/such/directory"],
        &["health", "--database-url", "postgresql://me@no\u{1b}[2Jhost.invalid/kills"],
        &["embedded", "status", HOSTILE],
        &["embedded", "start", "of\u{9b}31m"],
        &["schema", "apply", "--schema", "a\u{1b}[2Jb"],
        &["health", "--schema", "a\u{1b}[2Jb"],
        &[HOSTILE],
        &["load", "--no\u{1b}[2J"],
    ] {
        log_case(args);
        let ended = run(args);
        assert_plain(&ended);
        assert!(!ended.stderr.is_empty() || !ended.stdout.is_empty());
    }
}

#[test]
fn json_output_is_exact() {
    let work = Workplace::new();
    let no_event = "{\"no\": \"event \u{9b}31m \u{7f} \u{202e} \u{feff} \u{9375}\"}";
    work.write(HOSTILE, join(&[small_event(1).to_string(), no_event.to_owned()]));
    let args =
        ["load", "--dry-run", "--json", "--server", "europe", "--rejects", "r\u{1b}[2J.ndjson", HOSTILE];
    let ended = work.program(&args).expect(3);
    assert_eq!(ended.summary().0["rejects_file"], "r\u{1b}[2J.ndjson");
    let text = std::fs::read_to_string(work.path().join("r\u{1b}[2J.ndjson")).expect("rejects");
    let reject: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&reject["source"], &reject["raw"]), (&HOSTILE.into(), &no_event.into()));
    // A terminal that shows the file obeys nothing in it.
    let is_hidden =
        |letter: char| letter != '\n' && (letter.is_control() || "\u{202e}\u{feff}".contains(letter));
    assert!(!text.contains(is_hidden) && text.contains("\\u009b") && text.contains('\u{9375}'), "{text:?}");
}

/// A command in the summary can be pasted and names the same file.
#[test]
fn suggested_commands_name_the_file() {
    let work = Workplace::new();
    work.write(HOSTILE, join(&[small_event(1).to_string()]));
    let ended = work.program(&["load", "--dry-run", "--server", "europe", HOSTILE]).expect(0);
    assert_plain(&ended);
    let command = ended.stdout.lines().find(|line| line.contains("aegis-kills load")).expect("a command");
    let name =
        command.trim().split_once("$'").map(|(_, rest)| format!("$'{rest}")).expect("the name in quotes");
    let shown = work
        .other_program("bash", &["-c", &format!("printf %s {name} | od -An -tx1 | tr -d ' \\n'")])
        .expect(0);
    let expected: String = HOSTILE.bytes().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(shown.stdout.trim(), expected);
}

#[test]
fn control_characters_in_database_messages_are_escaped() {
    let database = Cluster::shared().database("terminal");
    let work = Workplace::new();
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    for code in ["P0001", "42501"] {
        log_case(code);
        let trigger = format!(
            "create or replace function quote_event() returns trigger language plpgsql as $$ begin
               raise exception using errcode = '{code}', message = E'zebra \\x1b[2J \\x07 \\u202e'; end $$;
             drop trigger if exists quote_event on kill_event;
             create trigger quote_event before insert on kill_event for each row execute function quote_event()"
        );
        database.client().batch_execute(&trigger).expect("a trigger");
        let load = work
            .program(&["load", "-v", "--force", "--server", "europe"])
            .env("DATABASE_URL", &database.url());
        let ended = load.stdin(format!("{}\n", small_event(1))).run();
        assert_ne!(ended.code, 0);
        assert_plain(&ended);
    }
}
