//! Prints the summary of a load, also of a load that is stopped before it reads anything.

use crate::commands::common::output::{write_output, write_text};
use crate::commands::common::signals::OnStop;
use crate::error_chain::in_full;
use crate::input::source::Source;
use crate::pipeline::account::counts::Counts;
use crate::pipeline::rejects::kinds::RejectKinds;
use crate::report::summary::{NextCommands, RunStatus, Summary};
use crate::settings::LoadSettings;
use anyhow::Context as _;
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
        let json = summary.to_json().context("cannot format the summary as JSON")?;
        write_output(&format!("{json}\n"))?;
    } else if !printed.is_quiet || summary.status != RunStatus::Complete {
        write_text(&format!("{summary}\n"))?;
    }
    Ok(())
}

/// The number of files of a load; none if it reads standard input.
pub(crate) fn file_count(settings: &LoadSettings) -> Option<u64> {
    let reads_stdin = settings.sources.contains(&Source::Stdin);
    (!reads_stdin).then_some(settings.sources.len() as u64)
}

/// Prints the summary of a load that is stopped before anything is read.
pub(crate) fn stop_summary(
    settings: &LoadSettings,
    run: Uuid,
    next: NextCommands,
    dry_run: bool,
    printed: Printed,
) -> OnStop {
    let (server, layout, started) = (settings.event.server, settings.event.layout, Instant::now());
    let files = file_count(settings);
    Box::new(move || {
        let summary = Summary {
            status: RunStatus::Interrupted,
            run,
            server,
            layout,
            files,
            counts: Counts::default(),
            bytes_read: 0,
            bytes_uncompressed: 0,
            retries: 0,
            connection_errors: 0,
            elapsed: started.elapsed(),
            rejects_file: None,
            earlier_rejects: Vec::new(),
            reasons: RejectKinds::default(),
            error: None,
            is_logged: false,
            database_failed: false,
            dry_run,
            metrics_error: None,
            next,
        };
        if let Err(error) = print(&summary, printed) {
            log::error!("{}", in_full(error.as_ref()));
        }
    })
}
