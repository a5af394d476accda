//! Memory for secrets: keys, opened pages, plaintext in passing.
//!
//! It comes in slots from mappings of its own, which are locked (no swap) as far as the system's
//! limit allows, left out of core dumps, and not there in a forked child. A slot is zeroized when
//! it is given up, and never goes back to the general allocator. [`usage`] says how much of it
//! could not be locked.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use memmap2::{Advice, MmapMut};

use crate::process::generation;

/// Smallest slot; each class is twice the one before.
const SMALLEST: usize = 32;
const CLASSES: usize = 19;
/// Bytes of a mapping, at least.
const MAPPING: usize = 64 << 10;

type Slot = &'static mut [u8];

static FREE: [Mutex<Vec<Slot>>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];
/// The process, by its number of forks, whose slots those are.
static OWNER: AtomicU32 = AtomicU32::new(0);
static MAPPED: AtomicU64 = AtomicU64::new(0);
static UNLOCKED: AtomicU64 = AtomicU64::new(0);
static DUMPED: AtomicU64 = AtomicU64::new(0);

/// Memory set aside for secrets, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Mapped so far, used or free.
    pub mapped: u64,
    /// Of it, what the system would not lock: it may be swapped out. Raise the limit (`ulimit -l`,
    /// `LimitMEMLOCK=`).
    pub unlocked: u64,
    /// Of it, what the system would not leave out of core dumps.
    pub dumped: u64,
}

/// How much memory this process has for secrets, and how much of it is not protected as it should
/// be.
pub fn usage() -> Usage {
    Usage {
        mapped: MAPPED.load(Ordering::Relaxed),
        unlocked: UNLOCKED.load(Ordering::Relaxed),
        dumped: DUMPED.load(Ordering::Relaxed),
    }
}

fn class(len: usize) -> usize {
    (len.max(SMALLEST).next_power_of_two() / SMALLEST).trailing_zeros() as usize
}

/// Maps more memory and cuts it into slots of one class. The mapping is never given back: the next
/// secrets go there.
fn map(class: usize) -> Vec<Slot> {
    let slot = SMALLEST << class;
    let len = slot.max(MAPPING);
    #[expect(clippy::expect_used, reason = "as where the allocator finds no memory")]
    let mapping = MmapMut::map_anon(len).expect("no memory is left for secrets");
    MAPPED.fetch_add(len as u64, Ordering::Relaxed);
    if mapping.lock().is_err() {
        UNLOCKED.fetch_add(len as u64, Ordering::Relaxed);
    }
    #[cfg(target_os = "linux")]
    {
        if mapping.advise(Advice::DontDump).is_err() {
            DUMPED.fetch_add(len as u64, Ordering::Relaxed);
        }
        // A forked child has none of it.
        let _ = mapping.advise(Advice::DontFork);
    }
    let whole: &'static mut MmapMut = Box::leak(Box::new(mapping));
    whole.chunks_exact_mut(slot).collect()
}

fn take(class: usize) -> Slot {
    let here = generation();
    if OWNER.load(Ordering::Relaxed) != here {
        OWNER.store(here, Ordering::Relaxed);
        // A fork does not have its parent's.
        FREE.iter().for_each(|free| free.lock().unwrap_or_else(PoisonError::into_inner).clear());
    }
    let mut free = FREE[class].lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match free.pop() {
            Some(slot) => return slot,
            None => free.extend(map(class)),
        }
    }
}

/// Bytes in memory for secrets. They neither print nor clone.
pub struct Secret {
    /// Empty only while it is dropped.
    slot: Slot,
    len: usize,
    /// Bytes from here on were never written.
    touched: usize,
    /// In which process that is; a fork of it has no such memory.
    owner: u32,
}

impl Secret {
    /// No bytes, with room for `capacity`.
    ///
    /// # Panics
    /// Above 8 MiB: nothing here is longer.
    pub fn with_capacity(capacity: usize) -> Self {
        let class = class(capacity);
        assert!(class < CLASSES, "a secret of {capacity} bytes is longer than the largest class");
        Secret { slot: take(class), len: 0, touched: 0, owner: generation() }
    }

    /// A secret of `len` zeros, to be filled.
    pub fn zeroed(len: usize) -> Self {
        let mut new = Self::with_capacity(len);
        (new.len, new.touched) = (len, len);
        new
    }

    /// A copy of these bytes.
    pub fn copied_from(bytes: &[u8]) -> Self {
        let mut new = Self::with_capacity(bytes.len());
        new.extend_from_slice(bytes);
        new
    }

    /// Appends bytes; moves to a larger slot if they do not fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let len = self.len + bytes.len();
        if len > self.slot.len() {
            let mut larger = Self::with_capacity(len);
            larger.slot[..self.len].copy_from_slice(self);
            larger.len = self.len;
            std::mem::swap(self, &mut larger);
        }
        self.slot[self.len..len].copy_from_slice(bytes);
        self.len = len;
        self.touched = self.touched.max(len);
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let slot = std::mem::take(&mut self.slot);
        if self.owner != generation() {
            return;
        }
        // No dead store, and so never left out: the slot stays reachable, and its next user reads
        // zeros.
        slot[..self.touched].fill(0);
        let class = class(slot.len());
        FREE[class].lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }
}

impl Deref for Secret {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.slot[..self.len]
    }
}

impl DerefMut for Secret {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.slot[..self.len]
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.len)
    }
}

/// Bytes of stack that are overwritten below a caller: more than any verb of the engine reaches
/// into.
const STACK: usize = 48 << 10;

/// When it is dropped, overwrites the stack below: ciphers and hashes leave round keys and states
/// there.
#[derive(Debug)]
pub(crate) struct WipeStack;

impl Drop for WipeStack {
    fn drop(&mut self) {
        wipe();
    }
}

#[inline(never)]
fn wipe() {
    // The compiler must assume that the zeros are read, and so it writes them.
    let mut below = [0u64; STACK / 8];
    std::hint::black_box(&mut below);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_zeroized_and_grow() {
        for len in [0, 1, 31, 32, 33, 4096, 300_000] {
            let mut secret = Secret::copied_from(&vec![7; len]);
            assert_eq!((secret.len(), secret.iter().all(|b| *b == 7)), (len, true));
            secret.extend_from_slice(&[9; 40]);
            assert_eq!(secret[len..], [9; 40]);
            secret.truncate(3);
            assert!(secret.len() <= 3);
            drop(secret);
            assert!(
                FREE.iter().all(|free| free
                    .lock()
                    .unwrap()
                    .iter()
                    .all(|s| s.iter().all(|b| *b == 0)))
            );
        }
        assert_eq!(Secret::zeroed(4096).as_ptr() as usize % 4096, 0, "a sector is aligned");
        assert!(usage().mapped >= 64 << 10);
    }
}
