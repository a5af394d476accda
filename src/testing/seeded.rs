//! Time and randomness from a seed.

use std::sync::Mutex;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::env::Env;
use crate::error::Result;
use crate::ids::Timestamp;
use crate::policy::millis;
use crate::testing::lock::locked;

/// An environment that is the same in two runs with one seed. Its clock moves by one millisecond
/// whenever it is read.
#[derive(Debug)]
pub struct Seeded {
    state: Mutex<Position>,
    /// By how many milliseconds the clock is wrong.
    wrong: Mutex<i64>,
}

/// Where an environment stands in its time and its randomness.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    seed: u64,
    /// Blocks of random bytes that were drawn.
    drawn: u64,
    /// The time, in milliseconds since 1970.
    now: u64,
}

impl Seeded {
    /// An environment whose clock starts on 2026-01-01.
    pub fn new(seed: u64) -> Self {
        Seeded {
            state: Mutex::new(Position { seed, drawn: 0, now: 1_767_225_600_000 }),
            wrong: Mutex::default(),
        }
    }

    /// The present position, which a machine's snapshot keeps: [`Seeded::rewind`] goes back to it.
    pub fn position(&self) -> Position {
        *locked(&self.state)
    }

    /// Repeats time and randomness from an earlier position on, like a machine that is restored
    /// from a snapshot.
    pub fn rewind(&self, position: Position) {
        *locked(&self.state) = position;
    }

    /// Lets so many milliseconds pass.
    pub fn advance(&self, ms: u64) {
        locked(&self.state).now += ms;
    }

    /// Sets the clock wrong by so many milliseconds, ahead or, where negative, back; 0 sets it
    /// right again.
    pub fn set_wrong(&self, ms: i64) {
        *locked(&self.wrong) = ms;
    }
}

impl Env for Seeded {
    fn now(&self) -> Timestamp {
        let mut state = locked(&self.state);
        state.now += 1;
        Timestamp(state.now.saturating_add_signed(*locked(&self.wrong)))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(locked(&self.state).now)
    }

    /// Nobody waits: the time passes.
    fn sleep(&self, time: Duration) {
        self.advance(millis(time));
    }

    fn fill(&self, out: &mut [u8]) -> Result<()> {
        let mut state = locked(&self.state);
        for block in out.chunks_mut(32) {
            state.drawn += 1;
            let mut hash = Sha256::new();
            hash.update(state.seed.to_be_bytes());
            hash.update(state.drawn.to_be_bytes());
            block.copy_from_slice(&hash.finalize()[..block.len()]);
        }
        Ok(())
    }
}
