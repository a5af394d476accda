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

/// Whether `needed` of the first `n` answered, and all of these tell the same: owner, commit mark,
/// the epoch that was ended last, and of which root keys they hold shares, of one at least.
pub(super) fn agree(n: usize, needed: usize) -> impl Fn(&[Option<Result<Held>>]) -> bool {
    let told = |held: &Held| {
        let keys = held.shares.iter().filter(|share| share.is_proven()).map(|share| share.id);
        (held.owner, held.mark, held.committed, keys.collect::<BTreeSet<RootId>>())
    };
    move |answers| {
        let told: Vec<_> = answers.iter().take(n).flatten().flatten().map(told).collect();
        told.len() >= needed
            && told.windows(2).all(|pair| pair[0] == pair[1])
            && told.iter().all(|(_, _, _, keys)| !keys.is_empty())
    }
}

pub(super) fn same(e: &Error) -> Error {
    Error::new(e.kind(), e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Key;
    use crate::env::System;
    use crate::quorum::Share;
    use crate::quorum::shares::split;

    const OWNER: Owner = Owner { instance: [1; 16], claim: 1, token: [1; 16] };

    fn held(mark: u64, shares: Vec<Share>) -> Option<Result<Held>> {
        Some(Ok(Held { shares, committed: 0, owner: Some(OWNER), mark }))
    }

    /// Where some alone tell of a later commit, or all of nothing, the others are waited for.
    #[test]
    fn those_that_tell_different_things_do_not_agree() {
        let (id, key) = (RootId { epoch: 1, attempt: [1; 16] }, Key::copied_from(&[7; 32]));
        let agree_at = |marks: [u64; 3]| {
            let shares = split(&System, id, &key, 2, 3).unwrap();
            let told = marks.into_iter().zip(shares).map(|(mark, share)| held(mark, vec![share]));
            agree(4, 3)(&told.collect::<Vec<_>>())
        };
        assert!(agree_at([2, 2, 2]));
        assert!(!agree_at([2, 2, 4]));
        let none: Vec<_> = (0..3).map(|_| held(2, Vec::new())).collect();
        assert!(!agree(4, 3)(&none));
    }
}
