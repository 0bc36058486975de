//! The `aegis-kills` program. The library contains the code.

use std::process::ExitCode;

fn main() -> ExitCode {
    aegis_kills::main()
}
