//! Signed notes (C2SP signed-note): a text, an empty line, and lines `— NAME base64(key id 4 ‖
//! signature)`.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::hash::base64;
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// Most bytes of a note that is read.
const NOTE_MAX_BYTES: usize = 1 << 20;
/// Most signatures of a note that is read.
const SIGNATURES_MAX: usize = 64;
const MARK: &str = "— ";

/// How a key signs: its byte in key ids and in verifier keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// Ed25519 over the text (RFC 8032).
    Ed25519 = 0x01,
    /// Ed25519 over a time and the text (C2SP tlog-cosignature, cosignature/v1).
    Cosignature = 0x04,
}

fn key_id(name: &str, kind: Kind, key: &[u8; 32]) -> [u8; 4] {
    let hash = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', kind as u8])
        .chain_update(key)
        .finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn check_name(name: &str) -> Result<()> {
    let ok = !name.is_empty()
        && name.len() <= 255
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
    if ok {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "not a key's name: {name:?}; use one without spaces and '+', such as example.com/log"
        )))
    }
}

fn cosigned(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// A public key by which notes are checked: `NAME+hex(key id)+base64(kind 1 ‖ Ed25519 key 32)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: Kind,
    key: [u8; 32],
}

impl VerifierKey {
    fn new(name: &str, kind: Kind, key: [u8; 32]) -> Result<Self> {
        check_name(name)?;
        Ok(VerifierKey { name: name.to_owned(), kind, key })
    }

    /// A key that signs notes.
    ///
    /// # Errors
    /// `Invalid` for a name with spaces or '+'.
    pub fn ed25519(name: &str, key: [u8; 32]) -> Result<Self> {
        VerifierKey::new(name, Kind::Ed25519, key)
    }

    /// Name of its owner: for a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the two are of one key, by whatever names.
    pub(crate) fn is_key_of(&self, other: &VerifierKey) -> bool {
        self.key == other.key
    }

    /// Checks this key's signature on a note; for a witness's says when it was given.
    ///
    /// # Errors
    /// `Absent` if there is none; `Corrupt` if one is there that does not hold.
    pub fn verify(&self, note: &Note) -> Result<Option<Timestamp>> {
        let id = key_id(&self.name, self.kind, &self.key);
        let mut mine = note.signatures.iter().filter(|s| s.name == self.name && s.id == id);
        let found = mine.next().ok_or_else(|| {
            Error::new(
                ErrorKind::Absent,
                format!("{} did not sign this; check it with the signer's key", self.name),
            )
        })?;
        let bad = || {
            Error::corrupt(format!(
                "the signature of {} does not hold: the text was changed",
                self.name
            ))
        };
        let key = VerifyingKey::from_bytes(&self.key).map_err(|_| bad())?;
        let check = |message: &[u8], signature: &[u8]| {
            let signature = Signature::from_slice(signature).map_err(|_| bad())?;
            key.verify_strict(message, &signature).map_err(|_| bad())
        };
        if mine.next().is_some() {
            return Err(bad());
        }
        match self.kind {
            Kind::Ed25519 => check(note.text.as_bytes(), &found.signature).map(|()| None),
            Kind::Cosignature => {
                let (time, signature) = found.signature.split_first_chunk::<8>().ok_or_else(bad)?;
                let time = u64::from_be_bytes(*time);
                check(&cosigned(time, &note.text), signature)?;
                Ok(Some(Timestamp(time.saturating_mul(1000))))
            }
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = HEXLOWER.encode(&key_id(&self.name, self.kind, &self.key));
        write!(
            f,
            "{}+{id}+{}",
            self.name,
            BASE64.encode(&[&[self.kind as u8][..], &self.key].concat())
        )
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for VerifierKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!(
                "not a verifier key: {text:?}; one looks like NAME+HEX+BASE64, as `Log::key` gives it"
            ))
        };
        // What a reader of files, or of fields, leaves around it: nothing that is not seen.
        let mut parts = text.trim_matches(|c: char| c.is_ascii_whitespace()).splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let bytes = base64(key).ok_or_else(bad)?;
        let (kind, key) = bytes.split_first().ok_or_else(bad)?;
        let kind = match kind {
            0x01 => Kind::Ed25519,
            0x04 => Kind::Cosignature,
            _ => return Err(bad()),
        };
        let key = VerifierKey::new(name, kind, key.try_into().map_err(|_| bad())?)?;
        if HEXLOWER.encode(&key_id(name, kind, &key.key)) != id {
            return Err(bad());
        }
        Ok(key)
    }
}

/// A private key that signs notes. Zeroized on drop.
pub struct Signer {
    name: String,
    kind: Kind,
    key: SigningKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.name)
    }
}

impl Signer {
    /// A key that signs notes, from an Ed25519 seed of 32 bytes.
    ///
    /// # Errors
    /// `Invalid` for a name with spaces or '+'.
    pub fn ed25519(name: &str, seed: &[u8; 32]) -> Result<Self> {
        check_name(name)?;
        Ok(Signer { name: name.to_owned(), kind: Kind::Ed25519, key: SigningKey::from_bytes(seed) })
    }

    /// A witness's key, which signs checkpoints together with the time.
    ///
    /// # Errors
    /// `Invalid` for a name with spaces or '+'.
    pub fn witness(name: &str, seed: &[u8; 32]) -> Result<Self> {
        Ok(Signer { kind: Kind::Cosignature, ..Signer::ed25519(name, seed)? })
    }

    /// The key by which others verify what this one signs.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey { name: self.name.clone(), kind: self.kind, key: self.public() }
    }

    /// The signer's public key.
    pub fn public(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Adds a signature to a note; `now` is written into a witness's.
    pub fn sign(&self, note: &mut Note, now: Timestamp) {
        let seconds = now.0 / 1000;
        let signature = match self.kind {
            Kind::Ed25519 => self.key.sign(note.text.as_bytes()).to_bytes().to_vec(),
            Kind::Cosignature => {
                let signature = self.key.sign(&cosigned(seconds, &note.text)).to_bytes();
                [&seconds.to_be_bytes()[..], &signature].concat()
            }
        };
        let id = key_id(&self.name, self.kind, &self.public());
        note.signatures.push(Line { name: self.name.clone(), id, signature });
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: String,
    id: [u8; 4],
    signature: Vec<u8>,
}

/// A text with its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Line>,
}

impl Note {
    /// A text without signatures.
    ///
    /// # Errors
    /// `Invalid` if it does not end with a line, or has control characters.
    pub fn new(text: String) -> Result<Self> {
        let ok = text.ends_with('\n')
            && text.len() <= NOTE_MAX_BYTES
            && !text.contains(|c: char| c.is_control() && c != '\n');
        if !ok {
            return Err(Error::invalid(
                "a note is lines of text without control characters, 1 MiB at most",
            ));
        }
        Ok(Note { text, signatures: Vec::new() })
    }

    /// The text that is signed, without signatures.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Takes over the signatures of another copy of the same text; of one key's, the other's stays.
    ///
    /// # Errors
    /// `Invalid` for another text.
    pub fn join(&mut self, other: &Note) -> Result<()> {
        if self.text != other.text {
            return Err(Error::invalid("these are signatures of another text"));
        }
        for line in &other.signatures {
            self.signatures.retain(|mine| (&mine.name, mine.id) != (&line.name, line.id));
            self.signatures.push(line.clone());
        }
        Ok(())
    }

    /// This note with the signatures of these lines.
    ///
    /// # Errors
    /// `Invalid` if they are not lines of signatures.
    pub fn with_lines(&self, lines: &str) -> Result<Self> {
        let mut note = self.clone();
        note.join(&format!("{}\n{lines}", self.text).parse()?)?;
        Ok(note)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{MARK}{} {}",
            self.name,
            BASE64.encode(&[&self.id[..], &self.signature].concat())
        )
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

impl FromStr for Note {
    type Err = Error;
    fn from_str(whole: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(
                "not a signed note: a text, an empty line, and lines of signatures are one",
            )
        };
        if whole.len() > NOTE_MAX_BYTES || !whole.ends_with('\n') {
            return Err(bad());
        }
        // The last empty line: the text may have some of its own.
        let at = whole.rfind("\n\n").ok_or_else(bad)?;
        let (text, lines) = (&whole[..=at], &whole[at + 2..]);
        let mut note = Note::new(text.to_owned()).map_err(|_| bad())?;
        for line in lines.split_terminator('\n') {
            let (name, signature) =
                line.strip_prefix(MARK).and_then(|l| l.split_once(' ')).ok_or_else(bad)?;
            check_name(name).map_err(|_| bad())?;
            let bytes = base64(signature).ok_or_else(bad)?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or_else(bad)?;
            if signature.is_empty() {
                return Err(bad());
            }
            note.signatures.push(Line {
                name: name.to_owned(),
                id: *id,
                signature: signature.to_vec(),
            });
        }
        if note.signatures.is_empty() || note.signatures.len() > SIGNATURES_MAX {
            return Err(bad());
        }
        Ok(note)
    }
}
