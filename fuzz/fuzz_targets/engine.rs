//! The engine over media that fail, driven by bytes: 16 are a step, an operation or an event with
//! the faults that meet it. At the end stand the simulator's two judges: a plain model of what was
//! acknowledged, and the adversary who holds every byte ever written and every key that is left.
#![no_main]

use keyfall::testing::sim::{Planted, STEP_BYTES, media_of, simulate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&seed, steps)) = data.split_first() else { return };
    let (steps, _) = steps.as_chunks::<STEP_BYTES>();
    let seed = u64::from(seed);
    simulate(seed, &steps[..steps.len().min(40)], Planted::default(), |env| media_of(seed, env));
});
