//! Parse, wire up in order, run. No behaviour of its own.

fn main() {}
