//! Format detection and decompression.

pub(crate) mod decoder;
pub(crate) mod format;
pub(crate) mod raw;
