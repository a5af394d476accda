//! What a handle on a log knows, and what waits in it for the next commit.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::catalogue::Catalogue;
use super::frame::{HEADER, LABEL};
use super::live::{Claims, Elsewhere, Live};
use super::named::{Object, dead_number};
use super::naming::{Naming, Place};
use super::packs::Packs;
use super::windows::Windows;
use super::witnesses::Witnesses;
use crate::ids::BlobName;
use crate::limits::PAGE_MAX_BYTES;
use crate::store::{Ahead, Blob, Claimed, Head, Usage};
use keyfall_objects::Listed;

/// Bytes of labels and blobs from which on a commit goes on in another object: a *chunk*.
pub(super) const CHUNK: usize = 8 << 20;
/// The last chunk that a name can say.
pub(super) const LAST_CHUNK: u8 = u8::MAX;

/// What a handle knows of its log.
#[derive(Default)]
pub(super) struct State {
    /// The number of the newest commit or claim; 0 if there is none.
    pub(super) last: u64,
    pub(super) head: Option<Head>,
    pub(super) claimed: Option<Claimed>,
    /// What the log takes up.
    pub(super) usage: Usage,
    /// The highest floor that was seen.
    pub(super) floor: u64,
    /// Hints at the newest object that are there, as far as this handle knows.
    pub(super) hints: Vec<u64>,
    /// Whether the newest object was looked for when the log was opened, and not since.
    pub(super) known: bool,
    /// Whether this handle made the newest object.
    pub(super) is_mine: bool,
    /// Whether that is a claim which the medium has listed since, over a head that was read from
    /// it; and nobody asked for the head yet.
    pub(super) shown: bool,
    /// The number of the claim that this handle made.
    pub(super) own: Option<u64>,
    pub(super) witnesses: Witnesses,
    /// The claim that this handle tried to make last.
    pub(super) tried: Option<Claimed>,
    /// Whether a claim of another handle came after this one was opened.
    pub(super) fenced: bool,
    /// Whether a write has an unknown outcome.
    pub(super) broken: bool,
    /// Blobs that were put and wait for the commit.
    pub(super) waiting: Vec<Blob>,
    pub(super) stream: Stream,
    /// Blobs that were removed from objects which are there.
    pub(super) dead: HashSet<BlobName>,
    /// Lists of such blobs that were not read yet.
    pub(super) lists: Vec<Listed>,
    /// Lists of such blobs that are damaged.
    pub(super) damaged: BTreeSet<String>,
    /// Objects whose tables are damaged, of blobs whose names do not say their place.
    pub(super) ill: BTreeSet<Object>,
    /// Bytes of objects that a survey could not tell what they hold, or left to another log.
    pub(super) unknown: u64,
    /// Bytes of blobs that this handle removed, in objects that it could not delete for good.
    pub(super) hidden: u64,
    /// Dead objects that the place refused to delete, and their bytes.
    pub(super) refused: BTreeMap<Object, u64>,
    /// What was put under names that say no place here, once it was listed.
    pub(super) elsewhere: Option<Elsewhere>,
    /// The long blobs, once they were listed.
    pub(super) segments: Option<HashSet<BlobName>>,
    /// Every blob, once all were listed.
    pub(super) catalogue: Option<Catalogue>,
    /// What lives in each object, once that was surveyed.
    pub(super) live: Option<Live>,
    /// What was made since a survey began.
    pub(super) sweeping: Option<Live>,
    pub(super) claims: Claims,
    /// Whether a later handle is to know more of the claims, and of what is dead, than was noted.
    pub(super) unnoted: bool,
    /// About how many bytes died that no survey saw; `None` until what is left of that is read.
    pub(super) suspected: Option<u64>,
    /// The same, of what died before that.
    pub(super) suspects: u64,
    /// Bytes of what an object says after its blobs, in the newest one.
    pub(super) end_len: u64,
    pub(super) windows: Windows,
    pub(super) packs: Packs,
    /// The newest object, as the medium gave it back.
    pub(super) read_back: Option<(u64, Arc<Vec<u8>>)>,
    /// The newest object over which the next claim is to come, and over no other.
    pub(super) expected: Option<u64>,
    pub(super) signs: Signs,
    /// The root page of the newest head, by the engine's word.
    pub(super) reads_first: Option<BlobName>,
    /// That page, once it was seen.
    pub(super) root: Option<Root>,
}

/// The root page of the newest head.
#[derive(Clone)]
pub(super) struct Root {
    pub(super) blob: Blob,
    /// Whether the medium gave it, and not the writer.
    pub(super) was_read: bool,
}

impl Root {
    /// `None` of a blob that is longer than any page.
    pub(super) fn of(blob: Blob, was_read: bool) -> Option<Self> {
        (blob.1.len() <= PAGE_MAX_BYTES).then_some(Root { blob, was_read })
    }
}

impl State {
    /// Where the next blob would lie, with these before it.
    pub(super) fn place(&self, ahead: Ahead) -> Option<Place> {
        self.stream.place(self.last + 1, ahead)
    }

    /// Whether lists of removed blobs are to be read before it is known that this one is there: not
    /// for one that was put after them.
    pub(super) fn needs_lists(&self, naming: &Naming, name: &BlobName) -> bool {
        let upto = |list: &Listed| dead_number(&list.name).unwrap_or(u64::MAX);
        let Some(upto) = self.lists.iter().map(upto).max() else { return false };
        let number = naming.hint(name).map_or(0, |hint| hint.at.number);
        !(upto < number && number <= self.last + 1)
    }

    /// Learns what lists of removed blobs say, and which are damaged.
    pub(super) fn learn_removed(&mut self, (dead, damaged): (Vec<BlobName>, Vec<String>)) {
        self.dead.extend(dead);
        self.damaged.extend(damaged);
    }

    /// Takes note of dead objects that the place refuses to delete, and leaves them alone until the
    /// next survey; says how many bytes they have.
    pub(super) fn keep(&mut self, dead: &BTreeSet<Object>) -> u64 {
        let mut bytes = 0;
        for object in dead {
            let held = self.live.as_mut().and_then(|live| live.remove(*object));
            let size = held.map_or(0, |held| held.size());
            self.refused.insert(*object, size);
            bytes += size;
        }
        bytes
    }

    /// Forgets objects that were deleted; says how many bytes they had, as far as is known.
    pub(super) fn forget(&mut self, gone: &BTreeSet<Object>) -> u64 {
        let mut bytes = 0;
        for object in gone {
            let held = self.live.as_mut().and_then(|live| live.remove(*object));
            bytes += held.map_or(0, |held| held.size());
            self.windows.forget(*object);
            self.refused.remove(object);
            if let Some(catalogue) = &mut self.catalogue {
                catalogue.forget(*object);
            }
            if let (Object::Segment(name), Some(segments)) = (object, &mut self.segments) {
                segments.remove(name);
            }
        }
        if gone.iter().any(|object| matches!(object, Object::Stray { .. }))
            && let Some(elsewhere) = &mut self.elsewhere
        {
            elsewhere.retain(|_, (there, _)| !gone.contains(there));
        }
        self.usage.bytes = self.usage.bytes.saturating_sub(bytes);
        bytes
    }

    /// Counts bytes that died.
    pub(super) fn suspect(&mut self, bytes: u64) {
        match &mut self.suspected {
            Some(suspected) => *suspected = suspected.saturating_add(bytes),
            None => self.suspects = self.suspects.saturating_add(bytes),
        }
    }

    /// Counts an object that was made.
    pub(super) fn count(&mut self, blobs: usize, bytes: usize) {
        self.usage.blobs += blobs as u64;
        self.usage.bytes += bytes as u64;
    }
}

/// The signs of life of a handle.
#[derive(Default)]
pub(super) struct Signs {
    /// How many it has left since its claim.
    pub(super) left: u64,
    /// The newest object when it was last asked for one.
    pub(super) last: u64,
    /// Claims of writers that said every how many milliseconds they leave one.
    pub(super) beats: Vec<(u64, u64)>,
}

/// Where a commit to come stands: blobs lie one after another, and one that begins beyond a chunk's
/// end begins the next chunk there. So a place follows from what comes before alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// The chunk that waits.
    pub(super) chunk: u8,
    /// Bytes of it that the last chunk's last blob took.
    pub(super) lead: usize,
    /// Where the next blob begins, from the beginning of the chunk.
    pub(super) at: usize,
}

impl Default for Stream {
    fn default() -> Self {
        Stream { chunk: 1, lead: 0, at: 0 }
    }
}

impl Stream {
    fn place(&self, number: u64, ahead: Ahead) -> Option<Place> {
        let at = self.at + ahead.bytes + LABEL * ahead.blobs;
        let chunk = u8::try_from(usize::from(self.chunk) + at / CHUNK).ok()?;
        let offset = (HEADER + at % CHUNK) as u32;
        (chunk < LAST_CHUNK).then_some(Place { number, chunk, offset })
    }

    /// Takes a blob of so many bytes; says whether the chunk is full with it.
    pub(super) fn take(&mut self, len: usize) -> bool {
        self.at += LABEL + len;
        self.at >= CHUNK
    }

    /// The stream in its next chunk.
    pub(super) fn next_chunk(self) -> Self {
        let lead = self.at.saturating_sub(CHUNK);
        Stream { chunk: self.chunk.saturating_add(1), lead, at: lead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_from_what_comes_before() {
        let (mut stream, mut ahead) = (Stream::default(), Ahead::default());
        let named = stream;
        for len in [100, CHUNK - 50, 3000, 0, 2 * CHUNK, 70_000, 100_000] {
            // A blob is at most as long as half a chunk in earnest.
            let len = len.min(CHUNK / 2);
            let place = named.place(7, ahead).unwrap();
            assert_eq!(place.chunk, stream.chunk);
            assert_eq!(place.offset as usize, HEADER + stream.at);
            ahead = ahead.and(len);
            if stream.take(len) {
                stream = stream.next_chunk();
                assert!(stream.lead < CHUNK);
            }
        }
    }
}
