//! The whole text of the errors of likely mistakes: what is wrong, its place and value, and a hint that works when pasted.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::dumps::{generated, small_event};
use crate::support::program::{Program, Workplace};
use crate::support::{free_port, log_case};

/// The mistakes, in the form that its first line describes. Placeholders stand for the values of [`Values`].
const MISTAKES: &str = include_str!("error_texts.txt");

/// A mistake and its consequence.
#[derive(Debug)]
struct Mistake {
    /// `NAME=value`, or `-NAME` for a variable to remove.
    variables: Vec<String>,
    args: Vec<String>,
    code: i32,
    text: String,
}

impl Mistake {
    fn parse(block: &str) -> Self {
        let (command, rest) = block.split_once('\n').expect("a command");
        let (text, code) = rest.rsplit_once("= ").expect("an exit code");
        let words = words(command.strip_prefix("$ ").expect("a command"));
        let program = words.iter().position(|word| word == "aegis-kills").expect("the program");
        let (variables, args) = (words[..program].to_vec(), words[program + 1..].to_vec());
        Self { variables, args, code: code.trim().parse().expect("a number"), text: text.to_owned() }
    }
}

/// Splits a command at spaces outside of single quotes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    for letter in command.chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            _ => words.last_mut().expect("a word").push(letter),
        }
    }
    words
}

/// The values of the placeholders.
struct Values(Vec<(&'static str, String)>);

impl Values {
    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Replaces the values in the output by their placeholders, and the times of log lines.
    fn hide(&self, text: &str) -> String {
        let hidden = self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(value, name));
        let line = |line: &str| match line.strip_prefix("[20") {
            Some(rest) => format!("[{{time}}{}\n", rest.get("26-11-30T02:21:13Z".len()..).unwrap_or(rest)),
            None => format!("{line}\n"),
        };
        hidden.lines().map(line).collect()
    }
}

const DUMP: &str = "dump.ndjson";

/// A cluster with roles that cannot log in, or cannot load.
fn cluster() -> Cluster {
    let cluster = Cluster::private(&[]);
    let roles = "create role secret login password 'x'; create role no_login; create role barred login;
        create role reader login; alter role reader set default_transaction_read_only = on;
        create role crowded login connection limit 0; create role guest login";
    cluster.admin().batch_execute(roles).expect("roles");
    let logins = "local all all trust\nhost all barred 127.0.0.1/32 reject\nhost all secret 127.0.0.1/32 scram-sha-256\n\
        host all all 127.0.0.1/32 trust\n";
    fs::write(cluster.directory().join("data/pg_hba.conf"), logins).expect("the server's directory");
    cluster.restart();
    cluster
}

fn files() -> Workplace {
    let work = Workplace::new();
    work.write(DUMP, generated(5, 1, 0.0));
    work.write("dump.xz", b"\xfd7zXZ\0\0\x04");
    // The header of a gzip file.
    work.write("cut.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03");
    work.write("open.json", "[\n{\"EventId\": 1},\n");
    work.write("words.txt", "kills of today\n");
    work.write("enveloped.ndjson", json!({"server": "europe", "event": small_event(1)}).to_string());
    fs::create_dir(work.path().join("directory")).expect("a directory");
    work
}

fn program(work: &Workplace, values: &Values, url: &str, mistake: &Mistake) -> Program {
    let args: Vec<String> = mistake.args.iter().map(|argument| values.fill(argument)).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut program = work.program(&args).env("DATABASE_URL", url);
    // Longer than any answer here, shorter than a wait.
    program = program.env("DATABASE_CONNECTION_TIMEOUT", "800ms").env("DATABASE_AWAY_TIMEOUT", "800ms");
    for variable in &mistake.variables {
        program = match (variable.strip_prefix('-'), variable.split_once('=')) {
            (Some(name), _) => program.without(name),
            (None, Some((name, value))) => program.env(name, &values.fill(value)),
            (None, None) => panic!("{variable} is no NAME=value"),
        };
    }
    program
}

/// Whether a quotation has quotes itself, so that it cannot be pasted: a quote at the start of a word within another one.
fn has_quoted_command(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let mut is_quoted = false;
    for (at, _) in letters.iter().enumerate().filter(|(_, letter)| **letter == '\'') {
        let before = at.checked_sub(1).map_or(' ', |before| letters[before]);
        let after = letters.get(at + 1).copied().unwrap_or(' ');
        if before.is_alphanumeric() && after.is_alphanumeric() {
            // An apostrophe.
            continue;
        }
        if is_quoted && before == ' ' && after.is_alphanumeric() {
            return true;
        }
        is_quoted = !is_quoted;
    }
    false
}

#[test]
fn quoted_commands_are_found() {
    assert!(has_quoted_command("run 'aegis-kills load --schema 'a b''"));
    assert!(!has_quoted_command("the server's 'a' and 'b c', or: load 'a b' 'c d'"));
}

#[test]
fn errors_have_a_place_a_value_and_a_hint() {
    let cluster = cluster();
    let database = cluster.database("kills");
    let work = files();
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let values = Values(vec![
        ("{dir}", work.path().display().to_string()),
        ("{port}", cluster.port().to_string()),
        ("{closed}", free_port().to_string()),
        ("{busy}", busy.local_addr().expect("its number").port().to_string()),
        ("{database}", database.name().to_owned()),
        ("{program}", env!("CARGO_BIN_EXE_aegis-kills").to_owned()),
    ]);
    database.client().batch_execute("revoke create on schema public from public").expect("a schema");
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    let mistakes: Vec<Mistake> = MISTAKES.split("\n\n").skip(1).map(Mistake::parse).collect();
    assert!(mistakes.len() > 50, "{}", mistakes.len());
    let mut wrong = String::new();
    for mistake in &mistakes {
        log_case(mistake);
        let ended = program(&work, &values, &database.url(), mistake).run();
        let found = values.hide(&ended.stderr);
        if (ended.code, &found) != (mistake.code, &mistake.text) {
            writeln!(wrong, "{mistake:?} ends with {}:\n{found}", ended.code).expect("memory");
        }
        // A cause is there once, and in the words of the system.
        let is_bare =
            ["db error", "FATAL", "os error", "stop requested", "broke:", "refused:", "a privilege:"]
                .iter()
                .all(|word| !found.contains(word));
        assert!(is_bare, "{found}");
        assert!(!found.lines().any(has_quoted_command), "a command in quotes has quotes itself: {found}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}
