//! The public log of erases.

use std::sync::Arc;

use crate::catalogue::leaf::{checkpoint_of, log_page, prove, signer};
use crate::engine::core::Core;
use crate::engine::log::{with_final_log, with_log};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Hash, LogProof, Note, SeeLeaf, Subtrees, VerifierKey, consistency, root};
use crate::secret::WipeStack;

/// The public log of erases ([`Engine::log`](crate::Engine::log)).
#[derive(Clone, Copy, Debug)]
pub struct Log<'e> {
    pub(super) inner: &'e Arc<Core>,
}

impl Log<'_> {
    /// The public key of the store's log: all that is needed to check its certificates.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn key(&self) -> Result<VerifierKey> {
        let _wiped = WipeStack;
        let page = self.inner.look(log_page)?;
        Ok(signer(&page, &page.checkpoint_seed)?.verifier())
    }

    /// How many leaves the log has.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn size(&self) -> Result<u64> {
        let _wiped = WipeStack;
        self.inner.look(|view| log_page(view).map(|page| page.frontier.size()))
    }

    /// Signs a checkpoint of the log as it is now: every root key that its leaves call destroyed is
    /// destroyed.
    ///
    /// # Errors
    /// As [`Engine::erase`](crate::Engine::erase), if an erase before is not complete; `Refused`
    /// if the cell has not said that the old root keys are gone.
    pub fn checkpoint(&self) -> Result<Note> {
        let _wiped = WipeStack;
        with_final_log(self.inner, |page, _| {
            checkpoint_of(page).sign(&signer(page, &page.checkpoint_seed)?)
        })
    }

    /// The proof that a leaf is in the log, under a checkpoint of the log as it is now.
    ///
    /// # Errors
    /// `Absent` for a leaf that the log does not have; as
    /// [`Log::checkpoint`](crate::engine::Log::checkpoint).
    pub fn proof(&self, index: u64) -> Result<LogProof> {
        let _wiped = WipeStack;
        with_final_log(self.inner, |page, pages| {
            if index >= page.frontier.size() {
                return Err(no_leaf(index, page.frontier.size()));
            }
            prove(page, pages, index, false)
        })
    }

    /// The root of the log's first `old` leaves, and the proof that the log as it is now goes on
    /// from them.
    ///
    /// # Errors
    /// `Invalid` if it has fewer; as [`Log::checkpoint`](crate::engine::Log::checkpoint).
    pub fn consistency(&self, old: u64) -> Result<(Hash, Vec<Hash>)> {
        let _wiped = WipeStack;
        with_log(self.inner, |page, pages| {
            let subtrees = page.subtrees(pages);
            let proof = consistency(&subtrees, old, page.frontier.size())?;
            Ok((root(&subtrees, old)?, proof))
        })
    }

    /// The hash over `2^level` leaves of the log, from `index * 2^level` on.
    ///
    /// # Errors
    /// `Invalid` if the log has not all of them; as
    /// [`Log::checkpoint`](crate::engine::Log::checkpoint).
    pub fn subtree(&self, level: u8, index: u64) -> Result<Hash> {
        let _wiped = WipeStack;
        with_log(self.inner, |page, pages| {
            let end = index.checked_add(1).and_then(|end| end.checked_shl(u32::from(level)));
            if level > 62 || end.is_none_or(|end| end > page.frontier.size()) {
                return Err(Error::invalid("the log does not have that many leaves"));
            }
            page.subtrees(pages).subtree(level, index)
        })
    }

    /// Shows leaves of the log from `from` on, with their indexes, until `see` breaks.
    ///
    /// # Errors
    /// As [`Log::checkpoint`](crate::engine::Log::checkpoint), and what `see` fails with.
    pub fn leaves(&self, from: u64, see: SeeLeaf<'_>) -> Result<()> {
        let _wiped = WipeStack;
        with_log(self.inner, |page, pages| page.leaves(pages, from, see))
    }
}

fn no_leaf(index: u64, size: u64) -> Error {
    let text = match size.checked_sub(1) {
        None => format!("the log has no leaf {index}: it is empty until something is erased"),
        Some(last) => {
            format!(
                "the log has no leaf {index}: its last leaf is {last}; name that one, or one before it"
            )
        }
    };
    Error::new(ErrorKind::Absent, text)
}
