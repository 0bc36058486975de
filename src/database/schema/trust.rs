//! Checks whether the contents of existing tables are reliable: persistence, owners, row-level security.

use crate::database::schema::catalog::{Catalog, FoundObject};
use crate::database::schemas::Schemas;
use crate::layout::identifier::quote_identifier;
use crate::layout::table::Table;
use std::collections::BTreeMap;

/// Adds to `misfits` why the contents of the tables are unreliable, whatever their columns are.
pub(crate) fn distrust(catalog: &Catalog, tables: &[Table], schemas: &Schemas, misfits: &mut Vec<String>) {
    let found = &catalog.objects;
    let quoted = |name: &str| quote_identifier(schemas.of_table(name));
    misfits.extend(planted(found, schemas));
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
        let is_data = |name: &str| tables.iter().any(|table| table.name == name);
        let unlogged = found.iter().filter(|object| object.is_unlogged && is_data(&object.name));
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
