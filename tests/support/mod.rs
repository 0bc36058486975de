//! What the tests share.

pub(crate) mod hostile;
pub(crate) mod oracle;
pub(crate) mod samples;
