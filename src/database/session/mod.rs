//! One connection: opening, statements, transactions and closing.

pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod client_transaction;
pub(crate) mod copy;
pub(crate) mod deadline;
pub(crate) mod hosts;
pub(crate) mod notices;
pub(crate) mod opener;
pub(crate) mod progress;
pub(crate) mod transaction;
