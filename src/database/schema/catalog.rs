//! The catalog of the database about the tables of a load, read by one query.

use crate::database::schema::citus::Distributed;
use crate::database::schema::ledger_ddl::LEDGER;
use crate::database::schema::trust::{FoundObject, objects, own_types};
use crate::database::schema::user_code;
use crate::database::schemas::{IS_IN_SCHEMAS, Schemas, identity_text};
use crate::database::session::client_transaction::GenericClient;
use crate::layout::Layout;
use crate::layout::table::Table;
use postgres::Error;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The objects of a load that exist, and the settings of the role that concern it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Catalog {
    /// The relations with names of tables and indexes of a load, by name.
    pub(crate) relations: BTreeMap<String, FoundRelation>,
    columns: Vec<(String, String, FoundColumn)>,
    /// The columns of unique keys, by table.
    keys: Vec<(String, Vec<String>)>,
    /// The enum types of columns, and those in the tables' schema with the names of this program's types.
    pub(crate) enums: Vec<FoundEnum>,
    /// The names of this program's types that belong to types of another kind in the tables' schema, such as composite
    /// types. A domain can be an enum.
    pub(crate) other_types: Vec<String>,
    /// The tables and the types of their columns.
    pub(crate) objects: Vec<FoundObject>,
    /// The hint at a read-only setting of the role, the database or the connection's options, if there is one. Retrying
    /// would not help.
    pub(crate) read_only: Option<String>,
    /// The comment on the ledger.
    pub(crate) comment: Option<String>,
    /// Whether the role may use `kill_load_file`; none if it does not exist.
    pub(crate) uses_files: Option<bool>,
    /// The quoted name of the role.
    pub(crate) role: String,
    /// Whether user code runs within the statements of a load.
    pub(crate) has_user_code: bool,
    has_citus: bool,
    #[serde(skip)]
    pub(crate) distributed: Distributed,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FoundRelation {
    /// As in `pg_class.oid`.
    pub(crate) oid: u32,
    /// The number of its rows when it was last analyzed, or 0.
    pub(crate) rows: u64,
    /// Whether it is a table, partitioned or not.
    pub(crate) is_table: bool,
    /// Whether it is a valid index of an unpartitioned table. The indexes of partitions may differ from each other.
    pub(crate) is_plain_index: bool,
}

/// A column of an existing table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct FoundColumn {
    /// Its type, as in `pg_type.typname`.
    pub(crate) kind: String,
    /// As in `pg_attribute.atttypmod`: of a time, its fractional digits of a second, or -1 for all.
    pub(crate) modifier: i32,
    /// Whether it is NOT NULL and has no default.
    pub(crate) must_be_given: bool,
    /// Whether the database computes its values from those of other columns.
    pub(crate) is_generated: bool,
}

/// The enum type of a column, or of a name.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct FoundEnum {
    /// Empty for a type that was found by its name.
    pub(crate) table: String,
    /// Empty for a type that was found by its name.
    pub(crate) column: String,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
}

/// The parts of the query. Its parameters are the schemas of the tables and of the ledger, the names of relations, of
/// types, and of the tables that a segment is written to.
///
/// Functions that take any type are qualified, because a function in `public` could fit the values better.
const RELATIONS: &str =
    "SELECT pg_catalog.json_object_agg(named.name, pg_catalog.json_build_object('oid', named.oid::bigint,
        'rows', greatest(named.reltuples, 0)::bigint,
        'is_table', named.relkind IN ('r', 'p'),
        'is_plain_index', named.relkind = 'i' AND i.indisvalid IS TRUE))
    FROM named LEFT JOIN pg_index i ON i.indexrelid = named.oid";

const COLUMNS: &str = "SELECT pg_catalog.json_agg(pg_catalog.json_build_array(named.name, a.attname,
        pg_catalog.json_build_object('kind', t.typname, 'modifier', a.atttypmod,
            'must_be_given', a.attnotnull AND NOT (a.atthasdef OR a.attidentity <> ''),
            'is_generated', a.attgenerated <> '')))
    FROM named JOIN pg_attribute a ON a.attrelid = named.oid JOIN pg_type t ON t.oid = a.atttypid
    WHERE named.relkind NOT IN ('i', 'I') AND a.attnum > 0 AND NOT a.attisdropped";

/// The position of a column counts from 0, and included columns come last.
const KEYS: &str = "SELECT pg_catalog.json_agg(pg_catalog.json_build_array(keys.name, keys.columns)) FROM (
        SELECT named.name, pg_catalog.json_agg(a.attname
            ORDER BY pg_catalog.array_position(i.indkey::int2[], a.attnum)) AS columns
        FROM named JOIN pg_index i ON i.indrelid = named.oid
        JOIN pg_attribute a ON a.attrelid = named.oid AND a.attnum = ANY (i.indkey)
          AND pg_catalog.array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts
        WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate
        GROUP BY named.name, i.indexrelid) AS keys";

/// The enum types of the columns, then those of the types' names, for tables that do not exist yet.
const ENUMS: &str =
    "SELECT pg_catalog.json_agg(pg_catalog.json_build_object('table', used.by_table, 'column', used.by_column,
        'schema', tn.nspname, 'name', t.typname,
        'labels', ARRAY (SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid)))
    FROM (SELECT named.name, a.attname::text, a.atttypid FROM named JOIN pg_attribute a ON a.attrelid = named.oid
          WHERE NOT a.attisdropped AND named.relkind NOT IN ('i', 'I')
          UNION ALL
          SELECT ''::text, ''::text, own.oid FROM pg_type own JOIN pg_namespace n ON n.oid = own.typnamespace
          WHERE own.typname = ANY ($4::text[]) AND n.nspname = $1::text) AS used (by_table, by_column, oid)
    JOIN pg_type t ON t.oid = used.oid JOIN pg_namespace tn ON tn.oid = t.typnamespace
    WHERE t.typtype = 'e'";

const OTHER_TYPES: &str = "SELECT pg_catalog.json_agg(own.typname)
    FROM pg_type own JOIN pg_namespace n ON n.oid = own.typnamespace
    WHERE own.typname = ANY ($4::text[]) AND n.nspname = $1::text AND own.typtype NOT IN ('e', 'd')";

/// The statement in its hint works in a session that is read-only by default, too.
const READ_ONLY: &str =
    "SELECT CASE source WHEN 'client' THEN 'remove it from PGOPTIONS and from the options of the URL'
        ELSE 'use another role, or run: BEGIN READ WRITE; ALTER ' || CASE source WHEN 'database' THEN format('DATABASE %I', current_database())
          WHEN 'database user' THEN format('ROLE %I IN DATABASE %I', session_user, current_database())
          ELSE format('ROLE %I', session_user) END || ' RESET default_transaction_read_only; COMMIT' END
    FROM pg_settings WHERE name = 'default_transaction_read_only' AND setting = 'on'
      AND source IN ('user', 'database', 'database user', 'client')";

const USES_FILES: &str = "SELECT has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
        AND has_table_privilege(oid, 'UPDATE')
    FROM named WHERE name = 'kill_load_file'";

fn question() -> String {
    let list = |part: &str| format!("coalesce(({part}), '[]'::json)");
    format!(
        "WITH named AS MATERIALIZED (
           SELECT c.oid, c.relname::text AS name, c.relkind, c.reltuples FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE {IS_IN_SCHEMAS} AND c.relname = ANY ($3::text[]))
         SELECT pg_catalog.json_build_object(
           'relations', coalesce(({RELATIONS}), '{{}}'::json), 'columns', {}, 'keys', {}, 'enums', {},
           'other_types', {}, 'objects', {},
           'read_only', ({READ_ONLY}), 'uses_files', ({USES_FILES}), 'role', pg_catalog.quote_ident(current_user),
           'comment', (SELECT obj_description(oid, 'pg_class') FROM named WHERE name = 'kill_load_segment'),
           'has_user_code', ({}),
           'has_citus', EXISTS (SELECT FROM pg_extension WHERE extname = 'citus'))::text",
        list(COLUMNS),
        list(KEYS),
        list(ENUMS),
        list(OTHER_TYPES),
        list(&objects()),
        user_code::question("$5")
    )
}

impl Catalog {
    /// Reads it. If the database has Citus, a second query follows.
    pub(crate) fn read(
        client: &mut impl GenericClient,
        layout: Layout,
        schemas: &Schemas,
    ) -> Result<Self, Error> {
        let tables = layout.tables();
        let indexes = tables.iter().flat_map(|table| table.indexes).map(|index| index.name);
        let names: Vec<&str> = tables.iter().map(|table| table.name).chain(LEDGER).chain(indexes).collect();
        let (types, written) = (own_types(tables), user_code::tables(layout));
        let Schemas { tables, ledger } = schemas;
        let row = client.query_opt(&question(), &[tables, ledger, &names, &types, &written])?;
        let text: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
        // A query without FROM returns one row, and its columns are those of this type.
        let mut catalog: Self = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_else(|error| {
            debug_assert!(false, "the catalog is read: {error}");
            log::error!("internal error: cannot read the catalog: {error}; report this error");
            Self::default()
        });
        if catalog.has_citus {
            catalog.distributed = Distributed::of(client, schemas)?;
        }
        Ok(catalog)
    }

    /// The columns of a table, by name; empty if the table does not exist.
    pub(crate) fn columns(&self, table: &str) -> BTreeMap<&str, &FoundColumn> {
        let of_table = self.columns.iter().filter(|(of, _, _)| of == table);
        of_table.map(|(_, name, column)| (name.as_str(), column)).collect()
    }

    /// Whether there is a unique key on the table's key columns in their order. Lookups of events use its first columns.
    pub(crate) fn has_key(&self, table: &Table) -> bool {
        self.keys.iter().any(|(of, columns)| of == table.name && columns == table.key)
    }

    /// Whether there is a unique key on these columns, in any order.
    pub(crate) fn has_key_of(&self, table: &str, key: &[String]) -> bool {
        let is_it = |columns: &[String]| {
            columns.len() == key.len() && key.iter().all(|column| columns.contains(column))
        };
        self.keys.iter().any(|(of, columns)| of == table && is_it(columns))
    }

    /// The [`identity`](crate::database::schemas::identity) of the tables.
    pub(crate) fn identity(&self, layout: Layout, schemas: &Schemas) -> Option<String> {
        let schema = schemas.table_schema()?;
        self.relations.get(layout.tables()[0].name).map(|table| identity_text(table.oid, schema))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.relations.contains_key(name)
    }
}
