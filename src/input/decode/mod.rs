//! The format of an input, and its decompression.

pub(crate) mod decoder;
pub(crate) mod format;
pub(crate) mod raw;
