//! The file: words that the facts give, the facts, the signature, the proof.

use std::fmt;
use std::str::FromStr;

use super::draft::Draft;
use super::facts::{Facts, Retired};
use super::judge::{Grade, Judged};
use super::plain::{escaped, named, quoted};
use crate::error::{Error, Result};
use crate::log::{LogProof, Note, Signer};
use crate::time::Timestamp;

const TITLE: &str = "Keyfall erasure certificate";
const MACHINE: &str = "keyfall/certificate@v1";
const PROOF: &str = "\n\nc2sp.org/tlog-proof@v1\n";
/// Most bytes of a certificate that is read.
const MAX_BYTES: usize = 1 << 20;
/// Of them, those of a keyholder's statement, and of what it makes longer above.
const STATEMENT_MAX_BYTES: usize = 512;
/// Of them, those of everything else that is not known before the erase: proofs, cosignatures, a later leaf.
const REST_MAX_BYTES: usize = 1 << 16;

/// A certificate, as issued or as read; reading it is not verifying it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What it says.
    pub facts: Facts,
    /// Head and facts, signed by the key that the leaf names.
    pub note: Note,
    /// That the leaf is in the log.
    pub proof: LogProof,
    /// That the leaf that made it final is.
    pub final_proof: Option<LogProof>,
}

/// The words above the facts. What whoever issues may choose stands in quotes, or is a plain name, number or time.
pub(super) fn head(facts: &Facts, judged: &Judged) -> String {
    let body = &facts.body;
    let mut lines = vec![TITLE.to_owned(), String::new(), format!("Grade: {}", judged.grade)];
    let mut say = |line: String| lines.push(line);
    let destroyed = match (judged.grade, &facts.outcome.retired) {
        (Grade::Pending, _) => "The key at the top that reached it is not known to be destroyed yet.",
        (_, Retired::Stated(_)) => {
            "As many keyholders as are needed signed that their share of the key at the top that reached it is gone."
        }
        _ => "The cell said that the key at the top that reached it is destroyed.",
    };
    say(format!("  {destroyed}"));
    say(format!("  Level {}", judged.level));
    for reason in &judged.reasons {
        say(format!("  - {reason}"));
    }
    say(String::new());
    say("What was erased".to_owned());
    if let Some(user) = &body.user {
        say(format!("  User: {}", quoted(user)));
    }
    say(format!("  Scope: {}", quoted(&body.scope)));
    match &body.records {
        Some(records) if records.is_empty() => say("  Records: none was there".to_owned()),
        Some(records) => {
            let counts: Vec<String> = records.iter().map(|(class, n)| format!("{n} {}", named(class))).collect();
            say(format!("  Records: {}", counts.join(", ")));
        }
        None => say("  Records: not counted".to_owned()),
    }
    say(format!("  Derived records that fell with this commit: {}", body.derived));
    for kept in &body.kept {
        say(format!("  Kept: class {}, because {}", named(&kept.class), quoted(&kept.reason)));
    }
    if body.holds > 0 {
        say(format!("  Holds on other records of this user: {}", body.holds));
    }
    say(String::new());
    say("When, for whom, why".to_owned());
    say(format!("  Asked for: {}", body.requested));
    if !body.authority.is_empty() {
        say(format!("  By: {}", quoted(&body.authority)));
    }
    if !body.ground.is_empty() {
        say(format!("  Ground: {}", quoted(&body.ground)));
    }
    say(format!("  Issued: {}", facts.outcome.issued));
    say(String::new());
    say("How".to_owned());
    say(format!("  Method: {}", body.method));
    say(format!("  Algorithms: {}", body.algorithms));
    say(format!("  Looked at: {}", body.verification));
    say(format!("  Root cell: {}; {}", named(&body.cell.kind), quoted(&body.cell.statement)));
    let (store, engine) = (named(&body.store), quoted(&body.engine));
    say(format!("  Store {store}, epoch {}, commit {}; by {engine}", body.epoch, body.commit));
    say(format!(
        "  Copies: {} in step, {} behind; for the erased to be gone from them they need nothing",
        body.copies.in_step, body.copies.behind
    ));
    let mut ciphertext = match (facts.outcome.discarded, facts.outcome.partly) {
        (true, _) => "discarded from the store".to_owned(),
        (false, true) => "discarded from the store in part, what may be left is unreadable".to_owned(),
        (false, false) => "not discarded from the store yet, and unreadable".to_owned(),
    };
    if facts.outcome.copies_skipped > 0 {
        ciphertext += &format!("; {} copies were passed over", facts.outcome.copies_skipped);
    }
    say(format!("  Ciphertext: {ciphertext}"));
    say(String::new());
    say("What this does not show: that nobody copied keys or plaintext before; that the operator ran this software"
        .to_owned());
    say("unmodified; that the scope was all there was about somebody. Whoever shows a key that gives one of the commitments"
        .to_owned());
    say("below has shown it false. Not gone with the erase: ciphertext until it is discarded, and what its size and its"
        .to_owned());
    say("time tell; the record ids that others hold; that somebody was erased, to whoever guesses the name.".to_owned());
    lines.iter().map(|line| format!("{line}\n")).collect()
}

pub(super) fn pretty<T: serde::Serialize>(value: &T) -> String {
    escaped(serde_json::to_string_pretty(value).unwrap_or_else(|_| unreachable!("plain fields always serialize")))
}

/// What is signed.
pub(super) fn signed_text(facts: &Facts, judged: &Judged) -> String {
    format!("{}\n{MACHINE}\n{}\n", head(facts, judged), pretty(facts))
}

impl Facts {
    /// Whether these facts can be signed, whatever the cell says: to be asked before the erase is committed.
    ///
    /// # Errors
    /// `Invalid` where they would be too long; `Corrupt` where they contradict each other.
    pub fn check(&self) -> Result<()> {
        let text = signed_text(self, &self.judge()?);
        let statements = self.body.cell.holders().count() * STATEMENT_MAX_BYTES;
        if text.len() + statements + REST_MAX_BYTES > MAX_BYTES {
            return Err(Error::invalid("the certificate would be too long to be read; shorten what it is to say"));
        }
        Note::new(text).map(drop)
    }
}

impl Certificate {
    /// Writes and signs a certificate; the proofs are taken as they are.
    ///
    /// # Errors
    /// `Corrupt` where the facts contradict each other; `Invalid` where the signer is not the one that the leaf names.
    pub fn issue(facts: Facts, signer: &Signer, proof: LogProof, final_proof: Option<LogProof>) -> Result<Self> {
        let judged = facts.judge()?;
        if judged.leaf.signer != signer.public() {
            return Err(Error::invalid("another key than this one signs certificates of this leaf"));
        }
        let mut note = Note::new(signed_text(&facts, &judged))?;
        signer.sign(&mut note, Timestamp(0));
        Ok(Certificate { facts, note, proof, final_proof })
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
    /// `Corrupt` for what is no certificate, or one that is cut short: neither holds. `Invalid` for a draft, of which one can be made.
    fn from_str(text: &str) -> Result<Self> {
        if Draft::is_one(text) {
            return Err(Error::invalid(
                "not an erasure certificate: it is a draft, of which `Engine::certificate` makes one",
            ));
        }
        Certificate::read(text)
            .map_err(|e| Error::corrupt(format!("not an erasure certificate, or one that is cut short: {e}")))
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
        let (_, json) =
            note.text().split_once(&format!("\n\n{MACHINE}\n")).ok_or_else(|| bad("its machine part is missing"))?;
        let facts: Facts =
            serde_json::from_str(json).map_err(|e| bad(&format!("its machine part does not parse ({e})")))?;
        Ok(Certificate { facts, note, proof, final_proof })
    }
}
