//! The `aegis-kills` program. What it does is in the library, beside its tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    aegis_kills::main()
}
