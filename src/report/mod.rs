//! What people and scripts are told of a run.

mod summary;

pub use summary::{Status, Summary};
