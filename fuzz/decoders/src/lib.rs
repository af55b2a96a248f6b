//! What fuzzers feed: a function for each kind of bytes that comes from outside. It panics when a decoder breaks a promise.
//!
//! The fuzzers are in `fuzz/fuzz_targets`; `tests/corpus.rs` replays what they found on every ordinary run. Deliberately
//! absent: what makes bytes.

#![allow(clippy::expect_used)]

pub mod batches;
pub mod formats;
pub mod properties;
pub mod records;
pub mod recovery;
pub mod requests;

#[allow(dead_code)]
#[path = "../../../broker/tests/apis/fakes.rs"]
mod fakes;
#[path = "../../../broker/tests/apis/group_fakes.rs"]
mod group_fakes;
#[allow(dead_code)]
#[path = "../../../storage/tests/bit_flips/stores.rs"]
mod stores;

/// A decoder and its name, which is its fuzz target's and its corpus's.
pub type Decoder = (&'static str, fn(&[u8]));

/// All of them.
pub const DECODERS: [Decoder; 6] = [
    ("batches", batches::run),
    ("requests", requests::run),
    ("formats", formats::run),
    ("recovery", recovery::run),
    ("records", records::run),
    ("properties", properties::run),
];

/// What `stores` can break on purpose: nothing here.
#[derive(Debug, Clone, Copy, Default)]
struct Planted {
    journal: corelog_storage::journal::Bugs,
    log: corelog_storage::log::Bugs,
}

/// Where `stores` keeps its files.
fn dirs() -> Vec<std::path::PathBuf> {
    vec!["/d".into()]
}
