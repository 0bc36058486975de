//! What the tables that are there lack, and why they can't be trusted: labels, columns, types, persistence, row-level
//! security.
//!
//! Invariant: what can be added without rewriting a row is an [`Addition`]; all else that does not fit is a misfit, and
//! nothing is changed for it.

use crate::database::schema::ledger_ddl;
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client_transaction::{GenericClient, first_column};
use crate::event::server::Server;
use crate::layout::Layout;
use crate::layout::ddl::ROLES;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::{Column, ColumnType, Table, TableOwner};
use postgres::Error;
use std::collections::BTreeMap;

/// Something that is missing, and the statement that adds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addition {
    /// What the log calls it.
    pub(crate) name: String,
    /// Fails where the role does not own the table or the type.
    pub(crate) statement: String,
}

/// A column of a table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundColumn {
    /// Its type, as `pg_type.typname` has it.
    pub(crate) kind: String,
    /// Whether it is NOT NULL and has no default.
    pub(crate) must_be_given: bool,
}

/// The columns of a table of `schema`, by name; none where there is no such table.
pub(crate) fn columns(
    client: &mut impl GenericClient,
    schema: &str,
    table: &str,
) -> Result<BTreeMap<String, FoundColumn>, Error> {
    let rows = client.query(
        "SELECT a.attname::text, t.typname::text, a.attnotnull AND NOT (a.atthasdef OR a.attidentity <> '')
         FROM pg_attribute a
         JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_type t ON t.oid = a.atttypid
         WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped",
        &[&schema, &table],
    )?;
    let found = |row: &postgres::Row| {
        let column = FoundColumn { kind: row.try_get(1)?, must_be_given: row.try_get(2)? };
        Ok((row.try_get(0)?, column))
    };
    rows.iter().map(found).collect()
}

/// What can be added to the tables and types that are there. Tables that are missing are no concern of it.
pub(crate) fn additions(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
) -> Result<Vec<Addition>, Error> {
    let mut additions = Vec::new();
    let (schema, quoted) = (&schemas.tables, quote_identifier(&schemas.tables));
    for table in layout.tables().iter().filter(|table| table.keeper == TableOwner::Us) {
        let found = columns(client, schema, table.name)?;
        if found.is_empty() {
            continue;
        }
        let missing = |name: &str| !found.contains_key(name);
        let optional = table.columns.iter().filter(|column| is_addable(column));
        let optional = optional.map(|column| (column.name, column.definition(&quoted)));
        let defaulted = table.defaulted.iter().map(|(name, definition)| (*name, (*definition).to_owned()));
        for (name, definition) in optional.chain(defaulted).filter(|(name, _)| missing(name)) {
            additions.push(column_addition(&table.in_schema(&quoted), table.name, name, &definition));
        }
    }
    additions.extend(ledger_additions(client, &schemas.ledger)?);
    additions.extend(missing_labels(client, layout, schema)?);
    Ok(additions)
}

/// What can be added to the ledger's tables that are there.
pub(crate) fn ledger_additions(
    client: &mut impl GenericClient,
    schema: &str,
) -> Result<Vec<Addition>, Error> {
    let mut additions = Vec::new();
    for table in ledger_tables() {
        let found = columns(client, schema, &table.name)?;
        let missing = table.columns.iter().filter(|column| !found.contains_key(&column.name));
        for column in missing.filter(|column| !found.is_empty() && column.is_addable()) {
            let target = format!("{}.{}", quote_identifier(schema), table.name);
            additions.push(column_addition(&target, &table.name, &column.name, &column.definition));
        }
    }
    Ok(additions)
}

/// Whether a column that is missing is added: the rows that are there have no value for it.
pub(crate) fn is_addable(column: &Column) -> bool {
    !column.needed
}

fn column_addition(target: &str, table: &str, name: &str, definition: &str) -> Addition {
    Addition {
        name: format!("the column {table}.{name}"),
        statement: format!(
            "ALTER TABLE {target} ADD COLUMN IF NOT EXISTS {} {definition}",
            quote_identifier(name)
        ),
    }
}

/// The labels that the types of columns lack. Without one each event that has it would be refused.
fn missing_labels(
    client: &mut impl GenericClient,
    layout: Layout,
    schema: &str,
) -> Result<Vec<Addition>, Error> {
    let mut additions: Vec<Addition> = Vec::new();
    for table in layout.tables() {
        for column in table.columns {
            let wanted = match column.kind {
                ColumnType::Server => Server::ALL.map(Server::name).to_vec(),
                ColumnType::Role => ROLES.to_vec(),
                _ => continue,
            };
            let row = client.query_opt(
                "SELECT tn.nspname::text, t.typname::text,
                   ARRAY (SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid)
                 FROM pg_attribute a
                 JOIN pg_class c ON c.oid = a.attrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                 JOIN pg_type t ON t.oid = a.atttypid
                 JOIN pg_namespace tn ON tn.oid = t.typnamespace
                 WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 AND NOT a.attisdropped AND t.typtype = 'e'",
                &[&schema, &table.name, &column.name],
            )?;
            let Some(row) = row else { continue };
            let (type_schema, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let found: Vec<String> = row.try_get(2)?;
            let kind = format!("{}.{}", quote_identifier(&type_schema), quote_identifier(&name));
            for label in wanted.iter().filter(|label| !found.iter().any(|found| found == *label)) {
                let statement = format!("ALTER TYPE {kind} ADD VALUE IF NOT EXISTS '{label}'");
                let addition = Addition { name: format!("the label '{label}' of {name}"), statement };
                if !additions.contains(&addition) {
                    additions.push(addition);
                }
            }
        }
    }
    Ok(additions)
}

/// What does not fit of the ledger's tables that are there.
pub(crate) fn ledger_misfits(
    client: &mut impl GenericClient,
    schema: &str,
    misfits: &mut Vec<String>,
) -> Result<(), Error> {
    let tables = ledger_tables();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let others = client.query(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = ANY ($2) AND c.relkind NOT IN ('r', 'p')",
        &[&schema, &names],
    )?;
    let others: Vec<String> = first_column(&others)?;
    misfits.extend(others.iter().map(|name| format!("{name} is no table")));
    for table in tables {
        let mut found = columns(client, schema, &table.name)?;
        if found.is_empty() || others.contains(&table.name) {
            continue;
        }
        for column in &table.columns {
            match found.remove(&column.name) {
                None if column.is_addable() => {}
                None => misfits.push(format!("{} has no column {}", table.name, column.name)),
                Some(FoundColumn { kind, .. }) if kind != column.kind => misfits.push(format!(
                    "{}.{} is of type {kind}, {} is needed",
                    table.name, column.name, column.kind
                )),
                Some(_) => {}
            }
        }
        for (column, _) in found.iter().filter(|(_, found)| found.must_be_given) {
            misfits.push(format!(
                "{} has a column {column} of its own that is NOT NULL and has no default",
                table.name
            ));
        }
    }
    Ok(())
}

/// A table of the ledger.
#[derive(Debug)]
struct LedgerTable {
    name: String,
    columns: Vec<LedgerColumn>,
}

/// A column of the ledger.
#[derive(Debug)]
struct LedgerColumn {
    name: String,
    /// What follows the name in the DDL.
    definition: String,
    /// Its type, as `pg_type.typname` has it.
    kind: String,
}

impl LedgerColumn {
    /// Whether the rows that are there could do without a value.
    fn is_addable(&self) -> bool {
        !self.definition.contains("NOT NULL") || self.definition.contains("DEFAULT")
    }
}

/// The ledger's tables, read from their DDL, so that it is the one place that knows them.
fn ledger_tables() -> Vec<LedgerTable> {
    let mut tables: Vec<LedgerTable> = Vec::new();
    let ddl = ledger_ddl::ddl("x");
    let mut is_within = false;
    for line in ddl.lines() {
        if let Some(name) = line.strip_prefix("CREATE TABLE IF NOT EXISTS \"x\".") {
            let name = name.trim_end_matches(" (").to_owned();
            tables.push(LedgerTable { name, columns: Vec::new() });
            is_within = true;
        } else if let (true, Some(table), Some(column)) = (is_within, tables.last_mut(), ledger_column(line))
        {
            table.columns.push(column);
        } else if line.starts_with(')') {
            is_within = false;
        }
    }
    tables
}

/// The column of a line of DDL; none in one that has a key, or ends the table.
fn ledger_column(line: &str) -> Option<LedgerColumn> {
    let (name, definition) = line.strip_prefix("  ")?.trim_end_matches(',').split_once(' ')?;
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let kind = match definition.split(' ').next()? {
        "bigint" => "int8".to_owned(),
        "integer" | "int" => "int4".to_owned(),
        "boolean" => "bool".to_owned(),
        kind => kind.strip_suffix("[]").map_or_else(|| kind.to_owned(), |element| format!("_{element}")),
    };
    Some(LedgerColumn { name: name.to_owned(), definition: definition.to_owned(), kind })
}

/// A table or a type that is there.
struct FoundObject {
    name: String,
    /// Whether this role does not see each row.
    is_secured: bool,
    is_unlogged: bool,
    owner: String,
    /// Whether the owner may be anyone who could create in the schema.
    is_planted: bool,
}

/// The tables and types of these names, and their owners. Of these, trusted are this role and the roles that it is a member of;
/// the owners of the schema and the database and their members; superusers; and whom the schema's owner has granted CREATE,
/// by name and not as everyone. A superuser is a member of the roles alone that have been granted to it.
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

/// The types that the columns of tables have and this program makes.
fn own_types(tables: &[Table]) -> Vec<&'static str> {
    let has = |kind| tables.iter().flat_map(|table| table.columns).any(|column| column.kind == kind);
    let types = [(ColumnType::Server, "albion_server"), (ColumnType::Role, "kill_role")];
    types.into_iter().filter(|(kind, _)| has(*kind)).map(|(_, name)| name).collect()
}

/// Why what the tables say can't be relied on, whatever their columns are.
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
                "{name} is unlogged and kill_load_segment is not: after a crash of the server the events would be gone and \
                 counted as loaded (its owner can run: ALTER TABLE {}.{} SET LOGGED; after a crash, load the dumps again with --force)",
                quoted(name),
                quote_identifier(name)
            ));
        }
    }
    Ok(())
}

/// What another role has made, in words, once for each role. Its triggers and casts would run with the privileges of this one.
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
            "{} {verb} to role {role}, which is not trusted: neither this role nor the owner of the schema or the database, nor \
             granted CREATE by name (if you trust it, the schema's owner can run: GRANT CREATE ON SCHEMA {schema} TO {role}; if \
             not, remove what it has made, and: REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC)",
            names.join(", ")
        )
    };
    by_owner.into_iter().map(sentence).collect()
}

/// Where a role or a database is set to be read-only, which no waiting ends: the statement that ends it.
pub(crate) fn read_only_setting(client: &mut impl GenericClient) -> Result<Option<String>, Error> {
    let row = client.query_opt(
        "SELECT CASE source WHEN 'database' THEN format('ALTER DATABASE %I', current_database())
             WHEN 'database user' THEN format('ALTER ROLE %I IN DATABASE %I', session_user, current_database())
             ELSE format('ALTER ROLE %I', session_user) END || ' RESET default_transaction_read_only'
         FROM pg_settings WHERE name = 'default_transaction_read_only' AND setting = 'on'
           AND source IN ('user', 'database', 'database user')",
        &[],
    )?;
    row.map(|row| row.try_get(0)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_read_from_its_ddl() {
        let tables = ledger_tables();
        let table =
            |name: &str| tables.iter().find(|table| table.name == name).expect("a table of the ledger");
        let column = |table: &LedgerTable, name: &str| {
            let found = table.columns.iter().find(|column| column.name == name).expect("a column");
            (found.kind.clone(), found.is_addable())
        };
        let (run, segment) = (table("kill_load_run"), table("kill_load_segment"));
        assert_eq!(column(run, "sources"), ("_text".to_owned(), false));
        assert_eq!(column(run, "error"), ("text".to_owned(), true));
        assert_eq!(column(run, "lines"), ("int8".to_owned(), true));
        assert_eq!(column(segment, "hash"), ("bytea".to_owned(), false));
        assert!(segment.columns.iter().all(|column| column.name != "PRIMARY"));
    }
}
