//! Missing privileges of a role, and rows hidden from it.

use crate::database::failure::error::DatabaseError;
use crate::database::pool::manager::DatabaseManager;
use crate::database::schema::user_code;
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client_transaction::{GenericClient, first_column};
use crate::database::session::deadline::Deadline;
use crate::database::store::StoreError;
use crate::error_chain::cause_of;
use crate::layout::Layout;
use postgres::Error;
use postgres::error::SqlState;
use std::time::Duration;

/// The privileges that a load needs on the layout's first table and on its other tables. Ledger tables need those of
/// `FIRST`.
const FIRST: [&str; 3] = ["SELECT", "INSERT", "UPDATE"];
const OTHERS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];
const LEDGER: [&str; 2] = ["kill_load_run", "kill_load_segment"];

/// The reasons why a role cannot load.
#[derive(Debug, Default)]
pub(crate) struct AccessFaults {
    pub(crate) texts: Vec<String>,
    /// Whether a schema or tables are missing that the role cannot create.
    pub(crate) lacks_create: bool,
}

/// The reasons why this role cannot load into the tables of a layout.
pub(crate) fn faults(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
) -> Result<AccessFaults, Error> {
    let mut faults = AccessFaults::default();
    for schema in schemas.each() {
        let mut needed = Vec::new();
        if schema == schemas.tables {
            needed.extend(layout.tables().iter().map(|table| table.name));
        }
        if schema == schemas.ledger {
            needed.extend(LEDGER);
        }
        faults.add_schema(client, schema, &needed)?;
    }
    // Each schema repeats the faults of the database.
    faults.texts.dedup();
    let Schemas { tables: schema, ledger } = schemas;
    let (mut names, mut wanted) = (Vec::new(), Vec::new());
    for (number, table) in layout.tables().iter().enumerate() {
        names.push(table.name);
        wanted.push(if number == 0 { &FIRST[..] } else { &OTHERS }.join(","));
    }
    for name in LEDGER {
        names.push(name);
        wanted.push(FIRST.join(","));
    }
    let missing_privileges = format!(
        "SELECT format('the role %s lacks %s on %s', current_user, lacking, string_agg(name, ', ' ORDER BY number))
         FROM (SELECT w.name, w.number, string_agg(privilege, ', ' ORDER BY needed.number) AS lacking
           FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS w (name, wanted, number)
             JOIN pg_class c ON c.relname = w.name AND c.relkind IN ('r', 'p')
             JOIN pg_namespace n ON n.oid = c.relnamespace AND {IS_IN_SCHEMAS},
             unnest(string_to_array(w.wanted, ',')) WITH ORDINALITY AS needed (privilege, number)
           WHERE NOT has_table_privilege(c.oid, privilege) GROUP BY w.name, w.number, c.oid) AS tables
         GROUP BY lacking ORDER BY min(number)"
    );
    faults.texts.extend(first_column::<String, Vec<_>>(
        &client.query(&missing_privileges, &[schema, ledger, &names, &wanted])?,
    )?);
    names.push("kill_load_file");
    let hidden = format!(
        "SELECT format('row-level security can hide rows of %s from the role %s: use %s',
             string_agg(c.relname, ', ' ORDER BY c.relname),
             current_user, CASE WHEN c.relforcerowsecurity
               THEN 'a role with BYPASSRLS, or the owner of the table after this statement: ' || string_agg(
                 format('ALTER TABLE %I.%I NO FORCE ROW LEVEL SECURITY', n.nspname, c.relname), '; ')
               ELSE 'the owner of the table or a role with BYPASSRLS' END)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {IS_IN_SCHEMAS} AND c.relname = ANY ($3) AND c.relrowsecurity AND row_security_active(c.oid)
         GROUP BY c.relforcerowsecurity ORDER BY c.relforcerowsecurity"
    );
    faults.texts.extend(first_column::<String, Vec<_>>(&client.query(&hidden, &[schema, ledger, &names])?)?);
    Ok(faults)
}

/// What a command does with the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableUse {
    Load,
    Read,
}

/// How long to look up the privileges for the hint of an error.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// Whether the server refused a statement because the role lacks a privilege.
pub(crate) fn is_missing_privilege(error: &StoreError) -> bool {
    cause_of::<Error>(error).and_then(Error::code) == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

/// The same failure. If it is a missing privilege on these tables, its hint has the statements that grant all that the role
/// lacks; if it can be due to triggers or rules of the ledger, those that remove them.
pub(crate) fn with_grants(
    error: StoreError,
    manager: &DatabaseManager,
    layout: Layout,
    schemas: &Schemas,
    table_use: TableUse,
) -> StoreError {
    if is_of_ledger_code(&error) {
        return with_ledger_code(error, manager, &schemas.ledger);
    }
    if !is_missing_privilege(&error) {
        return error;
    }
    let schemas = schemas.clone();
    let found = manager.run("looking up privileges", &Deadline::at_most(LOOKUP_MAX), move |client, _| {
        Ok(grants(client, layout, &schemas, table_use)?)
    });
    match found {
        Ok(grants) if !grants.is_empty() => {
            error.with_hint(&format!("run in psql as the owner: {}", grants.join("; ")))
        }
        // The privilege is not one on the tables, such as that of a trigger.
        _ => error,
    }
}

/// Whether a trigger or rule of the ledger can be the cause. Rules exclude ON CONFLICT and RETURNING, and have no context.
fn is_of_ledger_code(error: &StoreError) -> bool {
    let is_of_rule = cause_of::<Error>(error)
        .and_then(Error::as_db_error)
        .is_some_and(|error| *error.code() == SqlState::FEATURE_NOT_SUPPORTED && error.where_().is_none());
    is_of_rule || matches!(cause_of::<DatabaseError>(error), Some(DatabaseError::LedgerDrops))
}

/// The same failure, with the triggers and rules of the ledger as its hint.
fn with_ledger_code(error: StoreError, manager: &DatabaseManager, ledger: &str) -> StoreError {
    let ledger = ledger.to_owned();
    let found = manager.run("looking up triggers", &Deadline::at_most(LOOKUP_MAX), move |client, _| {
        user_code::of_ledger(client, &ledger)
    });
    match found {
        Ok(code) if !code.is_empty() => error.with_hint(&code.join("; ")),
        _ => error,
    }
}

/// The statements that grant the privileges that this role lacks.
pub(crate) fn grants(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
    table_use: TableUse,
) -> Result<Vec<String>, Error> {
    let Schemas { tables: schema, ledger } = schemas;
    let is_load = table_use == TableUse::Load;
    let tables = layout.tables().iter().enumerate().map(|(number, table)| {
        let wanted = match (is_load, number) {
            (false, _) => "SELECT".to_owned(),
            (true, 0) => FIRST.join(", "),
            (true, _) => OTHERS.join(", "),
        };
        (table.name, wanted)
    });
    let of_ledger = LEDGER.into_iter().chain(["kill_load_file"]).map(|name| (name, FIRST.join(", ")));
    let (names, wanted): (Vec<&str>, Vec<String>) = tables.chain(of_ledger.filter(|_| is_load)).unzip();
    let sql = format!(
        "SELECT statement FROM (
           SELECT 1 AS place, format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), current_user) AS statement
           WHERE $5 AND NOT has_database_privilege(current_database(), 'TEMPORARY')
           UNION ALL SELECT 2, format('GRANT USAGE ON SCHEMA %I TO %I', nspname, current_user)
           FROM pg_namespace
           WHERE nspname IN ($1::text, CASE WHEN $5 THEN $2::text END) AND NOT has_schema_privilege(oid, 'USAGE')
           UNION ALL SELECT 3, format('GRANT %s ON %s TO %I', lacking,
             string_agg(format('%I.%I', nspname, relname), ', ' ORDER BY nspname, relname), current_user)
           FROM (SELECT n.nspname, c.relname, string_agg(privilege, ', ' ORDER BY number) AS lacking
             FROM unnest($3::text[], $4::text[]) AS w (name, wanted)
               JOIN pg_class c ON c.relname = w.name AND c.relkind IN ('r', 'p')
               JOIN pg_namespace n ON n.oid = c.relnamespace AND {IS_IN_SCHEMAS},
               unnest(string_to_array(w.wanted, ', ')) WITH ORDINALITY AS needed (privilege, number)
             WHERE NOT has_table_privilege(c.oid, privilege) GROUP BY n.nspname, c.relname) AS tables
           GROUP BY lacking
         ) AS grants ORDER BY place, statement COLLATE \"C\""
    );
    first_column(&client.query(&sql, &[schema, ledger, &names, &wanted, &is_load])?)
}

impl AccessFaults {
    /// Adds the privileges that the role lacks on the database and on the schema of the tables `needed`.
    fn add_schema(
        &mut self,
        client: &mut impl GenericClient,
        schema: &str,
        needed: &[&str],
    ) -> Result<(), Error> {
        let sql = "SELECT fault, lacks_create
             FROM (SELECT to_regnamespace(quote_ident($1::text))::oid AS oid, current_database() AS database) AS place,
             LATERAL (VALUES
               (NOT has_database_privilege(database, 'TEMPORARY'), false,
                 format('the role %s lacks TEMPORARY on the database %s', current_user, database)),
               (place.oid IS NULL AND NOT has_database_privilege(database, 'CREATE'), true,
                 format('there is no schema %s, and the role %s lacks CREATE on the database %s', $1, current_user, database)),
               (NOT has_schema_privilege(place.oid, 'USAGE'), false,
                 format('the role %s lacks USAGE on the schema %s', current_user, $1)),
               (NOT has_schema_privilege(place.oid, 'CREATE') AND
                 EXISTS (SELECT unnest($2::text[]) EXCEPT SELECT relname::text FROM pg_class WHERE relnamespace = place.oid),
                 true, format('the tables are missing, and the role %s lacks CREATE on the schema %s', current_user, $1))
             ) AS faults (is_fault, lacks_create, fault)
             WHERE is_fault";
        for row in client.query(sql, &[&schema, &needed])? {
            self.texts.push(row.try_get(0)?);
            self.lacks_create |= row.try_get::<_, bool>(1)?;
        }
        Ok(())
    }
}
