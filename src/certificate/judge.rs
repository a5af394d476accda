//! What the facts amount to: worked out here alone, by the issuer and again by every reader.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::{
    ALGORITHMS, Body, CellFacts, Destroyed, METHOD, Outcome, Retired, Said, Slot, VERIFICATION,
    bytes, key_commitment,
};
use super::leaf::{Ends, Leaf};
use super::written;
use crate::error::{Error, Result};
use crate::log::{Hash, verify_inclusion};
use crate::promise::{Dealt, Level, Quorum, Retirement};

/// How far an erase is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// The old root key is destroyed as the cell's level allows, and nothing is known that limits
    /// it.
    Final,
    /// Final, but for the limits that are named.
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
    /// How far the erase is shown to be done.
    pub grade: Grade,
    /// Level of the cell's promise.
    pub level: Level,
    /// What keeps it from being final, or limits it.
    pub reasons: Vec<String>,
    /// The leaf of the commit, as the log has it.
    pub leaf: Leaf,
    /// The leaf that made it final, if it waited.
    pub final_leaf: Option<Leaf>,
}

fn false_(what: &str) -> Error {
    Error::corrupt(format!("the certificate contradicts itself: {what}"))
}

fn text_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// For which root keys a keyholder's statement counts: for each, those of the keyholders that were
/// dealt a share.
struct Counted<'a> {
    /// Of the epoch of the erase.
    quorum: Quorum,
    /// The quorums of earlier epochs, each with the last epoch that it was dealt shares of.
    earlier: Vec<Dealt>,
    next: Next<'a>,
}

/// The epoch that came after that of the erase, and the attempt that won.
struct Next<'a> {
    epoch: u64,
    attempt: &'a str,
}

impl<'a> Counted<'a> {
    fn new(cell: &CellFacts, quorum: Quorum, ended: &'a Leaf) -> Result<Self> {
        let Ends::Next { attempt, .. } = &ended.ends else {
            return Err(false_("its root key waits for others, and is said to have ended"));
        };
        let earlier = cell.earlier.iter().map(|earlier| {
            Ok(Dealt { epoch: earlier.epoch, quorum: earlier.keyholders.quorum()? })
        });
        let earlier = earlier.collect::<Result<Vec<_>>>()?;
        if earlier.iter().any(|earlier| earlier.epoch >= ended.epoch) {
            return Err(false_("what it calls an earlier epoch is none"));
        }
        let no_next = || false_("no epoch can follow its own");
        let epoch = ended.epoch.checked_add(1).ok_or_else(no_next)?;
        Ok(Counted { quorum, earlier, next: Next { epoch, attempt } })
    }

    fn knows(&self, keyholder: &[u8; 32]) -> bool {
        let mut all =
            std::iter::once(&self.quorum).chain(self.earlier.iter().map(|earlier| &earlier.quorum));
        all.any(|quorum| quorum.keyholders.contains(keyholder))
    }

    /// Of the epoch right after the erase only the attempt that won does not reach what was erased.
    fn is_after(&self, said: &Said) -> bool {
        let Next { epoch, attempt } = self.next;
        said.epoch > epoch || (said.epoch == epoch && said.attempt == attempt)
    }

    /// Whether it counts for one of them.
    fn counts(&self, keyholder: &[u8; 32], said: &Said) -> bool {
        let earlier = |earlier: &Dealt| {
            said.epoch > earlier.epoch && earlier.quorum.keyholders.contains(keyholder)
        };
        (self.is_after(said) && self.quorum.keyholders.contains(keyholder))
            || self.earlier.iter().any(earlier)
    }
}

/// What `cell` said of the root key that `ended` ends, as far as a certificate can quote it: of
/// statements those that hold and count, one of each keyholder. An answer that a cell of this
/// kind cannot give is none.
pub fn heard(
    cell: &CellFacts,
    store: &str,
    ended: &Leaf,
    retirement: Option<&Retirement>,
) -> Retired {
    let statements = match (retirement, &cell.keyholders) {
        (Some(Retirement::Destroyed), None) => return Retired::Destroyed,
        (Some(Retirement::Scheduled(at)), None) => return Retired::Scheduled(at.to_string()),
        (Some(Retirement::Stated { statements, .. }), Some(_)) => statements,
        _ => return Retired::Waiting,
    };
    let counted = cell
        .quorum()
        .and_then(|quorum| Counted::new(cell, quorum.ok_or_else(|| false_("it has none"))?, ended));
    let Ok(counted) = counted else {
        return Retired::Waiting;
    };
    let mut heard: Vec<Said> = Vec::new();
    for statement in statements {
        let said = Said::new(statement);
        let of_store =
            said.statement(store).is_ok_and(|read| read == *statement && read.verify().is_ok());
        let first = heard.iter().all(|other| other.keyholder != said.keyholder);
        if of_store && first && counted.counts(&statement.keyholder, &said) {
            heard.push(said);
        }
    }
    Retired::Stated(heard)
}

/// The machine part of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What was asked for and what fell.
    pub body: Body,
    /// 32 random bytes, base64: opens the leaf's commitment. They are kept nowhere else.
    pub opening: String,
    /// Its place in its commit.
    pub slot: Slot,
    /// The log's leaf, line by line.
    pub leaf: Vec<String>,
    /// What is known since the commit: what the cell said, and what was discarded.
    pub outcome: Outcome,
    /// For an erase that waited: the leaf of the commit that destroyed the root key.
    pub final_leaf: Option<Vec<String>>,
}

impl Facts {
    /// Checks everything that needs no log and no signature of the certificate's own, and grades
    /// it.
    ///
    /// # Errors
    /// `Corrupt` if its parts contradict each other; `Invalid` if one does not parse.
    pub fn judge(&self) -> Result<Judged> {
        let body = &self.body;
        let times =
            [Some(&body.requested), body.pending_until.as_ref(), Some(&self.outcome.issued)];
        times.into_iter().flatten().try_for_each(|time| written::time(time).map(drop))?;
        written::check(body)?;
        let leaf: Leaf = text_of(&self.leaf).parse()?;
        let path = self
            .slot
            .path
            .iter()
            .map(|hash| Hash::from_base64(hash))
            .collect::<Result<Vec<_>>>()?;
        let commitment = body.commitment(&bytes(&self.opening)?);
        verify_inclusion(
            Hash::leaf(&commitment.0),
            self.slot.index,
            self.slot.of,
            &path,
            &leaf.erases,
        )
        .map_err(|_| false_("the log's leaf does not bind what it says"))?;
        // Not before: of a text that was changed the method says nothing.
        if (body.method.as_str(), body.algorithms.as_str(), body.verification.as_str())
            != (METHOD, ALGORITHMS, VERIFICATION)
        {
            return Err(Error::invalid(
                "the certificate claims a method that this program does not know; use the program \
                 that wrote it",
            ));
        }
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

    /// Finds `key` among those said to be destroyed: to show one of them is to prove the
    /// certificate false.
    pub fn convicted_by(&self, key: &[u8; 32]) -> Option<&Destroyed> {
        let commitment = key_commitment(key);
        self.body.destroyed.iter().find(|key| key.commitment == commitment)
    }

    fn check_cell(&self, leaf: &Leaf) -> Result<Level> {
        let cell = &self.body.cell;
        if cell.digest() != leaf.cell {
            return Err(false_("the cell is not the one that the log's leaf names"));
        }
        let level = cell.level()?;
        let alone = matches!(cell.kind.as_str(), "file" | "memory");
        let overstates =
            (alone && level > Level::L0) || (level == Level::L3) != cell.keyholders.is_some();
        if cell.keyholders.is_none() && !cell.earlier.is_empty() {
            return Err(false_("a cell without keyholders had some"));
        }
        if overstates {
            return Err(false_(&format!(
                "a cell of the kind {} has not level {}",
                cell.kind,
                level.name()
            )));
        }
        Ok(level)
    }

    fn check_final(&self, leaf: &Leaf) -> Result<Option<Leaf>> {
        let Some(lines) = &self.final_leaf else {
            return Ok(None);
        };
        let later: Leaf = text_of(lines).parse()?;
        let ends = matches!((&leaf.ends, &later.ends), (Ends::Until(_), Ends::Next { .. }));
        if !ends
            || (later.epoch, &later.destroys) != (leaf.epoch, &leaf.destroys)
            || later.commit <= leaf.commit
        {
            return Err(false_(
                "what it calls the leaf that made it final is about something else",
            ));
        }
        Ok(Some(later))
    }

    /// Why the root key is not known to be destroyed; nothing if it is.
    fn unfinished(&self, leaf: &Leaf, final_leaf: Option<&Leaf>) -> Result<Vec<String>> {
        let ended = final_leaf.unwrap_or(leaf);
        let quorum = self.body.cell.quorum()?;
        if !matches!(ended.ends, Ends::Next { .. }) {
            let until = self.body.pending_until.as_deref().unwrap_or_default();
            if self.outcome.retired != Retired::Waiting {
                return Err(false_("its root key waits for others, and is said to have ended"));
            }
            return Ok(vec![format!(
                "the old root key waits for other erases, until {until} at the latest: until then \
                 who holds the cell and old copies can read what it names"
            )]);
        }
        match (&self.outcome.retired, quorum) {
            (Retired::Waiting, _) => Ok(vec![
                "the cell has not said yet that the old root key is destroyed: until then who has \
                 access to it can read what it names"
                    .to_owned(),
            ]),
            (Retired::Destroyed, None) => Ok(Vec::new()),
            (Retired::Scheduled(until), None) => {
                written::time(until)?;
                Ok(vec![format!(
                    "the cell destroys the old root key at {until}: until then who has access to \
                     it can read what it names"
                )])
            }
            (Retired::Stated(said), Some(quorum)) => {
                self.statements(said, &Counted::new(&self.body.cell, quorum, ended)?)
            }
            _ => Err(false_("the cell is not of a kind that says what it is quoted with")),
        }
    }

    /// Checks keyholders' statements, each of which must count, and says of which root key too few
    /// are there.
    fn statements(&self, said: &[Said], counted: &Counted<'_>) -> Result<Vec<String>> {
        let mut stated = BTreeMap::new();
        for said in said {
            let statement = said.statement(&self.body.store)?;
            statement.verify()?;
            if !counted.knows(&statement.keyholder) {
                return Err(false_("a statement is not by a keyholder of this store"));
            }
            if !counted.counts(&statement.keyholder, said) {
                return Err(false_("a keyholder's statement is of another epoch"));
            }
            if stated.insert(statement.keyholder, said).is_some() {
                return Err(false_("a keyholder's statement stands in it twice"));
            }
        }
        let few = |(which, quorum): (String, &Quorum), counts: &dyn Fn(&Said) -> bool| {
            let there = |key: &&[u8; 32]| stated.get(*key).is_some_and(|said| counts(said));
            let (n, needed) = (quorum.keyholders.iter().filter(there).count(), quorum.needed());
            (n < needed).then(|| {
                format!(
                    "{n} of the {needed} statements that are needed, by {} keyholders, are there: \
                     until then {} of them may have enough shares of {which}",
                    quorum.keyholders.len(),
                    quorum.threshold
                )
            })
        };
        let own =
            few(("the old root key".to_owned(), &counted.quorum), &|said| counted.is_after(said));
        let earlier = counted.earlier.iter().map(|Dealt { epoch, quorum }| {
            few((format!("the root key of epoch {epoch}, which reached it too"), quorum), &|said| {
                said.epoch > *epoch
            })
        });
        Ok(std::iter::once(own).chain(earlier).flatten().collect())
    }

    /// What is known to limit the erase.
    fn limits(&self) -> Vec<String> {
        let body = &self.body;
        let mut limits = Vec::new();
        if body.cell.remnants {
            limits.push(
                "the owner accepted a medium that is known to keep old bytes: the old root key may \
                 be left on it"
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
                "records of this user had been opened {n} times by somebody named, before: what \
                 they took with them is out of reach"
            )),
            None => limits.push("damaged pages hide who had opened records before".to_owned()),
        }
        if let Some(n) = body.grants.filter(|n| *n > 0) {
            limits.push(format!(
                "{n} grants to third parties stood: what they opened before is out of reach"
            ));
        }
        if body.records.is_none() {
            limits.push(
                "damaged pages kept the records from being counted; none of them can be read"
                    .to_owned(),
            );
        }
        if body.following {
            limits.push(
                "entries (not the content) of records derived from it, by this erase or an earlier \
                 one, were still in lists"
                    .to_owned(),
            );
        }
        limits
    }
}
