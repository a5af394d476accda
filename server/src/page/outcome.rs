//! What an erase did, as a session remembers it.

use keyfall::certificate::{Certificate, Grade, Trust};
use keyfall::log::VerifierKey;
use keyfall::promise::Level;
use keyfall::{Engine, Erase, Erasure, Error, ErrorKind, Timestamp, UserId};

use super::kept::{Proof, gone, keep};
use super::scopes::{What, called, place};
use crate::gone::is_gone;

/// What was asked for at one time, and what came of it.
#[derive(Clone, Default)]
pub(crate) struct Outcome {
    /// What was named, in words.
    pub(crate) what: String,
    /// What was asked to be erased at once.
    pub(super) asked: Option<What>,
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
    /// The numbers of the drafts of erases that were not heard of to their end.
    pub(crate) awaited: Vec<u64>,
    /// Whether nobody can know now if something was done.
    pub(crate) unsure: bool,
}

/// The drafts of erases, by their places.
pub(crate) struct Drafted<'a> {
    /// The number of one.
    pub(crate) number: &'a dyn Fn(usize) -> Option<u64>,
    /// Is told of each whose certificate is kept among the person's records.
    pub(crate) kept: &'a dyn Fn(usize),
}

impl Outcome {
    /// Does erases, and says what they did; whatever fails after that does not make it undone.
    ///
    /// # Errors
    /// `Corrupt`, `Io`: then nothing was done.
    pub(crate) fn of(
        engine: &Engine,
        user: &UserId,
        (what, said): (&What, String),
        erases: &[Erase],
        drafts: &Drafted<'_>,
    ) -> Result<Outcome, Error> {
        let asked = Some(what.clone());
        let mut outcome =
            Outcome { what: said, asked, counts: Some(Vec::new()), ..Outcome::default() };
        let key = engine.log().key()?;
        for (place, done) in engine.erase_all(erases).into_iter().enumerate() {
            match done {
                Ok(erasure) => match outcome.add(engine, user, &erasure, &key) {
                    Ok(true) => (drafts.kept)(place),
                    Ok(false) => {}
                    // Its certificate could not be had.
                    Err(_) => outcome.look(engine, &erases[place], (drafts.number)(place)),
                },
                Err(e) if e.may_have_happened() => {
                    outcome.look(engine, &erases[place], (drafts.number)(place));
                }
                Err(e) => outcome.failed = Some(e.kind()),
            }
        }
        Ok(outcome)
    }

    /// Looks whether an erase was done that was not heard of to its end; its certificate comes by
    /// its draft.
    fn look(&mut self, engine: &Engine, erase: &Erase, draft: Option<u64>) {
        let fell = is_gone(engine, erase.clone()).unwrap_or_else(|e| gone(&e));
        self.unsure |= !fell || draft.is_none();
        self.awaited.extend(draft);
    }

    /// A certificate came that was awaited, or it is known that its erase was not done.
    pub(super) fn came(&mut self, draft: u64, found: Option<(&Certificate, &VerifierKey)>) {
        let added = found.map(|(certificate, key)| {
            let body = &certificate.facts.body;
            self.derived = self.derived.max(body.derived);
            self.following |= body.following;
            self.certified(certificate, key)
        });
        match added {
            Some(Err(_)) => return,
            Some(Ok(())) => {}
            None => self.failed = Some(ErrorKind::Io),
        }
        self.awaited.retain(|number| *number != draft);
        self.unsure &= !self.awaited.is_empty();
    }

    /// Whether something was erased here, of which nobody knows yet that it is final.
    pub(super) fn waits(&self) -> bool {
        !self.awaited.is_empty() && !self.unsure
    }

    /// Adds an erase; says whether its certificate is kept among the person's records.
    fn add(
        &mut self,
        engine: &Engine,
        user: &UserId,
        erasure: &Erasure,
        key: &VerifierKey,
    ) -> Result<bool, Error> {
        let Some(unsigned) = &erasure.certificate else { return Ok(false) };
        let certificate = unsigned.sign()?;
        self.certified(&certificate, key)?;
        // Erases of one commit each say what was derived of all of them.
        self.derived = self.derived.max(erasure.derived);
        self.following |= erasure.following;
        self.pending_until = self.pending_until.max(erasure.finality.until());
        // It was erased: a proof that cannot be kept does not make it undone.
        Ok(keep(engine, user, &certificate).unwrap_or_else(|_| {
            tracing::warn!(
                "a proof could not be kept among the records; its draft stays for a day"
            );
            false
        }))
    }

    /// Adds what a certificate says.
    fn certified(&mut self, certificate: &Certificate, key: &VerifierKey) -> Result<(), Error> {
        let verified = certificate.verify(&Trust::in_log(key.clone()))?;
        self.erased = true;
        self.pending |= verified.judged.grade == Grade::Pending;
        self.level = Some(verified.judged.level);
        for reason in verified.judged.reasons {
            if !self.limits.contains(&reason) {
                self.limits.push(reason);
            }
        }
        self.count(certificate);
        self.proofs.push(Proof { text: certificate.to_string(), key: key.to_string() });
        Ok(())
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
            let class = self.asked.as_ref().map_or(&**class, |what| called(what, class));
            match counts.iter_mut().find(|(name, _)| name == class) {
                Some((_, sum)) => *sum += n,
                None => counts.push((class.to_owned(), *n)),
            }
        }
        counts.sort_by_key(|(class, _)| place(class));
    }
}
