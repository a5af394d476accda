//! Tools for tests of this crate and of adapters outside it (feature `testing`).
//!
//! * [`store_conformance`], and [`cell_conformance`] with [`owned_cell_conformance`] or
//!   [`shared_cell_conformance`], check the adapter of a port against its contract;
//! * [`Seeded`] replays time and randomness from a seed;
//! * [`Tape`] keeps every byte ever written to any store, and [`Tape::exposed`] is the adversary
//!   who has it together with what the cell holds now;
//! * [`decode_anything`] feeds bytes to every decoder, for fuzzing.

mod adversary;
mod conformance;
mod decoders;
mod lock;
mod seeded;
pub mod sim;
mod tape;
mod work;

pub use adversary::{Exposed, payload_names, secrets};
pub use conformance::{
    cell_conformance, listed, owned_cell_conformance, shared_cell_conformance, store_conformance,
};
pub use decoders::{DECODERS, decode_anything};
pub use seeded::{Position, Seeded};
pub use tape::{HoardingCell, RecordingStore, Tape};
pub use work::read_to_open;

pub use crate::catalogue::defect::Defect;
pub use crate::cell::defect::CellDefect;

/// Runs something as a forked child would: on this thread, whatever was opened before counts as
/// opened by another process.
pub fn as_a_forked_child<T>(act: impl FnOnce() -> T) -> T {
    crate::process::as_a_forked_child(act)
}

/// A call of the cleaner that marks what lives, however little is believed to have died.
///
/// # Errors
/// As [`crate::Engine::clean`].
pub fn clean_all(engine: &crate::Engine) -> crate::error::Result<crate::engine::Cleaning> {
    engine.clean_all()
}

/// Plants a defect in the engines that are opened with these options.
#[must_use]
pub fn with_defect(options: crate::Options, defect: Option<Defect>) -> crate::Options {
    crate::Options { defect, ..options }
}

/// A discard that reads about so many names at a time.
///
/// # Errors
/// As [`crate::Engine::discard`].
pub fn discard_in_windows(
    engine: &crate::Engine,
    names: usize,
) -> crate::error::Result<crate::engine::Discarded> {
    engine.discard_in_windows(names)
}

/// The root keys that an engine's cell holds now.
///
/// # Errors
/// Those of the cell.
pub fn root_keys(engine: &crate::Engine) -> crate::error::Result<Vec<crate::cell::RootKey>> {
    engine.root_keys()
}

/// The share in the bytes of a keyholder's slot, if they hold one.
pub fn share_in(bytes: &[u8]) -> Option<crate::quorum::Share> {
    let (key, note) = crate::cell::live_share_in(bytes)?;
    crate::quorum::Share::noted(key, &note)
}

/// The key that all these shares give together, if it is the one to which the first share
/// commits.
pub fn key_of(shares: &[&crate::quorum::Share]) -> Option<crate::crypto::Key> {
    crate::quorum::combined(shares)
}

/// A keyholder in this process, with its slots below a directory and a signing key made of `seed`.
pub fn holder(
    dir: &std::path::Path,
    seed: u8,
    env: &crate::env::SharedEnv,
) -> crate::quorum::Holder {
    crate::quorum::Holder::in_dir(dir, ed25519_dalek::SigningKey::from_bytes(&[seed; 32]), env)
}
