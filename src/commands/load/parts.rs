//! The inputs and results of both kinds of load.

use crate::commands::common::next_steps::SchemaHints;
use crate::commands::common::observe::FinalStatus;
use crate::commands::common::process::Process;
use crate::commands::common::signals::Listener;
use crate::commands::common::sources;
use crate::database::pool::manager::DatabaseManager;
use crate::input::convert::PipedCommand;
use crate::input::reader::Reader;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::run_report::RunReport;
use crate::pipeline::shutdown::Shutdown;
use crate::pipeline::source_segments::SourceError;
use crate::report::snapshot::LiveRun;
use crate::report::terminal::progress::Progress;
use crate::settings::LoadSettings;
use anyhow::Context as _;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// The inputs of a load.
pub(crate) struct LoadParts<'r> {
    pub(crate) settings: &'r LoadSettings,
    /// The reader, if reading has already started.
    pub(crate) reader: Cell<Option<Reader>>,
    /// The command that input errors suggest.
    pub(crate) piped: PipedCommand,
    /// The commands that table errors suggest.
    pub(crate) hints: SchemaHints,
    /// The errors of unreadable sources.
    pub(crate) unread: Cell<Vec<SourceError>>,
    pub(crate) id: Uuid,
    pub(crate) started: Instant,
    pub(crate) rejects: &'r RejectFile,
    pub(crate) process: &'r Process<'r>,
    pub(crate) requests: &'r Listener,
    pub(crate) shutdown: &'r Arc<Shutdown>,
    pub(crate) monitor: &'r Arc<Monitor>,
}

impl LoadParts<'_> {
    pub(crate) fn live(&self, manager: Option<&DatabaseManager>) -> LiveRun {
        LiveRun {
            begun: self.started,
            monitor: Arc::clone(self.monitor),
            shutdown: Arc::clone(self.shutdown),
            manager: manager.cloned(),
            bytes_total: sources::bytes_total(&self.settings.sources),
        }
    }

    /// Shows the progress while the result exists.
    pub(crate) fn show(&self, run: LiveRun) -> anyhow::Result<Progress> {
        Progress::start(run, self.process.screen.clone()).context("cannot start a thread")
    }
}

/// The result of a load.
pub(crate) struct Done {
    pub(crate) report: RunReport,
    pub(crate) store: StoreFigures,
    /// The result of writing the metrics file.
    pub(crate) metrics: anyhow::Result<()>,
    /// Serves the final status to an open page.
    pub(crate) final_status: Option<FinalStatus>,
}

/// Counts of the store other than events.
#[derive(Default)]
pub(crate) struct StoreFigures {
    pub(crate) retries: u64,
    pub(crate) connection_errors: u64,
    /// The reject files of earlier runs with rejects of these dumps, the latest first.
    pub(crate) earlier_rejects: Vec<String>,
}
