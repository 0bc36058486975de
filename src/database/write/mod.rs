//! The transaction of a batch: COPY, staging tables, bisection of refused events, updates, deletion.

pub(crate) mod bisect;
pub(crate) mod compare;
pub(crate) mod deletable;
pub(crate) mod delete;
pub(crate) mod exists;
pub(crate) mod postgres_store;
pub(crate) mod refusals;
pub(crate) mod staged_rows;
pub(crate) mod staging;
pub(crate) mod table_statements;
pub(crate) mod update;
pub(crate) mod update_citus;
pub(crate) mod writer;
