//! What a load consists of, and what it came to.

use crate::commands::common::next_steps::SchemaHints;
use crate::commands::common::observe::Farewell;
use crate::commands::common::process::Process;
use crate::commands::common::signals::Listener;
use crate::commands::common::sources;
use crate::database::pool::manager::DatabaseManager;
use crate::input::convert::PipedCommand;
use crate::input::reader::Reader;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::run::RunReport;
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

/// What both kinds of runs are given.
pub(crate) struct LoadParts<'r> {
    pub(crate) settings: &'r LoadSettings,
    /// Where someone has begun to read the sources.
    pub(crate) reader: Cell<Option<Reader>>,
    /// What errors of inputs suggest.
    pub(crate) piped: PipedCommand,
    /// What errors of the tables suggest.
    pub(crate) hints: SchemaHints,
    /// What was named and can't be read.
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
    /// What a run is looked at with.
    pub(crate) fn live(&self, manager: Option<&DatabaseManager>) -> LiveRun {
        LiveRun {
            begun: self.started,
            monitor: Arc::clone(self.monitor),
            shutdown: Arc::clone(self.shutdown),
            manager: manager.cloned(),
            bytes_total: sources::bytes_total(&self.settings.sources),
        }
    }

    /// Shows the progress for as long as the result lives.
    pub(crate) fn show(&self, run: LiveRun) -> anyhow::Result<Progress> {
        Progress::start(run, self.process.screen.clone()).context("a thread can't be started")
    }
}

/// What a run came to.
pub(crate) struct Done {
    pub(crate) report: RunReport,
    pub(crate) store: StoreFigures,
    /// Whether the file of metrics could be written.
    pub(crate) metrics: anyhow::Result<()>,
    /// Whoever still looks at its page.
    pub(crate) farewell: Option<Farewell>,
}

/// What the store counted beside the events.
#[derive(Default)]
pub(crate) struct StoreFigures {
    pub(crate) retries: u64,
    pub(crate) connection_errors: u64,
    /// The reject files that have what counts as rejected before, the last one first.
    pub(crate) earlier_rejects: Vec<String>,
}
