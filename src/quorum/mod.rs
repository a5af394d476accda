//! The root key shared among keyholders: t of n shares give it back, fewer say nothing, and it is
//! gone when n - t + 1 are.
//!
//! Data flows: the engine's cell ([`QuorumCell`]) splits a key (`shares`), asks every keyholder at
//! once (`ask`), sorts their shares (`sorted`), and weighs what they tell (`told`). A keyholder is
//! a [`Holder`] in this process, or one reached over a connection (`net`) to a process that serves
//! such a holder.
//!
//! Invariants. A share leaves the engine only to its keyholder, and only after a handshake whose
//! keys are gone after it. Every candidate that was ever deposited is destroyed under the same rule
//! as the old root key: "up to this epoch keep only this one". A keyholder never takes a share of
//! an epoch that it has ended.

mod ask;
mod beyond;
mod brand;
mod cell;
mod config;
mod contents;
mod deposit;
mod holder;
#[cfg(feature = "testing")]
mod kept;
mod known;
mod ledger;
pub mod net;
mod order;
mod promised;
mod root_cell;
mod shares;
mod sorted;
mod standing;
mod told;

pub use cell::QuorumCell;
pub use config::{Config, Dealt, Failed, Left, MARGIN, Member, Rule};
pub use holder::Holder;
#[cfg(feature = "testing")]
pub(crate) use kept::kept_in;
pub use shares::Share;
#[cfg(feature = "testing")]
pub(crate) use shares::{combined, recovered};
pub use standing::{Alive, Standing};

use crate::cell::Owner;
use crate::error::Result;
use crate::ids::StoreId;
use crate::promise::{RootId, Statement};

/// What a keyholder has of a store.
#[derive(Debug, Default)]
pub struct Held {
    /// Its shares, one of each root key that is not destroyed.
    pub shares: Vec<Share>,
    /// The highest epoch of which it was told to keep one only.
    pub committed: u64,
    /// The engine that claimed the store last.
    pub owner: Option<Owner>,
    /// The highest commit that it was told of.
    pub mark: u64,
}

/// A keyholder, here or elsewhere. Each verb may be said twice; what was said may arrive late. A
/// request whose owner has a higher claim than the recorded one is taken, and its owner recorded
/// before anything else; so is one of the recorded owner; any other is `Fenced`.
pub trait Keyholder: Send + Sync {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// The Ed25519 key by which it signs.
    fn key(&self) -> [u8; 32];

    /// Makes `owner` the one engine that may have shares of the store destroyed.
    ///
    /// # Errors
    /// `Fenced` if another claim of this number or a higher one came first; `Io`, `Full`.
    fn claim(&self, store: StoreId, owner: &Owner, mark: u64) -> Result<()>;

    /// Keeps a share, durably, beside those that are there.
    ///
    /// # Errors
    /// `Refused` for an epoch that it has ended, or if it holds too many; `Fenced` for another
    /// than the owner; `Io`, `Full`.
    fn deposit(&self, store: StoreId, owner: &Owner, share: &Share) -> Result<()>;

    /// What it has of a store.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    fn load(&self, store: StoreId) -> Result<Held>;

    /// Destroys every share of the store up to the epoch of `keep` but that one, which it need not
    /// have, and says so; and those of newer candidates that were given up. Other newer ones stay:
    /// this may arrive late, when the next key is the head's already.
    ///
    /// # Errors
    /// `Refused` if it has ended that epoch, or kept another attempt of it; `Fenced` for another
    /// than the owner; `Io`.
    fn retire(
        &self,
        store: StoreId,
        owner: &Owner,
        keep: &RootId,
        given_up: &[RootId],
        mark: u64,
    ) -> Result<Statement>;
}
