//! `schema`: the DDL, to read or to run.

use super::database::OpenDatabase;
use super::next::SchemaHints;
use super::{write_output, write_text};
use crate::cli::SchemaAction;
use crate::database::{Schemas, schema};
use crate::error::{CommandError, Ending};
use crate::layout::{Distribution, Indexes};
use crate::settings::{DatabaseSettings, Environment, SchemaSettings};
use uuid::Uuid;

/// Runs the command.
pub fn run(action: &SchemaAction, env: Environment<'_>) -> Result<Ending, CommandError> {
    match action {
        SchemaAction::Print(args) => {
            let SchemaSettings { layout, schema, ledger_schema, distribution } =
                SchemaSettings::new(args, env)?;
            let schemas = Schemas::by_default(layout, &schema, ledger_schema.as_deref());
            write_output(&schema::ddl(layout, &schemas, distribution))?;
        }
        SchemaAction::Apply(args) => {
            let SchemaSettings { layout, distribution: asked, .. } = SchemaSettings::new(args, env)?;
            let settings = DatabaseSettings::new(&args.database, env)?;
            let database = OpenDatabase::open(&settings, Uuid::new_v4())?;
            let (name, ledger) = (settings.schema(), settings.ledger_schema.as_deref());
            let schemas = Schemas::find(&database.manager, layout, name, ledger)?;
            let hints = SchemaHints::new(&args.database, args.layout.as_deref(), env);
            let tables = schema::ensure(&database.manager, layout, &schemas, Indexes::Now, asked)
                .map_err(|error| error.in_words(|words| hints.fill(words)))?;
            database.close()?;
            let what = if tables.made { "the tables are made" } else { "all tables and indexes are there" };
            let spread = match tables.distribution {
                Distribution::OneServer => "",
                Distribution::Citus => ", and distributed by Citus",
            };
            let apart = if schemas.is_apart() {
                format!(", the ledger in schema {:?}", schemas.ledger)
            } else {
                String::new()
            };
            write_text(&format!("{what}, in schema {name:?}{apart}{spread}\n"))?;
        }
    }
    Ok(Ending::Complete)
}
