//! What each file of the journal holds: how many blobs were written to it, and which of them were
//! given back.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::Location;
#[cfg(feature = "sled")]
use crate::codec::Decoder;
#[cfg(feature = "sled")]
use crate::error::Result;

/// The blobs of one file, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blobs {
    /// How many were written.
    count: u32,
    /// One bit for each that was given back, the lowest of a byte first; what is missing at the end
    /// is zeros.
    dead: Vec<u8>,
    /// How many those are.
    given_back: u64,
    /// Whether bytes of some of those may still be there.
    unclean: bool,
}

impl Blobs {
    fn live(&self) -> u64 {
        u64::from(self.count).saturating_sub(self.given_back)
    }

    fn is_dead(&self, number: u32) -> bool {
        self.dead.get(number as usize / 8).is_some_and(|byte| byte & 1 << (number % 8) != 0)
    }

    fn kill(&mut self, number: u32) {
        let at = number as usize / 8;
        if self.dead.len() <= at {
            self.dead.resize(at + 1, 0);
        }
        self.given_back += u64::from(!self.is_dead(number));
        self.dead[at] |= 1 << (number % 8);
        self.unclean = true;
    }
}

#[cfg(feature = "sled")]
impl Blobs {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.count.to_be_bytes()[..], &[u8::from(self.unclean)], &self.dead].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "index entry");
        let count = d.u32()?;
        let unclean = match d.u8()? {
            0 => false,
            1 => true,
            _ => return Err(d.bad()),
        };
        let dead = d.bytes(bytes.len() - 5)?.to_vec();
        let given_back = dead.iter().map(|byte| u64::from(byte.count_ones())).sum();
        if dead.len() <= count.div_ceil(8) as usize {
            Ok(Blobs { count, dead, given_back, unclean })
        } else {
            Err(d.bad())
        }
    }
}

/// How much of a file lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) file: u32,
    /// Blobs of it that were not given back.
    pub(super) live: u64,
    /// Blobs that were written to it.
    pub(super) count: u64,
}

impl Share {
    /// Of so many bytes of the file, about how many were given back.
    pub(super) fn dead(&self, bytes: u64) -> u64 {
        let dead = u128::from(self.count.saturating_sub(self.live)) * u128::from(bytes);
        (dead / u128::from(self.count.max(1))) as u64
    }
}

/// What every file of the journal holds. What an index keeps of this speaks of the journal up to
/// its mark.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    of: BTreeMap<u32, Blobs>,
    /// Files that changed since the index learnt of them.
    changed: BTreeSet<u32>,
}

impl Tally {
    pub(super) fn new(of: BTreeMap<u32, Blobs>) -> Self {
        Tally { of, changed: BTreeSet::new() }
    }

    /// Notes blobs that were written, in the order of the journal.
    pub(super) fn wrote<'b>(&mut self, blobs: impl IntoIterator<Item = &'b Location>) {
        for at in blobs {
            self.of.entry(at.file).or_default().count = at.number + 1;
            self.changed.insert(at.file);
        }
    }

    /// Notes that a blob was given back.
    pub(super) fn kill(&mut self, at: Location) {
        self.of.entry(at.file).or_default().kill(at.number);
        self.changed.insert(at.file);
    }

    pub(super) fn is_dead(&self, at: Location) -> bool {
        self.of.get(&at.file).is_some_and(|blobs| blobs.is_dead(at.number))
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        self.of.keys().copied().collect()
    }

    pub(super) fn has(&self, file: u32) -> bool {
        self.of.contains_key(&file)
    }

    pub(super) fn count(&self, file: u32) -> u32 {
        self.of.get(&file).map_or(0, |blobs| blobs.count)
    }

    pub(super) fn live(&self) -> u64 {
        self.of.values().map(Blobs::live).sum()
    }

    /// Files that may hold bytes of what was given back.
    pub(super) fn unclean(&self) -> Vec<u32> {
        self.of.iter().filter(|(_, blobs)| blobs.unclean).map(|(file, _)| *file).collect()
    }

    /// Of each file with blobs: how many live, and how many were written.
    pub(super) fn shares(&self) -> Vec<Share> {
        let share = |(file, blobs): (&u32, &Blobs)| Share {
            file: *file,
            live: blobs.live(),
            count: blobs.count.into(),
        };
        self.of.iter().map(share).collect()
    }

    /// Notes that nothing is left in a file of what was given back.
    pub(super) fn cleaned(&mut self, file: u32) {
        if let Some(blobs) = self.of.get_mut(&file) {
            blobs.unclean = false;
            self.changed.insert(file);
        }
    }

    /// Files without live blobs.
    pub(super) fn empty(&self) -> Vec<u32> {
        self.of.iter().filter(|(_, blobs)| blobs.live() == 0).map(|(file, _)| *file).collect()
    }

    pub(super) fn forget(&mut self, file: u32) {
        self.of.remove(&file);
        self.changed.remove(&file);
    }

    /// What an index is to know at this end of the journal: files that changed since it learnt of
    /// them, and the last file, which alone grows.
    pub(super) fn changed(&self) -> BTreeMap<u32, Blobs> {
        let last = self.of.last_key_value().map(|(file, _)| file);
        self.changed
            .iter()
            .chain(last)
            .filter_map(|file| Some((*file, self.of.get(file)?.clone())))
            .collect()
    }

    /// Whether an index is to learn of anything.
    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Notes that an index learnt this. What it missed it must learn again: a file of which it
    /// counts too few blobs looks empty too soon.
    pub(super) fn told(&mut self, known: &BTreeMap<u32, Blobs>) {
        self.changed
            .retain(|file| known.get(file).is_none_or(|known| self.of.get(file) != Some(known)));
    }

    /// Notes that a blob was given back, in `known` too: what [`Tally::changed`] said. Its file may
    /// be gone by now.
    pub(super) fn kill_in(&mut self, known: &mut BTreeMap<u32, Blobs>, at: Location) {
        if !self.has(at.file) {
            return;
        }
        known
            .entry(at.file)
            .or_insert_with(|| self.of.get(&at.file).cloned().unwrap_or_default())
            .kill(at.number);
        self.kill(at);
    }
}
