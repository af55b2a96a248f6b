//! Writes what fuzzers begin with: `cargo run -p corelog-decoders --example seeds -- DIRECTORY`, a directory in it for each decoder.

#![allow(clippy::expect_used)]

#[path = "../seeds/mod.rs"]
mod seeds;

use std::path::Path;

fn main() {
    let dir = std::env::args().nth(1).expect("usage: seeds DIRECTORY");
    for seed in seeds::all() {
        let corpus = Path::new(&dir).join(seed.decoder);
        std::fs::create_dir_all(&corpus).expect("a directory for the corpus");
        std::fs::write(corpus.join(seed.name), seed.bytes).expect("an input is written");
    }
}
