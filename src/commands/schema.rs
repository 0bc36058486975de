//! `schema`: the DDL, to read or to run.

use super::database::OpenDatabase;
use super::next::SchemaHints;
use super::{write_output, write_text};
use crate::cli::SchemaAction;
use crate::database::schema;
use crate::error::{CommandError, Ending};
use crate::layout::{Distribution, Indexes};
use crate::settings::{DatabaseSettings, Environment, SchemaSettings};
use uuid::Uuid;

/// Runs the command.
pub fn run(action: &SchemaAction, env: Environment<'_>) -> Result<Ending, CommandError> {
    match action {
        SchemaAction::Print(args) => {
            let SchemaSettings { layout, schema: name, distribution } = SchemaSettings::new(args, env)?;
            write_output(&schema::ddl(layout, &name, distribution))?;
        }
        SchemaAction::Apply(args) => {
            let SchemaSettings { layout, distribution: asked, .. } = SchemaSettings::new(args, env)?;
            let settings = DatabaseSettings::new(&args.database, env)?;
            let database = OpenDatabase::open(&settings, Uuid::new_v4())?;
            let name = settings.schema();
            let hints = SchemaHints::new(&args.database, args.layout.as_deref(), env);
            let tables = schema::ensure(&database.manager, layout, name, Indexes::Now, asked)
                .map_err(|error| error.in_words(|words| hints.fill(words)))?;
            database.close()?;
            let what = if tables.made { "the tables are made" } else { "all tables and indexes are there" };
            let spread = match tables.distribution {
                Distribution::OneServer => "",
                Distribution::Citus => ", and distributed by Citus",
            };
            write_text(&format!("{what}, in schema {name:?}{spread}\n"))?;
        }
    }
    Ok(Ending::Complete)
}
