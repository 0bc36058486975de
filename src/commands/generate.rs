//! `generate`: writes a synthetic dump to standard output.

use crate::cli::GenerateArgs;
use crate::error::CommandError;
use crate::exit::ExitStatus;
use crate::generate::{EVENTS_MAX, GenerateOptions, OVERLAP_PERCENT_MAX, generate};
use crate::settings::environment::SettingError;
use anyhow::Context as _;
use std::io;

pub(crate) fn run(args: &GenerateArgs) -> Result<ExitStatus, CommandError> {
    let wrong =
        |place, value: String, wanted| CommandError::from(SettingError::Value { place, value, wanted });
    if !(0.0..=OVERLAP_PERCENT_MAX).contains(&args.overlap) {
        let wanted = format!("expected a share from 0 to {OVERLAP_PERCENT_MAX} percent");
        return Err(wrong("--overlap", args.overlap.to_string(), wanted));
    }
    if args.events > EVENTS_MAX {
        let wanted = format!("expected at most {EVENTS_MAX}");
        return Err(wrong("--events", args.events.to_string(), wanted));
    }
    let options = GenerateOptions { events: args.events, seed: args.seed, overlap_percent: args.overlap };
    match generate(&options, &mut io::stdout().lock()) {
        // The reader has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => {
            result.context("cannot write the dump to standard output")?;
        }
    }
    Ok(ExitStatus::Complete)
}
