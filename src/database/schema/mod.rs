//! The tables of a layout and of the ledger: DDL, missing and different objects, deferred indexes, Citus, sizes.
//!
//! Invariant: a load looks up the objects it needs in the catalog. No version number decides.

pub(crate) mod access;
pub(crate) mod catalog;
pub(crate) mod citus;
pub(crate) mod deferred_indexes;
pub(crate) mod ensure;
pub(crate) mod inspect;
pub(crate) mod ledger_ddl;
pub(crate) mod misfits;
pub(crate) mod size;
pub(crate) mod statistics;
pub(crate) mod trust;
pub(crate) mod user_code;
