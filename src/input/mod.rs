//! Where dumps come from, and how they are cut into segments; knows no JSON.
