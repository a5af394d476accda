//! What callers may ask of an engine.

pub(crate) mod audit;
mod certificates;
mod clock;
pub(crate) mod copies;
pub(crate) mod discard;
pub(crate) mod engine;
pub(crate) mod erasing;
mod grants;
mod holds;
mod inbox;
pub(crate) mod lineage;
mod log;
mod plans;
mod policies;
mod records;
pub(crate) mod report;
pub(crate) mod requests;
pub(crate) mod status;
mod training;
