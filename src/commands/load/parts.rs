//! The inputs of a load.

use crate::commands::common::next_steps::SchemaHints;
use crate::commands::common::signals::{Listener, Process};
use crate::commands::load::confirm::ReloadCommands;
use crate::input::convert::PipedCommand;
use crate::input::reader::Reader;
use crate::pipeline::account::monitor::Monitor;
use crate::pipeline::rejects::file::RejectFile;
use crate::pipeline::shutdown::Shutdown;
use crate::pipeline::source_segments::SourceError;
use crate::settings::LoadSettings;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

pub(crate) struct LoadParts<'r> {
    pub(crate) settings: &'r LoadSettings,
    pub(crate) reader: Cell<Option<Reader>>,
    /// The command that input errors suggest.
    pub(crate) piped: PipedCommand,
    /// The commands that load the same input again.
    pub(crate) reloads: ReloadCommands,
    /// The commands that table errors suggest.
    pub(crate) hints: SchemaHints,
    pub(crate) unread: Cell<Vec<SourceError>>,
    pub(crate) id: Uuid,
    pub(crate) started: Instant,
    pub(crate) rejects: &'r RejectFile,
    pub(crate) process: &'r Process<'r>,
    pub(crate) requests: &'r Listener,
    pub(crate) shutdown: &'r Arc<Shutdown>,
    pub(crate) monitor: &'r Arc<Monitor>,
}
