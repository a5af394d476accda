//! Whether a certificate holds, and what that shows.

use super::judge::Judged;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{
    Checkpoint, LogProof, Note, ReadFile, Tiles, VerifierKey, consistency, verify_consistency,
};
use crate::time::Timestamp;

/// What the reader of a certificate trusts.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Key of the log that must have signed the checkpoint.
    pub log: VerifierKey,
    /// Witnesses that may have cosigned its checkpoints.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have.
    pub quorum: usize,
}

impl Trust {
    /// Trusts the log alone, without witnesses.
    pub fn in_log(log: VerifierKey) -> Self {
        Trust { log, witnesses: Vec::new(), quorum: 0 }
    }

    /// The log, and as many of the witnesses as `quorum` says; all of them if it says nothing. A
    /// key that is given twice is one witness.
    ///
    /// # Errors
    /// `Invalid` if more are demanded than there are, or the log's own key is to be its witness.
    pub fn with_witnesses(
        log: VerifierKey,
        witnesses: &[VerifierKey],
        quorum: Option<usize>,
    ) -> Result<Self> {
        let mut trust = Trust { log, witnesses: witnesses.to_vec(), quorum: 0 };
        if trust.different().count() < distinct(witnesses).count() {
            return Err(Error::invalid(
                "the log cannot be its own witness; give the key of somebody else",
            ));
        }
        let there = trust.different().count();
        trust.quorum = quorum.unwrap_or(there);
        if trust.quorum > there {
            return Err(Error::invalid(format!(
                "{} cosignatures are demanded of {there} different witnesses; name more, or demand fewer",
                trust.quorum
            )));
        }
        Ok(trust)
    }

    /// The witnesses, each key once, whatever names it has; never the log itself.
    fn different(&self) -> impl Iterator<Item = &VerifierKey> {
        distinct(&self.witnesses).filter(|witness| !witness.is_key_of(&self.log))
    }

    /// Which witnesses cosigned a checkpoint, and when.
    ///
    /// # Errors
    /// `Refused` if they are too few; `Corrupt` if a cosignature does not hold.
    pub fn cosigned(&self, checkpoint: &Note) -> Result<Vec<Cosigned>> {
        let mut cosigned = Vec::new();
        for witness in self.different() {
            match witness.verify(checkpoint) {
                Ok(at) => cosigned.push(Cosigned {
                    witness: witness.name().to_owned(),
                    at: at.unwrap_or_default(),
                }),
                Err(e) if e.kind() == ErrorKind::Absent => {}
                Err(e) => return Err(e),
            }
        }
        if cosigned.len() < self.quorum {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "{} of the {} cosignatures that were asked for are under its checkpoint; have \
                     the checkpoint cosigned, and the certificate upgraded",
                    cosigned.len(),
                    self.quorum
                ),
            ));
        }
        Ok(cosigned)
    }

    /// Checks that a leaf is in the log, under a checkpoint that the witnesses cosigned.
    pub(super) fn check(
        &self,
        leaf: &str,
        proof: &LogProof,
    ) -> Result<(Checkpoint, Vec<Cosigned>)> {
        let checkpoint = proof.verify(leaf.as_bytes(), &self.log)?;
        Ok((checkpoint, self.cosigned(&proof.checkpoint)?))
    }
}

/// The keys, each of them once.
fn distinct(keys: &[VerifierKey]) -> impl Iterator<Item = &VerifierKey> {
    keys.iter()
        .enumerate()
        .filter(|(n, key)| !keys[..*n].iter().any(|other| other.is_key_of(key)))
        .map(|(_, key)| key)
}

/// A witness that cosigned a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness's name.
    pub witness: String,
    /// When it saw the log so.
    pub at: Timestamp,
}

/// A certificate that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The grade, with its reasons.
    pub judged: Judged,
    /// The checkpoint that it is under.
    pub checkpoint: Checkpoint,
    /// Which witnesses cosigned that, and when.
    pub cosigned: Vec<Cosigned>,
    /// Whether an erase in the log, this one or another, was pending when that was signed.
    pub log_pending: bool,
}

impl Verified {
    /// What was shown and what was not, line by line.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![
            format!(
                "The certificate holds. Grade: {}; level {}",
                self.judged.grade, self.judged.level
            ),
            format!(
                "Shown: its words are what its facts give; the log {} binds them, among {} {} \
                 under the root {}",
                self.checkpoint.origin,
                self.checkpoint.size,
                if self.checkpoint.size == 1 { "leaf" } else { "leaves" },
                self.checkpoint.root
            ),
        ];
        words.extend(self.judged.reasons.iter().map(|reason| format!("Limit: {reason}")));
        if self.cosigned.is_empty() {
            words.push(
                "Not shown: that the log shows everybody the same; demand cosignatures of \
                 witnesses, or keep its checkpoints"
                    .to_owned(),
            );
        }
        if self.log_pending {
            words.push(
                "Not shown: that every erase in the log was final when its checkpoint was \
                signed; at least one was pending"
                    .to_owned(),
            );
        }
        for Cosigned { witness, at } in &self.cosigned {
            words.push(format!("Shown: the witness {witness} saw this log, growing only, at {at}"));
        }
        words.push(
            "Not shown: that nobody copied keys or plaintext before, or that the operator's \
             statements are true"
                .to_owned(),
        );
        words
    }
}

/// Checks that the checkpoint of a certificate and one that the reader kept are of one history.
/// If their sizes differ, `fetch` reads the log's files.
///
/// # Errors
/// `Corrupt` if they are not: the log was rolled back, or shows others another history;
/// `Invalid` if files of the log are needed.
pub fn same_history(
    checkpoint: &Checkpoint,
    kept: &Checkpoint,
    fetch: Option<ReadFile<'_>>,
) -> Result<()> {
    if checkpoint.origin != kept.origin {
        return Err(Error::invalid(format!("the checkpoint that was kept is of {}", kept.origin)));
    }
    let (old, new) =
        if checkpoint.size <= kept.size { (checkpoint, kept) } else { (kept, checkpoint) };
    let proof = match fetch {
        _ if old.size == new.size => Vec::new(),
        Some(fetch) => {
            // Hashes below the newer of the two are in the files of any later log, if it goes on
            // from both.
            let text = String::from_utf8(fetch("checkpoint")?)
                .map_err(|_| Error::invalid("the checkpoint is not text"))?;
            let now: Checkpoint = text.parse::<Note>()?.text().parse()?;
            if now.size < new.size {
                return Err(Error::corrupt(format!(
                    "the log has {} leaves, and had {} before: it was rolled back; keep both \
                     checkpoints, they are evidence",
                    now.size, new.size
                )));
            }
            consistency(&Tiles::new(now.size, fetch), old.size, new.size)?
        }
        None => {
            return Err(Error::invalid(format!(
                "the certificate's checkpoint has {} leaves, the kept one {}: the log's files are \
                 needed to see that they are of one history",
                checkpoint.size, kept.size
            )));
        }
    };
    verify_consistency(old.extent(), new.extent(), &proof)
}
