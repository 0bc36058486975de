//! Examples of the values of arguments, for hints, and the possible values of options.

use crate::event::server::Server;
use crate::layout::Layout;

/// A valid value of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValueExample {
    /// The long name of the option, without hyphens, or the name of a positional argument.
    name: &'static str,
    pub(crate) value: &'static str,
    /// The valid values; empty if [`possible_values`] lists them.
    wanted: &'static str,
}

impl ValueExample {
    /// The valid values.
    pub(crate) fn wanted(self) -> String {
        match &possible_values(self.name)[..] {
            [] => self.wanted.to_owned(),
            values => format!("possible values: {}", values.join(", ")),
        }
    }
}

/// The values of an option that has only a few. Empty for other options.
pub(crate) fn possible_values(option: &str) -> Vec<&'static str> {
    match option {
        "server" => Server::ALL.map(Server::name).to_vec(),
        "layout" => Layout::ALL.map(Layout::name).to_vec(),
        "nul" => vec!["reject", "strip", "replace"],
        "on-conflict" => vec!["skip", "update"],
        "distributed" => vec!["citus"],
        _ => Vec::new(),
    }
}

/// A test compares them with the arguments of all commands.
const EXAMPLES: [ValueExample; 22] = [
    example("server", "europe", ""),
    example("layout", "archive", ""),
    example("nul", "strip", ""),
    example("on-conflict", "update", ""),
    example("distributed", "citus", ""),
    example("events-at", "data.events", "expected keys joined by dots"),
    example("battle", "from-name", "expected a battle id, or from-name"),
    example("max-rejects", "1%", "expected a number or a percentage"),
    example("rejects", "rejects.ndjson", "expected a file"),
    example("metrics-file", "kills.prom", "expected a file"),
    example("listen", "8080", "expected an address and port, or a bare port"),
    example("database-url", "postgresql://user@host:5432/database", "expected a URL"),
    example("embedded", "~/kills", "expected a directory"),
    example("schema", "kills", "expected a name"),
    example("ledger-schema", "aegis_kills", "expected a name"),
    example("before", "90d", "expected a date, a time or an age"),
    example("events", "10000", "expected a whole number such as 10000"),
    example("seed", "7", "expected a whole number such as 7"),
    example("overlap", "5", "expected a number from 0 to 50"),
    example("dir", "~/man", "expected a directory"),
    example("DIR", "~/kills", "expected a directory"),
    example("SHELL", "bash", "possible values: bash, elvish, fish, powershell, zsh"),
];

const fn example(name: &'static str, value: &'static str, wanted: &'static str) -> ValueExample {
    ValueExample { name, value, wanted }
}

/// The example for an argument of this name; see [`ValueExample`].
pub(crate) fn example_of(name: &str) -> Option<ValueExample> {
    EXAMPLES.into_iter().find(|example| example.name == name)
}
