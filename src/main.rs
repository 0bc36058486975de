//! The `aegis-kills` program.

fn main() {}
