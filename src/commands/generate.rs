//! `generate`: a synthetic dump on standard output.

use crate::cli::GenerateArgs;
use crate::error::{CommandError, Ending};
use crate::generate::{GenerateOptions, generate};
use crate::settings::SettingError;
use anyhow::Context as _;
use std::io;

/// Runs the command.
pub fn run(args: &GenerateArgs) -> Result<Ending, CommandError> {
    if !(0.0..=50.0).contains(&args.overlap) {
        let wanted = "a share from 0 to 50 per cent is needed".to_owned();
        let value = args.overlap.to_string();
        return Err(SettingError::Value { place: "--overlap", value, wanted }.into());
    }
    let options = GenerateOptions { events: args.events, seed: args.seed, overlap_percent: args.overlap };
    match generate(&options, &mut io::stdout().lock()) {
        // Whoever reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => {
            result.context("the dump can't be written to standard output")?;
        }
    }
    Ok(Ending::Complete)
}
