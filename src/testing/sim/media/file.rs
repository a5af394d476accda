//! A file on the simulated disk, and what a power cut does to writes that were not synced.

use crate::testing::sim::rng::Rng;

const SECTOR: usize = 512;

/// What a power cut does to writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Each of them was written in time.
    Nothing,
    /// None of them was.
    Everything,
    /// The newest of each file are lost.
    Newest,
    /// Any sector of any of them is lost.
    Sectors,
}

/// A change of a file that is not durable before a sync.
#[derive(Clone, Debug)]
pub(super) enum Dirty {
    /// Bytes at an offset.
    Write(u64, Vec<u8>),
    SetLen(u64),
    /// An offset and a length, which read as zeros from now on.
    Punch(u64, u64),
}

impl Dirty {
    pub(super) fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Dirty::Write(offset, bytes) => {
                let (from, end) = (*offset as usize, *offset as usize + bytes.len());
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[from..end].copy_from_slice(bytes);
            }
            Dirty::SetLen(len) => to.resize(*len as usize, 0),
            Dirty::Punch(offset, len) => {
                let (from, end) =
                    ((*offset as usize).min(to.len()), ((offset + len) as usize).min(to.len()));
                to[from..end].fill(0);
            }
        }
    }
}

/// A file: what is on the medium, what reads see, and what lies between.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) durable: Vec<u8>,
    pub(super) cache: Vec<u8>,
    pub(super) dirty: Vec<Dirty>,
    /// Whether its name is durable.
    pub(super) linked: bool,
    /// Whether its name was removed; durable only after a sync of the directory.
    pub(super) removed: bool,
}

impl File {
    pub(super) fn change(&mut self, change: Dirty) {
        change.apply(&mut self.cache);
        self.dirty.push(change);
    }

    /// A power cut: what was not synced is lost as `how` says.
    pub(super) fn lose(&mut self, how: Loss, rng: &mut Rng) {
        let dirty = std::mem::take(&mut self.dirty);
        let upto = match how {
            Loss::Newest => rng.below(dirty.len() as u64 + 1) as usize,
            _ => dirty.len(),
        };
        for (n, change) in dirty.iter().enumerate() {
            let keep = |rng: &mut Rng| match how {
                Loss::Nothing => true,
                Loss::Everything => false,
                Loss::Newest => n < upto,
                Loss::Sectors => rng.coin(),
            };
            match change {
                Dirty::Write(offset, bytes) if how == Loss::Sectors => {
                    // A sector is kept whole or lost whole; the file's length follows what is kept.
                    let mut at = 0;
                    while at < bytes.len() {
                        let within = (*offset as usize + at) % SECTOR;
                        let n = (SECTOR - within).min(bytes.len() - at);
                        if rng.coin() {
                            let sector = bytes[at..at + n].to_vec();
                            Dirty::Write(offset + at as u64, sector).apply(&mut self.durable);
                        }
                        at += n;
                    }
                }
                other => {
                    if keep(rng) {
                        other.apply(&mut self.durable);
                    }
                }
            }
        }
        self.cache.clone_from(&self.durable);
    }
}
