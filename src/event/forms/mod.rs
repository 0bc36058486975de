//! Events in the formats of other programs: envelopes, `MongoDB` Extended JSON and reject files.

pub(crate) mod envelope;
pub(crate) mod extended_json;
pub(crate) mod reject_record;
