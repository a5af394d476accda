//! What keyholders are ordered to do when a root key is to be destroyed, and what they answer.

use std::collections::BTreeSet;

use super::{Held, Keyholder, Statement};
use crate::cell::Owner;
use crate::error::{Error, Result};
use crate::ids::StoreId;
use crate::promise::RootId;

/// A request to destroy every root key up to that of `keep`, but `keep`.
pub(super) struct RetireOrder {
    pub(super) store: StoreId,
    pub(super) owner: Owner,
    pub(super) keep: RootId,
    pub(super) given_up: Vec<RootId>,
    pub(super) mark: u64,
}

impl RetireOrder {
    /// Gives it to a keyholder. Its statement counts if it is its own, and about this order.
    pub(super) fn give(&self, member: &dyn Keyholder) -> Result<Statement> {
        let statement =
            member.retire(self.store, &self.owner, &self.keep, &self.given_up, self.mark)?;
        if (statement.store, statement.keep, statement.keyholder)
            != (self.store.0, self.keep, member.key())
        {
            return Err(Error::corrupt(format!(
                "the keyholder {} states something else than it was asked",
                member.place()
            )));
        }
        statement.verify().map(|()| statement)
    }
}

/// Whether `needed` of the first `n` did what they were asked.
pub(super) fn did<T>(n: usize, needed: usize) -> impl Fn(&[Option<Result<T>>]) -> bool {
    move |answers| {
        answers.iter().take(n).flatten().filter(|answer| answer.is_ok()).count() >= needed
    }
}

/// Whether `needed` of the first `n` answered, and all of these tell of one owner, and hold shares
/// of the same root keys: what the others would tell changes nothing, as when they are away.
pub(super) fn agree(n: usize, needed: usize) -> impl Fn(&[Option<Result<Held>>]) -> bool {
    let told = |held: &Held| {
        let keys = held.shares.iter().filter(|share| share.is_proven()).map(|share| share.id);
        (held.owner, keys.collect::<BTreeSet<RootId>>())
    };
    move |answers| {
        let told: Vec<_> = answers.iter().take(n).flatten().flatten().map(told).collect();
        told.len() >= needed && told.windows(2).all(|pair| pair[0] == pair[1])
    }
}

pub(super) fn same(e: &Error) -> Error {
    Error::new(e.kind(), e.to_string())
}
