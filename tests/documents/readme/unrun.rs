//! The commands of README.md that a test cannot run, and the check that replaces each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::process::Supervised as _;

/// A command that is not run.
pub(crate) struct Unrun {
    pub(crate) command: &'static str,
    /// The reason.
    why: &'static str,
    look: Look,
    /// A command with the same output, as far as the page shows it.
    pub(crate) instead: Option<&'static str>,
}

/// How to check that the command exists.
enum Look {
    /// A script, and a harmless way to run it: arguments, exit code, expected output.
    Script(&'static [&'static str], i32, &'static str),
    /// A cargo subcommand, and the text that the manifest, or the file that it is about, must have.
    Cargo(&'static str, &'static str),
}

/// In the order of the page.
pub(crate) const UNRUN: [Unrun; 2] = [
    Unrun {
        command: "scripts/quickstart",
        why: "builds a release; .ci/run runs it",
        look: Look::Script(&["no"], 1, "takes no arguments"),
        instead: Some(
            "aegis-kills generate --events 2000 --seed 7 | aegis-kills load --embedded ~/quickstart --server americas",
        ),
    },
    Unrun {
        command: "cargo install --locked --path .",
        why: "builds a release, and writes into the home of who runs the tests; .ci/run runs it",
        look: Look::Cargo("src/main.rs", "fn main()"),
        instead: None,
    },
];

pub(crate) fn find(command: &str) -> Option<&'static Unrun> {
    const { &UNRUN }.iter().find(|entry| entry.command == command)
}

impl Unrun {
    /// Checks the script or the manifest's entry, and tries its options if that is cheap.
    pub(crate) fn check(&self, root: &Path) {
        let (command, args, code, words) = match self.look {
            Look::Script(args, code, words) => {
                let script = root.join(self.command);
                let mode = fs::metadata(&script).expect("the script").permissions().mode();
                assert_eq!(mode & 0o111, 0o111, "{} can be run", self.command);
                (vec![script.into_os_string()], args, code, words)
            }
            Look::Cargo(file, words) => {
                let text = fs::read_to_string(root.join(file)).expect("a file");
                assert!(text.contains(words), "{file} has no {words}");
                let words = self.command.split(' ').skip(1).map(Into::into);
                (
                    [env!("CARGO").into()].into_iter().chain(words).collect(),
                    &["--help"][..],
                    0,
                    "Usage: cargo",
                )
            }
        };
        let output =
            Command::new(&command[0]).args(&command[1..]).args(args).current_dir(root).output_in_time();
        let output = output.expect("a program");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{} ({}): {said}", self.command, self.why);
        assert!(said.contains(words), "{}: {said}", self.command);
    }
}
