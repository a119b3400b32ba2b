#![no_main]

#[path = "../../tests/it/fuzzed/properties.rs"]
#[expect(dead_code, reason = "each target has one property of them")]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::model_config(bytes));
