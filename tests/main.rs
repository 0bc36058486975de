//! The integration tests, in one binary: one link in place of many.

mod support;
