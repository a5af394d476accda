//! Every decoder of stored bytes: no panic, no unbounded allocation, and what decodes encodes to
//! itself.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((which, bytes)) = data.split_first() {
        keyfall::testing::decode_anything(*which, bytes);
    }
});
