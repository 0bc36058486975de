//! Parts shared by several commands: sources, the database, signals, the final report.

pub(crate) mod confirm;
pub(crate) mod load_summary;
pub(crate) mod next_steps;
pub(crate) mod observe;
pub(crate) mod open_database;
pub(crate) mod outcome;
pub(crate) mod output;
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod sources;
pub(crate) mod unchanged;
