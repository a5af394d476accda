//! Whole runs: a seed, its steps, the world that surrounds the store, and the judges at the end.

use std::sync::Arc;

use super::event::Event;
use super::judges::judge;
use super::many::step;
use super::media::adapters::Adapters;
use super::media::port::Media;
use super::media::simulated::SimulatedDisk;
use super::op::{STEP_BYTES, decode};
use super::opening::start;
use super::others::Others;
use super::planted::Planted;
use super::rng::Rng;
use super::tally::Tally;
use crate::cell::defect::CellDefect;
use crate::testing::seeded::Seeded;

/// Makes the steps of a seed.
pub fn steps(seed: u64) -> Vec<[u8; STEP_BYTES]> {
    let mut rng = Rng::new(seed);
    let n = 1 + rng.below(30);
    (0..n)
        .map(|_| {
            let mut step = [0; STEP_BYTES];
            step[..8].copy_from_slice(&rng.next().to_be_bytes());
            step[8..].copy_from_slice(&rng.next().to_be_bytes());
            step
        })
        .collect()
}

/// Runs `steps` over the media that `media` makes; both judges examine what is left.
///
/// # Panics
/// With the verdict, where something acknowledged is lost or something erased is found.
pub fn simulate(
    seed: u64,
    steps: &[[u8; STEP_BYTES]],
    planted: Planted,
    media: impl FnOnce(&Arc<Seeded>) -> Arc<dyn Media>,
) -> Tally {
    run_over(seed, steps, planted, None, media)
}

fn run_over(
    seed: u64,
    steps: &[[u8; STEP_BYTES]],
    planted: Planted,
    others: Option<Others>,
    media: impl FnOnce(&Arc<Seeded>) -> Arc<dyn Media>,
) -> Tally {
    let env = Arc::new(Seeded::new(seed));
    let media = media(&env);
    let mut run = start(media, env, seed, planted.engine, None);
    run.others = others;
    for bytes in steps {
        step(&mut run, bytes);
    }
    judge(run, seed.is_multiple_of(8) || planted.engine.is_some())
}

/// Runs a seed: on the simulated disk where it is even, on the reference adapters with faults at
/// their ports where odd.
///
/// # Panics
/// As [`simulate`].
pub fn simulate_seed(seed: u64, planted: Planted) -> Tally {
    World::Alone.run(seed, &steps(seed), planted)
}

/// Runs a seed with the root key spread over five keyholders, in memory: some are away, late,
/// restored from backups; one keeps everything.
///
/// # Panics
/// As [`simulate`].
pub fn simulate_keyholders(seed: u64, planted: Planted) -> Tally {
    World::Keyholders.run(seed, &steps(seed), planted)
}

/// Runs a seed in which the store is not alone: [`World::Many`].
///
/// # Panics
/// As [`simulate`].
pub fn simulate_many(seed: u64, planted: Planted) -> Tally {
    World::Many.run(seed, &steps(seed), planted)
}

/// What surrounds a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Alone, on media that fail: [`simulate_seed`].
    Alone,
    /// Its root key is spread over keyholders: [`simulate_keyholders`].
    Keyholders,
    /// Others have its copies and its cell open, clocks are wrong, machines are set back, batches
    /// stay open, keyholders change. By turns on the simulated disk, on the reference adapters, and
    /// with keyholders.
    Many,
}

impl World {
    /// The world of a seed: of eight seeds, five are alone, two are not, one has keyholders.
    pub fn of(seed: u64) -> Self {
        match seed % 8 {
            0..=4 => World::Alone,
            5 | 6 => World::Many,
            _ => World::Keyholders,
        }
    }

    /// Runs steps in this world.
    ///
    /// # Panics
    /// As [`simulate`].
    pub fn run(self, seed: u64, steps: &[[u8; STEP_BYTES]], planted: Planted) -> Tally {
        let ownerless = planted.cell == Some(CellDefect::FenceInTombstone);
        let others = (self == World::Many).then(|| Others::new(ownerless));
        run_over(seed, steps, planted, others, |env| match self {
            World::Alone if planted.unsynced.is_some() => {
                SimulatedDisk::new(env.clone(), planted.unsynced)
            }
            World::Alone => media_of(seed, env),
            World::Keyholders => Adapters::with_keyholders(seed, env),
            World::Many => match seed % 3 {
                0 => SimulatedDisk::broken(env.clone(), planted.unsynced, planted.cell),
                1 => Adapters::in_memory(),
                _ => Adapters::with_changing_keyholders(seed, env, planted.cell),
            },
        })
    }

    /// Describes one of its steps to a person.
    pub fn describe(self, step: &[u8; STEP_BYTES]) -> String {
        let other = (self == World::Many).then(|| Event::decode(step)).flatten();
        let (op, trouble) = decode(step);
        other.map_or_else(
            || format!("{op:?}, {trouble:?}"),
            |event| format!("{event:?}, {trouble:?}"),
        )
    }
}

/// The media of a seed: the simulated disk where it is even, the reference adapters where odd.
pub fn media_of(seed: u64, env: &Arc<Seeded>) -> Arc<dyn Media> {
    if seed & 1 == 0 { SimulatedDisk::new(env.clone(), None) } else { Adapters::in_memory() }
}
