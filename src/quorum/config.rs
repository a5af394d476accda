//! The file of the cell on this machine, `quorum.json`, as it is written. No secret is in it.

use data_encoding::BASE64;

use super::net::KeyholderId;
use crate::certificate::Said;
use crate::error::{Error, Result};
use crate::ids::StoreId;

/// The Ed25519 key by which a keyholder signs.
pub(super) type Signer = [u8; 32];

/// How many keyholders it takes, and how many of them may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Shares that give the key back.
    pub threshold: u8,
    /// How many keyholders may lie.
    pub liars: u8,
    /// How many more than `threshold` must hold the next root key before one is asked to destroy
    /// the old.
    pub margin: u8,
}

/// A margin of one: a keyholder may be lost between an erase and the next.
pub const MARGIN: u8 = 1;

impl From<(u8, u8)> for Rule {
    /// Out of threshold and liars.
    fn from(rule: (u8, u8)) -> Self {
        Rule { threshold: rule.0, liars: rule.1, margin: MARGIN }
    }
}

impl Rule {
    /// The rule that a configuration names.
    pub(super) fn of(config: &Config) -> Self {
        Rule { threshold: config.threshold, liars: config.liars, margin: config.margin }
    }
}

/// A keyholder of a store, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its public keys, as `keyholder init` prints them.
    pub key: String,
    /// Network address of the keyholder, `HOST:PORT`.
    pub address: String,
}

impl Member {
    pub(super) fn signer(&self) -> Result<Signer> {
        self.key.parse::<KeyholderId>().map(|id| id.statements)
    }
}

/// What the cell keeps on this machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Shares that give the key back.
    pub threshold: u8,
    /// How many keyholders may lie.
    pub liars: u8,
    /// How many more than `threshold` must hold a root key: see [`Rule::margin`].
    pub margin: u8,
    /// The store, hexadecimal, once it is made.
    pub store: Option<String>,
    /// The keyholders; the first has the share at 1.
    pub keyholders: Vec<Member>,
    /// Keyholders that were replaced.
    pub leaving: Vec<Left>,
    /// Which keyholders were dealt shares of the running epoch, and of those that are not known to
    /// be gone, the oldest first.
    pub dealt: Vec<Dealt>,
    /// Whether the last retirement was final, and no root key was drawn since.
    pub settled: bool,
    /// The last that each keyholder signed, as far as it may be needed again.
    pub statements: Vec<Said>,
    /// Root keys whose deposit failed: what some keyholder took of them is to be destroyed.
    pub failed: Vec<Failed>,
    /// The root key that was kept last from here.
    #[serde(default)]
    pub kept: Option<Failed>,
    /// Root keys of the epoch that was kept last, or of later ones, that were drawn here, and lists
    /// of before a replacement.
    #[serde(default)]
    pub drawn: Vec<Drawn>,
    /// In the place of these two, in files of earlier versions: the highest epoch that was kept or
    /// tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<u64>,
    /// The last epoch of which keyholders that are not named here may hold shares: what is kept
    /// here came back older than it was.
    pub unnamed: Option<u64>,
    /// The last that left `dealt`, because they are known to be gone: another machine may not know
    /// it yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Dealt>,
}

impl Config {
    /// Of a cell that nothing was dealt for yet.
    pub(crate) fn new(keyholders: Vec<Member>, rule: Rule) -> Self {
        let Rule { threshold, liars, margin } = rule;
        Config {
            threshold,
            liars,
            margin,
            store: None,
            keyholders,
            leaving: Vec::new(),
            dealt: Vec::new(),
            settled: true,
            statements: Vec::new(),
            failed: Vec::new(),
            kept: None,
            drawn: Vec::new(),
            highest: None,
            unnamed: None,
            gone: Vec::new(),
        }
    }

    /// Whether a keyholder may have been dealt a share of an epoch that is not known to be gone:
    /// that is recorded before the share goes out.
    pub(crate) fn was_dealt(&self, member: &Member) -> Result<bool> {
        let key = BASE64.encode(&member.signer()?);
        // If nothing is known any of them may have one.
        Ok(self.dealt.is_empty() || self.dealt.iter().any(|dealt| dealt.keyholders.contains(&key)))
    }
}

/// A keyholder that was replaced, until it has said that it holds nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// The keyholder that left.
    pub member: Member,
    /// The point of its share.
    pub x: u8,
    /// The first epoch of which it was dealt none, once there is one.
    pub until: Option<u64>,
}

/// The keyholders that were dealt shares of the root keys of some epochs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dealt {
    /// The first of these epochs.
    pub from: u64,
    /// The first that is not of them any more; none for those that still run.
    pub until: Option<u64>,
    /// The keys by which they sign, base64.
    pub keyholders: Vec<String>,
}

/// The epoch and the attempt of a root key, as one whose deposit failed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// Epoch of the root key.
    pub epoch: u64,
    /// Attempt of the root key, hexadecimal.
    pub attempt: String,
}

/// The last root key that was drawn here by a list of keyholders; of a list of before a replacement
/// made here, epoch 0.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    /// What of the list its brand was made of (SPEC 15.4), hexadecimal.
    pub list: String,
    /// Epoch of the root key.
    pub epoch: u64,
    /// Attempt of the root key, hexadecimal.
    pub attempt: String,
}

impl Drawn {
    /// No root key, and so of no epoch that is known by it.
    pub(super) fn by_a_list_of_before(list: &[u8; 32]) -> Self {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        Drawn { list: hex(list), epoch: 0, attempt: hex(&[0; 16]) }
    }
}

pub(super) fn unhex<const N: usize>(text: &str, what: &str) -> Result<[u8; N]> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| bad(what))
}

pub(super) fn bad(what: &str) -> Error {
    Error::corrupt(format!("{what} in the cell's quorum.json does not parse; put the file back"))
}

/// The store that a configuration names.
pub(super) fn store_of(config: &Config) -> Result<Option<StoreId>> {
    config.store.as_ref().map(|id| unhex(id, "the store's id").map(StoreId)).transpose()
}
