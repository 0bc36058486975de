//! The synthetic dump: events with the shape, sizes and oddities of real ones.
