//! One file a subcommand; each puts the parts together and says how it went.

pub mod delete;
pub mod embedded;
pub mod generate;
pub mod health;
pub mod load;
mod load_summary;
pub mod manual;
pub mod schema;
pub mod verify;

mod confirm;
mod database;
mod next;
mod observe;
mod outcome;
mod output;
mod signals;
mod sources;
mod unchanged;

pub use load::Process;
pub use output::{write_output, write_text};
pub use signals::EarlySignals;
