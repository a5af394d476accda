//! What became of an erase over several shards.

use super::places::ShardAt;
use crate::engine::paved::Erasure;
use crate::error::{Error, Result};
use crate::promise::Finality;

/// What became of erases over a realm: of each, and in each shard. Each shard begins an epoch of
/// its own; that one did not erase keeps no other from it. Nothing here says that all is done but
/// [`RealmErased::done`].
#[derive(Debug)]
#[must_use = "a shard may not have erased: `RealmErased::done` says so"]
#[non_exhaustive]
pub struct RealmErased {
    /// Of each erase, in the order in which they were given.
    pub erases: Vec<Result<Erasure>>,
    /// Of each shard that had one to do.
    pub shards: Vec<ErasedThere>,
}

/// What one shard did of the erases over a realm.
#[derive(Debug)]
#[non_exhaustive]
pub struct ErasedThere {
    /// The shard.
    pub shard: ShardAt,
    /// Which of the erases were this shard's, by their places in what was given.
    pub of: Vec<usize>,
    /// How many of them are done.
    pub done: usize,
    /// Why it did not do one of them: the first reason; `None` if it did all.
    pub error: Option<Error>,
    /// How final what it did is; `None` if it did nothing.
    pub finality: Option<Finality>,
}

impl RealmErased {
    /// What was erased, if all of it was.
    ///
    /// # Errors
    /// The kind of the first shard's that did not; the text names each such shard, and how many
    /// were erased. An erase can be repeated: what is done answers that it was done already.
    pub fn done(self) -> Result<Vec<Erasure>> {
        let failed: Vec<&ErasedThere> =
            self.shards.iter().filter(|there| there.error.is_some()).collect();
        let Some(first) = failed.first().and_then(|there| there.error.as_ref()) else {
            return self.erases.into_iter().collect();
        };
        let done = self.erases.iter().filter(|erase| erase.is_ok()).count();
        let each = failed.iter().filter_map(|there| {
            let error = there.error.as_ref()?;
            let (left, shard) = (there.of.len() - there.done, &there.shard);
            Some(format!("{left} in shard {} ({}): {error}", shard.number, shard.place))
        });
        let each: Vec<String> = each.collect();
        let text = format!(
            "{done} of {} erases are done, and not {}; repeat it: what is done stays done",
            self.erases.len(),
            each.join("; not ")
        );
        let told = Error::new(first.kind(), text);
        let perhaps = self.erases.iter().any(|e| e.as_ref().is_err_and(Error::may_have_happened));
        Err(if perhaps { told.perhaps() } else { told })
    }

    /// Whether all is done, and the old root key of each shard is destroyed.
    pub fn is_final(&self) -> bool {
        let is_final = |erase: &Result<Erasure>| {
            erase.as_ref().is_ok_and(|erasure| erasure.finality.is_final())
        };
        self.erases.iter().all(is_final)
    }
}
