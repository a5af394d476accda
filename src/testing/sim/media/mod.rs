//! What a simulation runs on: the default stack over a simulated disk, or any adapters at their
//! ports.

pub(super) mod adapters;
pub(super) mod disk;
pub(super) mod faulty;
pub(super) mod file;
pub(super) mod gate;
mod index;
mod index_state;
pub(super) mod keyholders;
pub(super) mod port;
pub(super) mod simulated;
