//! Builds the commands that reports suggest, with the options of the current command.
//!
//! Invariant: a suggested command contains no secret. A URL with a password is replaced by a placeholder, and the user must
//! insert it.

use crate::cli::{DatabaseArgs, DeleteArgs, EventArgs, LoadArgs, VerifyArgs};
use crate::database::connect::holds_password;
use crate::error_chain::concealed;
use crate::input::convert::PipedCommand;
use crate::pipeline::prepare::preparer::battle_in_name;
use crate::report::summary::NextCommands;
use crate::settings::environment::Environment;
use crate::shell::shell_quoted;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The commands to run after a load.
pub(crate) fn commands(args: &LoadArgs, env: Environment<'_>) -> NextCommands {
    let reads_stdin = args.files.is_empty() || args.files.iter().any(|file| file == Path::new("-"));
    let typed = |name: &str| Typed::new(name, &args.database, env);
    let of_events = |name: &str| typed(name).of_events(&args.event, env);
    let load = |rejects: Option<&OsStr>| of_events("load").with_load_args(args, env, rejects);
    let rejects = args.rejects.as_ref().map(|path| path.as_os_str());
    let max_rejects = args.max_rejects.as_deref();
    let same = || load(rejects).option("--max-rejects", max_rejects, None);
    // The reject file must not be read and written at once.
    let rejects_given = args.rejects.clone().or_else(|| env.get("KILLS_REJECTS_FILE").map(Into::into));
    let rejects_again = rejects_given.map(|path| path.with_added_extension("again"));
    NextCommands {
        again: same().flag("--dry-run", args.dry_run).files(args).0,
        unlimited: load(rejects)
            .option("--max-rejects", Some("100%"), None)
            .flag("--dry-run", args.dry_run)
            .files(args)
            .0,
        load: same().files(args).0,
        load_piped: load(rejects_again.as_ref().map(|path| path.as_os_str()))
            .option("--max-rejects", max_rejects, None)
            .0,
        verify: (!reads_stdin).then(|| of_events("verify").files(args).0),
        health: typed("health").option("--layout", args.event.layout.as_deref(), env.get("KILLS_LAYOUT")).0,
    }
}

/// A load of converted input with the options of this load, for input errors.
pub(crate) fn piped_load(args: &LoadArgs, env: Environment<'_>) -> PipedCommand {
    let rejects = args.rejects.as_ref().map(|path| path.as_os_str());
    let command = Typed::new("load", &args.database, env)
        .of_events(&args.event, env)
        .with_load_args(args, env, rejects)
        .option("--max-rejects", args.max_rejects.as_deref(), None)
        .flag("--dry-run", args.dry_run)
        .flag("--json", args.json);
    piped(command.0)
}

/// A verification of converted input, for input errors.
pub(crate) fn piped_verify(args: &VerifyArgs, env: Environment<'_>) -> PipedCommand {
    let command = Typed::new("verify", &args.database, env)
        .of_events(&args.event, env)
        .flag("--ids-only", args.ids_only)
        .flag("--json", args.json);
    piped(command.0)
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
    Typed::new("load", &args.database, env).of_events(&args.event, env).0
}

/// The command that repeats a deletion.
pub(crate) fn delete_again(args: &DeleteArgs, env: Environment<'_>) -> String {
    Typed::new("delete", &args.database, env)
        .of_events(&args.event, env)
        .option("--before", args.before.as_deref(), None)
        .flag("--dry-run", args.dry_run)
        .paths(&args.files)
        .0
}

/// Adds the options of the run to the `schema` commands that other parts suggest.
#[derive(Debug, Clone)]
pub(crate) struct SchemaHints {
    apply: String,
    print: String,
}

/// The commands in texts of the database module.
const APPLY: &str = "aegis-kills schema apply";
const PRINT: &str = "aegis-kills schema print";

impl SchemaHints {
    pub(crate) fn new(database: &DatabaseArgs, layout: Option<&str>, env: Environment<'_>) -> Self {
        let typed = |command: &str| {
            Typed::new(command, database, env).option("--layout", layout, env.get("KILLS_LAYOUT")).0
        };
        Self { apply: typed("schema apply"), print: typed("schema print") }
    }

    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace(APPLY, &self.apply).replace(PRINT, &self.print)
    }
}

/// A deletion of the events of converted input, for input errors.
pub(crate) fn piped_delete(args: &DeleteArgs, env: Environment<'_>) -> PipedCommand {
    let command = Typed::new("delete", &args.database, env)
        .of_events(&args.event, env)
        .flag("--dry-run", args.dry_run)
        .flag("--json", args.json);
    piped(command.0)
}

/// A shell command.
struct Typed(String);

impl Typed {
    fn new(command: &str, args: &DatabaseArgs, env: Environment<'_>) -> Self {
        let program = std::env::args_os().next().unwrap_or_else(|| "aegis-kills".into());
        Self(format!("{} {command}", quoted(&program))).of_database(args, env)
    }

    fn word(mut self, word: &str) -> Self {
        self.0 = format!("{} {word}", self.0);
        self
    }

    /// Adds an option from the command line or its variable, because a variable may be set only for this one command.
    fn option(self, name: &str, typed: Option<&str>, set: Option<String>) -> Self {
        match typed.map(str::to_owned).or(set) {
            Some(value) => self.word(name).word(&shell_quoted(&value)),
            None => self,
        }
    }

    fn path(self, name: &str, path: Option<&OsStr>) -> Self {
        match path {
            Some(path) => self.word(name).word(&quoted(path)),
            None => self,
        }
    }

    fn flag(self, name: &str, is_set: bool) -> Self {
        if is_set { self.word(name) } else { self }
    }

    fn of_database(self, args: &DatabaseArgs, env: Environment<'_>) -> Self {
        let is_secret = |url: &str| holds_password(url) || url.to_lowercase().contains("password");
        let url = args.database_url.as_deref().map(|url| if is_secret(url) { "postgresql://…" } else { url });
        let embedded = match &url {
            Some(_) => None,
            None => args.embedded.clone().or_else(|| env.get("KILLS_EMBEDDED").map(Into::into)),
        };
        self.option("--database-url", url, None)
            .path("--embedded", embedded.as_ref().map(|path| path.as_os_str()))
            .option(
                "--schema",
                args.schema.as_deref().map(str::trim),
                env.get("DATABASE_SCHEMA").map(|name| name.trim().to_owned()),
            )
            .option("--ledger-schema", args.ledger_schema.as_deref(), env.get("KILLS_LEDGER_SCHEMA"))
    }

    fn of_events(self, event: &EventArgs, env: Environment<'_>) -> Self {
        self.option("--server", event.server.as_deref(), env.get("ALBION_SERVER"))
            .option("--events-at", event.events_at.as_deref(), env.get("KILLS_EVENTS_AT"))
            .option("--battle", event.battle.as_deref(), None)
            .option("--layout", event.layout.as_deref(), env.get("KILLS_LAYOUT"))
            .option("--nul", event.nul.as_deref(), env.get("KILLS_NUL"))
    }

    fn with_load_args(self, args: &LoadArgs, env: Environment<'_>, rejects: Option<&OsStr>) -> Self {
        self.option("--on-conflict", args.on_conflict.as_deref(), env.get("KILLS_ON_CONFLICT"))
            .flag("--force", args.force)
            .flag("--reread", args.reread)
            .path("--rejects", rejects)
            .path("--metrics-file", args.metrics_file.as_ref().map(|path| path.as_os_str()))
            .option("--listen", args.listen.as_deref(), None)
    }

    fn files(self, args: &LoadArgs) -> Self {
        self.paths(&args.files)
    }

    fn paths(self, files: &[PathBuf]) -> Self {
        let is_option_like =
            |file: &&PathBuf| file.to_string_lossy().starts_with('-') && *file != Path::new("-");
        let begin = self.flag("--", files.iter().any(|file| is_option_like(&file)));
        files.iter().fold(begin, |command, file| command.word(&quoted(file.as_os_str())))
    }
}

fn quoted(word: &OsStr) -> String {
    // The word can be a URL in the wrong place.
    shell_quoted(&concealed(&word.to_string_lossy()))
}
