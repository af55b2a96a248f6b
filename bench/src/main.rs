//! `corelog-bench`: load generator and disk probe.

fn main() {}
