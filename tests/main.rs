//! All tests that need a real PostgreSQL or the whole program, in one binary, so that they share one server.

mod support;

mod cases {
    mod cluster;
    mod differential;
    mod embedded;
    mod memory;
}
