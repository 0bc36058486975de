//! Rules for files: who else can write them, which may be written, and when their names are durable.

pub(crate) mod durable;
pub(crate) mod output_place;
pub(crate) mod permissions;
