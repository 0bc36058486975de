//! The result of a run.

use crate::input::source::Source;
use crate::pipeline::account::counts::Counts;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::run_error::RunError;
use crate::pipeline::shutdown::{Shutdown, ShutdownReason};
use crate::pipeline::source_segments::SourceError;
use std::path::Path;

#[derive(Debug)]
pub(crate) struct RunReport {
    pub counts: Counts,
    /// Raw bytes read, compressed or not.
    pub bytes_read: u64,
    /// Bytes of uncompressed text.
    pub bytes_uncompressed: u64,
    /// The reason why the run ended early, if it did.
    pub halted: Option<ShutdownReason>,
    /// The sources that could not be read completely.
    pub source_errors: Vec<SourceError>,
    /// The command that loads missing events again, if it is not the command of this run.
    pub reload: Option<String>,
}

impl RunReport {
    /// Reports a run that failed before anything was read.
    pub(crate) fn failed(error: impl Into<RunError>) -> Self {
        Self::unread(Some(ShutdownReason::Failed(error.into())))
    }

    /// Reports a run that was stopped before anything was read.
    pub(crate) fn stopped(shutdown: &Shutdown) -> Self {
        Self::unread(shutdown.take_reason())
    }

    /// Reports what `monitor` has counted until the run ended.
    pub(crate) fn counted(monitor: &Monitor, shutdown: &Shutdown) -> Self {
        Self {
            counts: monitor.counts(),
            bytes_read: monitor.bytes_read(),
            bytes_uncompressed: monitor.bytes_uncompressed(),
            ..Self::stopped(shutdown)
        }
    }

    fn unread(halted: Option<ShutdownReason>) -> Self {
        Self {
            counts: Counts::default(),
            bytes_read: 0,
            bytes_uncompressed: 0,
            halted,
            source_errors: Vec::new(),
            reload: None,
        }
    }

    /// Makes a panic since the end of the run the reason of its end, unless it has failed. Returns whether it did.
    pub(crate) fn note_panic(&mut self, shutdown: &Shutdown) -> bool {
        if !matches!(self.halted, Some(ShutdownReason::Failed(_)))
            && let Some(panic) = shutdown.take_panic()
        {
            self.halted = Some(panic);
            return true;
        }
        false
    }

    /// Returns the sources whose compressed data is damaged, so that their text may be wrong. Standard input is `-`.
    pub(crate) fn damaged(&self) -> Vec<&Path> {
        let damaged = self.source_errors.iter().filter_map(SourceError::damaged);
        let paths = damaged.map(|source| match source {
            Source::File(path) => path.as_path(),
            Source::Stdin => Path::new("-"),
        });
        paths.collect()
    }
}
