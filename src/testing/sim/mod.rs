//! The deterministic simulator: one seed is one whole run of engines, one after another, over media
//! that fail, with two judges at the end.
//!
//! * [`simulate`] takes steps, 16 bytes each, over any [`Media`]; [`steps`] makes them from a seed,
//!   a fuzzer makes them from its input.
//! * [`SimulatedDisk`] is the default stack over a disk that loses, tears and reorders what was not
//!   synced; [`Adapters`] puts faults at the ports of a store and a cell of your own.
//! * [`every_crash_point`] cuts the power before and after each operation of each verb, and again
//!   in each recovery.
//!
//! ```
//! # use std::{collections::HashMap, sync::{Arc, Mutex}};
//! # use keyfall::{Result, cell::MemoryCell, store::{MemoryStore, Store}};
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
//! A judge's verdict is a panic: `LOST` if something acknowledged is gone, `FOUND` where
//! something erased is back.

mod attempt;
mod checks;
mod choose;
mod copies;
mod event;
mod exhaustive;
mod judged_uploads;
mod judges;
mod many;
mod media;
mod mishaps;
mod model;
mod named;
mod names;
mod op;
mod opening;
mod others;
mod parties;
mod planted;
mod planting;
mod play;
mod promises;
mod records;
mod rng;
mod run;
mod tally;
mod uploads;
mod world;

pub use exhaustive::{Covered, VERBS, every_crash_point};
pub use media::adapters::Adapters;
pub use media::disk::{Saved, Unsynced};
pub use media::gate::{Fault, Gate, Touch};
pub use media::keyholders::KeyholderEvent;
pub use media::port::Media;
pub use media::simulated::SimulatedDisk;
pub use op::STEP_BYTES;
pub use planted::Planted;
pub use planting::{PLANTED, PlantedDefect, verdict_of};
pub use tally::Tally;
pub use world::{
    World, media_of, simulate, simulate_keyholders, simulate_many, simulate_seed, steps,
};
