//! Loads Albion Online kill dumps into PostgreSQL.

pub mod database;
pub mod generate;
pub mod input;
