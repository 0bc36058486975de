//! Format detection and decompression.

pub(crate) mod decoder;
pub(crate) mod format;
mod gzip;
pub(crate) mod raw;
pub(crate) mod step;
mod zstd;
