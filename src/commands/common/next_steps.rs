//! Builds the commands that reports suggest, with the options of the current command.
//!
//! Invariant: a suggested command contains no secret. A URL that may hold one besides the password is replaced by a
//! placeholder, and the user must insert it.

use crate::cli::{DatabaseArgs, DeleteArgs, EventArgs, LoadArgs, VerifyArgs};
use crate::conceal::{CONCEALED, is_connection_string};
use crate::database::connect::shown_url::{without_login, without_password};
use crate::database::schema::inspect::OWNER_APPLY;
use crate::database::schema::misfits::RESTORE;
use crate::event::rules::battle_in_name;
use crate::input::convert::PipedCommand;
use crate::input::source::Source;
use crate::report::summary::{AdvisedCommands, NextCommands};
use crate::settings::environment::Environment;
use crate::shell::shell_quoted;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

/// The commands to run after a load.
pub(crate) fn commands(args: &LoadArgs, env: Environment<'_>) -> NextCommands {
    let real = LoadArgs { dry_run: false, ..args.clone() };
    let unlimited = LoadArgs { max_rejects: Some("100%".to_owned()), ..args.clone() };
    // The reject file must not be read and written at once.
    let rejects_given = args.rejects.clone().or_else(|| env.get("KILLS_REJECTS_FILE").map(Into::into));
    let rejects = rejects_given.map(|path| path.with_added_extension("again"));
    let verify = || Typed::of_events("verify", &args.database, &args.event, env).paths(&args.files).done();
    NextCommands {
        again: load_again(args, env),
        unlimited: load_again(&unlimited, env),
        load: load_again(&real, env),
        load_rejects: load(&LoadArgs { rejects, ..real }, env).done(),
        verify: (!reads_stream(&args.files)).then(verify),
        health: Typed::new("health", &args.database, env, without_password)
            .option("--layout", args.event.layout.as_deref(), env.get("KILLS_LAYOUT"))
            .done(),
        directory: directory(),
        ..NextCommands::default()
    }
}

/// The directory in which suggested commands work, quoted for a shell, as their paths and `.env` can be relative. None if
/// standard output is a terminal, or if the directory is unknown.
pub(crate) fn directory() -> Option<String> {
    if io::stdout().is_terminal() {
        return None;
    }
    std::env::current_dir().ok().map(|directory| quoted(directory.as_os_str()))
}

/// This program as it was called, quoted for a shell.
pub(crate) fn own_program() -> String {
    quoted(&std::env::args_os().next().unwrap_or_else(|| "aegis-kills".into()))
}

fn reads_stream(files: &[PathBuf]) -> bool {
    files.is_empty() || files.iter().any(|file| Source::from(file.as_path()).is_stream())
}

/// The commands of a load with another `--events-at`.
pub(crate) fn advised(args: &LoadArgs, env: Environment<'_>, events_at: &str) -> AdvisedCommands {
    let event = EventArgs { events_at: Some(events_at.to_owned()), ..args.event.clone() };
    let NextCommands { again, load_rejects, .. } = commands(&LoadArgs { event, ..args.clone() }, env);
    AdvisedCommands { again, load_rejects }
}

/// A load with the options of this load, without the files.
fn load(args: &LoadArgs, env: Environment<'_>) -> Typed {
    Typed::of_events("load", &args.database, &args.event, env)
        .option("--on-conflict", args.on_conflict.as_deref(), env.get("KILLS_ON_CONFLICT"))
        .flag("--force", args.force)
        .flag("--reread", args.reread)
        .path("--rejects", args.rejects.as_deref())
        .path("--metrics-file", args.metrics_file.as_deref())
        .option("--listen", args.listen.as_deref(), None)
        .option("--max-rejects", args.max_rejects.as_deref(), None)
        .flag("--dry-run", args.dry_run)
}

/// The command that repeats a load.
pub(crate) fn load_again(args: &LoadArgs, env: Environment<'_>) -> String {
    load(args, env).paths(&args.files).done()
}

/// A load of converted input with the options of this load, for input errors.
pub(crate) fn piped_load(args: &LoadArgs, env: Environment<'_>) -> PipedCommand {
    let command = piped(load(args, env).flag("--json", args.json).done());
    if args.dry_run {
        return command;
    }
    let delete = Typed::of_events("delete", &args.database, &args.event, env);
    command.with_damage_advice(move |input| {
        let delete = match input {
            Source::File(path) if !input.is_stream() => delete.clone().paths([path]).done(),
            Source::File(_) | Source::Stdin => format!("… | {}", delete.clone().paths(["-"]).done()),
        };
        format!(
            "everything before that was read, but some of it may be wrong, even event ids; get an intact copy, and \
             before you load it, delete the events of this one with: {delete}"
        )
    })
}

/// The deletion of the events of these inputs of a load, where `-` is standard input.
pub(crate) fn delete_of(args: &LoadArgs, env: Environment<'_>, dumps: &[&Path]) -> String {
    Typed::of_events("delete", &args.database, &args.event, env).paths(dumps).done()
}

/// A verification with the options of this one, without the files.
fn verify(args: &VerifyArgs, env: Environment<'_>) -> Typed {
    Typed::of_events("verify", &args.database, &args.event, env).flag("--ids-only", args.ids_only)
}

/// A verification of converted input, for input errors.
pub(crate) fn piped_verify(args: &VerifyArgs, env: Environment<'_>) -> PipedCommand {
    piped(verify(args, env).flag("--json", args.json).done())
}

/// Replaces `--battle from-name` by the battle id, because standard input has no name.
fn piped(command: String) -> PipedCommand {
    PipedCommand::new(move |input| match battle_in_name(input) {
        Some(battle) => command.replace(" --battle from-name", &format!(" --battle {battle}")),
        None => command.clone(),
    })
}

/// A load into the tables of a verification, without the files.
pub(crate) fn load_of_verified(args: &VerifyArgs, env: Environment<'_>) -> String {
    Typed::of_events("load", &args.database, &args.event, env).done()
}

/// The command that repeats a verification.
pub(crate) fn verify_again(args: &VerifyArgs, env: Environment<'_>) -> String {
    let command = verify(args, env).paths(&args.files).done();
    if reads_stream(&args.files) { format!("… | {command}") } else { command }
}

/// A deletion with the options of this one, without the files.
fn delete(args: &DeleteArgs, env: Environment<'_>) -> Typed {
    Typed::of_events("delete", &args.database, &args.event, env)
        .option("--before", args.before.as_deref(), None)
        .flag("--dry-run", args.dry_run)
}

/// The command that repeats a deletion.
pub(crate) fn delete_again(args: &DeleteArgs, env: Environment<'_>) -> String {
    let command = delete(args, env).paths(&args.files).done();
    // Without dumps it reads no input.
    let is_piped = !args.files.is_empty() && reads_stream(&args.files);
    if is_piped { format!("… | {command}") } else { command }
}

/// Adds the options of the run to the commands that the database module suggests.
#[derive(Debug, Clone)]
pub(crate) struct SchemaHints {
    apply: String,
    /// In place of [`OWNER_APPLY`]. Without the login, as another role runs it.
    owner_apply: String,
    print: String,
    restore: String,
}

/// The commands in texts of the database module.
const APPLY: &str = "aegis-kills schema apply";
const PRINT: &str = "aegis-kills schema print";

impl SchemaHints {
    pub(crate) fn new(database: &DatabaseArgs, layout: Option<&str>, env: Environment<'_>) -> Self {
        let of_layout = |command: Typed| command.option("--layout", layout, env.get("KILLS_LAYOUT")).done();
        let typed = |command: &str| of_layout(Typed::new(command, database, env, without_password));
        let restore = format!("{} --server NAME --on-conflict update FILE…", typed("load"));
        let owner_apply = of_layout(Typed::new("schema apply", database, env, without_login));
        let login = login_variable(database, env)
            .map(|variable| format!(", with the owner's login in {variable}"))
            .unwrap_or_default();
        let owner_apply = format!("in a shell as the owner{login}: {owner_apply}");
        Self { apply: typed("schema apply"), owner_apply, print: typed("schema print"), restore }
    }

    pub(crate) fn of_load(args: &LoadArgs, env: Environment<'_>) -> Self {
        let updating = LoadArgs { on_conflict: Some("update".to_owned()), ..args.clone() };
        let restore = load_again(&updating, env);
        Self { restore, ..Self::new(&args.database, args.event.layout.as_deref(), env) }
    }

    /// Replaces each command in a text of the database module.
    pub(crate) fn fill(&self, text: &str) -> String {
        let filled = |part: &str| {
            part.replace(APPLY, &self.apply).replace(PRINT, &self.print).replace(RESTORE, &self.restore)
        };
        // In parts, because a replaced command may contain the command without options.
        text.split(OWNER_APPLY).map(filled).collect::<Vec<_>>().join(&self.owner_apply)
    }
}

/// The variable from which the role comes. The command of the owner cannot omit it.
fn login_variable(database: &DatabaseArgs, env: Environment<'_>) -> Option<&'static str> {
    let url = if database.database_url.is_none() { env.get("DATABASE_URL") } else { None };
    if url.is_some_and(|url| without_login(&url).as_deref() != Some(url.trim())) {
        return Some("DATABASE_URL");
    }
    env.get("PGUSER").map(|_| "PGUSER")
}

/// A deletion of the events of converted input, for input errors.
pub(crate) fn piped_delete(args: &DeleteArgs, env: Environment<'_>) -> PipedCommand {
    let command = piped(delete(args, env).flag("--json", args.json).done());
    if args.dry_run {
        return command;
    }
    command.with_damage_advice(|_| {
        "all events before that, as they were read, are deleted; get an intact copy, and load it".to_owned()
    })
}

/// A shell command.
#[derive(Clone)]
struct Typed(String);

impl Typed {
    /// A command with the database. `shown` returns the form of a URL that the text can have, if there is one.
    fn new(
        command: &str,
        args: &DatabaseArgs,
        env: Environment<'_>,
        shown: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let begun = Self(format!("{} {command}", own_program()));
        let begun = match args.database_url.as_deref().map(shown) {
            Some(Some(url)) => begun.word("--database-url").word(&shell_quoted(&url)),
            Some(None) => begun.option("--database-url", Some(CONCEALED), None),
            None => begun,
        };
        let embedded = match &args.database_url {
            Some(_) => None,
            None => args.embedded.clone().or_else(|| env.get("KILLS_EMBEDDED").map(Into::into)),
        };
        begun
            .path("--embedded", embedded.as_deref())
            .option(
                "--schema",
                args.schema.as_deref().map(str::trim),
                env.get("DATABASE_SCHEMA").map(|name| name.trim().to_owned()),
            )
            .option("--ledger-schema", args.ledger_schema.as_deref(), env.get("KILLS_LEDGER_SCHEMA"))
    }

    fn of_events(command: &str, database: &DatabaseArgs, event: &EventArgs, env: Environment<'_>) -> Self {
        Self::new(command, database, env, without_password)
            .option("--server", event.server.as_deref(), env.get("ALBION_SERVER"))
            .events_at(event.events_at.clone().or_else(|| env.get("KILLS_EVENTS_AT")))
            .option("--battle", event.battle.as_deref(), None)
            .option("--layout", event.layout.as_deref(), env.get("KILLS_LAYOUT"))
            .option("--nul", event.nul.as_deref(), env.get("KILLS_NUL"))
    }

    /// The finished command.
    fn done(self) -> String {
        self.0
    }

    fn word(mut self, word: &str) -> Self {
        self.0.push(' ');
        self.0.push_str(word);
        self
    }

    /// Adds an option from the command line or its variable, because a variable may be set only for this one command.
    fn option(self, name: &str, typed: Option<&str>, set: Option<String>) -> Self {
        match typed.map(str::to_owned).or(set) {
            Some(value) => self.valued(name, &value),
            None => self,
        }
    }

    fn path(self, name: &str, path: Option<&Path>) -> Self {
        match path {
            Some(path) => self.valued(name, &path.to_string_lossy()),
            None => self,
        }
    }

    /// After white space, a value that begins with a hyphen would be read as an option.
    fn valued(self, name: &str, value: &str) -> Self {
        let separator = if value.starts_with('-') { '=' } else { ' ' };
        self.word(&format!("{name}{separator}{}", shell_quoted(value)))
    }

    fn flag(self, name: &str, is_set: bool) -> Self {
        if is_set { self.word(name) } else { self }
    }

    fn events_at(self, path: Option<String>) -> Self {
        match path {
            // Only the variable has it, because it could be a misplaced password. An unset one is an error of the shell.
            Some(path) if is_connection_string(&path) => {
                self.word("--events-at=\"${KILLS_EVENTS_AT:?set it to the path, which looks like a login}\"")
            }
            path => self.option("--events-at", path.as_deref(), None),
        }
    }

    /// Adds the inputs. Those that cannot be read again are one `-`, as the user must provide them.
    fn paths(self, files: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        let shown = |file: &OsStr| {
            let is_stream = Source::from(Path::new(file)).is_stream();
            if is_stream { OsString::from("-") } else { file.to_owned() }
        };
        let mut files: Vec<OsString> = files.into_iter().map(|file| shown(file.as_ref())).collect();
        files.dedup_by(|next, file| next == file && file.as_os_str() == "-");
        let is_option_like = |file: &OsString| file.to_string_lossy().starts_with('-') && file != "-";
        let begin = self.flag("--", files.iter().any(is_option_like));
        files.iter().fold(begin, |command, file| command.word(&quoted(file)))
    }
}

fn quoted(word: &OsStr) -> String {
    shell_quoted(&word.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_the_owner_lacks_the_login() {
        let database = DatabaseArgs {
            database_url: Some("postgresql://me:secret@db/kills".to_owned()),
            schema: Some("a b".to_owned()),
            ..DatabaseArgs::default()
        };
        let hints = SchemaHints::new(&database, None, Environment(&|_| None));
        let text = hints.fill(&format!("run {OWNER_APPLY}; run: {APPLY} --distributed citus"));
        let (of_owner, own) = text.split_once("; run: ").expect("two commands");
        let ends = [
            (of_owner, " schema apply --database-url 'postgresql:///kills?host=db' --schema 'a b'"),
            (
                own,
                " schema apply --database-url 'postgresql:///kills?user=me&host=db' --schema 'a b' --distributed citus",
            ),
        ];
        for (command, end) in ends {
            assert!(command.ends_with(end), "{command}");
        }
        assert!(of_owner.starts_with("run in a shell as the owner: "), "{of_owner}");
    }

    /// Otherwise the same command would fail again.
    #[test]
    fn the_command_for_the_owner_needs_a_login_in_the_variable_of_the_role() {
        for (name, value, place) in [
            ("DATABASE_URL", "postgresql://me@db/kills", ", with the owner's login in DATABASE_URL"),
            ("DATABASE_URL", "postgresql://db/kills", ""),
            ("PGUSER", "me", ", with the owner's login in PGUSER"),
        ] {
            let variables = |wanted: &str| (wanted == name).then(|| value.to_owned());
            let hints = SchemaHints::new(&DatabaseArgs::default(), None, Environment(&variables));
            let expected = format!("run in a shell as the owner{place}: {} schema apply", own_program());
            assert_eq!(hints.fill(&format!("run {OWNER_APPLY}")), expected);
        }
    }

    #[test]
    fn values_that_begin_with_a_hyphen_stay_values() {
        let command = Typed("load".to_owned()).option("--schema", Some("-a b"), None).path("--rejects", None);
        let command =
            command.path("--metrics-file", Some(Path::new("--m"))).option("--nul", Some("strip"), None);
        assert_eq!(command.done(), "load --schema='-a b' --metrics-file=--m --nul strip");
    }
}
