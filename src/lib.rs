//! Loads Albion Online kill dumps into PostgreSQL.

pub mod cli;
pub mod commands;
pub mod database;
pub mod error;
pub mod generate;
pub mod input;
pub mod kill;
pub mod layout;
pub mod pipeline;
pub mod report;
pub mod settings;
