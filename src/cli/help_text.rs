//! Texts after the options in the help: examples, variables, exit codes.

use crate::cli::variables_help::variables_help;
use crate::exit::exit_codes_help;

/// The commands, for the argument of `man`.
pub(crate) const COMMANDS: [&str; 9] =
    ["load", "verify", "delete", "health", "schema", "embedded", "generate", "completions", "man"];

/// After the program's short help.
pub(crate) const START: &str = "\
Start, with the database of DATABASE_URL or with a private one in a directory:
  aegis-kills load --server europe dump.ndjson
  aegis-kills load --server europe --embedded ~/kills dump.ndjson

'aegis-kills COMMAND --help' shows all options of a command, 'aegis-kills man COMMAND | man -l -' its manual page.";

/// After the program's long help.
pub(crate) fn start_and_codes() -> String {
    START.replace("\n\n", &format!("\n\n{}\n\n", exit_codes_help()))
}

pub(crate) const LOAD: &str = "\
Examples:
  zcat kills-*.ndjson.gz | aegis-kills load --server europe
  aegis-kills load --server americas --json /var/dumps/*.ndjson.zst
  aegis-kills load --server europe --embedded ~/kills dump.ndjson";

pub(crate) fn load_long() -> String {
    let dry_run = "  aegis-kills load --dry-run --server europe dump.ndjson";
    let rejects = "  aegis-kills load --server europe rejects-*.ndjson";
    format!("{LOAD}\n{dry_run}\n{rejects}\n\n{}", variables_help())
}

pub(crate) const VERIFY: &str = "\
Examples:
  aegis-kills verify --server europe kills-*.ndjson.gz
  aegis-kills verify --json --server europe dump.ndjson | jq .missing_ids";

pub(crate) const DELETE: &str = "\
Examples:
  aegis-kills delete --server europe --before 2025-01-01 --dry-run
  aegis-kills delete --server europe --before 90d
  aegis-kills delete --server americas wrong-server.ndjson.gz";

pub(crate) const HEALTH: &str = "\
Examples:
  aegis-kills health
  aegis-kills health --json | jq .recommendations";

pub(crate) const SCHEMA: &str = "\
Examples:
  aegis-kills schema print --layout aegis | less
  aegis-kills schema apply --schema kills
  aegis-kills schema apply --distributed citus";

pub(crate) const EMBEDDED: &str = "\
Examples:
  aegis-kills embedded start ~/kills
  psql \"$(aegis-kills embedded url ~/kills)\"
  aegis-kills embedded status ~/kills
  aegis-kills embedded stop ~/kills";

pub(crate) const STATUS: &str = "\
Exit codes:
  0  running
  6  stopped, or the server crashed
  2  no private PostgreSQL in this directory";

pub(crate) const GENERATE: &str = "\
Examples:
  aegis-kills generate --events 20000 > dump.ndjson
  aegis-kills generate --events 1000 --seed 7 | aegis-kills load --server americas --embedded ~/kills";

pub(crate) const COMPLETIONS: &str = "\
Install, then start a new shell. bash with the package bash-completion:
  mkdir -p ~/.local/share/bash-completion/completions
  aegis-kills completions bash > ~/.local/share/bash-completion/completions/aegis-kills

bash without it:
  grep -qs 'aegis-kills completions' ~/.bashrc ||
    echo 'source <(aegis-kills completions bash)' >> ~/.bashrc

zsh:
  mkdir -p ~/.zfunc
  aegis-kills completions zsh > ~/.zfunc/_aegis-kills
  grep -qs zfunc ~/.zshrc ||
    echo 'fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit' >> ~/.zshrc

fish:
  mkdir -p ~/.config/fish/completions
  aegis-kills completions fish > ~/.config/fish/completions/aegis-kills.fish";

pub(crate) const MAN: &str = "\
Examples:
  aegis-kills man load | man -l -
  aegis-kills man --dir ~/.local/share/man/man1
  sudo \"$(command -v aegis-kills)\" man --dir /usr/local/share/man/man1";
