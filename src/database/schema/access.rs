//! Missing privileges of a role, and other obstacles to a reliable load.

use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client_transaction::{GenericClient, first_column};
use crate::layout::Layout;
use postgres::Error;

/// The privileges that a load needs on the layout's first table and on its other tables. Ledger tables need those of
/// `FIRST`.
const FIRST: [&str; 3] = ["SELECT", "INSERT", "UPDATE"];
const OTHERS: [&str; 3] = ["SELECT", "INSERT", "DELETE"];
const LEDGER: [&str; 2] = ["kill_load_run", "kill_load_segment"];

/// The reasons why this role cannot load into the tables of a layout, or why loaded rows can be lost.
pub(crate) fn faults(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
) -> Result<Vec<String>, Error> {
    let mut faults = Vec::new();
    for schema in schemas.each() {
        let mut needed = Vec::new();
        if schema == schemas.tables {
            needed.extend(layout.tables().iter().map(|table| table.name));
        }
        if schema == schemas.ledger {
            needed.extend(LEDGER);
        }
        faults.extend(schema_faults(client, schema, &needed)?);
    }
    // Each schema repeats the faults of the database.
    faults.dedup();
    let Schemas { tables: schema, ledger } = schemas;
    let (mut names, mut wanted) = (Vec::new(), Vec::new());
    for (number, table) in layout.tables().iter().enumerate() {
        names.push(table.name);
        wanted.push(if number == 0 { FIRST } else { OTHERS }.join(","));
    }
    for name in LEDGER {
        names.push(name);
        wanted.push(FIRST.join(","));
    }
    let missing_privileges = format!(
        "SELECT format('the role %s lacks %s on %s', current_user, string_agg(needed, ', '), name)
         FROM (SELECT w.name, c.oid, needed FROM unnest($3::text[], $4::text[]) AS w (name, wanted)
           JOIN pg_class c ON c.relname = w.name AND c.relkind IN ('r', 'p')
           JOIN pg_namespace n ON n.oid = c.relnamespace AND {IS_IN_SCHEMAS},
           unnest(string_to_array(w.wanted, ',')) AS needed) AS tables
         WHERE NOT has_table_privilege(oid, needed) GROUP BY name ORDER BY name"
    );
    faults.extend(first_column::<String, Vec<_>>(
        &client.query(&missing_privileges, &[schema, ledger, &names, &wanted])?,
    )?);
    let hidden = format!(
        "SELECT format('row-level security hides rows of %s from the role %s: use the owner of the '
             'table or a role with BYPASSRLS', string_agg(c.relname, ', '), current_user)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {IS_IN_SCHEMAS} AND c.relname = ANY ($3) AND c.relrowsecurity AND row_security_active(c.oid)
         HAVING count(*) > 0"
    );
    faults.extend(first_column::<String, Vec<_>>(&client.query(&hidden, &[schema, ledger, &names])?)?);
    let unlogged = "SELECT format('%s %s UNLOGGED, so a server crash loses rows that the ledger counts as loaded: '
             'run ALTER TABLE … SET LOGGED; after a crash, reload the dumps with --force', string_agg(c.relname, ', '),
             CASE count(*) WHEN 1 THEN 'is' ELSE 'are' END)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = ANY ($3) AND c.relname NOT LIKE 'kill_load_%' AND c.relkind IN ('r', 'p') AND c.relpersistence = 'u' AND EXISTS (
             SELECT FROM pg_class l WHERE l.relnamespace = to_regnamespace(quote_ident($2::text)) AND l.relname = 'kill_load_segment' AND l.relpersistence = 'p')
         HAVING count(*) > 0";
    faults.extend(first_column::<String, Vec<_>>(&client.query(unlogged, &[schema, ledger, &names])?)?);
    Ok(faults)
}

/// The privileges that the role lacks on the database and on the schema of the tables `needed`.
fn schema_faults(
    client: &mut impl GenericClient,
    schema: &str,
    needed: &[&str],
) -> Result<Vec<String>, Error> {
    let sql = "SELECT fault
         FROM (SELECT to_regnamespace(quote_ident($1::text))::oid AS oid, current_database() AS database) AS place,
         LATERAL (VALUES
           (NOT has_database_privilege(database, 'TEMPORARY'),
             format('the role %s lacks TEMPORARY on the database %s', current_user, database)),
           (place.oid IS NULL AND NOT has_database_privilege(database, 'CREATE'),
             format('there is no schema %s, and the role %s lacks CREATE on the database %s', $1, current_user, database)),
           (NOT has_schema_privilege(place.oid, 'USAGE'),
             format('the role %s lacks USAGE on the schema %s', current_user, $1)),
           (NOT has_schema_privilege(place.oid, 'CREATE') AND
             EXISTS (SELECT unnest($2::text[]) EXCEPT SELECT relname::text FROM pg_class WHERE relnamespace = place.oid),
             format('the tables are missing, and the role %s lacks CREATE on the schema %s', current_user, $1))
         ) AS faults (is_fault, fault)
         WHERE is_fault";
    first_column(&client.query(sql, &[&schema, &needed])?)
}
