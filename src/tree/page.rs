//! Pages, and the pointers between them: what every tree of the store is built of.

use std::sync::Arc;

use crate::codec::{Decoder, Encoder, Part};
use crate::crypto::Key;
use crate::error::Result;
use crate::ids::BlobName;
use crate::limits::{OWN_PAGE_MIN_BYTES, PAGE_CLASS_MIN_BYTES, SEAL_OVERHEAD};
use crate::secret::Secret;

/// The pointer that carries the key.
#[derive(Debug)]
pub(crate) struct Ref {
    pub(crate) name: BlobName,
    /// The key of the page, 32 bytes.
    key: Part,
}

/// Bytes of a [`Ref`]: name 16 ‖ key 32.
pub(crate) const REF_BYTES: usize = 48;

impl Ref {
    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Ref { name: BlobName(d.array()?), key: d.part(32)? })
    }

    pub(crate) fn new(name: BlobName, key: &Key) -> Self {
        Ref { name, key: Secret::copied_from(key.bytes()).into() }
    }

    /// The key of the page that it points to.
    pub(crate) fn key(&self) -> Key {
        let (keys, _) = self.key.as_chunks();
        Key::copied_from(&keys[0])
    }

    /// This pointer without the page in which it was read.
    pub(crate) fn alone(self) -> Self {
        Ref { name: self.name, key: self.key.alone() }
    }

    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.bytes(&self.name.0).bytes(&self.key);
    }

    pub(crate) fn duplicate(&self) -> Self {
        Ref { name: self.name, key: self.key.duplicate() }
    }
}

/// What a page is: bound into its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PageKind {
    /// A page of the user tree.
    Users,
    /// What is kept of one user.
    User,
    /// A page of an ordered tree: a class's records.
    Class,
    /// A page of an ordered tree: a user's fences.
    Fences,
    /// A page of an ordered tree: which of a user's records were derived from what, and what from
    /// them.
    Lineage,
    /// A page of an ordered tree: the links of what was erased, still to be followed.
    Falling,
    /// A page of an ordered tree: what was done to a user's records, and why.
    History,
    /// A page of an ordered tree: legal holds.
    Holds,
    /// A page of an ordered tree: marks on what held records depend on.
    Marks,
    /// A page of an ordered tree: erases to come.
    Plans,
    /// A page of an ordered tree: retention policies.
    Policies,
    /// A page of an ordered tree: when something is due for which user.
    Agenda,
    /// A page of an ordered tree: private keys of a user's inbox, and what was accepted by them.
    Inbox,
    /// A page of an ordered tree: grants.
    Grants,
    /// A page of an ordered tree: training sets, and whose records are in them.
    Sets,
    /// The public log's state.
    Log,
    /// A page of an ordered tree: the public log's leaves and hashes.
    LogTree,
    /// Fences of a name that no user had yet.
    Unborn,
    /// A page of names: what the application called a class's records.
    Names,
    /// A page of an ordered tree: what the application called a class's records, and said of them.
    Labels,
}

impl PageKind {
    pub(crate) fn byte(self) -> u8 {
        match self {
            PageKind::Users => 1,
            PageKind::User => 2,
            PageKind::Class => 3,
            PageKind::Fences => 4,
            PageKind::Lineage => 5,
            PageKind::Falling => 6,
            PageKind::History => 7,
            PageKind::Holds => 8,
            PageKind::Marks => 9,
            PageKind::Plans => 10,
            PageKind::Policies => 11,
            PageKind::Agenda => 12,
            PageKind::Inbox => 13,
            PageKind::Grants => 14,
            PageKind::Sets => 15,
            PageKind::Log => 16,
            PageKind::LogTree => 17,
            PageKind::Unborn => 18,
            PageKind::Names => 19,
            PageKind::Labels => 20,
        }
    }

    /// Whether two texts stand before each value of its tree, which a leaf lists once.
    pub(super) fn lists_texts(self) -> bool {
        self == PageKind::Class
    }
}

/// Opened bytes of a page, shared with the cache; zeroized when the last owner lets go.
pub(crate) type Page = Arc<Secret>;

/// Pads a page's plaintext to its size class. Stored sizes are those of Padmé if a store is made
/// of such pages: of the user tree and the public log, and from 256 bytes on of users, classes,
/// labels and names.
/// Of all others, which a user has few of or none, they are powers of two from 512 bytes on.
pub(crate) fn pad(kind: PageKind, e: &mut Encoder, max_plain: usize) {
    let len = e.len() + SEAL_OVERHEAD;
    let stored = match kind {
        PageKind::Users | PageKind::Log | PageKind::LogTree => padme(len),
        PageKind::User | PageKind::Class | PageKind::Names | PageKind::Labels => {
            padme(len).max(OWN_PAGE_MIN_BYTES)
        }
        _ => len.next_power_of_two().max(PAGE_CLASS_MIN_BYTES),
    };
    e.pad_to((stored - SEAL_OVERHEAD).min(max_plain));
}

/// The least length of Padmé's that is `len` or more: at most 12 % more (Nikitin et al., "Reducing
/// Metadata Leakage from Encrypted Files and Communication with PURBs", PoPETs 2019/4, algorithm
/// 1).
fn padme(len: usize) -> usize {
    let exponent = len.ilog2();
    let free = exponent - (exponent.ilog2() + 1);
    len.next_multiple_of(1 << free)
}
