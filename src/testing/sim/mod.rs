//! The deterministic simulator: one seed is one whole run of several engines after one another over media that fail,
//! with two judges at the end.
//!
//! * [`simulate`] takes steps, 16 bytes each, over any [`Media`]; [`steps`] makes them from a seed, a fuzzer makes them
//!   from its input.
//! * [`SimulatedDisk`] is the default stack over a disk that loses, tears and reorders what was not synced;
//!   [`Adapters`] puts faults at the ports of a store and a cell of your own.
//! * [`every_crash_point`] cuts the power before and after each operation of each verb, and again in each recovery.
//!
//! ```
//! # use std::{collections::HashMap, sync::{Arc, Mutex}};
//! # use keyfall::{cell::MemoryCell, error::Result, store::{MemoryStore, Store}};
//! use keyfall::testing::sim::{Adapters, Planted, simulate, steps};
//!
//! for seed in 0..20 {
//!     let places: Mutex<HashMap<String, Arc<MemoryStore>>> = Mutex::default();
//!     // Yours: the store at this place, opened again after each restart.
//!     let stores = move |place: &str, create: bool| -> Result<Arc<dyn Store>> {
//!         # let _ = create;
//!         Ok(places.lock().unwrap().entry(place.to_owned()).or_default().clone())
//!     };
//!     let cell = Arc::new(MemoryCell::new());
//!     let media = Adapters::new(stores, move || Ok(cell.clone()));
//!     simulate(seed, &steps(seed), Planted::default(), |_| media);
//! }
//! ```
//! A judge's verdict is a panic: `LOST` where something acknowledged is gone, `FOUND` where something erased is back.

mod disk;
mod events;
mod exhaustive;
mod gate;
mod judges;
mod keyholders;
mod many;
mod media;
mod model;
mod op;
mod outside;
mod planted;
mod promises;
mod records;
mod rng;
mod run;
mod tally;

use std::sync::Arc;

pub use disk::{Saved, Unsynced};
pub use exhaustive::{Covered, VERBS, every_crash_point};
pub use gate::{Fault, Gate, Touch};
pub use keyholders::KeyholderEvent;
pub use media::{Adapters, Media, SimulatedDisk};
pub use op::STEP_BYTES;
pub use planted::{PLANTED, Planted, PlantedDefect, verdict_of};
pub use tally::Tally;

use self::rng::Rng;
use self::run::Run;
use crate::cell::CellDefect;
use crate::testing::Seeded;

/// The steps of a seed.
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

/// Runs `steps` over the media that `media` makes, and has both judges look at what is left.
///
/// # Panics
/// With the verdict, where something acknowledged is lost or something erased is found.
pub fn simulate(
    seed: u64,
    steps: &[[u8; STEP_BYTES]],
    planted: Planted,
    media: impl FnOnce(&Arc<Seeded>) -> Arc<dyn Media>,
) -> Tally {
    run_over((seed, steps), planted, None, media)
}

fn run_over(
    (seed, steps): (u64, &[[u8; STEP_BYTES]]),
    planted: Planted,
    others: Option<many::Others>,
    media: impl FnOnce(&Arc<Seeded>) -> Arc<dyn Media>,
) -> Tally {
    let env = Arc::new(Seeded::new(seed));
    let media = media(&env);
    let mut run = Run::new(media, env, seed, planted.engine, None);
    run.others = others;
    for step in steps {
        run.step(step);
    }
    run.judge(seed.is_multiple_of(8) || planted.engine.is_some())
}

/// Runs a seed: on the simulated disk where it is even, on the reference adapters with faults at their ports where odd.
///
/// # Panics
/// As [`simulate`].
pub fn simulate_seed(seed: u64, planted: Planted) -> Tally {
    World::Alone.run(seed, &steps(seed), planted)
}

/// Runs a seed with the root key spread over five keyholders, in memory: some are away, late, restored from backups; one keeps everything.
///
/// # Panics
/// As [`simulate`].
pub fn simulate_keyholders(seed: u64, planted: Planted) -> Tally {
    World::Keyholders.run(seed, &steps(seed), planted)
}

/// Runs a seed of a store that is not alone.
///
/// # Panics
/// As [`simulate`].
pub fn simulate_many(seed: u64, planted: Planted) -> Tally {
    World::Many.run(seed, &steps(seed), planted)
}

/// What a store lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// It is alone with its media, which fail: [`simulate_seed`].
    Alone,
    /// Its root key is spread over keyholders: [`simulate_keyholders`].
    Keyholders,
    /// Others have its copies and its cell open, clocks are wrong, machines are set back, batches stay open, keyholders change. By turns on
    /// the simulated disk, on the reference adapters, and with keyholders.
    Many,
}

impl World {
    /// That of a seed: of eight, five are alone, two are not, one has keyholders.
    pub fn of(seed: u64) -> Self {
        match seed % 8 {
            0..=4 => World::Alone,
            5 | 6 => World::Many,
            _ => World::Keyholders,
        }
    }

    /// Runs steps in it.
    ///
    /// # Panics
    /// As [`simulate`].
    pub fn run(self, seed: u64, steps: &[[u8; STEP_BYTES]], planted: Planted) -> Tally {
        let ownerless = planted.cell == Some(CellDefect::FenceInTombstone);
        let others = (self == World::Many).then(|| many::Others::new(ownerless));
        run_over((seed, steps), planted, others, |env| match self {
            World::Alone if planted.unsynced.is_some() => SimulatedDisk::new(env.clone(), planted.unsynced),
            World::Alone => media_of(seed, env),
            World::Keyholders => Adapters::with_keyholders(seed, env),
            World::Many => match seed % 3 {
                0 => SimulatedDisk::broken(env.clone(), planted.unsynced, planted.cell),
                1 => Adapters::in_memory(),
                _ => Adapters::with_changing_keyholders(seed, env, planted.cell),
            },
        })
    }

    /// One of its steps in words, for a person.
    pub fn describe(self, step: &[u8; STEP_BYTES]) -> String {
        let other = (self == World::Many).then(|| many::Event::decode(step)).flatten();
        let (op, trouble) = op::decode(step);
        other.map_or_else(|| format!("{op:?}, {trouble:?}"), |event| format!("{event:?}, {trouble:?}"))
    }
}

/// The media of a seed: the simulated disk where it is even, the reference adapters where odd.
pub fn media_of(seed: u64, env: &Arc<Seeded>) -> Arc<dyn Media> {
    if seed & 1 == 0 { SimulatedDisk::new(env.clone(), None) } else { Adapters::in_memory() }
}
