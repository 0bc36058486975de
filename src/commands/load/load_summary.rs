//! Prints the summary of a load, also of a load that is stopped before it reads anything.

use crate::commands::common::output::{write_output, write_text};
use crate::commands::common::signals::OnStop;
use crate::error_chain::in_full;
use crate::input::source::Source;
use crate::report::summary::{NextCommands, RunStatus, Summary};
use crate::settings::LoadSettings;
use std::time::Instant;
use uuid::Uuid;

/// The format of the summary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printed {
    pub(crate) is_json: bool,
    pub(crate) is_quiet: bool,
}

/// Prints the summary. With `--quiet`, a complete load has none.
pub(crate) fn print(summary: &Summary, printed: Printed) -> anyhow::Result<()> {
    if printed.is_json {
        write_output(&format!("{}\n", summary.to_json()))?;
    } else if !printed.is_quiet || summary.status != RunStatus::Complete {
        write_text(&format!("{summary}\n"))?;
    }
    Ok(())
}

/// The summary of a load that is stopped before it reads anything.
pub(crate) fn empty_summary(
    settings: &LoadSettings,
    run: Uuid,
    next: NextCommands,
    dry_run: bool,
) -> Summary {
    let reads_stdin = settings.sources.contains(&Source::Stdin);
    let files = (!reads_stdin).then_some(settings.sources.len() as u64);
    let event = &settings.event;
    Summary { files, dry_run, ..Summary::of_nothing(run, event.server, event.layout, next) }
}

/// Prints the summary of a load that is stopped before anything is read.
pub(crate) fn print_when_stopped(mut summary: Summary, printed: Printed) -> OnStop {
    let started = Instant::now();
    Box::new(move || {
        summary.elapsed = started.elapsed();
        if let Err(error) = print(&summary, printed) {
            log::error!("{}", in_full(error.as_ref()));
        }
    })
}
