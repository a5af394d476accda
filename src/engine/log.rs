//! The public log: every commit that erases adds a leaf to it, in the same commit. A checkpoint is signed only when the root keys
//! that its leaves call destroyed are, as far as the cell's promise goes; one under the certificate of a pending erase says that they are not.

use super::commit::{Change, Sealer};
use super::own::Role;
use super::pages::PageSource;
use super::{Engine, Inner, State, Writer, locked};
use crate::cell::{Awaited, Finality};
use crate::certificate::{CellFacts, Ends, Leaf, SLOTS_MIN, key_commitment, slots};
use crate::crypto::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{StoreId, Timestamp};
use crate::limits::ORIGIN_MAX_BYTES;
use crate::log::{
    Checkpoint, Hash, LogProof, Note, SeeLeaf, Signer, Subtrees, VerifierKey, consistency, inclusion, root,
};
use crate::secret::WipeStack;
use crate::tree::log::LogPage;
use crate::tree::{Editor, Link, Node, PageKind, Pages};

/// The name of a store's log, where its owner gave none.
pub(super) fn origin(given: Option<&str>, store: StoreId) -> Result<String> {
    let origin = given.map_or_else(|| format!("keyfall.invalid/{store}"), str::to_owned);
    if origin.len() > ORIGIN_MAX_BYTES {
        return Err(Error::invalid(format!("the name of a log has at most {ORIGIN_MAX_BYTES} bytes")));
    }
    // A name that no note can bear is found out before anything is made.
    Signer::ed25519(&origin, &[0; 32]).map(|_| origin)
}

/// Where an erase stands among those of its commit: index and path.
pub(super) type Place = (u64, Vec<Hash>);

/// What a leaf says of its erases, and where each of them is.
struct Slots {
    of: u64,
    root: Hash,
    places: Vec<Place>,
}

/// A leaf that a commit adds, and where its erases stand in it.
pub(super) struct Entered {
    pub(super) leaf: Leaf,
    pub(super) index: u64,
    /// Its path is the right edge as it was before.
    pub(super) path: Vec<Hash>,
    pub(super) checkpoint: Checkpoint,
    /// Whether a root key that a leaf below it calls destroyed was not known to be, when the commit was complete.
    pub(super) pending: bool,
    /// Seeds of the keys of checkpoints and of certificates, where there is something to certify.
    pub(super) seeds: Option<(Key, Key)>,
    /// Index and path of each commitment, in the order in which they were given.
    pub(super) places: Vec<Place>,
}

impl Inner {
    pub(super) fn log_page(&self, state: &State, pages: &PageSource<'_>) -> Result<LogPage> {
        LogPage::decode(&pages.load(PageKind::Log, None, &state.head.roots.log)?)
    }

    /// Lets the next epoch begin with a change that nobody asks a certificate of.
    pub(super) fn next_epoch(&self, state: &State, writer: &Writer, change: &mut Change) -> Result<()> {
        self.begin_epoch(writer, change)?;
        self.enter(state, writer, change, (self.options.env.now(), &self.cell_facts()), &[]).map(drop)
    }

    /// The cell as leaf and certificate name it.
    pub(super) fn cell_facts(&self) -> CellFacts {
        CellFacts::new(&self.cell.destroys(), &self.cell.unfinished())
    }

    /// How far the erases up to now are, as it was seen last; whoever only looks goes by what the cell showed and remembers.
    pub(super) fn finality(&self) -> Finality {
        self.finality_of(&self.state())
    }

    /// The same, for whoever looks at the state already.
    pub(super) fn finality_of(&self, state: &State) -> Finality {
        let window = state.head.pending.map(Awaited::Window);
        let cell = match &self.role {
            Role::Owner => locked(&self.awaiting).clone(),
            Role::Looker { awaited, .. } => awaited.clone(),
        };
        Finality::of(window.into_iter().chain(cell).collect())
    }

    /// Adds a leaf for a change that erases; where it begins an epoch, its root key is drawn. (`None`: a planted defect.)
    pub(super) fn enter(
        &self,
        state: &State,
        writer: &Writer,
        change: &mut Change,
        (now, cell): (Timestamp, &CellFacts),
        commitments: &[Hash],
    ) -> Result<Option<Entered>> {
        #[cfg(feature = "testing")]
        if self.defect(super::Defect::SkipLog) {
            return Ok(None);
        }
        let slots = self.shuffled(commitments)?;
        let ends = match &change.root {
            Some(root) => Ends::Next {
                attempt: data_encoding::HEXLOWER.encode(&root.id.attempt),
                commitment: key_commitment(root.key.bytes()),
            },
            None => Ends::Until(change.head.pending.unwrap_or(now).to_string()),
        };
        let pages = self.pages();
        let mut editor = Editor { pages: &pages, geometry: change.head.geometry, replaced: Vec::new() };
        let mut link = Link::Stored(state.head.roots.log.duplicate());
        let page: &mut LogPage = link.load_mut(&mut editor, PageKind::Log, None)?;
        let leaf = Leaf {
            commit: state.stored.id.commit + 1,
            epoch: writer.root.id.epoch,
            time: now.minute().to_string(),
            slots: slots.of,
            erases: slots.root,
            destroys: key_commitment(writer.root.key.bytes()),
            ends,
            cell: cell.digest(),
            signer: page.certificate_key,
        };
        let (index, path) = (page.frontier.size(), page.frontier.peaks().iter().rev().copied().collect());
        page.append(&mut editor, &leaf.to_string())?;
        let seeds = || (page.checkpoint_seed.duplicate(), page.certificate_seed.duplicate());
        let seeds = (!commitments.is_empty()).then(seeds);
        let (checkpoint, places) = (checkpoint_of(page), slots.places);
        let entered = Entered { leaf, index, path, checkpoint, pending: true, seeds, places };
        let Link::Loaded(page) = link else { unreachable!("it was just loaded") };
        let blobs = std::mem::take(&mut change.blobs);
        let mut sealer = Sealer::new(&self.options, (self.realm, &**self.store()), blobs);
        change.head.roots.log = page.seal(change.head.geometry, &mut sealer)?;
        change.blobs = sealer.blobs;
        change.made.append(&mut sealer.made);
        change.replaced.append(&mut editor.replaced);
        Ok(Some(entered))
    }

    /// Puts commitments among random ones, in random order, so that a leaf tells how many there were up to a factor of two.
    fn shuffled(&self, commitments: &[Hash]) -> Result<Slots> {
        let n = commitments.len().next_power_of_two().max(SLOTS_MIN);
        let mut random = vec![[0; 32]; n - commitments.len()];
        self.options.env.fill(random.as_flattened_mut())?;
        let mut all: Vec<Hash> = commitments.iter().copied().chain(random.into_iter().map(Hash)).collect();
        // Sorted, they stand where their hashes put them.
        all.sort_unstable();
        let at: Vec<u64> = commitments.iter().map(|c| all.binary_search(c).unwrap_or_else(|i| i) as u64).collect();
        let (root, paths) = slots(&all, &at);
        Ok(Slots { of: n as u64, root, places: at.into_iter().zip(paths).collect() })
    }

    /// The proof of a leaf, under a checkpoint of the log as it is; only where every commit is settled. `pending`: a root key that a leaf
    /// calls destroyed is not known to be.
    pub(super) fn prove(&self, page: &LogPage, index: u64, pending: bool) -> Result<LogProof> {
        let pages = self.pages();
        let path = inclusion(&page.subtrees(&pages), index, page.frontier.size())?;
        let (checkpoint, key) = (checkpoint_of(page), signer(page, &page.checkpoint_seed)?);
        let checkpoint = if pending { checkpoint.sign_pending(&key)? } else { checkpoint.sign(&key)? };
        Ok(LogProof { index, path, checkpoint })
    }

    /// As [`Inner::with_log`], for what is signed: every root key that a leaf calls destroyed is.
    fn with_final_log<T>(&self, see: impl FnOnce(&LogPage, &PageSource<'_>) -> Result<T>) -> Result<T> {
        let mut writer = self.writer();
        self.ready(&mut writer)?;
        if locked(&self.awaiting).is_some() {
            self.settle(&mut writer)?;
        }
        let awaited = locked(&self.awaiting).clone();
        if let Some(awaited) = awaited {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "the log is not signed while an erase in it is pending: {awaited}; run `Engine::tend` and ask again"
                ),
            ));
        }
        let state = self.state();
        let pages = self.pages();
        see(&self.log_page(&state, &pages)?, &pages)
    }

    /// Shows the log to `see`, having made sure that what it tells of has happened.
    fn with_log<T>(&self, see: impl FnOnce(&LogPage, &PageSource<'_>) -> Result<T>) -> Result<T> {
        self.check_watched()?;
        self.process.check()?;
        let mut writer = self.writer();
        self.ready(&mut writer)?;
        let state = self.state();
        let pages = self.pages();
        see(&self.log_page(&state, &pages)?, &pages)
    }
}

fn checkpoint_of(page: &LogPage) -> Checkpoint {
    Checkpoint { origin: page.origin.clone(), size: page.frontier.size(), root: page.frontier.root() }
}

/// One of the log's two keys.
pub(super) fn signer(page: &LogPage, seed: &Key) -> Result<Signer> {
    Signer::ed25519(&page.origin, seed.bytes())
}

impl Engine {
    /// The public key of the store's log: all that is needed to check its certificates.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn log_key(&self) -> Result<VerifierKey> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        let page = inner.log_page(&inner.state(), &inner.pages())?;
        Ok(signer(&page, &page.checkpoint_seed)?.verifier())
    }

    /// Signs a checkpoint of the log as it is now: every root key that its leaves call destroyed is.
    ///
    /// # Errors
    /// As [`Engine::erase`], where an erase before is not complete; `Refused` where the cell has not said that the old root keys are gone.
    pub fn checkpoint(&self) -> Result<Note> {
        let _wiped = WipeStack;
        self.inner.with_final_log(|page, _| checkpoint_of(page).sign(&signer(page, &page.checkpoint_seed)?))
    }

    /// The proof that a leaf is in the log, under a checkpoint of the log as it is now.
    ///
    /// # Errors
    /// `Invalid` where there is no such leaf; as [`Engine::checkpoint`].
    pub fn log_proof(&self, index: u64) -> Result<LogProof> {
        let _wiped = WipeStack;
        self.inner.with_final_log(|page, _| self.inner.prove(page, index, false))
    }

    /// The root of the log's first `old` leaves, and the proof that the log as it is now goes on from them.
    ///
    /// # Errors
    /// `Invalid` where it has fewer; as [`Engine::checkpoint`].
    pub fn log_consistency(&self, old: u64) -> Result<(Hash, Vec<Hash>)> {
        let _wiped = WipeStack;
        self.inner.with_log(|page, pages| {
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
        self.inner.with_log(|page, pages| {
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
        self.inner.with_log(|page, pages| page.leaves(pages, from, see))
    }
}
