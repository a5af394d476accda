//! What a simulation runs on: stores and a root cell whose failures the simulator plans.

use std::sync::Arc;

use super::disk::Saved;
use super::gate::Gate;
use super::keyholders::KeyholderEvent;
use crate::cell::{RootCell, RootKey};
use crate::error::Result;
use crate::quorum::Config;
use crate::store::Store;

/// Stores and a root cell that outlive the process and, as far as their contracts go, a power cut.
pub trait Media: Send + Sync {
    /// Opens the store at `place`; where `create` is set and nothing is there, makes an empty one.
    ///
    /// # Errors
    /// `Absent` if nothing is there.
    fn store(&self, place: &str, create: bool) -> Result<Arc<dyn Store>>;

    /// Opens the root cell, of which there is one.
    ///
    /// # Errors
    /// Those of the cell.
    fn cell(&self) -> Result<Arc<dyn RootCell>>;

    /// Ends one process and begins the next; everything is closed. `power`: the machine lost power
    /// too.
    fn restart(&self, power: bool, seed: u64);

    /// Every root key that a seizure of the cell's medium would reveal now. `all_final`: every
    /// erase was reported final.
    ///
    /// # Errors
    /// Those of the cell.
    fn keys_on_medium(&self, all_final: bool) -> Result<Vec<RootKey>>;

    /// Loses everything at `place`; `false` where that is not simulated.
    fn lose(&self, _place: &str) -> bool {
        false
    }

    /// Changes a bit at `place`; `false` where that is not simulated.
    fn rot(&self, _place: &str, _seed: u64) -> bool {
        false
    }

    /// Keeps what is at `place` now; `None` if that is not simulated.
    fn save(&self, _place: &str) -> Option<Saved> {
        None
    }

    /// Restores what was kept of `place`.
    fn put_back(&self, _place: &str, _saved: &Saved) {}

    /// Copies one place over another, byte for byte; `false` where that is not simulated.
    fn copy(&self, _from: &str, _to: &str) -> bool {
        false
    }

    /// From here on things go wrong by themselves, if they may.
    fn stir(&self) {}

    /// From here on nothing goes wrong by itself.
    fn calm(&self) {}

    /// Another handle on the cell, with all that the process which owns it remembers; `None` where
    /// that is not simulated.
    fn twin_cell(&self) -> Option<Arc<dyn RootCell>> {
        None
    }

    /// Replaces a keyholder, or makes it lose what it holds; `false` where that may not be now, or
    /// has no keyholders.
    fn keyholders(&self, _event: KeyholderEvent) -> bool {
        false
    }

    /// What the engine's machine keeps of keyholders, if they change.
    fn keyholder_list(&self) -> Option<Config> {
        None
    }

    /// Another machine goes on, with what it keeps of them.
    fn go_on_with(&self, _list: Config) {}

    /// Whether the root key is spread over keyholders.
    fn has_keyholders(&self) -> bool {
        false
    }

    /// Whether two engines may have one store open at once, each seeing what the other commits: so
    /// it is with adapters that have no lock, whose only defence is that a commit names the head it
    /// replaces.
    fn shares_handles(&self) -> bool {
        false
    }

    /// The gate through which every operation passes.
    fn gate(&self) -> &Arc<Gate>;
}
