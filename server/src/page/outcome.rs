//! What an erase did, as a session remembers it.

use keyfall::certificate::{Certificate, Grade, Trust};
use keyfall::log::VerifierKey;
use keyfall::promise::Level;
use keyfall::{Engine, Erasure, Error, ErrorKind, Timestamp, UserId};

use super::kept::{Proof, keep};
use super::scopes::{What, called, place};

/// What was asked for at one time, and what came of it.
#[derive(Clone, Default)]
pub(crate) struct Outcome {
    /// What was named, in words.
    pub(crate) what: String,
    pub(crate) at: Option<Timestamp>,
    /// What fell, by class, as the certificates say; `None` where it could not be counted.
    pub(crate) counts: Option<Vec<(String, u64)>>,
    pub(crate) derived: u64,
    pub(crate) following: bool,
    /// What was kept, by class.
    pub(crate) kept: Vec<String>,
    /// Whether something was erased, and whether all of that is final.
    pub(crate) erased: bool,
    pub(crate) pending: bool,
    pub(crate) pending_until: Option<Timestamp>,
    /// What limits the erases that are final, and what keeps others from being so.
    pub(crate) limits: Vec<String>,
    /// How far a destroyed key is gone where it was.
    pub(crate) level: Option<Level>,
    /// How many proofs of earlier erases stay, and how much else that is kept among them.
    pub(crate) proofs_stay: u64,
    pub(crate) left: u64,
    pub(crate) proofs: Vec<Proof>,
    /// Whether a hold covers some of what was planned.
    pub(crate) held: bool,
    /// When it is going to be erased, if it was planned.
    pub(crate) planned: Option<Timestamp>,
    /// What the person gets the proof of that with, where no page of theirs finds it.
    pub(crate) code: Option<String>,
    /// Why something was not done.
    pub(crate) failed: Option<ErrorKind>,
}

impl Outcome {
    /// What erases did; `kept` is told of each whose certificate is kept among the person's records.
    pub(crate) fn of(
        engine: &Engine,
        user: &UserId,
        (what, said): (&What, String),
        done: Vec<Result<Erasure, Error>>,
        kept: &dyn Fn(usize),
    ) -> Result<Outcome, Error> {
        let mut outcome = Outcome { what: said, counts: Some(Vec::new()), ..Outcome::default() };
        let key = engine.log().key()?;
        for (place, done) in done.into_iter().enumerate() {
            match done {
                Ok(erasure) => {
                    if outcome.add(engine, user, &erasure, &key)? {
                        kept(place);
                    }
                }
                Err(e) => outcome.failed = Some(e.kind()),
            }
        }
        if let Some(counts) = &mut outcome.counts {
            counts.iter_mut().for_each(|(class, _)| *class = called(what, class).to_owned());
            counts.sort_by_key(|(class, _)| place(class));
        }
        Ok(outcome)
    }

    /// Adds an erase; says whether its certificate is kept among the person's records.
    fn add(
        &mut self,
        engine: &Engine,
        user: &UserId,
        erasure: &Erasure,
        key: &VerifierKey,
    ) -> Result<bool, Error> {
        self.at = Some(erasure.completed);
        let Some(unsigned) = &erasure.certificate else { return Ok(false) };
        let certificate = unsigned.sign()?;
        self.erased = true;
        // Erases of one commit each say what was derived of all of them.
        self.derived = self.derived.max(erasure.derived);
        self.following |= erasure.following;
        if let Some(until) = erasure.finality.until() {
            self.pending_until = self.pending_until.max(Some(until));
        }
        let verified = certificate.verify(&Trust::in_log(key.clone()))?;
        self.pending |= verified.judged.grade == Grade::Pending;
        self.level = Some(verified.judged.level);
        for reason in verified.judged.reasons {
            if !self.limits.contains(&reason) {
                self.limits.push(reason);
            }
        }
        self.count(&certificate);
        self.proofs.push(Proof { text: certificate.to_string(), key: key.to_string() });
        // It was erased: a proof that cannot be kept does not make it undone.
        Ok(keep(engine, user, &certificate).unwrap_or_else(|_| {
            tracing::warn!(
                "a proof could not be kept among the records; its draft stays for a day"
            );
            false
        }))
    }

    fn count(&mut self, certificate: &Certificate) {
        let body = &certificate.facts.body;
        for kept in &body.kept {
            if !self.kept.contains(&kept.class) {
                self.kept.push(kept.class.clone());
            }
        }
        let (Some(counts), Some(records)) = (&mut self.counts, &body.records) else {
            self.counts = None;
            return;
        };
        for (class, n) in records.iter().filter(|(_, n)| **n > 0) {
            match counts.iter_mut().find(|(name, _)| name == class) {
                Some((_, sum)) => *sum += n,
                None => counts.push((class.clone(), *n)),
            }
        }
    }
}
