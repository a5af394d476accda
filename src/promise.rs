//! What a root cell says: what its medium can promise, and that it destroyed a key. Every report
//! and certificate repeats it in these words, and none may say more.

use std::fmt;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Name of a root key: its epoch and the attempt that drew it. Two writers that race for one epoch
/// draw two attempts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootId {
    /// Generation of the root key; only grows.
    pub epoch: u64,
    /// 16 random bytes, drawn for each root key.
    pub attempt: [u8; 16],
}

impl fmt::Debug for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootId({}, {})", self.epoch, HEXLOWER.encode(&self.attempt[..4]))
    }
}

/// What a keyholder remembers: the last root key that it was told to keep alone. It is all that it
/// needs to refuse what comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence(pub RootId);

impl Fence {
    /// The fence of a keyholder that has ended nothing yet.
    pub const NONE: Fence = Fence(RootId { epoch: 0, attempt: [0; 16] });

    /// Whether a share of this root key may still be taken: of an epoch that was ended, none is but
    /// that of the key that was kept, for a keyholder that lacked it then.
    pub fn takes(&self, id: &RootId) -> bool {
        id.epoch > self.0.epoch || *id == self.0
    }

    /// Whether it may be told to keep this one alone: never an older one, nor another of the same
    /// epoch.
    pub fn ends_at(&self, keep: &RootId) -> bool {
        keep.epoch > self.0.epoch || *keep == self.0
    }
}

/// How far a destroyed key is gone, by what destroys it. The lowest level that fits is the one that
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Overwritten by the machine that used it.
    L0,
    /// Erased by the device that holds it: a TPM's NV index, a device's own erase command.
    L1,
    /// Destroyed inside an HSM or a key management service, at once or after a stated delay.
    L2,
    /// Shares destroyed by independent keyholders, of whom some may lie or be lost.
    L3,
}

impl Level {
    /// Every level, the weakest first.
    pub const ALL: [Level; 4] = [Level::L0, Level::L1, Level::L2, Level::L3];

    /// Name of the level, as certificates write it.
    pub fn name(self) -> &'static str {
        match self {
            Level::L0 => "L0",
            Level::L1 => "L1",
            Level::L2 => "L2",
            Level::L3 => "L3",
        }
    }

    /// The most that may be said of it.
    pub fn words(self) -> &'static str {
        match self {
            Level::L0 => {
                "overwritten by the machine that used it; remnants on its medium, and snapshots of \
                 it, are possible"
            }
            Level::L1 => {
                "erased by the device that held it, as far as its maker is right about the device"
            }
            Level::L2 => {
                "destroyed inside a key service, after the delay that it states, as far as its \
                 operator is right about its backups"
            }
            Level::L3 => {
                "its shares destroyed by keyholders, gone while fewer than the threshold of them \
                 kept theirs, against what they signed"
            }
        }
    }

    /// Reads the name of a level.
    ///
    /// # Errors
    /// `Invalid` for any other.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Level::ALL.into_iter().find(|level| level.name() == name);
        found.ok_or_else(|| Error::invalid(format!("{name:?} is not a level; L0 to L3 are")))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.words())
    }
}

/// The keyholders of the root key, and how many of their statements must be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Shares that give the key back: t.
    pub threshold: u8,
    /// Keyholders allowed for that say they destroyed a share, and did not: f.
    pub liars: u8,
    /// The Ed25519 key by which each of the n signs.
    pub keyholders: Vec<[u8; 32]>,
}

impl Quorum {
    /// Statements that an erase needs to be final: n - t + 1 + f. With f liars among them at least
    /// n - t + 1 are true, so at most t - 1 shares survive: too few to recover the key.
    pub fn needed(&self) -> usize {
        (self.keyholders.len() + 1 + usize::from(self.liars))
            .saturating_sub(usize::from(self.threshold))
    }

    /// Checks that these numbers can work together.
    ///
    /// # Errors
    /// `Invalid` if no erase could ever be final, or one share gave the key.
    pub fn check(self) -> Result<Self> {
        let n = self.keyholders.len();
        let mut keys = self.keyholders.clone();
        keys.sort_unstable();
        keys.dedup();
        let ok = (2..=32).contains(&n)
            && keys.len() == n
            && (2..=n).contains(&usize::from(self.threshold))
            && self.needed() <= n;
        if ok {
            return Ok(self);
        }
        Err(Error::invalid(format!(
            "{} of {n} keyholders with {} allowed to lie cannot work: take 2 to 32 different ones, \
             a threshold of 2 at least, and fewer liars than the threshold",
            self.threshold, self.liars
        )))
    }
}

/// What a medium can promise of a destroyed key, in words that every report repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Kind of the cell: `memory`, `file`, `quorum`.
    pub kind: &'static str,
    /// Path of the cell, or what its adapter calls itself.
    pub place: String,
    /// How far a destroyed key is gone.
    pub level: Level,
    /// What destroying means here and what it does not.
    pub statement: String,
    /// Whether its owner accepted a medium that is known to keep old bytes.
    pub remnants: bool,
    /// The keyholders, if the key is shared among some.
    pub quorum: Option<Quorum>,
}

/// The statement with its level: reports and certificates show this.
impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (level {})", self.statement, self.level)
    }
}

/// How the destruction of a root key went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// It is gone, as far as [`Promise`] goes.
    Destroyed,
    /// The medium delays it until then.
    Scheduled(Timestamp),
    /// Keyholders signed that their share is gone; final when there are as many as
    /// [`Quorum::needed`] says.
    Stated {
        /// One of each keyholder that answered.
        statements: Vec<Statement>,
        /// How many make it final.
        needed: usize,
    },
}

impl Retirement {
    /// Whether the key is gone now, as far as the promise goes.
    pub fn is_final(&self) -> bool {
        self.awaited().is_none()
    }

    /// What is missing before it is; `None` if nothing is.
    pub fn awaited(&self) -> Option<Awaited> {
        match self {
            Retirement::Destroyed => None,
            Retirement::Scheduled(at) => Some(Awaited::Medium(*at)),
            Retirement::Stated { statements, needed } => {
                let (stated, needed) = (statements.len(), *needed);
                (stated < needed).then_some(Awaited::Keyholders { stated, needed })
            }
        }
    }
}

/// What keeps an erase from being final.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaited {
    /// Other erases, until then at the latest: nobody was asked yet to destroy the root key.
    Window(Timestamp),
    /// The medium, which destroys the root key then.
    Medium(Timestamp),
    /// Keyholders, of whom some have not signed yet that their share is gone.
    Keyholders {
        /// How many have signed that their share is gone.
        stated: usize,
        /// How many must have signed it.
        needed: usize,
    },
    /// The engine that owns the store, which could not finish and tries again; this is why.
    Engine(String),
    /// The cell, which cannot say and was not asked: the store was opened to look at.
    Unasked,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Awaited::Window(until) => {
                write!(f, "the old root key waits for other erases, until {until} at the latest")
            }
            Awaited::Medium(at) => write!(f, "the cell destroys the old root key at {at}"),
            Awaited::Keyholders { stated, needed } => write!(
                f,
                "{stated} of {needed} keyholders have signed that their share of the old root key \
                 is gone; the others are asked again when they are back"
            ),
            Awaited::Engine(why) => f.write_str(why),
            Awaited::Unasked => f.write_str(
                "whether older root keys are destroyed is not known here: the store was opened to \
                 look at, and its cell was not asked; `tend`, on the machine that writes it, asks it",
            ),
        }
    }
}

/// How far an erase is: what was seen of it, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finality {
    /// Every root key that reached it is destroyed, as far as [`Promise`] goes.
    Final,
    /// A root key that reached it may still exist: anyone who has that key and old copies can read
    /// what the erase names.
    Pending {
        /// All that is missing, one thing at least.
        awaited: Vec<Awaited>,
    },
}

impl Finality {
    /// Final if nothing is awaited.
    pub fn of(awaited: Vec<Awaited>) -> Self {
        if awaited.is_empty() { Finality::Final } else { Finality::Pending { awaited } }
    }

    /// Whether nothing is awaited.
    pub fn is_final(&self) -> bool {
        *self == Finality::Final
    }

    /// What is awaited; nothing if it is final.
    pub fn awaited(&self) -> &[Awaited] {
        match self {
            Finality::Final => &[],
            Finality::Pending { awaited } => awaited,
        }
    }

    /// When it is final at the latest; `None` if no time is known, or it is final already.
    pub fn until(&self) -> Option<Timestamp> {
        let time = |awaited: &Awaited| match awaited {
            Awaited::Window(at) | Awaited::Medium(at) => Some(*at),
            _ => None,
        };
        self.awaited().iter().map(time).collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

impl fmt::Display for Finality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finality::Final => f.write_str("final"),
            Finality::Pending { awaited } => {
                let awaited: Vec<String> = awaited.iter().map(ToString::to_string).collect();
                write!(f, "pending: {}", awaited.join("; "))
            }
        }
    }
}

/// A root key that is not known to be destroyed, and the keyholders that were dealt a share of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dealt {
    /// The epoch of the root key.
    pub epoch: u64,
    /// The keyholders of that epoch.
    pub quorum: Quorum,
}

/// A keyholder's word, signed: "of this store's root keys I hold a share of no other than this
/// one". It covers every epoch before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The store that the statement is about.
    pub store: [u8; 16],
    /// The root key whose share it may still hold.
    pub keep: RootId,
    /// When it said so, by its clock.
    pub at: Timestamp,
    /// The Ed25519 key of the keyholder that signed.
    pub keyholder: [u8; 32],
    /// Ed25519 signature (RFC 8032) over [`Statement::text`].
    pub signature: [u8; 64],
}

impl Statement {
    /// Signs that this keyholder keeps no root key of the store but `keep`.
    pub fn sign(store: [u8; 16], keep: RootId, at: Timestamp, key: &SigningKey) -> Self {
        let keyholder = key.verifying_key().to_bytes();
        let mut statement = Statement { store, keep, at, keyholder, signature: [0; 64] };
        statement.signature = key.sign(statement.text().as_bytes()).to_bytes();
        statement
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        format!(
            "keyfall/retirement@v1\nstore {}\nkeeps-only epoch {} attempt {}\ntime {}\n",
            HEXLOWER.encode(&self.store),
            self.keep.epoch,
            HEXLOWER.encode(&self.keep.attempt),
            self.at.0
        )
    }

    /// Checks the signature by the keyholder's key.
    ///
    /// # Errors
    /// `Corrupt` if it does not hold.
    pub fn verify(&self) -> Result<()> {
        let bad = |_| Error::corrupt("the signature under a keyholder's statement does not hold");
        let key = VerifyingKey::from_bytes(&self.keyholder).map_err(bad)?;
        key.verify_strict(self.text().as_bytes(), &Signature::from_bytes(&self.signature))
            .map_err(bad)
    }
}
