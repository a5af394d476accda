//! Time and randomness from a seed.

use std::sync::Mutex;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::env::Env;
use crate::error::Result;
use crate::ids::Timestamp;
use crate::testing::locked;

/// An environment that two runs with one seed see alike. Its clock moves by one millisecond at each look.
#[derive(Debug)]
pub struct Seeded {
    state: Mutex<(u64, u64, u64)>,
    /// By how much the clock is wrong.
    wrong: Mutex<i64>,
}

impl Seeded {
    /// Starts on 2026-01-01.
    pub fn new(seed: u64) -> Self {
        Seeded { state: Mutex::new((seed, 0, 1_767_225_600_000)), wrong: Mutex::default() }
    }

    /// What [`Seeded::rewind`] goes back to: what a machine's snapshot keeps of its generator.
    pub fn position(&self) -> (u64, u64, u64) {
        *locked(&self.state)
    }

    /// Repeats time and randomness from an earlier position on, as a machine does that is restored from a snapshot.
    pub fn rewind(&self, position: (u64, u64, u64)) {
        *locked(&self.state) = position;
    }

    /// Lets time pass.
    pub fn advance(&self, ms: u64) {
        locked(&self.state).2 += ms;
    }

    /// Sets the clock wrong, so far ahead of the time that has passed, or behind it; 0 sets it right again.
    pub fn set_wrong(&self, ms: i64) {
        *locked(&self.wrong) = ms;
    }
}

impl Env for Seeded {
    fn now(&self) -> Timestamp {
        let mut state = locked(&self.state);
        state.2 += 1;
        Timestamp(state.2.saturating_add_signed(*locked(&self.wrong)))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(locked(&self.state).2)
    }

    fn fill(&self, out: &mut [u8]) -> Result<()> {
        let mut state = locked(&self.state);
        for block in out.chunks_mut(32) {
            state.1 += 1;
            let mut hash = Sha256::new();
            hash.update(state.0.to_be_bytes());
            hash.update(state.1.to_be_bytes());
            block.copy_from_slice(&hash.finalize()[..block.len()]);
        }
        Ok(())
    }
}
