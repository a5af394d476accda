//! What the facts amount to: worked out here alone, by who issues and by every reader anew.

use std::collections::BTreeSet;
use std::fmt;

use super::facts::{ALGORITHMS, Facts, METHOD, Retired, VERIFICATION, bytes};
use super::leaf::{Ends, Leaf};
use crate::error::{Error, Result};
use crate::log::{Hash, verify_inclusion};
use crate::promise::{Level, Quorum};

/// How far the erase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// The old root key is destroyed as the cell's level allows, and nothing is known that limits it.
    Final,
    /// The same, but for what is named.
    Limited,
    /// The old root key is not known to be destroyed yet.
    Pending,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Grade::Final => "FINAL",
            Grade::Limited => "LIMITED",
            Grade::Pending => "PENDING",
        })
    }
}

/// A grade with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// How far.
    pub grade: Grade,
    /// The cell's level.
    pub level: Level,
    /// What keeps it from being final, or limits it.
    pub reasons: Vec<String>,
    /// The leaf.
    pub leaf: Leaf,
    /// The leaf that made it final, where it waited.
    pub final_leaf: Option<Leaf>,
}

fn false_(what: &str) -> Error {
    Error::corrupt(format!("the certificate contradicts itself: {what}"))
}

fn text_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

impl Facts {
    /// Checks everything that needs no log and no signature of the certificate's own, and grades it.
    ///
    /// # Errors
    /// `Corrupt` where its parts contradict each other; `Invalid` where one does not parse.
    pub fn judge(&self) -> Result<Judged> {
        let body = &self.body;
        if (body.method.as_str(), body.algorithms.as_str(), body.verification.as_str())
            != (METHOD, ALGORITHMS, VERIFICATION)
        {
            return Err(Error::invalid(
                "the certificate claims a method that this program does not know; use the program that wrote it",
            ));
        }
        let leaf: Leaf = text_of(&self.leaf).parse()?;
        let path = self.slot.path.iter().map(|hash| Hash::from_base64(hash)).collect::<Result<Vec<_>>>()?;
        let commitment = body.commitment(&bytes(&self.opening)?);
        verify_inclusion(Hash::leaf(&commitment.0), self.slot.index, self.slot.of, &path, &leaf.erases)
            .map_err(|_| false_("the log's leaf does not bind what it says"))?;
        let level = self.check_cell(&leaf)?;
        let root = body.destroyed.first().map(|key| key.commitment.as_str());
        if (self.slot.of, body.commit, body.epoch, root)
            != (leaf.slots, leaf.commit, leaf.epoch, Some(leaf.destroys.as_str()))
        {
            return Err(false_("it is about another commit than its leaf"));
        }
        let until = match &leaf.ends {
            Ends::Until(until) => Some(until),
            Ends::Next { .. } => None,
        };
        if until != body.pending_until.as_ref() {
            return Err(false_("it waits, and its leaf does not, or the other way round"));
        }
        let final_leaf = self.check_final(&leaf)?;
        let mut reasons = self.unfinished(&leaf, final_leaf.as_ref())?;
        let pending = !reasons.is_empty();
        reasons.extend(self.limits());
        let grade = match reasons.is_empty() {
            _ if pending => Grade::Pending,
            true => Grade::Final,
            false => Grade::Limited,
        };
        Ok(Judged { grade, level, reasons, leaf, final_leaf })
    }

    fn check_cell(&self, leaf: &Leaf) -> Result<Level> {
        let cell = &self.body.cell;
        if cell.digest() != leaf.cell {
            return Err(false_("the cell is not the one that the log's leaf names"));
        }
        let level = cell.level()?;
        let overstates = match cell.kind.as_str() {
            "file" | "memory" => level > Level::L0,
            _ => (level == Level::L3) != cell.keyholders.is_some(),
        };
        if overstates {
            return Err(false_(&format!("a cell of the kind {} has not level {}", cell.kind, level.name())));
        }
        Ok(level)
    }

    fn check_final(&self, leaf: &Leaf) -> Result<Option<Leaf>> {
        let Some(lines) = &self.final_leaf else {
            return Ok(None);
        };
        let later: Leaf = text_of(lines).parse()?;
        let ends = matches!((&leaf.ends, &later.ends), (Ends::Until(_), Ends::Next { .. }));
        if !ends || (later.epoch, &later.destroys) != (leaf.epoch, &leaf.destroys) || later.commit <= leaf.commit {
            return Err(false_("what it calls the leaf that made it final is about something else"));
        }
        Ok(Some(later))
    }

    /// Why the root key is not known to be destroyed; nothing where it is.
    fn unfinished(&self, leaf: &Leaf, final_leaf: Option<&Leaf>) -> Result<Vec<String>> {
        let ended = final_leaf.unwrap_or(leaf);
        let quorum = self.body.cell.quorum()?;
        let Ends::Next { attempt, .. } = &ended.ends else {
            let until = self.body.pending_until.as_deref().unwrap_or_default();
            if self.outcome.retired != Retired::Waiting {
                return Err(false_("its root key waits for others, and is said to have ended"));
            }
            return Ok(vec![format!(
                "the old root key waits for other erases, until {until} at the latest: until then who holds the cell and old copies can read what it names"
            )]);
        };
        match (&self.outcome.retired, quorum) {
            (Retired::Destroyed, None) => Ok(Vec::new()),
            (Retired::Scheduled(until), None) => Ok(vec![format!(
                "the cell destroys the old root key at {until}: until then who has access to it can read what it names"
            )]),
            (Retired::Stated(_), Some(quorum)) => self.statements(&quorum, ended.epoch + 1, attempt),
            _ => Err(false_("the cell is not of a kind that says what it is quoted with")),
        }
    }

    /// Checks keyholders' statements: for an epoch behind the erase, by different keyholders of the quorum.
    fn statements(&self, quorum: &Quorum, epoch: u64, attempt: &str) -> Result<Vec<String>> {
        let Retired::Stated(said) = &self.outcome.retired else {
            return Ok(Vec::new());
        };
        let mut stated = BTreeSet::new();
        for said in said {
            let statement = said.statement(&self.body.store)?;
            statement.verify()?;
            if !quorum.keyholders.contains(&statement.keyholder) {
                return Err(false_("a statement is not by a keyholder of this store"));
            }
            // Of the epoch right behind it only the attempt that won does not reach what was erased.
            let behind = said.epoch > epoch || (said.epoch == epoch && said.attempt == *attempt);
            if !behind {
                return Err(false_("a keyholder's statement is of another epoch"));
            }
            if !stated.insert(statement.keyholder) {
                return Err(false_("a keyholder's statement stands in it twice"));
            }
        }
        let (n, needed) = (stated.len(), quorum.needed());
        if n >= needed {
            return Ok(Vec::new());
        }
        Ok(vec![format!(
            "{n} of the {needed} statements that are needed, by {} keyholders, are there: until then {} of them may have enough shares of the old root key",
            quorum.keyholders.len(),
            quorum.threshold
        )])
    }

    /// What is known to limit it.
    fn limits(&self) -> Vec<String> {
        let body = &self.body;
        let mut limits = Vec::new();
        if body.cell.remnants {
            limits.push(
                "the owner accepted a medium that is known to keep old bytes: the old root key may be left on it"
                    .to_owned(),
            );
        }
        if body.cell.kind == "memory" {
            limits
                .push("the root key was in the memory of a process, which may have been written elsewhere".to_owned());
        }
        match body.openings {
            Some(0) => {}
            Some(n) => limits.push(format!(
                "records of this user had been opened {n} times by somebody named, before: what they took with them is out of reach"
            )),
            None => limits.push("damaged pages hide who had opened records before".to_owned()),
        }
        if let Some(n) = body.grants.filter(|n| *n > 0) {
            limits.push(format!("{n} grants to third parties stood: what they opened before is out of reach"));
        }
        if body.records.is_none() {
            limits.push("damaged pages kept the records from being counted; none of them can be read".to_owned());
        }
        if body.following {
            limits.push(
                "entries (not the content) of records derived from it, by this erase or an earlier one, were still in lists".to_owned(),
            );
        }
        limits
    }
}
