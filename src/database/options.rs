//! What a load stores, where, and what it does with what is stored already.

use crate::database::schemas::Schemas;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::table::Distribution;

/// What a load stores, and where.
#[derive(Debug, Clone)]
pub(crate) struct StoreSettings {
    /// The tables.
    pub layout: Layout,
    /// The schemas that they and the ledger are in.
    pub schemas: Schemas,
    /// The game server that the events are of.
    pub server: Server,
    /// What is done with events that are stored already.
    pub on_conflict: OnConflict,
    /// What is done with segments that were loaded before.
    pub held: LoadedSegments,
    /// Where the rows of the tables are.
    pub distribution: Distribution,
    /// The command that makes what is missing.
    pub schema_apply: String,
}

/// What is done with an event that is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// It is left as it is.
    Skip,
    /// It is rewritten if it differs.
    Update,
}

/// Whether segments that the ledger holds are loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadedSegments {
    /// They are skipped, unless they have rejects that no run has reported.
    Skip,
    /// They are loaded again.
    LoadAgain,
}
