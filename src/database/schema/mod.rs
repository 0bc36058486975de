//! The tables of a layout and of the ledger: their DDL, what is missing or different, deferred indexes, Citus, sizes.
//!
//! Invariant: what a load needs is looked up in the catalog. No version number decides it.

pub(crate) mod access;
pub(crate) mod citus;
pub(crate) mod deferred_indexes;
pub(crate) mod ensure;
pub(crate) mod inspect;
pub(crate) mod ledger_ddl;
pub(crate) mod misfits;
pub(crate) mod size;
