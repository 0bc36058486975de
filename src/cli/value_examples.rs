//! Examples of the values of arguments, for hints.

/// A valid value of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValueExample {
    /// The long name of the option, without hyphens, or the name of a positional argument.
    name: &'static str,
    pub(crate) value: &'static str,
    /// The valid values.
    pub(crate) wanted: &'static str,
}

/// A test compares them with the arguments of all commands.
const EXAMPLES: [ValueExample; 22] = [
    example("server", "europe", "possible values: americas, europe, asia"),
    example("layout", "archive", "possible values: archive, aegis"),
    example("nul", "strip", "possible values: reject, strip, replace"),
    example("on-conflict", "update", "possible values: skip, update"),
    example("distributed", "citus", "possible values: citus"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::server::Server;
    use crate::layout::Layout;

    #[test]
    fn all_servers_and_layouts_are_named() {
        let servers = Server::ALL.map(Server::name).join(", ");
        let layouts = Layout::ALL.map(Layout::name).join(", ");
        for (option, values) in [("server", servers), ("layout", layouts)] {
            let wanted = example_of(option).map(|example| example.wanted);
            assert_eq!(wanted, Some(&*format!("possible values: {values}")));
        }
    }
}
