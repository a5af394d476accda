//! Checkpoints (C2SP tlog-checkpoint): what a log signs of itself; and proofs below them (C2SP
//! tlog-proof).

use std::fmt;
use std::str::FromStr;

use super::hash::Hash;
use super::note::{Note, Signer, VerifierKey};
use super::proof::{Extent, verify_inclusion};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// A tree head: which log, how many leaves, their root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a URL without its scheme.
    pub origin: String,
    /// Number of leaves in the log.
    pub size: u64,
    /// Root of the Merkle tree over its leaves.
    pub root: Hash,
}

/// A further line of a checkpoint that was signed while a root key that one of its leaves calls
/// destroyed might have been there. Such a checkpoint shows what is in the log, under the
/// certificate of a pending erase, and is not published.
const PENDING: &str = "keyfall/pending";

impl Checkpoint {
    /// How far the log has grown.
    pub fn extent(&self) -> Extent {
        Extent { size: self.size, root: self.root }
    }

    /// Signs it: every root key that its leaves call destroyed is.
    ///
    /// # Errors
    /// `Invalid` for an origin that no text can hold.
    pub fn sign(&self, signer: &Signer) -> Result<Note> {
        let mut note = Note::new(self.to_string())?;
        signer.sign(&mut note, Timestamp(0));
        Ok(note)
    }

    /// Signs it with a further line that says that not all of them are yet.
    ///
    /// # Errors
    /// As [`Checkpoint::sign`].
    pub fn sign_pending(&self, signer: &Signer) -> Result<Note> {
        let mut note = Note::new(format!("{self}{PENDING}\n"))?;
        signer.sign(&mut note, Timestamp(0));
        Ok(note)
    }

    /// Whether a checkpoint has that line.
    pub fn is_pending(note: &Note) -> bool {
        note.text().split_terminator('\n').skip(3).any(|line| line == PENDING)
    }

    /// Reads a note that `log` must have signed as its own checkpoint.
    ///
    /// # Errors
    /// `Absent` if it did not sign, `Corrupt` if the signature does not hold, `Invalid` if
    /// the text is not a checkpoint of it.
    pub fn verified(note: &Note, log: &VerifierKey) -> Result<Self> {
        log.verify(note)?;
        let checkpoint: Checkpoint = note.text().parse()?;
        if checkpoint.origin != log.name() {
            return Err(Error::invalid(format!(
                "this is a checkpoint of {}, not of {}",
                checkpoint.origin,
                log.name()
            )));
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// A number as C2SP writes it: digits, without a zero in front.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n: &u64| n.to_string() == text)
}

impl FromStr for Checkpoint {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(
                "not a checkpoint: three lines, with the log's origin, its size and \
                its root, are one",
            )
        };
        let mut lines = text.split_terminator('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(bad());
        };
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size: number(size).ok_or_else(bad)?,
            root: Hash::from_base64(root).map_err(|_| bad())?,
        };
        // Further lines are extensions, which mean nothing here; none is empty.
        let blank = text.split_terminator('\n').any(str::is_empty);
        if blank || !text.starts_with(&checkpoint.to_string()) {
            Err(bad())
        } else {
            Ok(checkpoint)
        }
    }
}

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Most hashes of a path: a tree of 2^63 leaves.
const PATH_MAX: usize = 63;

/// That a leaf is in a log: its place, the path, and a checkpoint (C2SP tlog-proof).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogProof {
    /// Index of the leaf in the log.
    pub index: u64,
    /// The hash next to the leaf first.
    pub path: Vec<Hash>,
    /// Signed by the log, and maybe by witnesses.
    pub checkpoint: Note,
}

impl LogProof {
    /// Checks that `leaf` is in the log, as far as `log`'s signature goes. Gives the checkpoint.
    ///
    /// # Errors
    /// As [`Checkpoint::verified`]; `Corrupt` if the path leads elsewhere.
    pub fn verify(&self, leaf: &[u8], log: &VerifierKey) -> Result<Checkpoint> {
        let checkpoint = Checkpoint::verified(&self.checkpoint, log)?;
        verify_inclusion(
            Hash::leaf(leaf),
            self.index,
            checkpoint.size,
            &self.path,
            &checkpoint.root,
        )?;
        Ok(checkpoint)
    }
}

impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nindex {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for LogProof {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("not a proof: one begins with {HEADER}"));
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(bad)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(bad());
        }
        let index =
            lines.next().and_then(|l| l.strip_prefix("index ")).and_then(number).ok_or_else(bad)?;
        let path = lines.map(Hash::from_base64).collect::<Result<Vec<_>>>()?;
        if path.len() > PATH_MAX {
            return Err(bad());
        }
        Ok(LogProof { index, path, checkpoint: checkpoint.parse()? })
    }
}
