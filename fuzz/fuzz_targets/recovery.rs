//! Feeds `corelog_decoders::recovery`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelog_decoders::recovery::run(bytes));
