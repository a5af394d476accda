//! The public log: every commit that erases adds a leaf to it, in the same commit. A checkpoint is signed only when the root keys
//! that its leaves call destroyed are, as far as the cell's promise goes; one under the certificate of a pending erase says that they are not.

use super::commit::{ready, settle};
use super::core::Core;
use super::{Engine, locked};
use crate::catalogue::leaf::{checkpoint_of, log_page, prove, signer};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::limits::ORIGIN_MAX_BYTES;
use crate::log::{Hash, LogProof, Note, SeeLeaf, Signer, Subtrees, VerifierKey, consistency, root};
use crate::pages::PageSource;
use crate::secret::WipeStack;
use crate::tree::log::LogPage;

/// The name of a store's log, where its owner gave none.
pub(super) fn origin(given: Option<&str>, store: StoreId) -> Result<String> {
    let origin = given.map_or_else(|| format!("keyfall.invalid/{store}"), str::to_owned);
    if origin.len() > ORIGIN_MAX_BYTES {
        return Err(Error::invalid(format!("the name of a log has at most {ORIGIN_MAX_BYTES} bytes")));
    }
    // A name that no note can bear is found out before anything is made.
    Signer::ed25519(&origin, &[0; 32]).map(|_| origin)
}

/// As [`with_log`], for what is signed: every root key that a leaf calls destroyed is.
fn with_final_log<T>(core: &Core, see: impl FnOnce(&LogPage, &PageSource<'_>) -> Result<T>) -> Result<T> {
    let mut writer = core.writer();
    ready(core, &mut writer)?;
    if locked(&core.awaiting).is_some() {
        settle(core, &mut writer)?;
    }
    let awaited = locked(&core.awaiting).clone();
    if let Some(awaited) = awaited {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "the log is not signed while an erase in it is pending: {awaited}; run `keyfall tend STORE` and ask again"
            ),
        ));
    }
    let state = core.state();
    let pages = core.pages();
    see(&log_page(&core.view(&state, &pages))?, &pages)
}

/// Shows the log to `see`, having made sure that what it tells of has happened.
fn with_log<T>(core: &Core, see: impl FnOnce(&LogPage, &PageSource<'_>) -> Result<T>) -> Result<T> {
    core.check_watched()?;
    core.process.check()?;
    let mut writer = core.writer();
    ready(core, &mut writer)?;
    let state = core.state();
    let pages = core.pages();
    see(&log_page(&core.view(&state, &pages))?, &pages)
}

impl Engine {
    /// The public key of the store's log: all that is needed to check its certificates.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn log_key(&self) -> Result<VerifierKey> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        let page = inner.look(log_page)?;
        Ok(signer(&page, &page.checkpoint_seed)?.verifier())
    }

    /// Signs a checkpoint of the log as it is now: every root key that its leaves call destroyed is.
    ///
    /// # Errors
    /// As [`Engine::erase`], where an erase before is not complete; `Refused` where the cell has not said that the old root keys are gone.
    pub fn checkpoint(&self) -> Result<Note> {
        let _wiped = WipeStack;
        with_final_log(&self.inner, |page, _| checkpoint_of(page).sign(&signer(page, &page.checkpoint_seed)?))
    }

    /// The proof that a leaf is in the log, under a checkpoint of the log as it is now.
    ///
    /// # Errors
    /// `Invalid` where there is no such leaf; as [`Engine::checkpoint`].
    pub fn log_proof(&self, index: u64) -> Result<LogProof> {
        let _wiped = WipeStack;
        with_final_log(&self.inner, |page, pages| prove(page, pages, index, false))
    }

    /// The root of the log's first `old` leaves, and the proof that the log as it is now goes on from them.
    ///
    /// # Errors
    /// `Invalid` where it has fewer; as [`Engine::checkpoint`].
    pub fn log_consistency(&self, old: u64) -> Result<(Hash, Vec<Hash>)> {
        let _wiped = WipeStack;
        with_log(&self.inner, |page, pages| {
            let subtrees = page.subtrees(pages);
            let proof = consistency(&subtrees, old, page.frontier.size())?;
            Ok((root(&subtrees, old)?, proof))
        })
    }

    /// The hash over `2^level` leaves of the log, from `index * 2^level` on.
    ///
    /// # Errors
    /// `Invalid` where the log has not all of them; as [`Engine::checkpoint`].
    pub fn log_subtree(&self, level: u8, index: u64) -> Result<Hash> {
        let _wiped = WipeStack;
        with_log(&self.inner, |page, pages| {
            let end = index.checked_add(1).and_then(|end| end.checked_shl(u32::from(level)));
            if level > 62 || end.is_none_or(|end| end > page.frontier.size()) {
                return Err(Error::invalid("the log has not so many leaves"));
            }
            page.subtrees(pages).subtree(level, index)
        })
    }

    /// Shows leaves of the log from `from` on, with their indexes, until `see` breaks.
    ///
    /// # Errors
    /// As [`Engine::checkpoint`], and what `see` fails with.
    pub fn log_leaves(&self, from: u64, see: SeeLeaf<'_>) -> Result<()> {
        let _wiped = WipeStack;
        with_log(&self.inner, |page, pages| page.leaves(pages, from, see))
    }
}
