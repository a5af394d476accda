//! What a certificate says, field by field (SPEC.md 14).

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::plain::json;
use crate::error::{Error, Result};
use crate::log::{Hash, base64};
use crate::promise::{Dealt, Level, Promise, Quorum, RootId, Statement};
use crate::time::Timestamp;

/// The method, in the words of NIST SP 800-88r2.
pub const METHOD: &str = "cryptographic erase (NIST SP 800-88r2 names it; no conformance is \
    claimed): the data's keys are wrapped by a path of keys with one at the top, the path was \
    rekeyed, and the old key at the top is sanitized";
/// The algorithms by which an erase is cryptographic.
pub const ALGORITHMS: &str = "AES-256-GCM with HKDF-SHA-512 (C2SP chunked-encryption); HMAC-SHA-256, HKDF-SHA-256, SHA-256; \
     Ed25519";
/// How the erase was verified.
pub const VERIFICATION: &str = "before the old key at the top was given up, the new pages were \
    read back from the store and from every copy in step, and opened";

/// A one-way commitment to a key: HMAC-SHA-256(key, "keyfall/key-commitment/v1" ‖ 00), in base64.
/// A person who shows a key with this commitment has shown that the key was not destroyed.
pub fn key_commitment(key: &[u8; 32]) -> String {
    BASE64.encode(&key_commitment_bytes(key))
}

/// As [`key_commitment`], not encoded.
pub(crate) fn key_commitment_bytes(key: &[u8; 32]) -> [u8; 32] {
    // HMAC pads a short key with zeros to a block of its hash.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    mac.update(b"keyfall/key-commitment/v1\0");
    mac.finalize().into_bytes().into()
}

/// What was asked for and what fell: fixed when the erase is committed, and bound by the log's
/// leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Program and version of the engine that erased.
    pub engine: String,
    /// Version of the store's format.
    pub format: u8,
    /// The store's id, hexadecimal.
    pub store: String,
    /// Whose data, by the name that the application gave; `None` if only a record was named.
    pub user: Option<String>,
    /// What of the user was erased, in words.
    pub scope: String,
    /// When it was asked for.
    pub requested: String,
    /// The person or office that asked; empty if none was named.
    pub authority: String,
    /// On what legal ground; empty if none was given.
    pub ground: String,
    /// How, in the words of NIST SP 800-88.
    pub method: String,
    /// The algorithms of the method: [`ALGORITHMS`].
    pub algorithms: String,
    /// How the erase was verified.
    pub verification: String,
    /// The epoch whose root key reached it.
    pub epoch: u64,
    /// The commit that dropped the pointers.
    pub commit: u64,
    /// If the erase may wait for others: until when the root key may be there.
    pub pending_until: Option<String>,
    /// Commitments to keys that the erase destroys, the root key first.
    pub destroyed: Vec<Destroyed>,
    /// Records that fell, by class; `None` if damaged pages kept them from being counted.
    pub records: Option<BTreeMap<String, u64>>,
    /// Records derived from them that fell with the same commit and are out of every list, of
    /// anybody; other erases of the commit included.
    pub derived: u64,
    /// Whether more derived records fell, whose entries (not their content) stay in lists until
    /// the bookkeeping is done.
    pub following: bool,
    /// What of the scope was kept.
    pub kept: Vec<Kept>,
    /// Holds on other records of the user.
    pub holds: u64,
    /// Openings of the user's records that were recorded: reads by name, grants, training sets.
    pub openings: Option<u64>,
    /// Grants that stood when it was erased.
    pub grants: Option<u64>,
    /// The store's copies at the time of the erase.
    pub copies: Copies,
    /// The root cell, and what it promises.
    pub cell: CellFacts,
}

/// A key that the erase destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destroyed {
    /// What the key opened, in words.
    pub what: String,
    /// One-way commitment to the key: see [`key_commitment`].
    pub commitment: String,
}

impl Destroyed {
    /// The key that opened `what`.
    pub fn of(what: &str, key: &[u8; 32]) -> Self {
        Destroyed { what: what.to_owned(), commitment: key_commitment(key) }
    }
}

/// A class that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Name of the class that was kept.
    pub class: String,
    /// Why it was kept, as the requester said.
    pub reason: String,
}

/// How many copies of the store there were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// Copies that held the new pages before the old root key was destroyed.
    pub in_step: u64,
    /// Copies that need nothing for the erased to be gone, and the new pages for the living.
    pub behind: u64,
}

/// What the root cell said of itself before the erase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellFacts {
    /// Kind of the cell: `memory`, `file`, `quorum`.
    pub kind: String,
    /// Its level, `L0` to `L3`.
    pub level: String,
    /// What it says of itself.
    pub statement: String,
    /// Whether its owner accepted a medium that is known to keep old bytes.
    pub remnants: bool,
    /// Keyholders, if there are some.
    pub keyholders: Option<Keyholders>,
    /// Root keys of earlier epochs that were not known to be destroyed either, and reach what was
    /// erased too, if others were dealt their shares: of epochs with the same keyholders the
    /// latest, for a statement about that one covers all before.
    pub earlier: Vec<Earlier>,
}

/// A root key of an earlier epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The latest of these epochs.
    pub epoch: u64,
    /// The keyholders that were dealt its shares.
    pub keyholders: Keyholders,
}

/// The keyholders of shares, and how many of them count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyholders {
    /// Shares that give a key back.
    pub threshold: u8,
    /// How many keyholders may lie.
    pub liars: u8,
    /// Their Ed25519 keys, in base64.
    pub keys: Vec<String>,
}

impl Keyholders {
    /// The facts of a quorum.
    pub fn new(quorum: &Quorum) -> Self {
        Keyholders {
            threshold: quorum.threshold,
            liars: quorum.liars,
            keys: quorum.keyholders.iter().map(|key| BASE64.encode(key)).collect(),
        }
    }

    /// The quorum that these facts describe.
    ///
    /// # Errors
    /// `Invalid` if keys or numbers do not parse.
    pub fn quorum(&self) -> Result<Quorum> {
        let keyholders =
            self.keys.iter().map(|key| bytes(key)).collect::<Result<Vec<[u8; 32]>>>()?;
        Quorum { threshold: self.threshold, liars: self.liars, keyholders }.check()
    }
}

impl CellFacts {
    /// The facts of a promise, and of earlier root keys that are not known to be destroyed; without
    /// the cell's place.
    pub fn new(promise: &Promise, unfinished: &[Dealt]) -> Self {
        let keyholders = promise.quorum.as_ref().map(Keyholders::new);
        let mut unfinished: Vec<&Dealt> =
            unfinished.iter().filter(|_| keyholders.is_some()).collect();
        unfinished.sort_by_key(|dealt| std::cmp::Reverse(dealt.epoch));
        let mut earlier: Vec<Earlier> = Vec::new();
        for dealt in unfinished {
            let there = Keyholders::new(&dealt.quorum);
            if keyholders.as_ref() != Some(&there)
                && earlier.iter().all(|other| other.keyholders != there)
            {
                earlier.push(Earlier { epoch: dealt.epoch, keyholders: there });
            }
        }
        CellFacts {
            kind: promise.kind.to_owned(),
            level: promise.level.name().to_owned(),
            statement: promise.statement.clone(),
            remnants: promise.remnants,
            keyholders,
            earlier,
        }
    }

    /// The keys of all keyholders that it names, in base64; some may be named twice.
    pub(super) fn holders(&self) -> impl Iterator<Item = &String> {
        let earlier = self.earlier.iter().map(|earlier| &earlier.keyholders);
        self.keyholders.iter().chain(earlier).flat_map(|there| &there.keys)
    }

    /// The level that the cell promised.
    ///
    /// # Errors
    /// `Invalid` if it is not a level.
    pub fn level(&self) -> Result<Level> {
        Level::from_name(&self.level)
    }

    /// What the leaf carries of it: SHA-256 of its JSON.
    pub fn digest(&self) -> Hash {
        Hash(Sha256::digest(json(self)).into())
    }

    /// The quorum of the cell, if it has keyholders.
    ///
    /// # Errors
    /// `Invalid` if keys or numbers do not parse.
    pub fn quorum(&self) -> Result<Option<Quorum>> {
        self.keyholders.as_ref().map(Keyholders::quorum).transpose()
    }
}

/// Fixed bytes out of base64, written the one way there is.
pub(super) fn bytes<const N: usize>(text: &str) -> Result<[u8; N]> {
    let bytes = base64(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Error::invalid(format!("not {N} bytes in base64: {text:?}")))
}

impl Body {
    /// What the leaf binds: SHA-256("keyfall/erasure@v1" ‖ 00 ‖ opening 32 ‖ JSON). It hides the
    /// body from anyone without the opening.
    pub fn commitment(&self, opening: &[u8; 32]) -> Hash {
        let hash = Sha256::new().chain_update(b"keyfall/erasure@v1\0").chain_update(opening);
        Hash(hash.chain_update(json(self)).finalize().into())
    }
}

/// The place of the erase among those of its commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Index of the slot in the leaf.
    pub index: u64,
    /// Number of slots in the leaf; most may be random padding.
    pub of: u64,
    /// The path to the leaf's root, base64, as RFC 9162 has it.
    pub path: Vec<String>,
}

/// What happened after the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// When this was written.
    pub issued: String,
    /// What the cell said of the old root key.
    pub retired: Retired,
    /// Whether the ciphertext was discarded too, and seen to be gone from the store and from every
    /// copy that it knows. It is not needed for the erase.
    pub discarded: bool,
    /// Whether it was discarded, and some of it is not known to be gone: where blocks are shared
    /// with what lives, or in copies.
    pub partly: bool,
    /// Copies that the last discard passed over.
    pub copies_skipped: u64,
}

/// What the cell answered when it was asked to destroy the old root key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Retired {
    /// Nothing yet: the root key waits for others, or the cell did not answer.
    Waiting,
    /// The cell said that the old root key is destroyed.
    Destroyed,
    /// The cell destroys the old root key at this time.
    Scheduled(String),
    /// Keyholders signed that their shares are destroyed.
    Stated(Vec<Said>),
}

impl Retired {
    /// These beside what was said before: of two statements of one keyholder the later, and where
    /// nothing is said now, what was said then.
    #[must_use]
    pub fn after(self, before: &Retired) -> Retired {
        match (before, self) {
            (before, Retired::Waiting) => before.clone(),
            (Retired::Stated(before), Retired::Stated(mut said)) => {
                for old in before {
                    match said.iter_mut().find(|new| new.keyholder == old.keyholder) {
                        Some(new) if new.epoch < old.epoch => new.clone_from(old),
                        Some(_) => {}
                        None => said.push(old.clone()),
                    }
                }
                Retired::Stated(said)
            }
            (_, said) => said,
        }
    }
}

/// A keyholder's statement, verbatim: see [`Statement`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Public key of the keyholder, base64.
    pub keyholder: String,
    /// Epoch of the root key whose share it keeps.
    pub epoch: u64,
    /// Attempt of the root key that was kept, hexadecimal.
    pub attempt: String,
    /// When it signed, in milliseconds since 1970.
    pub time: u64,
    /// Signature over the statement, base64.
    pub signature: String,
}

impl Said {
    /// A statement as a certificate has it.
    pub fn new(statement: &Statement) -> Self {
        Said {
            keyholder: BASE64.encode(&statement.keyholder),
            epoch: statement.keep.epoch,
            attempt: HEXLOWER.encode(&statement.keep.attempt),
            time: statement.at.0,
            signature: BASE64.encode(&statement.signature),
        }
    }

    /// The statement, of the store with this id.
    ///
    /// # Errors
    /// `Invalid` if a field does not parse.
    pub fn statement(&self, store: &str) -> Result<Statement> {
        let hex = |text: &str| {
            let bytes =
                HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or_else(|| Error::invalid(format!("not 16 bytes in hexadecimal: {text:?}")))
        };
        Ok(Statement {
            store: hex(store)?,
            keep: RootId { epoch: self.epoch, attempt: hex(&self.attempt)? },
            at: Timestamp(self.time),
            keyholder: bytes(&self.keyholder)?,
            signature: bytes(&self.signature)?,
        })
    }
}
