//! Transactions and savepoints of a session, with its prepared statements.

use crate::database::session::notices::Notices;
use bytes::BytesMut;
use postgres::types::{FromSql, ToSql, Type};
use postgres::{CopyInWriter, CopyOutReader, Error, Row, Statement};
use std::collections::HashMap;

pub(crate) type PostgresResult<T> = std::result::Result<T, Error>;

pub(crate) type SqlValues<'v> = [&'v (dyn ToSql + Sync)];

/// The prepared statements of a session by their text. They are those of this program, and thus at most a few dozen.
pub(crate) type KeptStatements = HashMap<String, Statement>;

/// A transaction or a savepoint. It is rolled back on drop.
pub(crate) struct ClientTransaction<'c> {
    pub(crate) inner: postgres::Transaction<'c>,
    /// None behind a pooler.
    pub(crate) kept: Option<&'c mut KeptStatements>,
    pub(crate) notices: &'c Notices,
}

impl<'c> ClientTransaction<'c> {
    /// The notices of this connection.
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
        Ok(ClientTransaction {
            inner: self.inner.transaction()?,
            kept: self.kept.as_deref_mut(),
            notices: self.notices,
        })
    }

    pub(crate) fn commit(self) -> PostgresResult<()> {
        self.inner.commit()
    }

    pub(crate) fn rollback(self) -> PostgresResult<()> {
        self.inner.rollback()
    }

    /// The prepared statement, which is prepared if necessary. None behind a pooler.
    fn kept(&mut self, sql: &str, values: &SqlValues<'_>) -> PostgresResult<Option<Statement>> {
        let Some(kept) = &mut self.kept else { return Ok(None) };
        if let Some(statement) = kept.get(sql) {
            return Ok(Some(statement.clone()));
        }
        let types: Vec<Type> = typed(values).into_iter().map(|(_, kind)| kind).collect();
        let statement = self.inner.prepare_typed(sql, &types)?;
        kept.insert(sql.to_owned(), statement.clone());
        Ok(Some(statement))
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
