//! Parts shared by several commands: sources, the database, signals, the final report.

pub(crate) mod next_steps;
pub(crate) mod open_database;
pub(crate) mod output;
pub(crate) mod signals;
pub(crate) mod sources;
