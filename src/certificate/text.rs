//! The certificate as a file: words that the facts give, the facts, the signature, the proof.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::draft::Draft;
use super::facts::{Body, Retired};
use super::judge::{Facts, Grade, Judged};
use super::plain::{named, pretty, quoted};
use super::verify::{Trust, Verified};
use crate::error::{Error, Result};
use crate::log::{Checkpoint, LogProof, Note, Signer, VerifierKey};
use crate::time::Timestamp;

const TITLE: &str = "Keyfall erasure certificate";
const MACHINE: &str = "keyfall/certificate@v1";
const PROOF: &str = "\n\nc2sp.org/tlog-proof@v1\n";
/// Most bytes of a certificate that is read.
const MAX_BYTES: usize = 1 << 20;
/// Of them, those of a keyholder's statement, and of what it makes longer above.
const STATEMENT_MAX_BYTES: usize = 512;
/// Of them, those of everything else that is not known before the erase: proofs, cosignatures, a
/// later leaf.
const REST_MAX_BYTES: usize = 1 << 16;

/// A certificate, as issued or as read; reading it is not verifying it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What the certificate says.
    pub facts: Facts,
    /// Head and facts, signed by the key that the leaf names.
    pub note: Note,
    /// That the leaf is in the log.
    pub proof: LogProof,
    /// That the leaf that made it final is.
    pub final_proof: Option<LogProof>,
}

/// The words above the facts. What the issuer may choose stands in quotes, or is a plain name,
/// number or time.
fn head(facts: &Facts, judged: &Judged) -> String {
    let mut lines = vec![TITLE.to_owned(), String::new()];
    lines.extend(grade(facts, judged));
    lines.push(String::new());
    lines.extend(what(&facts.body));
    lines.push(String::new());
    lines.extend(when(facts));
    lines.push(String::new());
    lines.extend(how(facts));
    lines.push(String::new());
    lines.extend(LIMITS.iter().map(ToString::to_string));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What no certificate shows: the last lines of every one.
const LIMITS: [&str; 4] = [
    "What this does not show: that nobody copied keys or plaintext before; that the operator ran \
     this software",
    "unmodified; that the scope was all there was about somebody. Whoever shows a key that gives \
     one of the commitments",
    "below has shown it false. Not gone with the erase: ciphertext until it is discarded, and what \
     its size and its",
    "time tell; the record ids that others hold; that somebody was erased, to whoever guesses the \
     name.",
];

fn grade(facts: &Facts, judged: &Judged) -> Vec<String> {
    let destroyed = match (judged.grade, &facts.outcome.retired) {
        (Grade::Pending, _) => {
            "The key at the top that reached it is not known to be destroyed yet."
        }
        (_, Retired::Stated(_)) => {
            "As many keyholders as are needed signed that their share of the key at the top that \
             reached it is gone."
        }
        _ => "The cell said that the key at the top that reached it is destroyed.",
    };
    let mut lines = vec![
        format!("Grade: {}", judged.grade),
        format!("  {destroyed}"),
        format!("  Level {}", judged.level),
    ];
    lines.extend(judged.reasons.iter().map(|reason| format!("  - {reason}")));
    lines
}

fn what(body: &Body) -> Vec<String> {
    let mut lines = vec!["What was erased".to_owned()];
    if let Some(user) = &body.user {
        lines.push(format!("  User: {}", quoted(user)));
    }
    lines.push(format!("  Scope: {}", quoted(&body.scope)));
    lines.push(match &body.records {
        Some(records) if records.is_empty() => "  Records: none was there".to_owned(),
        Some(records) => {
            let counts: Vec<String> =
                records.iter().map(|(class, n)| format!("{n} {}", named(class))).collect();
            format!("  Records: {}", counts.join(", "))
        }
        None => "  Records: not counted".to_owned(),
    });
    lines.push(format!("  Derived records that fell with this commit: {}", body.derived));
    for kept in &body.kept {
        lines.push(format!(
            "  Kept: class {}, because {}",
            named(&kept.class),
            quoted(&kept.reason)
        ));
    }
    if body.holds > 0 {
        lines.push(format!("  Holds on other records of this user: {}", body.holds));
    }
    lines
}

fn when(facts: &Facts) -> Vec<String> {
    let body = &facts.body;
    let mut lines =
        vec!["When, for whom, why".to_owned(), format!("  Asked for: {}", body.requested)];
    if !body.authority.is_empty() {
        lines.push(format!("  By: {}", quoted(&body.authority)));
    }
    if !body.ground.is_empty() {
        lines.push(format!("  Ground: {}", quoted(&body.ground)));
    }
    lines.push(format!("  Issued: {}", facts.outcome.issued));
    lines
}

fn how(facts: &Facts) -> Vec<String> {
    let (body, outcome) = (&facts.body, &facts.outcome);
    let (store, engine) = (named(&body.store), quoted(&body.engine));
    let mut ciphertext = match (outcome.discarded, outcome.partly) {
        (true, _) => "discarded from the store".to_owned(),
        (false, true) => {
            "discarded from the store in part, what may be left is unreadable".to_owned()
        }
        (false, false) => "not discarded from the store yet, and unreadable".to_owned(),
    };
    if outcome.copies_skipped > 0 {
        ciphertext += &format!("; {} copies were passed over", outcome.copies_skipped);
    }
    vec![
        "How".to_owned(),
        format!("  Method: {}", body.method),
        format!("  Algorithms: {}", body.algorithms),
        format!("  Looked at: {}", body.verification),
        format!("  Root cell: {}; {}", named(&body.cell.kind), quoted(&body.cell.statement)),
        format!("  Store {store}, epoch {}, commit {}; by {engine}", body.epoch, body.commit),
        format!(
            "  Copies: {} in step, {} behind; for the erased to be gone from them they need nothing",
            body.copies.in_step, body.copies.behind
        ),
        format!("  Ciphertext: {ciphertext}"),
    ]
}

/// The text that is signed: the words, and the facts.
fn signed_text(facts: &Facts, judged: &Judged) -> String {
    format!("{}\n{MACHINE}\n{}\n", head(facts, judged), pretty(facts))
}

impl Certificate {
    /// What was erased, in one line: what, of which user, and how many records. Reading it is not
    /// verifying it.
    pub fn erased(&self) -> String {
        let Body { user, scope, records, .. } = &self.facts.body;
        let of = user.as_ref().map_or(String::new(), |user| format!(" of user {}", quoted(user)));
        let total = |records: &BTreeMap<String, u64>| {
            records.values().fold(0, |sum: u64, n| sum.saturating_add(*n))
        };
        let records = match records.as_ref().map(total) {
            None => "an unknown number of records".to_owned(),
            Some(1) => "1 record".to_owned(),
            Some(n) => format!("{n} records"),
        };
        format!("Erased: {}{of}; {records}", quoted(scope))
    }

    /// Whether facts can be signed, whatever the cell says: to be asked before the erase is
    /// committed.
    ///
    /// # Errors
    /// `Invalid` if they would be too long; `Corrupt` if they contradict each other.
    pub fn check(facts: &Facts) -> Result<()> {
        let text = signed_text(facts, &facts.judge()?);
        let statements = facts.body.cell.holders().count() * STATEMENT_MAX_BYTES;
        if text.len() + statements + REST_MAX_BYTES > MAX_BYTES {
            return Err(Error::invalid(
                "the certificate would be too long to be read; shorten what it is to say",
            ));
        }
        Note::new(text).map(drop)
    }

    /// Writes and signs a certificate; the proofs are taken as they are.
    ///
    /// # Errors
    /// `Corrupt` if the facts contradict each other; `Invalid` if the signer is not the one
    /// that the leaf names.
    pub fn issue(
        facts: Facts,
        signer: &Signer,
        proof: LogProof,
        final_proof: Option<LogProof>,
    ) -> Result<Self> {
        let judged = facts.judge()?;
        if judged.leaf.signer != signer.public() {
            return Err(Error::invalid(
                "another key than this one signs certificates of this leaf",
            ));
        }
        let mut note = Note::new(signed_text(&facts, &judged))?;
        signer.sign(&mut note, Timestamp(0));
        Ok(Certificate { facts, note, proof, final_proof })
    }

    /// Checks everything: the facts against each other, the signature, the log's proof, the
    /// witnesses.
    ///
    /// # Errors
    /// `Corrupt` if something does not hold, which an honest issuer never writes; `Absent` if
    /// it is of another log; `Refused` if cosignatures are missing; `Invalid` if it does not
    /// parse.
    pub fn verify(&self, trust: &Trust) -> Result<Verified> {
        let judged = self.facts.judge()?;
        self.check_signed(&judged, trust.log.name())?;
        let (checkpoint, cosigned) = trust.check(&judged.leaf.to_string(), &self.proof)?;
        let log_pending = Checkpoint::is_pending(&self.proof.checkpoint);
        match (&judged.final_leaf, &self.final_proof) {
            (None, None) => Ok(Verified { judged, checkpoint, cosigned, log_pending }),
            (Some(leaf), Some(proof)) => {
                if proof.checkpoint.text() != self.proof.checkpoint.text()
                    || proof.index <= self.proof.index
                {
                    return Err(Error::corrupt(
                        "the leaf that made it final does not come after its own in one checkpoint",
                    ));
                }
                trust.check(&leaf.to_string(), proof)?;
                Ok(Verified { judged, checkpoint, cosigned, log_pending })
            }
            _ => Err(Error::corrupt(
                "a leaf without its proof in the log, or a proof without its leaf",
            )),
        }
    }

    /// Checks its words, and the signature under them by the key that the leaf names.
    ///
    /// # Errors
    /// `Corrupt` if one of the two does not hold; `Absent` if it is of another log than
    /// `origin`.
    pub(crate) fn check_signed(&self, judged: &Judged, origin: &str) -> Result<()> {
        // Head and facts must be what the facts give, to the byte: a better grade above the same
        // facts is a forgery.
        if self.note.text() != signed_text(&self.facts, judged) {
            return Err(Error::corrupt("the words of the certificate are not what its facts give"));
        }
        VerifierKey::ed25519(origin, judged.leaf.signer)?.verify(&self.note).map(drop)
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.note, self.proof)?;
        self.final_proof.iter().try_for_each(|proof| write!(f, "\n{proof}"))
    }
}

impl FromStr for Certificate {
    type Err = Error;
    /// `Corrupt` for what is no certificate, or one that is cut short: neither holds. `Invalid` for
    /// a draft, of which one can be made.
    fn from_str(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::corrupt(
                "no erasure certificate: the file is empty; take another copy of the certificate",
            ));
        }
        if Draft::is_one(text) {
            return Err(Error::invalid(
                "not an erasure certificate: it is a draft, of which `Certificates::get` makes one",
            ));
        }
        Certificate::read(text).map_err(|e| {
            if text.ends_with("\n\n") {
                return Error::corrupt(
                    "not an erasure certificate: an empty line follows it, as `jq -r` adds one; \
                     take it away (`jq -j` adds none)",
                );
            }
            Error::corrupt(format!("not an erasure certificate, or one that is cut short: {e}"))
        })
    }
}

impl Certificate {
    fn read(text: &str) -> Result<Self> {
        let bad = |what: &str| Error::corrupt(what.to_owned());
        if text.len() > MAX_BYTES || !text.starts_with(TITLE) {
            return Err(bad("it begins otherwise"));
        }
        let mut ends: Vec<usize> = text.match_indices(PROOF).map(|(at, _)| at + 1).collect();
        if ends.is_empty() || ends.len() > 2 {
            return Err(bad("one or two proofs of the log stand at its end"));
        }
        ends.push(text.len());
        let note: Note = text[..ends[0]].parse().map_err(|_| bad("its signature is missing"))?;
        let mut proofs = ends.windows(2).map(|part| {
            let proof = &text[part[0] + 1..part[1]];
            proof.parse::<LogProof>().map_err(|e| e.context("the log's proof in the certificate"))
        });
        let proof = proofs.next().ok_or_else(|| bad("there is no proof"))??;
        let final_proof = proofs.next().transpose()?;
        let (_, json) = note
            .text()
            .split_once(&format!("\n\n{MACHINE}\n"))
            .ok_or_else(|| bad("its machine part is missing"))?;
        let facts: Facts = serde_json::from_str(json)
            .map_err(|e| bad(&format!("its machine part does not parse ({e})")))?;
        Ok(Certificate { facts, note, proof, final_proof })
    }
}
