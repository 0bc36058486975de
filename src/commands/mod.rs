//! One file a subcommand; each puts the parts together and says how it went.

pub(crate) mod common;
pub(crate) mod delete;
pub(crate) mod embedded;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod load;
pub(crate) mod manual;
pub(crate) mod schema;
pub(crate) mod verify;
