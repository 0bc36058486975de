//! Checks whether the contents of existing tables are reliable: persistence, owners, row-level security.

use crate::database::schema::inspect::ledger_tables;
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client_transaction::GenericClient;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::{ColumnType, Table};
use postgres::Error;
use std::collections::BTreeMap;

/// An existing table or type.
struct FoundObject {
    name: String,
    /// Whether row-level security hides rows from this role.
    is_secured: bool,
    is_unlogged: bool,
    owner: String,
    /// Whether the owner is untrusted: anyone with CREATE on the schema may have created it.
    is_planted: bool,
}

/// Selects the tables and types of these names, and whether their owners are trusted. These owners are trusted:
///
/// - this role and the roles that it is a member of (for a superuser, only roles granted to it)
/// - the owners of the schema and the database, and their members
/// - superusers
/// - roles that the schema's owner has granted CREATE by name, not through PUBLIC
const OBJECTS: &str = "
    WITH me AS (SELECT oid, rolsuper FROM pg_roles WHERE rolname = current_user),
      named AS (
        SELECT c.relname, c.relowner AS owner, c.relnamespace AS namespace, row_security_active(c.oid) AS secured,
          -- A partition may be unlogged by itself.
          (SELECT bool_or(part.relpersistence = 'u') FROM pg_class part WHERE part.oid = c.oid
            OR part.oid IN (SELECT relid FROM pg_partition_tree(c.oid))) AS unlogged
        FROM pg_class c WHERE c.relname = ANY ($3) AND c.relkind IN ('r', 'p')
        UNION ALL
        SELECT t.typname, t.typowner, t.typnamespace, false, false FROM pg_type t WHERE t.typname = ANY ($4))
    SELECT c.relname::text, c.secured, c.unlogged, pg_get_userbyid(c.owner)::text,
      NOT (c.owner = me.oid
        OR CASE WHEN me.rolsuper
             THEN EXISTS (SELECT FROM pg_auth_members m WHERE m.member = me.oid AND m.roleid = c.owner)
             ELSE pg_has_role(me.oid, c.owner, 'MEMBER') END
        OR pg_has_role(c.owner, n.nspowner, 'MEMBER')
        OR pg_has_role(c.owner, d.datdba, 'MEMBER')
        OR EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.privilege_type = 'CREATE' AND a.grantee <> 0
             AND pg_has_role(c.owner, a.grantee, 'MEMBER')))
    FROM named c JOIN pg_namespace n ON n.oid = c.namespace CROSS JOIN me
    JOIN pg_database d ON d.datname = current_database()
    WHERE ";

fn objects(
    client: &mut impl GenericClient,
    schemas: &Schemas,
    tables: &[String],
    types: &[&str],
) -> Result<Vec<FoundObject>, Error> {
    let sql = format!("{OBJECTS}{IS_IN_SCHEMAS}");
    let rows = client.query(&sql, &[&schemas.tables, &schemas.ledger, &tables, &types])?;
    let object = |row: &postgres::Row| {
        Ok(FoundObject {
            name: row.try_get(0)?,
            is_secured: row.try_get(1)?,
            is_unlogged: row.try_get(2)?,
            owner: row.try_get(3)?,
            is_planted: row.try_get(4)?,
        })
    };
    rows.iter().map(object).collect()
}

/// The types of the tables' columns that this program creates.
fn own_types(tables: &[Table]) -> Vec<&'static str> {
    let has = |kind| tables.iter().flat_map(|table| table.columns).any(|column| column.kind == kind);
    let types = [(ColumnType::Server, "albion_server"), (ColumnType::Role, "kill_role")];
    types.into_iter().filter(|(kind, _)| has(*kind)).map(|(_, name)| name).collect()
}

/// Adds to `misfits` why the contents of the tables are unreliable, whatever their columns are.
pub(crate) fn distrust(
    client: &mut impl GenericClient,
    tables: &[Table],
    schemas: &Schemas,
    misfits: &mut Vec<String>,
) -> Result<(), Error> {
    let data: Vec<String> = tables.iter().map(|table| table.name.to_owned()).collect();
    let ledger: Vec<String> = ledger_tables().into_iter().map(|table| table.name).collect();
    let names: Vec<String> = data.iter().chain(&ledger).cloned().collect();
    let found = objects(client, schemas, &names, &own_types(tables))?;
    let quoted = |name: &str| quote_identifier(schemas.of_table(name));
    misfits.extend(planted(&found, schemas));
    for FoundObject { name, .. } in found.iter().filter(|object| object.is_secured) {
        misfits.push(format!(
            "row-level security hides rows of {name} from this role (a superuser can run: ALTER ROLE … BYPASSRLS; the \
             table's owner: ALTER TABLE {}.{} DISABLE ROW LEVEL SECURITY)",
            quoted(name),
            quote_identifier(name)
        ));
    }
    let ledger_is_logged =
        found.iter().any(|object| object.name == "kill_load_segment" && !object.is_unlogged);
    if ledger_is_logged {
        let unlogged = found.iter().filter(|object| object.is_unlogged && data.contains(&object.name));
        for FoundObject { name, .. } in unlogged {
            misfits.push(format!(
                "{name} is unlogged and kill_load_segment is not: a server crash would lose events that the ledger \
                 counts as loaded (its owner can run: ALTER TABLE {}.{} SET LOGGED; after a crash, reload the dumps \
                 with --force)",
                quoted(name),
                quote_identifier(name)
            ));
        }
    }
    Ok(())
}

/// Messages about objects of untrusted roles, one per role. Their triggers and casts would run with the privileges of
/// this role.
fn planted(found: &[FoundObject], schemas: &Schemas) -> Vec<String> {
    let mut by_owner = BTreeMap::<(&str, &str), Vec<&str>>::new();
    for FoundObject { name, owner, .. } in found.iter().filter(|object| object.is_planted) {
        by_owner.entry((owner, schemas.of_table(name))).or_default().push(name);
    }
    let sentence = |((owner, schema), names): ((&str, &str), Vec<&str>)| {
        let schema = quote_identifier(schema);
        let verb = if names.len() == 1 { "belongs" } else { "belong" };
        let role = quote_identifier(owner);
        format!(
            "{} {verb} to role {role}, which is not trusted: it is neither this role nor the owner of the schema or \
             the database, and has no CREATE granted by name (if you trust it, the schema's owner can run: GRANT \
             CREATE ON SCHEMA {schema} TO {role}; if not, drop its objects and run: REVOKE CREATE ON SCHEMA {schema} \
             FROM PUBLIC)",
            names.join(", ")
        )
    };
    by_owner.into_iter().map(sentence).collect()
}
