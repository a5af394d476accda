//! A leaf of the log: that a commit erased, and which root key it destroys. It names no user.
//!
//! ```text
//! keyfall/erase@v1
//! commit 17
//! epoch 7
//! time 2026-11-22T08:15:00Z          floored to the minute
//! erases 16 BASE64                   how many slots, most random padding, and their root
//! destroys BASE64                    commitment to the root key of the epoch
//! next HEX BASE64                    attempt of the root key after it, commitment to it
//!                                    | until TIME: it waits for others
//! cell BASE64                        SHA-256 of the cell's facts
//! signer BASE64                      the Ed25519 key that signs certificates
//! ```

use std::fmt;
use std::str::FromStr;

use super::written;
use crate::error::{Error, Result};
use crate::limits::LEAF_MAX_BYTES;
use crate::log::{FullTree, Hash};

/// Slots of a commit with the fewest erases: a leaf shows how many there were up to a factor of
/// two, from this on.
pub const SLOTS_MIN: usize = 16;

const FIRST: &str = "keyfall/erase@v1";
const MINUTE_MS: u64 = 60_000;

/// What becomes of the root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The root key is destroyed after this commit.
    Next {
        /// Attempt of the root key after it, hexadecimal.
        attempt: String,
        /// Commitment to the root key of that attempt.
        commitment: String,
    },
    /// The root key waits for other erases, until this time at the latest.
    Until(String),
}

/// A leaf of the public log: one commit that erased something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Number of the commit that erased.
    pub commit: u64,
    /// The epoch whose root key reached what fell.
    pub epoch: u64,
    /// When the commit was made, to the minute.
    pub time: String,
    /// Number of slots, most of which may be random padding.
    pub slots: u64,
    /// Root of the Merkle tree over the slots.
    pub erases: Hash,
    /// Commitment to the root key of the epoch.
    pub destroys: String,
    /// What becomes of that root key.
    pub ends: Ends,
    /// Digest of the cell's facts.
    pub cell: Hash,
    /// The key that signs certificates.
    pub signer: [u8; 32],
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}\ncommit {}\nepoch {}\ntime {}", self.commit, self.epoch, self.time)?;
        writeln!(f, "erases {} {}\ndestroys {}", self.slots, self.erases, self.destroys)?;
        match &self.ends {
            Ends::Next { attempt, commitment } => writeln!(f, "next {attempt} {commitment}")?,
            Ends::Until(time) => writeln!(f, "until {time}")?,
        }
        writeln!(f, "cell {}\nsigner {}", self.cell, Hash(self.signer))
    }
}

impl FromStr for Leaf {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad =
            || Error::invalid(format!("not a leaf of an erasure log: one begins with {FIRST}"));
        let mut lines = text.split_terminator('\n');
        if lines.next() != Some(FIRST) {
            return Err(bad());
        }
        let mut field = || lines.next().and_then(|line| line.split_once(' ')).unwrap_or_default();
        let mut named = |name: &str| {
            Some(field()).filter(|(key, _)| *key == name).map(|(_, value)| value).ok_or_else(bad)
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
        let (commit, epoch, time) =
            (number(named("commit")?)?, number(named("epoch")?)?, named("time")?);
        let (slots, erases) = named("erases")?.split_once(' ').ok_or_else(bad)?;
        let destroys = named("destroys")?;
        let ends = match field() {
            ("next", next) => {
                let (attempt, commitment) = next.split_once(' ').ok_or_else(bad)?;
                Ends::Next { attempt: attempt.to_owned(), commitment: commitment.to_owned() }
            }
            ("until", time) => Ends::Until(time.to_owned()),
            _ => return Err(bad()),
        };
        let (cell, signer) = match (field(), field()) {
            (("cell", cell), ("signer", signer)) => (cell, signer),
            _ => return Err(bad()),
        };
        let leaf = Leaf {
            commit,
            epoch,
            time: time.to_owned(),
            slots: number(slots)?,
            erases: Hash::from_base64(erases)?,
            destroys: destroys.to_owned(),
            ends,
            cell: Hash::from_base64(cell)?,
            signer: Hash::from_base64(signer)?.0,
        };
        // One way to write it, and nothing after it.
        let whole = leaf.to_string() == text && text.len() <= LEAF_MAX_BYTES;
        if whole && leaf.is_written().is_ok() { Ok(leaf) } else { Err(bad()) }
    }
}

impl Leaf {
    /// Checks that each of its texts is of its kind (SPEC.md 13.2).
    fn is_written(&self) -> Result<()> {
        let bad = || Error::invalid("a leaf has a number that it cannot have");
        if !written::time(&self.time)?.0.is_multiple_of(MINUTE_MS)
            || self.slots < SLOTS_MIN as u64
            || !self.slots.is_power_of_two()
        {
            return Err(bad());
        }
        written::hash(&self.destroys)?;
        match &self.ends {
            Ends::Until(until) => written::time(until).map(drop),
            Ends::Next { attempt, commitment } => {
                written::id(attempt).and_then(|()| written::hash(commitment))
            }
        }
    }
}

/// The root over a commit's slots, and the paths of those asked for. Their number is a power of
/// two.
pub fn slots(commitments: &[Hash], of: &[u64]) -> (Hash, Vec<Vec<Hash>>) {
    let tree = FullTree::over(commitments.iter().map(|c| Hash::leaf(&c.0)).collect());
    let paths = of.iter().map(|&index| tree.path(index as usize).collect());
    (tree.root(), paths.collect())
}
