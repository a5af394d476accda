//! What the cleaner goes by: whether it is on, about how much died, and what it failed with.

use super::bell::Bell;
use crate::catalogue::span::Span;
use crate::ids::BlobName;
use crate::store::{Blob, Waste};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, locked};

/// Whether an engine gives space back automatically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cleaner {
    /// An engine that has a thread for what is due has another for this. What fails is tried again.
    #[default]
    On,
    /// Only [`Engine::clean`](crate::Engine::clean) and
    /// [`Engine::discard`](crate::Engine::discard) do.
    Off,
}

/// What a cleaner has done since its engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleaned {
    /// How often it walked over what lives, to find what does not.
    pub walks: u64,
    /// Bytes given back to the medium, in the store and its copies in step.
    pub freed: u64,
    /// Bytes of live blobs that were written once more for that.
    pub moved: u64,
}

/// So much that died wakes the cleaner.
const WAKE: u64 = 2 << 20;
/// What an erased record is believed to take if nothing else is known.
const RECORD: u64 = 16 << 10;
/// A page is no longer than this; a payload may be.
const PAGE_MOST: u64 = 8 << 10;

/// Pages that are kept until the cleaner comes, at most: 2 MiB of names.
const REPLACED_MAX: usize = 1 << 17;

/// About how many bytes die with a commit.
#[derive(Clone, Copy)]
pub(super) struct Dying {
    /// Of pages that it replaces.
    pages: u64,
    /// Of what it erases.
    erased: u64,
}

impl Dying {
    pub(super) fn total(self) -> u64 {
        self.pages.saturating_add(self.erased)
    }
}

/// Pages that commits replaced.
#[derive(Default)]
pub(super) struct Replaced {
    pub(super) names: Vec<BlobName>,
    /// About how many bytes they have.
    pub(super) bytes: u64,
}

/// What the cleaner knows between two of its calls.
#[derive(Default)]
pub(super) struct Cleaners {
    pub(super) bell: Bell,
    /// Bytes that died since it was woken last.
    since: AtomicU64,
    /// Live bytes of the store when it looked last.
    live: AtomicU64,
    failed: Mutex<Option<String>>,
    done: Mutex<Cleaned>,
    /// What no state reaches that begins now.
    replaced: Mutex<Replaced>,
}

impl Cleaners {
    /// Why space was not given back when that was tried last.
    pub(super) fn failed(&self) -> Option<String> {
        locked(&self.failed).clone()
    }

    /// What it has done.
    pub(super) fn done(&self) -> Cleaned {
        *locked(&self.done)
    }

    /// Counts what one call did.
    pub(super) fn count(&self, swept: bool, freed: u64, moved: u64) {
        let mut done = locked(&self.done);
        done.walks += u64::from(swept);
        done.freed += freed;
        done.moved += moved;
    }

    /// Records why it was not, or that it was.
    pub(super) fn note(&self, failed: Option<String>) {
        *locked(&self.failed) = failed;
    }

    /// Takes in how much lives in the store.
    pub(super) fn look(&self, waste: &Waste) {
        let dead = waste.given_back.saturating_add(waste.suspected);
        self.live.store(waste.bytes.saturating_sub(dead), Ordering::Relaxed);
    }

    /// Keeps the pages that a commit replaced, once nobody comes to them any more; gives about how
    /// many bytes a store is to suspect as dead.
    pub(super) fn keep_replaced(&self, names: Vec<BlobName>, dying: Dying) -> u64 {
        let mut replaced = locked(&self.replaced);
        if replaced.names.len() + names.len() > REPLACED_MAX {
            return dying.total();
        }
        replaced.names.extend(names);
        replaced.bytes = replaced.bytes.saturating_add(dying.pages);
        dying.erased
    }

    pub(super) fn take_replaced(&self) -> Replaced {
        std::mem::take(&mut *locked(&self.replaced))
    }

    pub(super) fn put_back(&self, mut taken: Replaced) {
        let mut replaced = locked(&self.replaced);
        taken.names.append(&mut replaced.names);
        taken.bytes = taken.bytes.saturating_add(replaced.bytes);
        *replaced = taken;
    }

    /// About how many bytes die with a commit that replaces so many pages by these blobs, and
    /// erases these spans.
    pub(super) fn dying(
        &self,
        blobs: &[Blob],
        replaced: usize,
        erased: &[Span],
        users: u64,
    ) -> Dying {
        let sizes = blobs.iter().map(|(_, bytes)| (bytes.len() as u64).min(PAGE_MOST));
        let pages = sizes.sum::<u64>() / blobs.len().max(1) as u64 * replaced as u64;
        let user = (self.live.load(Ordering::Relaxed) / users.max(1)).max(RECORD);
        let of = |span: &Span| match () {
            () if span.low == span.high => RECORD,
            () if span.class.is_some() => user.div_ceil(2),
            () => user,
        };
        Dying { pages, erased: erased.iter().map(of).fold(0, u64::saturating_add) }
    }

    /// Counts what died, and wakes the cleaner if that is much.
    pub(super) fn heard(&self, bytes: u64) {
        if self.since.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= WAKE {
            self.since.store(0, Ordering::Relaxed);
            self.bell.ring();
        }
    }
}
