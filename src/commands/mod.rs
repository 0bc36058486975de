//! The subcommands, one file or directory each. A command combines the parts and reports the result.

pub(crate) mod common;
pub(crate) mod delete;
pub(crate) mod embedded;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod load;
pub(crate) mod manual;
pub(crate) mod manual_facts;
pub(crate) mod manual_page;
pub(crate) mod schema;
pub(crate) mod verify;
