//! The sealed tree, a machine without I/O: pages in, new pages out.
//!
//! Invariants. A `Ref` stands in one place only, inside the page that points to it. A page is sealed once, under a key
//! used for nothing else: a changed page is a new blob with a new name and a new key, and so is every page above it
//! (the rekeyed path). Nothing is kept outside: where a pointer falls, all below it is noise.

pub(crate) mod agenda;
mod entries;
pub(crate) mod falling;
pub(crate) mod fences;
pub(crate) mod grants;
pub(crate) mod head;
pub(crate) mod history;
pub(crate) mod holds;
pub(crate) mod inbox;
pub(crate) mod lineage;
pub(crate) mod log;
pub(crate) mod ordered;
pub(crate) mod plans;
pub(crate) mod policies;
pub(crate) mod sets;
pub(crate) mod user;
pub(crate) mod users;

use std::sync::Arc;

use crate::codec::{Decoder, Encoder, Part};
use crate::crypto::Key;
use crate::error::{Error, Result};
#[cfg(feature = "testing")]
use crate::ids::UserId;
use crate::ids::{BlobName, Class, ClassTag, RecordId, UserTag};
use crate::limits::{
    CHUNK_BYTES, PAGE_CLASS_MIN_BYTES, PAGE_MAX_BYTES, PAGE_MIN_BYTES, SEAL_OVERHEAD, SEGMENT_MAX_BYTES,
    SEGMENT_MIN_BYTES,
};
use crate::secret::Secret;

/// Size of pages and of segments, and fan-out of the user tree, fixed when a store is made (SPEC.md 5 has the measurement).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Most bytes of a page as stored: a power of two from 1,024 to 16,384.
    pub page_bytes: usize,
    /// Bits of the user tag that one page of the user tree decides on: 2 to 8.
    pub fan_bits: u8,
    /// Plaintext bytes of a full segment of a payload: a power of two from 16,384 to 8,388,608.
    pub segment_bytes: usize,
}

impl Default for Geometry {
    fn default() -> Self {
        Geometry::DEFAULT
    }
}

impl Geometry {
    /// What a store has if nothing else is asked for.
    pub const DEFAULT: Geometry = Geometry { page_bytes: 4096, fan_bits: 4, segment_bytes: 262_144 };

    /// Checks the bounds above and that a full page of the user tree fits.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(self) -> Result<Self> {
        let ok = self.page_bytes.is_power_of_two()
            && (PAGE_MIN_BYTES..=PAGE_MAX_BYTES).contains(&self.page_bytes)
            && (2..=8).contains(&self.fan_bits)
            && users::interior_len(1 << self.fan_bits) <= self.capacity();
        if !ok {
            return Err(Error::invalid(format!(
                "a page of {} bytes with fan-out 2^{} is not possible",
                self.page_bytes, self.fan_bits
            )));
        }
        if !self.segment_bytes.is_power_of_two()
            || !(SEGMENT_MIN_BYTES..=SEGMENT_MAX_BYTES).contains(&self.segment_bytes)
        {
            return Err(Error::invalid(format!(
                "a segment of {} bytes is not possible; it is a power of two from {SEGMENT_MIN_BYTES} to {SEGMENT_MAX_BYTES}",
                self.segment_bytes
            )));
        }
        Ok(self)
    }

    /// Full chunks in one segment of a payload.
    pub(crate) fn segment_chunks(self) -> usize {
        self.segment_bytes / CHUNK_BYTES
    }

    /// Plaintext bytes of the largest page.
    pub(crate) fn capacity(self) -> usize {
        self.page_bytes - SEAL_OVERHEAD
    }
}

/// The pointer that carries the key.
#[derive(Debug)]
pub(crate) struct Ref {
    pub(crate) name: BlobName,
    /// 32 bytes.
    key: Part,
}

/// Bytes of a [`Ref`]: name 16 ‖ key 32.
pub(crate) const REF_BYTES: usize = 48;

impl Ref {
    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Ref { name: BlobName(d.array()?), key: d.part(32)? })
    }

    pub(crate) fn new(name: BlobName, key: &Key) -> Self {
        Ref { name, key: Part::Own(Secret::copied_from(key.bytes())) }
    }

    /// The key of the page behind it.
    pub(crate) fn key(&self) -> Key {
        self.key.first_chunk().map(Key::copied_from).unwrap_or_else(|| unreachable!("it has 32 bytes"))
    }

    /// The same, without the page in which it was read.
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
    /// A page of an ordered tree: which of a user's records were derived from what, and what from them.
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
    /// A page of an ordered tree: when there is something to do for which user.
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
    /// Fences of a name that nobody had yet.
    Unborn,
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
        }
    }
}

/// Opened bytes of a page, shared with the cache; zeroized when the last owner lets go.
pub(crate) type Page = Arc<Secret>;

/// Where pages come from.
pub(crate) trait Pages {
    /// Fetches and opens a page. `owner` is the user whose page it is, if it is one user's.
    fn load(&self, kind: PageKind, owner: Option<UserTag>, at: &Ref) -> Result<Page>;
}

/// Where new pages go: draws name and key, seals, keeps the blob for the commit.
pub(crate) trait Sink {
    fn seal(&mut self, kind: PageKind, owner: Option<UserTag>, plaintext: Secret) -> Result<Ref>;
}

/// Reads pages for a change and remembers which ones it replaces.
pub(crate) struct Editor<'a> {
    pub(crate) pages: &'a dyn Pages,
    pub(crate) geometry: Geometry,
    pub(crate) replaced: Vec<BlobName>,
}

/// A pointer in a tree that is being changed: to a page as stored, or to one that will be written anew.
#[derive(Debug)]
pub(crate) enum Link<N> {
    Stored(Ref),
    Loaded(Box<N>),
}

/// A page of a tree in decoded form.
pub(crate) trait Node: Sized {
    fn decode(page: &Page) -> Result<Self>;
}

impl<N: Node> Link<N> {
    /// The page, to be changed: it will be written anew under a fresh key.
    pub(crate) fn load_mut(
        &mut self,
        editor: &mut Editor<'_>,
        kind: PageKind,
        owner: Option<UserTag>,
    ) -> Result<&mut N> {
        if let Link::Stored(at) = self {
            let page = editor.pages.load(kind, owner, at)?;
            let node = N::decode(&page)?;
            editor.replaced.push(at.name);
            *self = Link::Loaded(Box::new(node));
        }
        match self {
            Link::Loaded(node) => Ok(node),
            Link::Stored(_) => unreachable!("it was just loaded"),
        }
    }
}

/// Pads a page's plaintext to its size class. Stored sizes are powers of two from 512 to `max` bytes; of pages whose length tells how many
/// users share a prefix of their tags, or how long the public log is, they are those of Padmé.
pub(crate) fn pad(kind: PageKind, e: &mut Encoder, max_plain: usize) {
    let len = e.len() + SEAL_OVERHEAD;
    let stored = match kind {
        PageKind::Users | PageKind::Log | PageKind::LogTree => padme(len),
        _ => len.next_power_of_two().max(PAGE_CLASS_MIN_BYTES),
    };
    e.pad_to((stored - SEAL_OVERHEAD).min(max_plain));
}

/// The least length of Padmé's that is `len` or more: at most 12 % more (Nikitin et al., "Reducing Metadata Leakage from Encrypted
/// Files and Communication with PURBs", PoPETs 2019/4, algorithm 1).
fn padme(len: usize) -> usize {
    let exponent = len.ilog2();
    let free = exponent - (exponent.ilog2() + 1);
    len.next_multiple_of(1 << free)
}

/// Whose records a class tree holds.
#[derive(Debug)]
pub(crate) struct ClassOf {
    #[cfg(feature = "testing")]
    pub(crate) user: UserId,
    pub(crate) owner: UserTag,
    pub(crate) incarnation: u16,
    pub(crate) class: Class,
    pub(crate) tag: ClassTag,
}

impl ClassOf {
    /// The id of the record at `key`.
    pub(crate) fn record(&self, key: &ordered::OrderedKey) -> Result<RecordId> {
        let (interaction, ordinal) = user::split_record_key(key)?;
        Ok(RecordId { interaction, user: self.owner, incarnation: self.incarnation, class: self.tag, ordinal })
    }
}

/// What a walk knows of a page before it reads it.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) kind: PageKind,
    pub(crate) owner: Option<UserTag>,
    pub(crate) class: Option<Arc<ClassOf>>,
}

impl Spot {
    /// The root page's.
    pub(crate) const ROOT: Spot = Spot { kind: PageKind::Users, owner: None, class: None };
}

/// A pointer out of a stored page.
#[derive(Debug)]
pub(crate) enum Edge {
    /// To another page.
    Page { spot: Spot, at: Ref },
    /// To a record's payload.
    Record { key: ordered::OrderedKey, entry: Secret },
}

/// Everything a stored page points to.
pub(crate) fn edges(spot: &Spot, page: &Page) -> Result<Vec<Edge>> {
    match (spot.kind, spot.owner) {
        (PageKind::User, Some(owner)) => user::edges(owner, page),
        (PageKind::Unborn, Some(owner)) => user::unborn_edges(owner, page),
        (PageKind::Users | PageKind::User | PageKind::Unborn, _) => users::edges(page),
        (PageKind::Class, _) => {
            ordered::edges(spot, page, |key, value| Ok(Some(Edge::Record { key, entry: Secret::copied_from(value) })))
        }
        (
            PageKind::Fences
            | PageKind::History
            | PageKind::Holds
            | PageKind::Plans
            | PageKind::Policies
            | PageKind::Agenda
            | PageKind::Inbox
            | PageKind::Grants
            | PageKind::LogTree,
            _,
        ) => ordered::edges::<20>(spot, page, |_, _| Ok(None)),
        (PageKind::Lineage | PageKind::Marks, _) => {
            ordered::edges::<{ lineage::LINK_BYTES }>(spot, page, |_, _| Ok(None))
        }
        (PageKind::Sets, _) => ordered::edges::<{ sets::SET_BYTES }>(spot, page, |_, _| Ok(None)),
        (PageKind::Falling, _) => falling::edges(spot, page),
        (PageKind::Log, _) => log::edges(page),
    }
}
