//! `schema`: prints or applies the DDL.

use crate::cli::SchemaAction;
use crate::commands::common::next_steps::SchemaHints;
use crate::commands::common::open_database::OpenDatabase;
use crate::commands::common::output::{write_output, write_text};
use crate::database::schema::ensure as schema;
use crate::database::schema::ensure::TableChange;
use crate::database::schema::locate::{self, Located};
use crate::database::schema::misfits::LostRows;
use crate::database::schemas::Schemas;
use crate::database::store::StoreError;
use crate::error::CommandError;
use crate::exit::ExitStatus;
use crate::layout::ddl::Indexes;
use crate::layout::table::Distribution;
use crate::settings::SchemaSettings;
use crate::settings::database::DatabaseSettings;
use crate::settings::environment::Environment;
use uuid::Uuid;

/// Runs the command. With `quiet`, `apply` reports only errors.
pub(crate) fn run(
    action: &SchemaAction,
    env: Environment<'_>,
    quiet: bool,
) -> Result<ExitStatus, CommandError> {
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
            let hints = SchemaHints::new(&args.database, args.layout.as_deref(), env);
            let hinted = |error: StoreError| error.map_message(|text| hints.fill(text));
            let Located { schemas, .. } =
                locate::find(&database.manager, layout, name, ledger).map_err(hinted)?;
            let lost = LostRows::Reported;
            let tables = schema::ensure(&database.manager, layout, &schemas, Indexes::Now, asked, lost)
                .map_err(hinted)?;
            for warning in &tables.warnings {
                log::warn!("{}", hints.fill(warning));
            }
            let is_commented = schema::add_comments(&database.manager, layout, &schemas).map_err(hinted)?;
            database.close()?;
            let result = match tables.change {
                TableChange::Created => "tables created",
                TableChange::Upgraded => "tables upgraded",
                TableChange::None if is_commented => "comments added to the tables",
                TableChange::None => "all tables and indexes exist",
            };
            let distributed = match tables.distribution {
                Distribution::OneServer => "",
                Distribution::Citus => ", distributed by Citus",
            };
            let ledger = if schemas.is_apart() {
                format!(", ledger in schema {:?}", schemas.ledger)
            } else {
                String::new()
            };
            if !quiet {
                write_text(&format!("{result} in schema {name:?}{ledger}{distributed}\n"))?;
            }
        }
    }
    Ok(ExitStatus::Complete)
}
