//! The store: the port to the medium that keeps blobs. It may keep every byte it was ever given,
//! for ever; nothing about security depends on it. It must keep what it acknowledged.
//!
//! What an adapter sees is ciphertext and random names. A person who can change a store can destroy
//! data and serve old states; the first is found out when blobs do not open, the second when the
//! head is older than the root cell.

mod claimed;
#[cfg(any(feature = "sled", feature = "testing"))]
#[cfg_attr(
    not(feature = "sled"),
    expect(
        dead_code,
        unused_imports,
        reason = "a part of it serves the store in a directory alone"
    )
)]
pub(crate) mod journal;
mod memory;
#[cfg(feature = "objects")]
mod objects;
pub(crate) mod place;
#[cfg(feature = "sled")]
mod sled;
#[cfg(all(feature = "sled", feature = "objects"))]
mod soon;
mod space;

use std::fmt;
use std::time::Duration;

pub(crate) use claimed::fenced;
pub use claimed::{Claimed, Pulse};
#[cfg(feature = "objects")]
pub use keyfall_objects::when_tried_for_long;
pub use memory::MemoryStore;
#[cfg(feature = "objects")]
pub use objects::ObjectLog;
#[cfg(feature = "sled")]
pub use sled::SledStore;
pub use space::{Cleaned, Packing, Waste};

use crate::error::Result;
pub use crate::ids::{BlobName, StoreId};
use crate::limits::{FAN_BITS, SEGMENT_BYTES};

/// Which state of a store a head stands for. Ordered: epoch first, then commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeadId {
    /// Generation of the root key.
    pub epoch: u64,
    /// Number of the commit, over all epochs.
    pub commit: u64,
}

impl fmt::Display for HeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} commit {}", self.epoch, self.commit)
    }
}

/// A head as stored: its number in clear, the rest sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Epoch and commit that the head stands for.
    pub id: HeadId,
    /// Its bytes, opaque to the store.
    pub bytes: Vec<u8>,
}

/// Outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The head and every blob put before it are durable.
    Done,
    /// The head in the store was another than expected; nothing was changed.
    Conflict(Option<HeadId>),
}

/// What a store takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blobs that can be read.
    pub blobs: u64,
    /// Bytes on the medium, whatever they hold.
    pub bytes: u64,
}

/// What became of the bytes of removed blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Bytes that are on the medium no more, as far as the store can say: overwritten, or their
    /// space given back.
    pub gone: u64,
    /// Bytes that may still be there.
    pub left: u64,
    /// Bytes that the place refused to remove: they are there.
    pub refused: u64,
}

/// What becomes of the blobs that a sweep found to be dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collect {
    /// Nothing may be left of them, as after [`Store::remove`].
    Wipe,
    /// They count as given back; their bytes go when [`Store::clean`] comes to them, or a discard.
    Count,
}

/// One part of what a sweep collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs that it read.
    pub looked: u64,
    /// Of those, blobs that were dead.
    pub blobs: u64,
    /// What became of their bytes, if they were wiped.
    pub removed: Removed,
}

/// A mark-and-sweep of a store ([`Store::sweep`]). It speaks of the blobs that the store held when
/// it began, and never takes one that came later.
pub trait Sweep {
    /// Whether a blob was marked. One that is not there never is.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    fn is_marked(&self, name: &BlobName) -> Result<bool>;

    /// Keeps a blob.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    fn mark(&mut self, name: &BlobName) -> Result<()>;

    /// Keeps a blob that is on its way into the tree. [`Sweep::collect`] asks of each blob, too; a
    /// survey does not know of each.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    fn keep(&mut self, name: &BlobName) -> Result<()> {
        let _ = name;
        Ok(())
    }

    /// Gives the next blobs back that are neither marked nor `kept`, looking at about `most`;
    /// `None` at the end. Every live blob is marked by now, or kept.
    ///
    /// # Errors
    /// As [`Store::remove`].
    fn collect(&mut self, most: usize, kept: &dyn Fn(&BlobName) -> bool) -> Result<Option<Swept>>;
}

/// Blobs whose places can go once they are written once more ([`Store::sparse`]).
pub trait Sparse {
    /// Whether there are none.
    fn is_empty(&self) -> bool;

    /// Bytes of removed blobs that are still there, in whatever places.
    fn dead(&self) -> u64;

    /// Whether a blob is one of them.
    fn holds(&self, name: &BlobName) -> bool;

    /// Whether a blob was put after these were found.
    fn is_later(&self, name: &BlobName) -> bool;
}

/// A blob on its way into a store.
pub type Blob = (BlobName, Vec<u8>);

/// What comes before a blob in one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// How many blobs come before.
    pub blobs: usize,
    /// The sum of their lengths.
    pub bytes: usize,
}

impl Ahead {
    /// What comes before a blob that follows these.
    pub fn of(blobs: &[Blob]) -> Self {
        blobs.iter().fold(Self::default(), |ahead, (_, bytes)| ahead.and(bytes.len()))
    }

    /// These, and a blob of `len` bytes.
    #[must_use]
    pub fn and(self, len: usize) -> Self {
        Ahead { blobs: self.blobs + 1, bytes: self.bytes + len }
    }
}

/// Where a listing of names goes on: a number that only the store that gave it can read. The
/// default is where it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub u128);

/// What a look at a store shows ([`Store::newest`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The last claim of its place.
    pub claimed: Option<Claimed>,
    /// The head with the highest number.
    pub head: Option<Head>,
    /// Whether it was seen when the handle was opened, and something may have come since.
    pub is_earlier: bool,
}

/// The port. `testing::store_conformance` (feature `testing`) checks an adapter against this
/// contract.
///
/// * Blobs are written once: a name is never put with other bytes.
/// * A crash may lose blobs put since the last `commit`, but only a suffix of them in the order of
///   the calls, and blobs of one call in the order given.
/// * An error of the kind `Full` means that the call changed nothing, and so does a refusal by a
///   place of objects (credentials, a clock, a lock against deletes). After any other error of
///   `put`, `commit` or `remove` the outcome is unknown, and the engine opens the store again
///   before it writes.
pub trait Store: Send + Sync {
    /// Where it is, in words for a person.
    fn place(&self) -> String;

    /// Whether other machines may open the store while this handle is open: no lock keeps them out,
    /// and whoever claims it last owns it.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether a call is a request that takes long: then calls that do not depend on each other are
    /// made at the same time.
    fn is_far(&self) -> bool {
        false
    }

    /// Fails once another handle has claimed the store; asks the medium, not memory.
    ///
    /// # Errors
    /// `Fenced`; `Io` if the medium does not answer.
    fn confirm(&self) -> Result<()> {
        Ok(())
    }

    /// Fails once the medium lacks the claim that this handle made: what came before may be gone.
    ///
    /// # Errors
    /// `Corrupt`; `Io` if the medium does not answer.
    fn stands(&self) -> Result<()> {
        Ok(())
    }

    /// Leaves a sign that the writer lives, if it published nothing since this was called last, and
    /// says that the next one comes after so long at most; zero if that is not known. It is tried
    /// once.
    ///
    /// # Errors
    /// `Fenced` once another handle has claimed the store; `Io`.
    fn beat(&self, every: Duration) -> Result<()> {
        let _ = every;
        Ok(())
    }

    /// How often the writer before this handle leaves signs of life, if it said so when it left the
    /// first one, and not since that it ended.
    fn beats(&self) -> Option<Duration> {
        None
    }

    /// Says that this writer ends, and leaves no more signs. It is tried once.
    fn rest(&self) {}

    /// What is to be seen of the writer; with what was seen last, as few requests as tell whether
    /// that has changed. `None` for a store that machines do not share.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    fn pulse(&self, last: Option<Pulse>) -> Result<Option<Pulse>> {
        let _ = last;
        Ok(None)
    }

    /// Has the next claim be `Fenced` if anything was published or claimed since this was seen.
    fn expect(&self, seen: &Pulse) {
        let _ = seen;
    }

    /// Names the root page of the newest head, which every opening reads first: a claim may repeat
    /// it.
    fn reads_first(&self, _root: &BlobName) {}

    /// The last claim of this place. A store that keeps none cannot be told from its copies: an
    /// engine then trusts that it has the only one.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    fn claimed(&self) -> Result<Option<Claimed>> {
        Ok(None)
    }

    /// Whether a claim with this token, of this instance of the place, is among its newest. A place
    /// that keeps its last claim alone need not know.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    fn has_claim(&self, instance: &[u8; 16], token: &[u8; 16]) -> Result<bool> {
        let _ = (instance, token);
        Ok(false)
    }

    /// The last claim of this place, and the newest head, by one look. A handle that was opened to
    /// write and has not been asked since may give what it found then: what came after that a claim
    /// tells of.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    fn newest(&self) -> Result<Newest> {
        Ok(Newest { claimed: self.claimed()?, head: self.head()?, is_earlier: false })
    }

    /// Remembers a claim, durably, and gives the newest head. Nothing that began before through
    /// another handle takes effect after this. An engine calls it once it has read its root cell,
    /// and destroys no key before.
    ///
    /// # Errors
    /// `Fenced` if a later claim is there; `Full`, `Io`.
    fn claim(&self, claimed: &Claimed) -> Result<Option<Head>> {
        let _ = claimed;
        self.head()
    }

    /// Opens it again over its medium after a write whose outcome is unknown, as a process does
    /// that comes after, and keeps its lock meanwhile. Nobody else reads, writes or sweeps until
    /// this returns. A store that goes on after such a write has nothing to do.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Full`: then it stays as it is, and this can be called again.
    fn reopen(&self) -> Result<()> {
        Ok(())
    }

    /// A name for a blob of `len` bytes that is to come with the next [`Store::put`] or
    /// [`Store::commit`], with `ahead` before it there. `drawn` is fresh. A store may return a
    /// different name, equally unique and equally opaque to anyone who sees only names, and may
    /// encode in it where it will put the blob. It must not rely on that: a blob may come later,
    /// elsewhere, or never.
    fn name(&self, drawn: BlobName, ahead: Ahead, len: usize) -> BlobName {
        let _ = (ahead, len);
        drawn
    }

    /// Reads a blob, whole.
    ///
    /// # Errors
    /// `Io`, `Corrupt`; an unknown name is `None`.
    fn get(&self, name: &BlobName) -> Result<Option<Vec<u8>>>;

    /// Reads several blobs, and gives them in the order asked for. Where each is a request that
    /// takes long, some are under way at the same time. The default reads one after another.
    fn get_many(&self, names: &[BlobName]) -> Vec<Result<Option<Vec<u8>>>> {
        names.iter().map(|name| self.get(name)).collect()
    }

    /// Where a blob lies among all others, as far as its name says: a walk over all that lives
    /// reads from the highest place to the lowest, with [`Store::get_along`]. `None`, the default,
    /// where one order is as good as another.
    fn place_of(&self, name: &BlobName) -> Option<u128> {
        let _ = name;
        None
    }

    /// As [`Store::get`], for a caller that reads in the order of [`Store::place_of`]: the store
    /// may read neighboring blobs with the same request. The default reads this blob alone.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn get_along(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        self.get(name)
    }

    /// Reads up to `len` bytes of a blob from the byte `from` on, fewer where it ends. The default
    /// reads all of it.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn get_part(&self, name: &BlobName, from: usize, len: usize) -> Result<Option<Vec<u8>>> {
        Ok(self.get(name)?.map(|blob| part(&blob, from, len)))
    }

    /// Has reads show what the medium itself has, or no longer, once for each time it was said: for
    /// an audit, and for what is written once more, unopened. The default does nothing, for a store
    /// that keeps nothing elsewhere.
    fn ask_medium(&self, on: bool) {
        let _ = on;
    }

    /// Reads a blob once more that did not open, past what is kept of it elsewhere; `None` by
    /// default, for a store that has nothing else to give.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn get_again(&self, name: &BlobName) -> Result<Option<Vec<u8>>> {
        let _ = name;
        Ok(None)
    }

    /// Whether a blob is there, without reading it.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn contains(&self, name: &BlobName) -> Result<bool>;

    /// Stores blobs; they are durable with the next commit.
    ///
    /// # Errors
    /// `Full`, `Io`.
    fn put(&self, blobs: &[Blob]) -> Result<()>;

    /// Takes what the head of the next commit reaches, durably, so that this head is all that is
    /// left to be committed: a copy is given it while its store commits. `false`, the default: it
    /// took nothing, and is given all with the head.
    ///
    /// # Errors
    /// As [`Store::put`].
    fn put_ahead(&self, blobs: &[Blob]) -> Result<bool> {
        let _ = blobs;
        Ok(false)
    }

    /// Stores blobs that were put already and are not given as they are, in the place of what is
    /// there. Nothing by default, for a store in which a put does that.
    ///
    /// # Errors
    /// As [`Store::put`].
    fn put_over(&self, blobs: &[Blob]) -> Result<()> {
        let _ = blobs;
        Ok(())
    }

    /// Says from when on, and until when, what is put is needed by an erase: a store that keeps
    /// room for erases gives it to that as well.
    fn for_an_erase(&self, on: bool) {
        let _ = on;
    }

    /// The head with the highest number.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    fn head(&self) -> Result<Option<Head>>;

    /// Puts `head`, and `blobs` with it, in the place of the head `over` (`None`: of none): all of
    /// it or nothing, and durable together with every earlier `put` when this returns `Done`. If
    /// another head is there, nothing changes: this decides between two writers. The number of
    /// `head` is higher than `over`. Older heads need not be kept.
    ///
    /// # Errors
    /// `Full`, `Io`.
    fn commit(&self, blobs: &[Blob], over: Option<HeadId>, head: &Head) -> Result<Published>;

    /// Names from `from` on, about `limit` of them, and where the next call continues: `None` at
    /// the end. A listing from beginning to end has every name that exists throughout it, in an
    /// order that the store chooses.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    fn names(&self, from: Cursor, limit: usize) -> Result<(Vec<BlobName>, Option<Cursor>)>;

    /// Removes these blobs with all their bytes, and says how far that succeeded: bytes count as
    /// gone only if they were overwritten, durably, or given back. Never needed for security.
    ///
    /// # Errors
    /// `Io`.
    fn remove(&self, names: &[BlobName]) -> Result<Removed>;

    /// What is damaged in this place beside blobs and the head, in words: the store goes on without
    /// it, and an audit tells it. Known once the names were listed.
    ///
    /// # Errors
    /// `Io`.
    fn damage(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Bytes of a segment, the unit of a long payload, that suit a new store in this place. Where
    /// each blob is a request that costs time and money, a longer one suits it better.
    fn segment_bytes(&self) -> usize {
        SEGMENT_BYTES
    }

    /// Bits of the user tag that one page of the user tree decides on, as suits a new store in this
    /// place. Where each page on the way to a record is a request, a shorter way suits it better.
    fn fan_bits(&self) -> u8 {
        FAN_BITS
    }

    /// What lives among much that is dead, in a store whose names say places for ever: for an
    /// engine that writes it once more, so that its old place can go; with a `packing`, none unless
    /// it is worth that now. `None` of a store that moves blobs itself ([`Store::clean`]).
    ///
    /// # Errors
    /// As [`Store::names`].
    fn sparse(&self, packing: Option<Packing>) -> Result<Option<Box<dyn Sparse>>> {
        let _ = packing;
        Ok(None)
    }

    /// Begins a look at what lives in a store whose names say places for ever, if it is one: as
    /// [`Store::sweep`], but whole objects are given back, and counted, not blobs; what is dead in
    /// one of which something lives stays as it is.
    ///
    /// # Errors
    /// `Io`.
    fn survey(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>> {
        let _ = how;
        Ok(None)
    }

    /// Gives back some of what no survey found to live, and what [`Store::count_dead`] named;
    /// `None` where there is nothing more.
    ///
    /// # Errors
    /// As [`Store::remove`].
    fn give_back(&self) -> Result<Option<Swept>> {
        Ok(None)
    }

    /// Learns what an earlier handle noted of how much of the store is dead, where that is
    /// not known: it is asked before [`Store::waste`].
    ///
    /// # Errors
    /// `Io`.
    fn recall(&self) -> Result<()> {
        Ok(())
    }

    /// Whether the place keeps versions of what is deleted, as far as it says: then nobody knows
    /// how many bytes of what was deleted before are still there.
    fn keeps_versions(&self) -> bool {
        false
    }

    /// Begins a mark-and-sweep, if the store has one: then one walk over what lives serves all
    /// of it, in memory that grows by a bit for each blob. Else a discard lists names.
    ///
    /// # Errors
    /// `Io`, `Full`.
    fn sweep(&self, how: Collect) -> Result<Option<Box<dyn Sweep + '_>>> {
        let _ = how;
        Ok(None)
    }

    /// Is told that nothing reaches these blobs any more, nor will: they count as given back, and
    /// nobody reads them.
    ///
    /// # Errors
    /// `Io`; it is told of all of them again.
    fn count_dead(&self, names: &[BlobName]) -> Result<()> {
        let _ = names;
        Ok(())
    }

    /// Is told that about this many bytes of other blobs died.
    fn suspect(&self, bytes: u64) {
        let _ = bytes;
    }

    /// How much of it is not needed; `None` if it cannot give space back automatically.
    ///
    /// # Errors
    /// `Io`.
    fn waste(&self) -> Result<Option<Waste>> {
        Ok(None)
    }

    /// One step of giving back the space of what counts as given back, short enough that a writer
    /// can wait for it: it moves about `most` bytes of live blobs, or none if that is 0, and
    /// empties files that are less full than `packing` says.
    ///
    /// # Errors
    /// As [`Store::put`].
    fn clean(&self, most: u64, packing: Packing) -> Result<Cleaned> {
        let _ = (most, packing);
        Ok(Cleaned::default())
    }

    /// What it takes up.
    ///
    /// # Errors
    /// `Io`.
    fn usage(&self) -> Result<Usage>;
}

/// Up to `len` bytes of a blob from a byte on.
pub(crate) fn part(blob: &[u8], from: usize, len: usize) -> Vec<u8> {
    let end = from.saturating_add(len).min(blob.len());
    blob.get(from..end).unwrap_or_default().to_vec()
}
