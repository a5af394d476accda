//! Which engine owns what the slots beside them hold: two claim slots, written in turn, which no
//! deposit and no tombstone ever reuses. A keyholder's claim slots hold its fence as well.
//!
//! Invariant: the newest whole claim says no less than the last one that was recorded. The slot
//! written next is the one that does not hold it; and a claim that only another process is known to
//! have written is written again first, since its sync may have failed.
//!
//! ```text
//! file 4096  = claim ‖ zeros
//! claim 512  = "KFCLAIM1" ‖ number 8 ‖ store id 16 ‖ owned 1 ‖ instance 16 ‖ claim 8 ‖ token 16
//!              ‖ mark 8
//!              ‖ fence: epoch 8 ‖ attempt 16 ‖ zeros ‖ SHA-256 of all before
//! ```
//! Number counts what was recorded; owned is 1, or 0 in a cell that was never claimed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sha2::{Digest, Sha256};

use super::Owner;
use super::sector::{self, Sector, Source};
use crate::codec::Decoder;
use crate::disk::{Disk, DiskFile, How};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::StoreId;
use crate::limits::SLOT_BYTES;
use crate::promise::{Fence, RootId};

const MAGIC: &[u8; 8] = b"KFCLAIM1";
/// Names of the claim slots' files.
pub(crate) const CLAIMS: [&str; 2] = ["claim-a", "claim-b"];
const CHECKED: usize = SLOT_BYTES - 32;

/// What a claim slot records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) store: StoreId,
    pub(super) owner: Option<Owner>,
    /// The highest commit that the owner told of.
    pub(super) mark: u64,
    /// Where a keyholder's cell has ended epochs; none in a file cell.
    pub(super) fence: Fence,
}

impl Claim {
    /// What a cell holds that was never claimed.
    pub(super) const NONE: Claim =
        Claim { store: StoreId([0; 16]), owner: None, mark: 0, fence: Fence::NONE };

    /// Whether a request of `owner` is taken: the recorded owner's, and one of a higher claim.
    pub(super) fn takes(&self, owner: &Owner) -> bool {
        self.owner.is_none_or(|there| owner.claim > there.claim || *owner == there)
    }

    /// This claim with another owner, or another mark. A new claim sets the mark, also to less;
    /// under the same claim it only grows.
    pub(super) fn told(self, store: StoreId, owner: &Owner, mark: Option<u64>) -> Self {
        let same = self.owner == Some(*owner);
        // One that did not hear of a claim learns of its owner by what comes after it.
        let before = if same { self.mark } else { 0 };
        let mark = before.max(mark.unwrap_or_default());
        Claim { store, owner: Some(*owner), mark, fence: self.fence }
    }

    fn encode(&self, number: u64) -> [u8; SLOT_BYTES] {
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        let nobody = Owner { instance: [0; 16], claim: 0, token: [0; 16] };
        let owner = self.owner.unwrap_or(nobody);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&self.store.0);
        bytes.push(u8::from(self.owner.is_some()));
        bytes.extend_from_slice(&owner.instance);
        bytes.extend_from_slice(&owner.claim.to_be_bytes());
        bytes.extend_from_slice(&owner.token);
        bytes.extend_from_slice(&self.mark.to_be_bytes());
        bytes.extend_from_slice(&self.fence.0.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.fence.0.attempt);
        let mut slot = [0; SLOT_BYTES];
        slot[..bytes.len()].copy_from_slice(&bytes);
        let sum = Sha256::digest(&slot[..CHECKED]);
        slot[CHECKED..].copy_from_slice(&sum);
        slot
    }

    /// Reads a claim and its number.
    fn decode(bytes: &[u8]) -> Result<(u64, Self)> {
        let (checked, sum) = bytes
            .get(..SLOT_BYTES)
            .unwrap_or_default()
            .split_at_checked(CHECKED)
            .unwrap_or_default();
        let mut d = Decoder::new(checked, "claim slot");
        if Sha256::digest(checked)[..] != *sum || d.bytes(8)? != MAGIC {
            return Err(d.bad());
        }
        let number = d.u64()?;
        let store = StoreId(d.array()?);
        let owned = d.u8()?;
        let owner = Owner { instance: d.array()?, claim: d.u64()?, token: d.array()? };
        let mark = d.u64()?;
        let fence = Fence(RootId { epoch: d.u64()?, attempt: d.array()? });
        if owned > 1 {
            return Err(d.bad());
        }
        Ok((number, Claim { store, owner: (owned == 1).then_some(owner), mark, fence }))
    }
}

/// Whether these are the bytes of a claim slot that is whole.
#[cfg(feature = "testing")]
pub(crate) fn is_claim(bytes: &[u8]) -> bool {
    Claim::decode(bytes).is_ok_and(|(number, claim)| claim.encode(number) == bytes[..SLOT_BYTES])
}

/// The newest claim, and where it lies.
struct Found {
    slot: usize,
    number: u64,
    claim: Claim,
}

/// The claim slots of a directory.
pub(super) struct Claims {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Whether a cell that has other slots must have these: what a keyholder has ended must not be
    /// forgotten with a file.
    needed: bool,
    /// Number of the newest claim, if this process has seen its sync succeed.
    durable: Mutex<Option<u64>>,
    /// The files, open from the first look at them on.
    open: OnceLock<[Arc<dyn DiskFile>; 2]>,
}

impl Claims {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, needed: bool) -> Self {
        Claims {
            disk,
            dir: dir.to_owned(),
            needed,
            durable: Mutex::default(),
            open: OnceLock::new(),
        }
    }

    fn path(&self, slot: usize) -> PathBuf {
        self.dir.join(CLAIMS[slot])
    }

    /// Writes both claims of no engine.
    pub(super) fn make(&self) -> Result<()> {
        for (slot, number) in [(0, 0), (1, 1)] {
            sector::overwrite(&*self.disk, &self.path(slot), &Claim::NONE.encode(number))?;
        }
        Ok(())
    }

    /// Whether they hold what an interrupted [`Claims::make`] leaves, or nothing.
    #[cfg(any(feature = "keyholders", feature = "sled"))]
    pub(super) fn is_unused(&self) -> bool {
        (0..CLAIMS.len()).all(|slot| {
            match sector::read(&*self.disk, &self.path(slot), Source::Medium) {
                Ok(Sector::Absent | Sector::Empty) => true,
                Ok(Sector::Read(bytes)) => {
                    Claim::decode(&bytes).is_ok_and(|(_, claim)| claim == Claim::NONE)
                        || bytes.iter().all(|&b| b == 0)
                }
                Ok(Sector::Short) | Err(_) => false,
            }
        })
    }

    fn find(&self, source: Source) -> Result<Option<Found>> {
        let (mut newest, mut torn) = (None::<Found>, 0);
        for slot in 0..CLAIMS.len() {
            let there = match sector::read(&*self.disk, &self.path(slot), source)? {
                Sector::Absent | Sector::Empty if !self.needed => continue,
                Sector::Absent | Sector::Empty | Sector::Short => None,
                Sector::Read(bytes) => Claim::decode(&bytes).ok(),
            };
            match there {
                Some((number, claim))
                    if newest.as_ref().is_none_or(|newest| newest.number < number) =>
                {
                    newest = Some(Found { slot, number, claim });
                }
                Some(_) => {}
                None => torn += 1,
            }
        }
        if newest.is_none() && torn > 0 {
            let help = if self.needed {
                "it may have ended epochs that it cannot name any more; put another keyholder in \
                 its place"
            } else {
                "nobody can say which engine owns it; put back the cell's own files if you have them unchanged, or remove both to forget its owner"
            };
            return Err(Error::corrupt(format!(
                "{} and {} in {} are damaged: {help}",
                CLAIMS[0],
                CLAIMS[1],
                self.dir.display()
            )));
        }
        Ok(newest)
    }

    /// The newest claim. If one slot is torn, the other one counts.
    pub(super) fn read(&self, source: Source) -> Result<Claim> {
        Ok(self.find(source)?.map_or(Claim::NONE, |found| found.claim))
    }

    /// As [`Claims::read`], from the page cache, of the files as they were when they were first
    /// opened: files put in their place since show only to a read by name.
    pub(super) fn glance(&self) -> Result<Claim> {
        let files = match self.open.get() {
            Some(files) => files,
            None => {
                let open = |slot| self.disk.open(&self.path(slot), How::Read);
                match (open(0), open(1)) {
                    (Ok(a), Ok(b)) => self.open.get_or_init(|| [a, b]),
                    _ => return self.read(Source::Cache),
                }
            }
        };
        let mut newest = None;
        for file in files {
            let mut bytes = [0; SLOT_BYTES];
            if file.read_exact_at(&mut bytes, 0).is_err() {
                return self.read(Source::Cache);
            }
            match Claim::decode(&bytes).ok() {
                Some(found) if newest.as_ref().is_none_or(|(number, _)| *number < found.0) => {
                    newest = Some(found)
                }
                _ => {}
            }
        }
        newest.map_or_else(|| self.read(Source::Cache), |(_, claim)| Ok(claim))
    }

    /// Records a claim, durably; nothing is written if it is recorded already.
    pub(super) fn record(&self, claim: Claim) -> Result<()> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.find(Source::Medium)?;
        let (slot, number) = match &found {
            None => (0, 1),
            Some(there) => {
                if *durable != Some(there.number) {
                    *durable = None;
                    let again = there.claim.encode(there.number);
                    sector::overwrite(&*self.disk, &self.path(there.slot), &again)?;
                    *durable = Some(there.number);
                }
                if there.claim == claim {
                    return Ok(());
                }
                (1 - there.slot, there.number + 1)
            }
        };
        // Until this is done the outcome is unknown: the next write is to find out, and not to take
        // the other slot.
        *durable = None;
        sector::overwrite(&*self.disk, &self.path(slot), &claim.encode(number))?;
        if found.is_none() {
            self.disk
                .sync_dir(&self.dir)
                .map_err(|e| Error::io(format!("syncing {}", self.dir.display()), e))?;
        }
        *durable = Some(number);
        Ok(())
    }
}

/// The error that a stale engine gets.
pub(super) fn fenced(what: &str, there: Option<&Owner>) -> Error {
    let text = match there {
        Some(there) => format!(
            "{what} is claimed by another engine (claim {}); nothing was changed: this one must step down; if it is to have the store, open it with `Builder::take_over`",
            there.claim
        ),
        None => format!(
            "the claim by which this engine had {what} is not there any more; nothing was changed: \
             open the store again"
        ),
    };
    Error::new(ErrorKind::Fenced, text)
}
