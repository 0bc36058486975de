//! README.md is correct: each command is run in order, and its exit code and output match the page.
//!
//! A block of `sh` or `crontab` has one command per line. A block of `text` is the output of the last one, `sql` has
//! queries. A remark behind a command may name its exit code, or state that it runs until Ctrl-C.

pub(crate) mod page;
mod unrun;

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::getuid;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::{generated, gzip, join, lines, zstd_frames};
use crate::support::oracle::{Nul, assert_same, expect, read_tables};
use crate::support::process::Supervised as _;
use crate::support::program::{Ended, Program, Workplace};
use crate::support::{eventually, log_case};
use page::{Block, Line, blocks, has_gist};

/// The limit for the first output of a program that runs until Ctrl-C.
const WAIT: Duration = Duration::from_mins(1);
/// The settings of the page's reader.
const URL: &str = "postgresql://me:secret@localhost:5432/kills";
const CRON_DIRECTORY: &str = "/srv/kills";
const PORT: &str = "--listen 8080";
/// The dump that is moved into cron's directory.
const DAY: &str = "day.ndjson.zst";
/// Optional programs.
const OPTIONAL: [&str; 1] = ["psql"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The reader's shell, directory and database.
struct Reader<'a> {
    work: Workplace,
    database: &'a Database<'a>,
    /// Earlier commands with an effect on the shell, such as `export`. `sudo` needs no password here.
    before: String,
    substitutes: [(&'static str, String); 3],
}

/// The dumps under the page's names, and their expected results.
struct Dumps {
    gz: [Vec<u8>; 2],
    zst: Vec<u8>,
    /// Twenty stored events, and three without a killer's name.
    new: Vec<u8>,
}

impl Dumps {
    fn new() -> Self {
        let dump = generated(1_580, 301, 0.0);
        let all = lines(&dump);
        let nameless = |line: &&[u8]| {
            let mut event: serde_json::Value = serde_json::from_slice(line).expect("an event");
            event["Killer"]["Name"] = "".into();
            event.to_string().into_bytes()
        };
        let mut new: Vec<Vec<u8>> = all[1_100..1_103].iter().map(nameless).collect();
        new.extend(all[1_103..].iter().chain(&all[..20]).map(|line| line.to_vec()));
        Self {
            gz: [join(&all[..600]), join(&all[600..1_000])],
            zst: join(&all[1_000..1_100]),
            new: join(&new),
        }
    }

    fn write(&self, work: &Workplace) {
        work.write("kills-1.ndjson.gz", gzip(&self.gz[0]));
        work.write("kills-2.ndjson.gz", gzip(&self.gz[1]));
        work.write("new.ndjson", &self.new);
        work.write(DAY, zstd_frames(&self.zst, 1 << 20));
    }

    /// The events that are stored after all commands.
    fn all(&self) -> Vec<u8> {
        let new = String::from_utf8(self.new.clone()).expect("UTF-8");
        let new = new.replace(r#""Name":"""#, r#""Name":"unknown""#);
        [&self.gz[0][..], &self.gz[1], &self.zst, new.as_bytes()].concat()
    }
}

impl<'a> Reader<'a> {
    fn new(database: &'a Database<'a>) -> Self {
        let work = Workplace::new();
        for name in ["docs", "deploy", "scripts", ".env.example"] {
            symlink(root().join(name), work.path().join(name)).expect("a link");
        }
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port").port();
        let directory = work.path().join("srv/kills");
        let substitutes = [
            (URL, format!("'{}'", database.url())),
            (CRON_DIRECTORY, directory.to_str().expect("UTF-8").to_owned()),
            (PORT, format!("--listen {port}")),
        ];
        Self { work, database, before: "sudo() { \"$@\"; }\n".to_owned(), substitutes }
    }

    fn put_in(&self, command: &str) -> String {
        self.substitutes.iter().fold(command.to_owned(), |text, (shown, meant)| text.replace(shown, meant))
    }

    fn shell(&self, script: &str) -> Program {
        let program = Path::new(env!("CARGO_BIN_EXE_aegis-kills")).parent().expect("a directory");
        let path = std::env::var("PATH").unwrap_or_default();
        let shell = self.work.other_program("/bin/sh", &["-c", script]);
        shell
            .env("PATH", &format!("{}:{path}", program.display()))
            .env("HOME", self.work.path().to_str().expect("UTF-8"))
            // The user may have no name.
            .env("USER", &getuid().to_string())
    }

    /// Runs a line of an `sh` block.
    fn run(&mut self, line: &Line) -> Ended {
        let command = self.put_in(line.command);
        log_case(&command);
        if line.command.starts_with("export ") {
            self.before.push_str(&command);
            self.before.push('\n');
        }
        let ended = if line.runs_until_interrupted {
            self.interrupt(&command)
        } else {
            self.shell(&format!("{}{command}", self.before)).run()
        };
        let ended = ended.expect(line.code);
        if line.command.contains(".env.example") {
            self.edit_settings();
        }
        ended
    }

    /// Runs a program until its first output, then sends SIGINT.
    fn interrupt(&self, command: &str) -> Ended {
        let words = self.work.path().join("words");
        let running = self.shell(&format!("{}exec {command} >words", self.before)).start();
        eventually(WAIT, "it says something", || fs::metadata(&words).is_ok_and(|file| file.len() > 0));
        running.signal(Signal::SIGINT);
        running.finish()
    }

    /// The manual steps of the page.
    fn edit_settings(&self) {
        let path = self.work.path().join("srv/kills/.env");
        let mode = fs::metadata(&path).expect("settings").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&path).expect("settings");
        let edit = |line: &str| match line.strip_prefix("DATABASE_URL=") {
            Some(_) => format!("DATABASE_URL='{}'\n", self.database.url()),
            None => format!("{line}\n"),
        };
        fs::write(&path, text.lines().map(edit).collect::<String>()).expect("settings");
    }

    /// Runs an entry as cron does: without exported variables, with a short PATH. Output would be mailed. First there is no
    /// dump, then a new one, then no new one.
    fn run_by_cron(&self, entry: &str) {
        let fields: Vec<&str> = entry.split_whitespace().take(5).collect();
        assert!(fields.iter().all(|field| field.chars().all(|c| "0123456789*/,-".contains(c))), "{entry}");
        let command = entry.splitn(7, ' ').last().expect("a command").trim();
        let installed = self.work.path().join(".cargo/bin");
        fs::create_dir_all(&installed).expect("a directory");
        symlink(env!("CARGO_BIN_EXE_aegis-kills"), installed.join("aegis-kills")).expect("a link");
        let dumps = self.work.path().join("srv/kills/dumps");
        for run in 0..3 {
            if run == 1 {
                fs::rename(self.work.path().join(DAY), dumps.join(DAY)).expect("a moved dump");
            }
            let ended = self.shell(&self.put_in(command)).env("PATH", "/usr/bin:/bin").expect(0);
            assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
        }
    }

    /// Each short query answers for a player, a guild and a battle that exist.
    fn query(&self, block: &Block) {
        let mut client = self.database.client();
        let mut names = Vec::new();
        for line in &block.lines {
            let (sql, name) = line.split_once(" -- ").expect("a query and its name");
            let one = |client: &mut postgres::Client, sql: &str| -> String {
                client.query_one(sql, &[]).expect("a row").get(0)
            };
            let mut sql = sql.to_owned();
            for (word, column, from) in [
                ("PLAYER", "killer_id", "kill_event"),
                ("GUILD", "guild_id", "kill_player where role = 'killer' and guild_id is not null"),
                ("1300000001", "battle_id::text", "kill_event where battle_id is not null"),
            ] {
                sql = sql.replace(word, &one(&mut client, &format!("select {column} from {from} limit 1")));
            }
            log_case(&sql);
            assert!(!client.query(&sql, &[]).expect("an answer").is_empty());
            names.push(name.trim());
        }
        assert_eq!(names, ["feed", "player", "guild", "battle", "builds", "loot"]);
    }
}

/// Checks an answer that the page shows outside of a block.
#[track_caller]
fn check_answer(command: &str, answer: &str, page: &str) {
    if command.contains("queries.sql") {
        let answers = answer.matches(" rows)").count() + answer.matches("(1 row)").count();
        // Generated guilds have no feuds.
        let empty = answer.matches("(0 rows)").count();
        assert!(answers >= 18 && empty <= 1, "{answers} answers, {empty} of them empty: {answer}");
    }
    if command.starts_with("aegis-kills verify ") {
        let outcome = answer.lines().next().expect("an outcome");
        assert!(page.contains(&format!("`{outcome}`")), "{outcome}");
    }
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output_in_time().is_ok()
}

/// Bypasses the test harness, which captures the output of passing tests.
fn not_tried(command: &str, lacking: &str) {
    let words = format!("NOT TRIED: {command}: {lacking} is not installed\n");
    std::io::stderr().write_all(words.as_bytes()).expect("standard error");
}

#[test]
fn each_command_of_the_readme_works() {
    let database = Cluster::shared().database("readme");
    let mut reader = Reader::new(&database);
    let dumps = Dumps::new();
    dumps.write(&reader.work);
    let text = fs::read_to_string(root().join("README.md")).expect("the page");
    for (shown, _) in &reader.substitutes {
        assert!(text.contains(shown), "{shown}");
    }
    let (mut unrun, mut outputs) = (Vec::new(), 0);
    // The output of the last command, or none if there was none or it could not run.
    let mut last: Option<Ended> = None;
    for block in blocks(&text) {
        match block.kind {
            "sh" => {
                for line in block.commands() {
                    let lacking = OPTIONAL.into_iter().find(|name| line.calls(name) && !is_there(name));
                    if let Some(entry) = unrun::find(line.command) {
                        entry.check(root());
                        unrun.push(entry.command);
                        last = entry.instead.map(|command| reader.run(&Line::new(command))).or(last);
                    } else if let Some(lacking) = lacking {
                        not_tried(line.command, lacking);
                        last = None;
                    } else {
                        last = Some(reader.run(&line));
                        check_answer(line.command, &last.as_ref().expect("a run").stdout, &text);
                    }
                }
            }
            "crontab" => block.lines.iter().for_each(|entry| reader.run_by_cron(entry)),
            "text" if block.is_output => {
                let ended = last.take().expect("what is shown is of a command that every machine can run");
                assert!(has_gist(&ended.stdout, &block.lines), "{block:?}\n{}", ended.stdout);
                outputs += 1;
            }
            "text" => {}
            "sql" => reader.query(&block),
            other => panic!("line {}: a block of {other:?}", block.number),
        }
    }
    assert_eq!(outputs, 1);
    assert_eq!(unrun, unrun::UNRUN.map(|entry| entry.command), "what is on the list is on the page");
    let expected = expect(&dumps.all(), Nul::Reject).tables;
    assert_same(&expected, &read_tables(&mut database.client(), "public", "europe"));
}
