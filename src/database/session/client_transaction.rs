//! Transactions and savepoints of a session, with its prepared statements.

use crate::database::session::notices::Notices;
use bytes::BytesMut;
use postgres::types::{FromSql, ToSql, Type};
use postgres::{CopyInWriter, CopyOutReader, Error, Row, SimpleQueryMessage, Statement};
use std::collections::{HashMap, HashSet};

pub(crate) type PostgresResult<T> = std::result::Result<T, Error>;

pub(crate) type SqlValues<'v> = [&'v (dyn ToSql + Sync)];

/// The prepared statements of a session. They are those of this program, and thus at most a few dozen.
#[derive(Default)]
pub(crate) struct KeptStatements {
    by_text: HashMap<String, Statement>,
    /// The names of those prepared by the statement PREPARE.
    names: HashSet<&'static str>,
}

/// A statement that a session prepares under a name when it first runs it, in the same message.
#[derive(Debug)]
pub(crate) struct NamedStatement {
    pub(crate) name: &'static str,
    /// The types of its parameters.
    pub(crate) types: &'static [&'static str],
    pub(crate) sql: String,
}

impl NamedStatement {
    /// The text that prepares it, which is empty if it is prepared or `kept` is none, and the text that runs it with these
    /// literals, which contain no `$`.
    ///
    /// A message that contains several statements must begin with all of the former. They do not touch rows, so only an
    /// error that ends the session can leave some of them out.
    pub(crate) fn with_values(
        &self,
        kept: Option<&mut KeptStatements>,
        literals: &[String],
    ) -> (String, String) {
        let Self { name, types, sql } = self;
        let Some(kept) = kept else {
            // From the last parameter to the first, so that $1 does not match the start of $10.
            let values = literals.iter().zip(*types).enumerate().rev();
            let sql = values.fold(sql.clone(), |sql, (number, (literal, kind))| {
                sql.replace(&format!("${}", number + 1), &format!("{literal}::{kind}"))
            });
            return (String::new(), sql);
        };
        let prepare = if kept.names.insert(name) {
            format!("PREPARE {name} ({}) AS {sql}", types.join(", "))
        } else {
            String::new()
        };
        (prepare, format!("EXECUTE {name} ({})", literals.join(", ")))
    }
}

/// A transaction or a savepoint. It is rolled back on drop.
pub(crate) struct ClientTransaction<'c> {
    inner: &'c mut postgres::Client,
    /// The number of savepoints around this one; 0 for the transaction itself.
    depth: u32,
    is_open: bool,
    /// None behind a pooler.
    kept: Option<&'c mut KeptStatements>,
    notices: &'c Notices,
}

impl<'c> ClientTransaction<'c> {
    /// Begins a transaction by this text. Returns the answers to its statements.
    pub(crate) fn begin(
        inner: &'c mut postgres::Client,
        kept: Option<&'c mut KeptStatements>,
        notices: &'c Notices,
        sql: &str,
    ) -> PostgresResult<(Self, Vec<SimpleQueryMessage>)> {
        // If the statements fail, the drop rolls back.
        let transaction = Self { inner, depth: 0, is_open: true, kept, notices };
        let answers = transaction.inner.simple_query(sql)?;
        Ok((transaction, answers))
    }

    pub(crate) fn notices(&self) -> &'c Notices {
        self.notices
    }

    pub(crate) fn execute(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<u64> {
        match self.kept(sql, values)? {
            Some(statement) => self.inner.execute(&statement, values),
            None => self.inner.execute_typed(sql, &typed(values)),
        }
    }

    pub(crate) fn batch_execute(&mut self, sql: &str) -> PostgresResult<()> {
        self.inner.batch_execute(sql)
    }

    pub(crate) fn simple_query(&mut self, sql: &str) -> PostgresResult<Vec<SimpleQueryMessage>> {
        self.inner.simple_query(sql)
    }

    pub(crate) fn copy_in(&mut self, sql: &str) -> PostgresResult<CopyInWriter<'_>> {
        match self.kept(sql, &[])? {
            Some(statement) => self.inner.copy_in(&statement),
            None => self.inner.copy_in(sql),
        }
    }

    /// The statement is not kept, because its values are in its text: COPY has no parameters.
    pub(crate) fn copy_out(&mut self, sql: &str) -> PostgresResult<CopyOutReader<'_>> {
        self.inner.copy_out(sql)
    }

    /// A savepoint.
    pub(crate) fn transaction(&mut self) -> PostgresResult<ClientTransaction<'_>> {
        let depth = self.depth + 1;
        self.inner.batch_execute(&format!("SAVEPOINT aegis_kills_{depth}"))?;
        let kept = self.kept.as_deref_mut();
        Ok(ClientTransaction { inner: self.inner, depth, is_open: true, kept, notices: self.notices })
    }

    pub(crate) fn commit(mut self) -> PostgresResult<()> {
        self.is_open = false;
        match self.depth {
            0 => self.inner.batch_execute("COMMIT"),
            depth => self.inner.batch_execute(&format!("RELEASE SAVEPOINT aegis_kills_{depth}")),
        }
    }

    pub(crate) fn rollback(mut self) -> PostgresResult<()> {
        self.end()
    }

    fn end(&mut self) -> PostgresResult<()> {
        self.is_open = false;
        match self.depth {
            0 => self.inner.batch_execute("ROLLBACK"),
            depth => self.inner.batch_execute(&format!(
                "ROLLBACK TO SAVEPOINT aegis_kills_{depth}; RELEASE SAVEPOINT aegis_kills_{depth}"
            )),
        }
    }

    /// The prepared statement, which is prepared if necessary. None behind a pooler.
    fn kept(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Option<Statement>> {
        let Some(kept) = &mut self.kept else { return Ok(None) };
        if let Some(statement) = kept.by_text.get(sql) {
            return Ok(Some(statement.clone()));
        }
        let types: Vec<Type> = typed(values).into_iter().map(|(_, kind)| kind).collect();
        let statement = self.inner.prepare_typed(sql, &types)?;
        kept.by_text.insert(sql.to_owned(), statement.clone());
        Ok(Some(statement))
    }
}

impl Drop for ClientTransaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // If this fails, the connection is lost, which ends the transaction as well.
            let _ = self.end();
        }
    }
}

/// Queries that run inside or outside of a transaction.
pub(crate) trait GenericClient {
    fn query(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Vec<Row>>;
    fn query_opt(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Option<Row>>;
}

impl GenericClient for ClientTransaction<'_> {
    fn query(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Vec<Row>> {
        match self.kept(sql, values)? {
            Some(statement) => self.inner.query(&statement, values),
            None => self.inner.query_typed(sql, &typed(values)),
        }
    }

    fn query_opt(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Option<Row>> {
        match self.kept(sql, values)? {
            Some(statement) => self.inner.query_opt(&statement, values),
            None => self.inner.query_typed_opt(sql, &typed(values)),
        }
    }
}

/// The first column of all rows. It is an error if the column has another type.
pub(crate) fn first_column<T, C>(rows: &[Row]) -> PostgresResult<C>
where
    T: for<'r> FromSql<'r>,
    C: FromIterator<T>,
{
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The types of parameters. A value has the first type that accepts it, as no type accepts values of another.
const TYPES: [Type; 16] = [
    Type::INT8,
    Type::INT8_ARRAY,
    Type::TEXT,
    Type::TEXT_ARRAY,
    Type::UUID,
    Type::UUID_ARRAY,
    Type::BYTEA,
    Type::BYTEA_ARRAY,
    Type::BOOL,
    Type::BOOL_ARRAY,
    Type::INT4,
    Type::INT4_ARRAY,
    Type::INT2,
    Type::INT2_ARRAY,
    Type::FLOAT8,
    Type::FLOAT8_ARRAY,
];

pub(crate) fn typed<'v>(values: &SqlValues<'v>) -> Vec<(&'v (dyn ToSql + Sync), Type)> {
    let takes =
        |value: &(dyn ToSql + Sync), kind: &Type| value.to_sql_checked(kind, &mut BytesMut::new()).is_ok();
    let kind = |value| TYPES.into_iter().find(|kind| takes(value, kind)).unwrap_or(Type::UNKNOWN);
    values.iter().map(|&value| (value, kind(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_statements_are_prepared_once() {
        let statement =
            NamedStatement { name: "look", types: &["bigint", "text"], sql: "SELECT $2, $1".to_owned() };
        let literals = ["1".to_owned(), "'a'".to_owned()];
        let mut kept = KeptStatements::default();
        let run = "EXECUTE look (1, 'a')".to_owned();
        let prepare = "PREPARE look (bigint, text) AS SELECT $2, $1".to_owned();
        assert_eq!(statement.with_values(Some(&mut kept), &literals), (prepare, run.clone()));
        assert_eq!(statement.with_values(Some(&mut kept), &literals), (String::new(), run));
        let whole = "SELECT 'a'::text, 1::bigint".to_owned();
        assert_eq!(statement.with_values(None, &literals), (String::new(), whole));
    }

    #[test]
    fn types_of_values() {
        let text = "text".to_owned();
        let values: [&(dyn ToSql + Sync); 9] = [
            &1_i64,
            &vec![1_i64],
            &text,
            &vec![text.clone()],
            &None::<String>,
            &uuid::Uuid::nil(),
            &&[1_u8][..],
            &1_i32,
            &true,
        ];
        let kinds: Vec<Type> = typed(&values).into_iter().map(|(_, kind)| kind).collect();
        let expected = [
            Type::INT8,
            Type::INT8_ARRAY,
            Type::TEXT,
            Type::TEXT_ARRAY,
            Type::TEXT,
            Type::UUID,
            Type::BYTEA,
            Type::INT4,
            Type::BOOL,
        ];
        assert_eq!(kinds, expected);
    }
}
