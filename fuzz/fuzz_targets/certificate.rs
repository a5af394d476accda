//! A good certificate, changed: whatever the fuzzer makes of it does not verify.
#![no_main]

use keyfall::certificate::{Certificate, Trust};
use libfuzzer_sys::fuzz_target;

const GOOD: &str = include_str!("../../tests/certificates/good.erased");
const KEY: &str = include_str!("../../tests/certificates/good.key");

fuzz_target!(|data: &[u8]| {
    let mut bytes = GOOD.as_bytes().to_vec();
    // Each four bytes change one place: set a byte, cut, insert, or swap two ranges.
    for step in data.as_chunks::<4>().0 {
        let [act, high, low, value] = *step;
        let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len().max(1);
        match act % 4 {
            0 if at < bytes.len() => bytes[at] = value,
            1 => bytes.truncate(at),
            2 => bytes.insert(at, value),
            _ => bytes.rotate_left(at),
        }
    }
    let holds = String::from_utf8(bytes.clone())
        .ok()
        .and_then(|text| text.parse::<Certificate>().ok())
        .is_some_and(|c| {
            let key = KEY.parse().expect("a key");
            c.verify(&Trust::in_log(key)).is_ok()
        });
    assert_eq!(holds, bytes == GOOD.as_bytes(), "a changed certificate verifies");
});
