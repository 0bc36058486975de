//! The storage settings of a load.

use crate::database::schemas::Schemas;
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::table::Distribution;

/// The storage settings of a load.
#[derive(Debug, Clone)]
pub(crate) struct StoreSettings {
    pub layout: Layout,
    /// The schemas of the tables and the ledger.
    pub schemas: Schemas,
    /// The game server of the events.
    pub server: Server,
    /// The treatment of stored events.
    pub on_conflict: OnConflict,
    /// The treatment of loaded segments.
    pub held: LoadedSegments,
    /// The location of the tables' rows.
    pub distribution: Distribution,
    /// Whether user code runs within the statements of a load.
    pub has_user_code: bool,
    /// Whether the role may use `kill_load_file`; none if it does not exist.
    pub uses_files: Option<bool>,
    /// The command that creates missing tables and indexes.
    pub schema_apply: String,
    /// The same for the owner of the tables, with the words before it.
    pub owner_apply: String,
}

/// The treatment of an event that is already stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Keep the stored event.
    Skip,
    /// Rewrite the stored event if it differs.
    Update,
}

/// The treatment of a segment that is already in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadedSegments {
    /// Skip it, unless it has rejects that no run has reported.
    Skip,
    LoadAgain,
}
