//! Checks whether existing tables can be used: kind, owners, row-level security, persistence.
//!
//! Invariant: [`check`] reads only `pg_catalog`, and precedes each statement that names a table of this program. A view of
//! another role would run its functions with the privileges of this role.

use crate::database::failure::error::DatabaseError;
use crate::database::schema::ledger_ddl::LEDGER;
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas};
use crate::database::session::client_transaction::GenericClient;
use crate::database::store::StoreError;
use crate::layout::Layout;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::{ColumnType, Table};
use postgres::Error;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The existing tables of a layout and of the ledger. All of them, and their partitions, have trusted owners.
#[derive(Debug, Clone)]
pub(crate) struct TrustedTables(BTreeSet<String>);

impl TrustedTables {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The message about the first of these tables that is missing, if one is. They are tables of the layout in `schema`.
    pub(crate) fn missing(&self, tables: &[Table], layout: Layout, schema: &str) -> Option<String> {
        let missing = tables.iter().find(|table| !self.has(table.name))?;
        Some(format!(
            "schema {schema:?} has no table {} (layout {layout})\nhint: choose the tables with --schema and --layout",
            missing.name
        ))
    }
}

/// Why no statement may name the tables.
#[derive(Debug)]
pub(crate) enum TrustError {
    /// One is not a table, or an untrusted role owns one. Holds the message.
    Untrusted(String),
    /// The catalog could not be read.
    Lookup(Error),
}

impl From<Error> for TrustError {
    fn from(error: Error) -> Self {
        Self::Lookup(error)
    }
}

impl From<TrustError> for DatabaseError {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::Untrusted(message) => StoreError::refused(message).into(),
            TrustError::Lookup(error) => error.into(),
        }
    }
}

/// An existing relation or type.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FoundObject {
    name: String,
    /// The table that it is a partition of, directly or not, or that has a column of this type.
    part_of: Option<String>,
    /// The owner, if it is untrusted: anyone with CREATE on the schema may have created the object.
    untrusted_owner: Option<String>,
    /// Whether it is an ordinary or partitioned table. True for types and partitions.
    is_table: bool,
    /// Whether row-level security can hide rows from this role.
    is_secured: bool,
    /// Its schema, if it is unlogged. A partition may be unlogged by itself, and in another schema.
    unlogged_in: Option<String>,
}

impl FoundObject {
    /// The table of this program that it is, or is a partition of.
    fn table(&self) -> &str {
        self.part_of.as_deref().unwrap_or(&self.name)
    }
}

/// Selects, as a JSON list of [`FoundObject`], the relations except indexes and the types of these names, the partitions of
/// the tables, and the types of all their columns with the types that these consist of: the owner of a domain can add a
/// CHECK to it at any time. It locks none of them. The parameters are the schemas of the tables and of the ledger, and the
/// names of relations and of types. These owners are trusted:
///
/// - this role and the roles that it is a member of (for a superuser, only roles granted to it)
/// - the owners of the schema and the database, and their members
/// - superusers
/// - roles that the schema's owner has granted CREATE by name, not through PUBLIC
///
/// For a partition or a type of a column, the schema is that of the table: an untrusted role can own another schema.
///
/// A type depends on its base type, element or subtype, and a composite type has columns. An array has the owner of its
/// elements, and only superusers own types of the system.
pub(crate) fn objects() -> String {
    format!(
        "WITH RECURSIVE me AS (SELECT oid, rolsuper FROM pg_roles WHERE rolname = current_user),
           own AS (
             SELECT c.* FROM (
               SELECT oid, relname, relowner AS owner, relnamespace AS namespace, relkind IN ('r', 'p') AS fits,
                 row_security_active(oid) AS secured,
                 CASE WHEN relpersistence = 'u' THEN (SELECT s.nspname FROM pg_namespace s WHERE s.oid = relnamespace) END
                   AS unlogged
               FROM pg_class WHERE relname = ANY ($3::text[]) AND relkind NOT IN ('i', 'I')
               UNION ALL
               SELECT 0::oid, typname, typowner, typnamespace, true, false, NULL::name
               FROM pg_type WHERE typname = ANY ($4::text[])) AS c
             JOIN pg_namespace n ON n.oid = c.namespace
             WHERE {IS_IN_SCHEMAS}),
           found AS (
             SELECT oid, relname, NULL::name AS part_of, owner, namespace, fits, secured, unlogged FROM own
             UNION
             SELECT p.oid, p.relname, coalesce(f.part_of, f.relname), p.relowner, f.namespace, true, false,
               CASE WHEN p.relpersistence = 'u' THEN (SELECT s.nspname FROM pg_namespace s WHERE s.oid = p.relnamespace) END
             FROM found f JOIN pg_inherits i ON i.inhparent = f.oid JOIN pg_class p ON p.oid = i.inhrelid
             WHERE f.fits),
           kinds AS (
             SELECT t.oid, coalesce(f.part_of, f.relname) AS relname, f.namespace
             FROM found f JOIN pg_attribute a ON a.attrelid = f.oid JOIN pg_type t ON t.oid = a.atttypid
             WHERE f.fits AND a.attnum > 0 AND NOT a.attisdropped
               AND t.typnamespace <> 'pg_catalog'::regnamespace
             UNION
             SELECT p.oid, k.relname, k.namespace
             FROM kinds k JOIN pg_type t ON t.oid = k.oid CROSS JOIN LATERAL (
               SELECT d.refobjid FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
                 AND d.refclassid = 'pg_type'::regclass
               UNION ALL
               SELECT a.atttypid FROM pg_attribute a
               WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS part (oid)
             JOIN pg_type p ON p.oid = part.oid WHERE p.typnamespace <> 'pg_catalog'::regnamespace),
           checked AS (
             SELECT relname::text, part_of::text, owner, namespace, fits, secured, unlogged FROM found
             UNION ALL
             SELECT 'type '::text || t.typname::text || ' of '::text || k.relname::text, k.relname::text,
               t.typowner, k.namespace, true, false, NULL::name
             FROM (SELECT DISTINCT ON (oid, namespace) * FROM kinds ORDER BY oid, namespace, relname) AS k
             JOIN pg_type t ON t.oid = k.oid
             WHERE NOT (t.typelem <> 0 AND t.typlen = -1) AND NOT EXISTS (
               SELECT FROM own WHERE own.oid = 0 AND own.relname = t.typname AND own.namespace = t.typnamespace))
         SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', f.relname, 'part_of', f.part_of,
           'untrusted_owner', CASE WHEN f.owner = me.oid
             OR CASE WHEN me.rolsuper
                  THEN EXISTS (SELECT FROM pg_auth_members m WHERE m.member = me.oid AND m.roleid = f.owner)
                  ELSE pg_has_role(me.oid, f.owner, 'MEMBER') END
             OR pg_has_role(f.owner, n.nspowner, 'MEMBER')
             OR pg_has_role(f.owner, d.datdba, 'MEMBER')
             OR EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.privilege_type = 'CREATE' AND a.grantee <> 0
                  AND pg_has_role(f.owner, a.grantee, 'MEMBER'))
           THEN NULL ELSE pg_get_userbyid(f.owner)::text END,
           'is_table', f.fits, 'is_secured', f.secured, 'unlogged_in', f.unlogged::text) ORDER BY f.relname)
         FROM checked f JOIN pg_namespace n ON n.oid = f.namespace CROSS JOIN me
         JOIN pg_database d ON d.datname = current_database()"
    )
}

/// The types of the tables' columns that this program creates.
pub(crate) fn own_types(tables: &[Table]) -> Vec<&'static str> {
    let has = |kind| tables.iter().flat_map(|table| table.columns).any(|column| column.kind == kind);
    let types = [ColumnType::Server, ColumnType::Role].into_iter().filter(|kind| has(*kind));
    types.filter_map(ColumnType::own_type).collect()
}

/// Checks that the existing relations of a layout and of the ledger are tables with trusted owners. Returns their names.
pub(crate) fn check(
    client: &mut impl GenericClient,
    layout: Layout,
    schemas: &Schemas,
) -> Result<TrustedTables, TrustError> {
    let tables = layout.tables();
    let names: Vec<&str> = tables.iter().map(|table| table.name).chain(LEDGER).collect();
    let types = own_types(tables);
    let sql = format!("SELECT coalesce(({}), '[]'::json)::text", objects());
    let row = client.query_opt(&sql, &[&schemas.tables, &schemas.ledger, &names, &types])?;
    let text: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    // Without an answer nothing is trusted.
    let found: Result<Vec<FoundObject>, _> = serde_json::from_str(&text.unwrap_or_default());
    let mut found =
        found.map_err(|error| TrustError::Untrusted(format!("cannot read the catalog: {error}")))?;
    let mut faults = planted(&found, schemas);
    let other_kinds = found.iter().filter(|object| !object.is_table && object.untrusted_owner.is_none());
    faults.extend(other_kinds.map(|object| format!("{} is not a table", object.name)));
    if !faults.is_empty() {
        return Err(TrustError::Untrusted(incompatible(schemas, &faults, None)));
    }
    found.retain(|object| object.part_of.is_none() && !types.contains(&object.name.as_str()));
    Ok(TrustedTables(found.into_iter().map(|object| object.name).collect()))
}

/// The message about incompatible tables. `remedy` removes all `misfits`, if there is one.
pub(crate) fn incompatible(schemas: &Schemas, misfits: &[String], remedy: Option<String>) -> String {
    let hint = remedy.unwrap_or_else(|| {
        let ledger = if schemas.is_apart() { " and --ledger-schema" } else { "" };
        format!(
            "choose another schema with --schema{ledger}, or see the required tables with: aegis-kills schema print"
        )
    });
    format!("the tables in {schemas} are incompatible: {}\nhint: {hint}", misfits.join("; "))
}

/// Why the contents of the tables are unreliable, whatever their columns are, and the remedy. `role` is this role, quoted.
pub(crate) fn distrust(found: &[FoundObject], tables: &[Table], role: &str) -> (Vec<String>, Option<String>) {
    let (mut misfits, mut remedies) = (Vec::new(), Vec::new());
    let secured: Vec<&str> =
        found.iter().filter(|object| object.is_secured).map(|object| &*object.name).collect();
    if !secured.is_empty() {
        misfits
            .push(format!("row-level security can hide rows of {} from the role {role}", secured.join(", ")));
        remedies.push(format!(
            "run in psql as a superuser: ALTER ROLE {role} BYPASSRLS; or use the owner of the tables, and set NO FORCE ROW \
             LEVEL SECURITY for each of them"
        ));
    }
    let unlogged = unlogged(found, tables);
    if !unlogged.is_empty() {
        misfits.push(unlogged_faults(&unlogged));
        remedies.push(unlogged_remedy(&unlogged));
    }
    (misfits, (!remedies.is_empty()).then(|| remedies.join("; ")))
}

/// The schemas and names of the unlogged tables of events and their partitions; none if `kill_load_segment` is unlogged too.
pub(crate) fn unlogged(found: &[FoundObject], tables: &[Table]) -> BTreeSet<(String, String)> {
    let mut segments = found.iter().filter(|object| object.table() == "kill_load_segment").peekable();
    if segments.peek().is_none() || segments.any(|object| object.unlogged_in.is_some()) {
        return BTreeSet::new();
    }
    let ours = found.iter().filter(|object| tables.iter().any(|table| table.name == object.table()));
    ours.filter_map(|object| Some((object.unlogged_in.clone()?, object.name.clone()))).collect()
}

/// The sentences about unlogged tables of events, given their schemas and names.
pub(crate) fn unlogged_faults(tables: &BTreeSet<(String, String)>) -> String {
    let sentences = tables.iter().map(|(_, name)| {
        format!(
            "{name} is unlogged and kill_load_segment is not: a server crash would lose events that the ledger counts \
             as loaded"
        )
    });
    sentences.collect::<Vec<_>>().join("; ")
}

/// The hint about unlogged tables of events.
pub(crate) fn unlogged_remedy(tables: &BTreeSet<(String, String)>) -> String {
    let statements = set_logged(tables);
    // A crash can have emptied only the tables of child rows. With --force alone their events are duplicates.
    format!(
        "run in psql as the owner: {statements}; after a crash, reload the dumps with --on-conflict update"
    )
}

/// The statements that make tables logged.
pub(crate) fn set_logged(tables: &BTreeSet<(String, String)>) -> String {
    let statements = tables.iter().map(|(schema, name)| {
        format!("ALTER TABLE {}.{} SET LOGGED", quote_identifier(schema), quote_identifier(name))
    });
    statements.collect::<Vec<_>>().join("; ")
}

/// Selects the schemas and names of the unlogged tables of the layout and of their unlogged partitions; none if
/// `kill_load_segment` is unlogged too. It has no parameters.
pub(crate) fn unlogged_query(layout: Layout, schemas: &Schemas) -> String {
    let names = layout.tables().iter().map(|table| table.name).chain(["kill_load_segment"]);
    let names: Vec<String> =
        names.map(|name| format!("('{}', '{name}')", schemas.of_table(name).replace('\'', "''"))).collect();
    format!(
        "WITH RECURSIVE ours (oid, name) AS (
           SELECT c.oid, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE (n.nspname, c.relname) IN ({})
           UNION
           SELECT i.inhrelid, ours.name FROM pg_inherits i JOIN ours ON ours.oid = i.inhparent),
         found AS (
           SELECT ours.name, n.nspname, c.relname FROM ours JOIN pg_class c ON c.oid = ours.oid
           JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relpersistence = 'u')
         SELECT DISTINCT nspname, relname FROM found
         WHERE NOT EXISTS (SELECT FROM found AS ledger WHERE ledger.name = 'kill_load_segment')",
        names.join(", ")
    )
}

/// Messages about objects of untrusted roles, one per role. Their triggers and casts would run with the privileges of
/// this role.
pub(crate) fn planted(found: &[FoundObject], schemas: &Schemas) -> Vec<String> {
    let mut by_owner = BTreeMap::<(&str, &str), Vec<&str>>::new();
    for FoundObject { name, part_of, untrusted_owner, .. } in found {
        let Some(owner) = untrusted_owner else { continue };
        let schema = schemas.of_table(part_of.as_ref().unwrap_or(name));
        by_owner.entry((owner, schema)).or_default().push(name);
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
