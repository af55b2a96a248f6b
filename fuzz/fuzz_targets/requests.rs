//! Feeds `corelog_decoders::requests`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelog_decoders::requests::run(bytes));
