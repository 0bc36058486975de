//! `schema`: the DDL, to read or to run.

use super::database::OpenDatabase;
use super::write_output;
use crate::cli::SchemaAction;
use crate::database::schema;
use crate::error::{CommandError, Ending};
use crate::layout::Indexes;
use crate::settings::{self, DatabaseSettings, Environment};
use uuid::Uuid;

/// Runs the command.
pub fn run(action: &SchemaAction, env: Environment<'_>) -> Result<Ending, CommandError> {
    match action {
        SchemaAction::Print(args) => {
            let (layout, name) = settings::schema(args, env)?;
            write_output(&schema::ddl(layout, &name))?;
        }
        SchemaAction::Apply(args) => {
            let (layout, _) = settings::schema(args, env)?;
            let settings = DatabaseSettings::new(&args.database, env)?;
            let database = OpenDatabase::open(&settings, Uuid::new_v4())?;
            let made = schema::ensure(&database.manager, layout, settings.schema(), Indexes::Now)?;
            database.close()?;
            let what = if made { "the tables are made" } else { "all tables and indexes are there" };
            write_output(&format!("{what}, in schema {:?}\n", settings.schema()))?;
        }
    }
    Ok(Ending::Complete)
}
