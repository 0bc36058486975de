//! What people and scripts are told of a run, and of the database.

mod health;
mod summary;

pub use health::HealthReport;
pub use summary::{Status, Summary};
