//! Events as other programs hold them: enveloped, in `MongoDB`'s Extended JSON, in a reject file.

pub(crate) mod envelope;
pub(crate) mod extended_json;
pub(crate) mod reject_record;
