//! Creates missing tables, and checks existing tables before anything is written.
//!
//! Invariant: only the catalog determines which objects exist. The version in the comment on the ledger decides
//! nothing. Every DDL statement creates missing objects and keeps existing ones.

use crate::database::failure::error::DatabaseError;
use crate::database::ledger::comments::{LEDGER_COMMENTS, SCHEMA_VERSION};
use crate::database::ledger::files;
use crate::database::locks::SCHEMA_LOCK;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::catalog::Catalog;
use crate::database::schema::inspect::{Addition, remedy};
use crate::database::schema::ledger_ddl::LEDGER;
use crate::database::schema::misfits::{Lack, LostRows, empty_columns, lost_rows, misfits, missing};
use crate::database::schema::{citus, inspect, ledger_ddl};
use crate::database::schemas::{LEDGER_APART, Schemas};
use crate::database::session::client::{Client, LOCAL_COMMIT};
use crate::database::session::client_transaction::{ClientTransaction, GenericClient};
use crate::database::session::deadline::Deadline;
use crate::database::session::progress::CallProgress;
use crate::database::store::StoreError;
use crate::layout::Layout;
use crate::layout::ddl::{Indexes, comments};
use crate::layout::identifier::quote_identifier;
use crate::layout::table::Distribution;
use postgres::Error;
use postgres::error::SqlState;

/// Restores the search path of the role and the database if there are event triggers. They run within our DDL and may
/// depend on it. Event triggers of extensions do not.
const PATH_OF_EVENT_TRIGGERS: &str = "
    SELECT set_config('search_path', reset_val, true) FROM pg_settings WHERE name = 'search_path' AND EXISTS (
        SELECT FROM pg_event_trigger e WHERE evtenabled <> 'D' AND NOT EXISTS (
            SELECT FROM pg_depend d
            WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e'))";

/// The DDL of all tables of a layout and of the ledger, for users to read or run.
pub(crate) fn ddl(layout: Layout, schemas: &Schemas, distribution: Distribution) -> String {
    let new = schemas.each().into_iter().filter(|schema| *schema != "public");
    let create = |schema| format!("CREATE SCHEMA IF NOT EXISTS {};\n\n", quote_identifier(schema));
    let create_schemas = new.map(create).collect::<String>();
    let comments = comments(layout.comments(), &schemas.tables, |_, _| true)
        + &comments(&LEDGER_COMMENTS, &schemas.ledger, |_, _| true);
    let (tables, ledger) = (layout.ddl(&schemas.tables, Indexes::Now), ledger_ddl::ddl(&schemas.ledger));
    let tables = format!("{create_schemas}{tables}{ledger}{comments}");
    match distribution {
        Distribution::OneServer => tables,
        Distribution::Citus => {
            let distribute = citus::ddl(layout, schemas);
            format!("BEGIN;\n\n{}{tables}\n{distribute}COMMIT;\n", citus::DISTRIBUTING)
        }
    }
}

/// The state of the tables after [`ensure`].
#[derive(Debug)]
pub(crate) struct Tables {
    /// What was missing.
    pub change: TableChange,
    /// The location of their rows.
    pub distribution: Distribution,
    /// The existing objects.
    pub catalog: Catalog,
    /// Rows and values that stored events lack since objects were created.
    pub warnings: Vec<String>,
}

/// What [`ensure`] did to the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableChange {
    /// All objects existed.
    None,
    /// The tables of the layout existed. Columns, labels, indexes or tables of the ledger were missing, or a table was not
    /// distributed as requested.
    Upgraded,
    /// A table of the layout was missing.
    Created,
}

/// Creates missing objects, and fails if existing tables are incompatible, or if rows are lost that `lost` does not
/// accept. Ignores deferred indexes. New tables next to distributed ones are distributed as well;
/// [`Distribution::Citus`] also distributes all existing tables.
pub(crate) fn ensure(
    manager: &DatabaseManager,
    layout: Layout,
    schemas: &Schemas,
    indexes: Indexes,
    distribution: Distribution,
    lost: LostRows,
) -> Result<Tables, StoreError> {
    let wanted = WantedTables { layout, schemas: schemas.clone(), indexes, distribution, lost };
    manager.run("creating or checking tables", &Deadline::unbounded(), move |client, progress| {
        wanted.ensure(client, progress)
    })
}

/// Adds the comments that existing tables and columns of this role lack. Returns whether there were any. A load only does so
/// if it also creates or adds something, because the statements wait for VACUUM and the like.
pub(crate) fn add_comments(
    manager: &DatabaseManager,
    layout: Layout,
    schemas: &Schemas,
) -> Result<bool, StoreError> {
    let wanted = WantedTables {
        layout,
        schemas: schemas.clone(),
        indexes: Indexes::Now,
        distribution: Distribution::OneServer,
        lost: LostRows::Accepted,
    };
    manager.run("adding comments to the tables", &Deadline::unbounded(), move |client, _| {
        Ok(wanted.add_comments(client)?)
    })
}

struct WantedTables {
    layout: Layout,
    schemas: Schemas,
    indexes: Indexes,
    distribution: Distribution,
    lost: LostRows,
}

impl WantedTables {
    fn ensure(&self, client: &mut Client, progress: &CallProgress) -> Result<Tables, DatabaseError> {
        let mut catalog = self.catalog(client)?;
        // Nothing is created next to incompatible tables: the user may want another schema.
        self.refuse_misfits(&catalog, self.distribution, Lack::Added)?;
        if let Some(remedy) = &catalog.read_only {
            let what =
                format!("default_transaction_read_only is on, so nothing can be written\nhint: {remedy}");
            return Err(StoreError::refused(what).into());
        }
        if self.distribution == Distribution::Citus {
            citus::refuse_without_citus(client)?;
        }
        if let Some(version) = catalog.comment.as_deref().and_then(ledger_ddl::version)
            && version > SCHEMA_VERSION
        {
            log::warn!(
                "the tables in {} have schema version {version}, but this program supports version {SCHEMA_VERSION}; \
                 use the newer program",
                self.schemas
            );
        }
        let looking_up = |source: Error| {
            StoreError::new("cannot look up the rows of the tables", DatabaseError::from(source))
        };
        let lost = lost_rows(client, &catalog, self.layout, &self.schemas, self.lost).map_err(looking_up)?;
        let mut warnings = Vec::new();
        match lost {
            Some(lost) if self.lost == LostRows::Reported => warnings.push(lost),
            Some(lost) => return Err(StoreError::refused(lost).into()),
            None => {}
        }
        if self.lost != LostRows::Accepted {
            let empty = empty_columns(client, &catalog, self.layout, &self.schemas).map_err(looking_up)?;
            warnings.extend(empty);
        }
        let lacking = self.lacking(&catalog);
        let distribution = lacking.distribution;
        let mut change = TableChange::None;
        let is_lacking = !lacking.names.is_empty() || !lacking.additions.is_empty();
        if is_lacking && self.apply(client, progress)? {
            let existed = self.layout.tables().iter().all(|table| catalog.has(table.name));
            change = if existed { TableChange::Upgraded } else { TableChange::Created };
            catalog = self.catalog(client)?;
            self.refuse_misfits(&catalog, Distribution::OneServer, Lack::Misfit)?;
        }
        Ok(Tables { change, distribution, catalog, warnings })
    }

    fn catalog(&self, client: &mut impl GenericClient) -> Result<Catalog, StoreError> {
        Catalog::read(client, self.layout, &self.schemas)
            .map_err(|source| StoreError::new("cannot look up the tables", DatabaseError::from(source)))
    }

    fn refuse_misfits(&self, catalog: &Catalog, allowed: Distribution, lack: Lack) -> Result<(), StoreError> {
        let look = |lack| misfits(catalog, self.layout, &self.schemas, allowed, lack);
        let mut found = look(lack);
        if found.is_some() && lack == Lack::Added {
            // Nothing will be added, so the error lists everything that is missing, too.
            found = look(Lack::Misfit);
        }
        found.map_or(Ok(()), |misfits| Err(StoreError::refused(misfits)))
    }

    fn lacking(&self, catalog: &Catalog) -> Lacking {
        let Self { layout, ref schemas, indexes, distribution, .. } = *self;
        let mut names = missing(catalog, layout, indexes);
        let distribution = match distribution {
            Distribution::Citus => Distribution::Citus,
            Distribution::OneServer => catalog.distributed.distribution(layout),
        };
        if distribution == Distribution::Citus {
            let beside: Vec<&str> =
                catalog.distributed.lacking(layout).filter(|name| !names.contains(name)).collect();
            names.extend(beside);
        }
        Lacking { names, additions: inspect::additions(catalog, layout, schemas), distribution }
    }

    /// Creates missing objects. Returns whether there were any.
    fn apply(&self, client: &mut Client, progress: &CallProgress) -> Result<bool, StoreError> {
        // Two transactions: a new enum label cannot be used in the one that adds it, for example in an index predicate.
        let is_added = self.add(client)?;
        let is_made = self.make(client, progress)?;
        Ok(is_added || is_made)
    }

    /// Begins a transaction that creates or alters tables. Such transactions run one after the other.
    fn begin<'c>(&self, client: &'c mut Client) -> Result<ClientTransaction<'c>, Error> {
        let mut transaction = client.transaction()?;
        transaction.batch_execute(&format!("{LOCAL_COMMIT}; {PATH_OF_EVENT_TRIGGERS}"))?;
        for schema in self.schemas.each() {
            transaction.execute(&format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"), &[&schema])?;
        }
        Ok(transaction)
    }

    fn failed(&self, source: Error, additions: &[Addition]) -> StoreError {
        let remedy = match source.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => remedy(additions),
            _ => String::new(),
        };
        let what = format!("cannot create missing objects in {}{remedy}", self.schemas);
        StoreError::new(what, DatabaseError::from(source))
    }

    /// Adds missing columns and enum labels to existing tables and types.
    fn add(&self, client: &mut Client) -> Result<bool, StoreError> {
        let mut transaction = self.begin(client).map_err(|error| self.failed(error, &[]))?;
        let catalog = Catalog::read(&mut transaction, self.layout, &self.schemas)
            .map_err(|error| self.failed(error, &[]))?;
        let additions = inspect::additions(&catalog, self.layout, &self.schemas);
        if additions.is_empty() {
            return Ok(false);
        }
        let for_owner = for_owner(&catalog, &self.schemas, &additions);
        for Addition { statement, .. } in &additions {
            transaction.batch_execute(statement).map_err(|error| self.failed(error, &for_owner))?;
        }
        let version = ledger_ddl::note_version(&self.schemas.ledger);
        transaction.batch_execute(&version).map_err(|error| self.failed(error, &[]))?;
        self.comment(&mut transaction).map_err(|error| self.failed(error, &[]))?;
        transaction.commit().map_err(|error| self.failed(error, &for_owner))?;
        let added: Vec<&str> = additions.iter().map(|addition| addition.name.as_str()).collect();
        log::info!("added in {}: {}", self.schemas, added.join(", "));
        Ok(true)
    }

    /// Creates missing tables and indexes, and distributes tables that are not distributed.
    fn make(&self, client: &mut Client, progress: &CallProgress) -> Result<bool, StoreError> {
        let Self { layout, ref schemas, indexes, .. } = *self;
        let failed = |error| self.failed(error, &[]);
        let mut transaction = self.begin(client).map_err(failed)?;
        let catalog = Catalog::read(&mut transaction, layout, schemas).map_err(failed)?;
        let Lacking { names, distribution, .. } = self.lacking(&catalog);
        if names.is_empty() {
            return Ok(false);
        }
        let mut created = Vec::new();
        for schema in schemas.each() {
            let missing =
                "SELECT pg_catalog.format('CREATE SCHEMA %I AUTHORIZATION %I', $1::text, current_user)
                WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
            let row = transaction.query_opt(missing, &[&schema]).map_err(failed)?;
            let Some(statement) = row.map(|row| row.try_get(0)).transpose().map_err(failed)? else {
                continue;
            };
            let create = format!("CREATE SCHEMA {}", quote_identifier(schema));
            let addition = Addition { name: schema.to_owned(), part_of: quote_identifier(schema), statement };
            transaction.batch_execute(&create).map_err(|error| self.failed(error, &[addition]))?;
            created.push(schema);
        }
        let (before, indexes, after) = match distribution {
            Distribution::OneServer => ("", indexes, String::new()),
            Distribution::Citus => (citus::DISTRIBUTING, Indexes::Now, citus::ddl(layout, schemas)),
        };
        if distribution == Distribution::Citus {
            // All rows of the tables move to the nodes.
            progress.takes_long();
        }
        // The role may have the privilege to create tables in only one of the schemas.
        let (of_ledger, of_layout): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| LEDGER.contains(name));
        let tables = if of_layout.is_empty() { String::new() } else { layout.ddl(&schemas.tables, indexes) };
        let ledger = if of_ledger.is_empty() { String::new() } else { ledger_ddl::ddl(&schemas.ledger) };
        let version = ledger_ddl::note_version(&schemas.ledger);
        let sql = format!("{before}{tables}{ledger}{after}{version}");
        transaction.batch_execute(&sql).map_err(failed)?;
        self.comment(&mut transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        for schema in created {
            // In a load a warning, unless the schema is the default: a misspelled name creates a new schema. `schema apply`
            // prints the name with its result.
            let is_expected = schema == LEDGER_APART || self.indexes == Indexes::Now;
            let level = if is_expected { log::Level::Info } else { log::Level::Warn };
            log::log!(level, "created the schema {schema:?}");
        }
        log::info!("created in {schemas}: {}", names.join(", "));
        Ok(true)
    }

    fn add_comments(&self, client: &mut Client) -> Result<bool, StoreError> {
        let failed = |error| self.failed(error, &[]);
        if inspect::missing_comments(client, self.layout, &self.schemas).map_err(failed)?.is_empty() {
            return Ok(false);
        }
        let mut transaction = self.begin(client).map_err(failed)?;
        let is_changed = self.comment(&mut transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(is_changed)
    }

    /// Adds missing comments. Those of the owner stay.
    fn comment(&self, transaction: &mut ClientTransaction<'_>) -> Result<bool, Error> {
        let comments = inspect::missing_comments(transaction, self.layout, &self.schemas)?;
        if comments.is_empty() {
            return Ok(false);
        }
        transaction.batch_execute(&comments)?;
        Ok(true)
    }
}

/// The missing objects.
struct Lacking {
    /// Missing tables and indexes, and tables that are not distributed.
    names: Vec<&'static str>,
    /// Missing columns and labels of existing tables and types.
    additions: Vec<Addition>,
    /// The required location of the rows.
    distribution: Distribution,
}

/// The additions, the table of loaded files and the new version of the schema, for the owner.
fn for_owner(catalog: &Catalog, schemas: &Schemas, additions: &[Addition]) -> Vec<Addition> {
    let mut for_owner = additions.to_vec();
    if catalog.has("kill_load_segment") {
        let ledger = quote_identifier(&schemas.ledger);
        let mut statements = vec![ledger_ddl::version_statement(&schemas.ledger)];
        if !catalog.has("kill_load_file") {
            let create = files::ddl(&schemas.ledger).replace("\n  ", " ").replace('\n', "");
            statements.push(create.trim_end_matches(';').to_owned());
            statements
                .push(format!("GRANT SELECT, INSERT, UPDATE ON {ledger}.kill_load_file TO {}", catalog.role));
        }
        for_owner.extend(statements.into_iter().map(|statement| Addition {
            name: "the ledger".to_owned(),
            part_of: format!("{ledger}.kill_load_segment"),
            statement,
        }));
    }
    for_owner
}

/// The message about additions that this role cannot make.
pub(crate) fn owner_must_add(catalog: &Catalog, schemas: &Schemas, additions: &[Addition]) -> String {
    let names: Vec<&str> = additions.iter().map(|addition| addition.name.as_str()).collect();
    let remedy = remedy(&for_owner(catalog, schemas, additions));
    format!("this role cannot add the missing objects in {schemas}: {}{remedy}", names.join(", "))
}
