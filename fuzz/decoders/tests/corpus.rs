//! What fuzzers begin with and what they found, fed to the decoders on every run.

#![allow(clippy::expect_used)]

#[path = "../seeds/mod.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::panic::catch_unwind;
use std::path::Path;

use corelog_decoders::DECODERS;
use flate2::read::GzDecoder;
use tar::Archive;

#[test]
fn every_seed_is_decoded_or_refused() {
    let mut counts = BTreeMap::new();
    for seed in seeds::all() {
        let (name, decode) = DECODERS.iter().find(|(name, _)| *name == seed.decoder).expect("a decoder");
        assert!(catch_unwind(|| decode(&seed.bytes)).is_ok(), "{name} panics over {}; see above", seed.name);
        *counts.entry(*name).or_insert(0) += 1;
    }
    assert!(
        DECODERS.iter().all(|(name, _)| counts.get(name).is_some_and(|count| *count >= 10)),
        "{counts:?}"
    );
}

#[test]
fn every_input_that_a_fuzzer_kept_is_decoded_or_refused() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (name, decode) in DECODERS {
        let path = corpora.join(format!("{name}.tar.gz"));
        let file = File::open(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; scripts/fuzz --keep makes it", path.display());
        });
        let mut count = 0;
        let mut corpus = Archive::new(GzDecoder::new(file));
        for input in corpus.entries().expect("an archive") {
            let mut input = input.expect("an input");
            if !input.header().entry_type().is_file() {
                continue;
            }
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes).expect("an input");
            let decoded = catch_unwind(|| decode(&bytes)).is_ok();
            assert!(decoded, "{name} panics over {:?}; see above", input.path());
            count += 1;
        }
        assert!(count >= 100, "{name} has a corpus of {count}");
    }
}
