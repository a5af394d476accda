//! Leaves of the public log: every commit that erases adds one, in the same commit.

use super::change::Change;
use super::defect::Defect;
use super::means::Means;
use super::sealer::Sealer;
use super::view::View;
use crate::certificate::{CellFacts, Ends, Leaf, SLOTS_MIN, slots};
use crate::crypto::Key;
use crate::env::Env;
use crate::error::Result;
use crate::ids::Timestamp;
use crate::log::{Checkpoint, Hash, LogProof, Signer, inclusion};
use crate::tree::log::LogPage;
use crate::tree::{Editor, Node, PageKind, Pages};

/// The place of an erase among those of its commit.
pub(crate) struct Seat {
    pub(crate) index: u64,
    pub(crate) path: Vec<Hash>,
}

/// What a leaf says of its erases, and where each of them is.
struct Slots {
    of: u64,
    root: Hash,
    seats: Vec<Seat>,
}

/// What a leaf says beside its erases.
pub(crate) struct Words<'a> {
    pub(crate) now: Timestamp,
    pub(crate) cell: &'a CellFacts,
    /// Commitment to the root key that it calls destroyed.
    pub(crate) destroys: String,
    pub(crate) ends: Ends,
}

/// A leaf that a commit adds, and where its erases are in it.
pub(crate) struct Entered {
    pub(crate) leaf: Leaf,
    pub(crate) index: u64,
    /// Its path is the right edge as it was before.
    pub(crate) path: Vec<Hash>,
    pub(crate) checkpoint: Checkpoint,
    /// Whether a root key that a leaf below it calls destroyed was not known to be, when the commit
    /// was complete.
    pub(crate) pending: bool,
    pub(crate) seeds: Seeds,
    /// Of each commitment, in the order in which they were given.
    pub(crate) seats: Vec<Seat>,
}

/// Seeds of the log's two keys.
pub(crate) struct Seeds {
    pub(crate) checkpoints: Key,
    pub(crate) certificates: Key,
}

/// The page of the log.
pub(crate) fn log_page(view: &View<'_>) -> Result<LogPage> {
    LogPage::decode(&view.pages.load(PageKind::Log, None, &view.head.roots.log)?)
}

/// Adds a leaf to the log of a change that erases. (`None`: a planted defect.)
pub(crate) fn enter(
    view: &View<'_>,
    means: &Means<'_>,
    change: &mut Change,
    words: Words<'_>,
    commitments: &[Hash],
) -> Result<Option<Entered>> {
    if means.planted.is(Defect::SkipLog) {
        return Ok(None);
    }
    let slots = shuffled(means.env, commitments)?;
    let geometry = change.head.geometry;
    let mut editor = Editor { pages: view.pages, geometry, replaced: Vec::new() };
    let mut page = log_page(view)?;
    editor.replaced.push(view.head.roots.log.name);
    let leaf = Leaf {
        commit: view.at.commit + 1,
        epoch: view.at.epoch,
        time: words.now.minute().to_string(),
        slots: slots.of,
        erases: slots.root,
        destroys: words.destroys,
        ends: words.ends,
        cell: words.cell.digest(),
        signer: page.certificate_key,
    };
    let (index, path) =
        (page.frontier.size(), page.frontier.peaks().iter().rev().copied().collect());
    page.append(&mut editor, &leaf.to_string())?;
    let seeds = Seeds {
        checkpoints: page.checkpoint_seed.duplicate(),
        certificates: page.certificate_seed.duplicate(),
    };
    let (checkpoint, seats) = (checkpoint_of(&page), slots.seats);
    let mut sealer = Sealer::new(*means, change.head.realm, std::mem::take(&mut change.blobs));
    change.head.roots.log = page.seal(geometry, &mut sealer)?;
    change.blobs = sealer.blobs;
    change.made.append(&mut sealer.made);
    change.replaced.append(&mut editor.replaced);
    Ok(Some(Entered { leaf, index, path, checkpoint, pending: true, seeds, seats }))
}

/// Puts commitments among random ones, in random order, so that a leaf tells how many there were up
/// to a factor of two.
fn shuffled(env: &dyn Env, commitments: &[Hash]) -> Result<Slots> {
    let n = commitments.len().next_power_of_two().max(SLOTS_MIN);
    let mut random = vec![[0; 32]; n - commitments.len()];
    env.fill(random.as_flattened_mut())?;
    let mut all: Vec<Hash> =
        commitments.iter().copied().chain(random.into_iter().map(Hash)).collect();
    // Sorted, they are where their hashes put them.
    all.sort_unstable();
    let at: Vec<u64> =
        commitments.iter().map(|c| all.binary_search(c).unwrap_or_else(|i| i) as u64).collect();
    let (root, paths) = slots(&all, &at);
    let seats = at.into_iter().zip(paths).map(|(index, path)| Seat { index, path }).collect();
    Ok(Slots { of: n as u64, root, seats })
}

/// The proof of a leaf, under a checkpoint of the log as it is; only if every commit is settled.
/// `pending`: a root key that a leaf calls destroyed is not known to be.
pub(crate) fn prove(
    page: &LogPage,
    pages: &dyn Pages,
    index: u64,
    pending: bool,
) -> Result<LogProof> {
    let path = inclusion(&page.subtrees(pages), index, page.frontier.size())?;
    let (checkpoint, key) = (checkpoint_of(page), signer(page, &page.checkpoint_seed)?);
    let checkpoint =
        if pending { checkpoint.sign_pending(&key)? } else { checkpoint.sign(&key)? };
    Ok(LogProof { index, path, checkpoint })
}

pub(crate) fn checkpoint_of(page: &LogPage) -> Checkpoint {
    Checkpoint {
        origin: page.origin.clone(),
        size: page.frontier.size(),
        root: page.frontier.root(),
    }
}

/// One of the log's two keys.
pub(crate) fn signer(page: &LogPage, seed: &Key) -> Result<Signer> {
    Signer::ed25519(&page.origin, seed.bytes())
}
