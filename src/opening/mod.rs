//! The paved path: where a store and its root cell are, and how both are made and opened from these
//! places.
//!
//! Invariants. A store does not record where its cell is: anyone who can write there would choose
//! the key. Neither lies inside the other. A cell is never made by opening a store, and a store
//! never over a cell that holds a key. A directory that was never opened as the owner
//! of its cell, a backup, is not written to unless it takes over.

pub(crate) mod builder;
#[cfg(feature = "sled")]
mod held;
#[cfg(feature = "sled")]
mod location;
mod paths;
#[cfg(feature = "sled")]
mod pointer;
#[cfg(feature = "sled")]
mod remote;
#[cfg(feature = "sled")]
mod restoring;
mod roots;
#[cfg(feature = "sled")]
mod site;
mod standby;
mod territory;

#[cfg(feature = "sled")]
pub use crate::traces::Traces;
#[cfg(feature = "sled")]
pub use location::{Location, default_cell, is_exposed, store_to_look};
pub use paths::{absolute, apart, lies_inside, on_the_ground, url_of};
#[cfg(feature = "sled")]
pub use remote::{check_reach, copy_to_write};
#[cfg(feature = "sled")]
pub use restoring::{copy_as_it_is, is_built, take_away, to_build};
pub use roots::look_root;
pub use standby::{Beside, See, StandBy};
pub(crate) use territory::is_object_log;
pub use territory::{check_place, is_store, territory};
