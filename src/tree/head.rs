//! The head: the one object under the root key. It points to the root page.
//!
//! ```text
//! head   = "KFHD" ‖ format 1 ‖ store id 16 ‖ epoch 8 ‖ commit 8 ‖ attempt 16
//!          ‖ sealed under the root key
//! sealed = page bytes 4 ‖ fan bits 1 ‖ segment bytes 4 ‖ realm id 16 ‖ lending ms 4 ‖ made 8
//!          ‖ floor 8 ‖ time 8 ‖ pending 8 ‖ users 8 ‖ index key 32 ‖ ref of the root page 48
//!          ‖ ref of the log page 48 ‖ trees 1 ‖ [falling: ref 48] ‖ [agenda: ref 48]
//!          ‖ [policies: ref 48] ‖ [sets: ref 48] ‖ copies 1 ‖ (copy id 8 ‖ mode 1 ‖ place len 2
//!          ‖ place)*
//! ```
//! trees: bits 1, 2, 4, 8; pending: when this root key is destroyed at the latest, 0 for no such
//! time. The clear prefix is the seal's context: none of it can be changed without the head failing
//! to open.

use super::geometry::Geometry;
use super::page::{PageKind, Ref};
use super::spot::Spot;
use crate::codec::{Decoder, Encoder};
use crate::crypto::{HEAD_CONTEXT, Key, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, StoreId, Timestamp};
use crate::limits::{COPIES_MAX, FORMAT, HEAD_MAX_BYTES, PLACE_MAX_BYTES, SALT_BYTES};
use crate::promise::RootId;
use crate::store::{Head, HeadId};

const MAGIC: &[u8; 4] = b"KFHD";
const PREFIX: usize = 4 + 1 + 16 + 8 + 8 + 16;

/// Trees below a head that may be missing.
const TREES: usize = 4;

/// The clear prefix of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) store: StoreId,
    pub(crate) id: HeadId,
    pub(crate) attempt: [u8; 16],
}

impl Prefix {
    pub(crate) fn root_id(&self) -> RootId {
        RootId { epoch: self.id.epoch, attempt: self.attempt }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new(PREFIX);
        e.bytes(MAGIC)
            .u8(FORMAT)
            .bytes(&self.store.0)
            .u64(self.id.epoch)
            .u64(self.id.commit)
            .bytes(&self.attempt);
        e.finish().to_vec()
    }

    pub(crate) fn decode(head: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(head, "head");
        if d.bytes(4)? != MAGIC {
            return Err(d.bad());
        }
        let format = d.u8()?;
        if format != FORMAT {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "the store has format {format}, this program reads format {FORMAT}; use the \
                     program that wrote it"
                ),
            ));
        }
        let store = StoreId(d.array()?);
        let id = HeadId { epoch: d.u64()?, commit: d.u64()? };
        Ok(Prefix { store, id, attempt: d.array()? })
    }
}

/// Whether a copy must hold a commit before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// Every commit is durable there too before it is acknowledged, and every erase before a root
    /// key is destroyed.
    InStep,
    /// The copy is brought up to date when `copy sync` is called.
    Behind,
}

/// A copy that the store knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyEntry {
    /// Number of the copy, drawn at random.
    pub id: u64,
    /// Whether it must hold a commit before that counts.
    pub mode: CopyMode,
    /// Where it is: for directories, the path.
    pub place: String,
}

/// The plaintext of a head, decoded.
#[derive(Debug)]
pub(crate) struct HeadPage {
    pub(crate) geometry: Geometry,
    /// What pages and payloads are bound to.
    pub(crate) realm: RealmId,
    /// For how long at most, in milliseconds, this store lends a key: the next to open it must wait
    /// that out. 0: it lends none.
    pub(crate) lending: u32,
    pub(crate) made: Timestamp,
    /// No interaction id made here begins at this time or before: the last erase was then.
    pub(crate) floor: Timestamp,
    /// When the last commit was made whose clock was believed.
    pub(crate) time: Timestamp,
    /// When the root key of this head is destroyed at the latest, for what was erased under it.
    pub(crate) pending: Option<Timestamp>,
    pub(crate) users: u64,
    pub(crate) index_key: Key,
    pub(crate) roots: Roots,
    pub(crate) copies: Vec<CopyEntry>,
}

/// The pointers from which everything in the store is reached.
#[derive(Debug)]
pub(crate) struct Roots {
    /// The root page of the user tree.
    pub(crate) users: Ref,
    /// The page with the public log's state.
    pub(crate) log: Ref,
    /// The links of what was erased that are still to be followed.
    pub(crate) falling: Option<Ref>,
    /// Times at which something is due, with the users it is due for.
    pub(crate) agenda: Option<Ref>,
    /// Retention policies of the store.
    pub(crate) policies: Option<Ref>,
    /// Training sets, and whose records are in them.
    pub(crate) sets: Option<Ref>,
}

impl Roots {
    pub(crate) fn duplicate(&self) -> Self {
        let copy = |at: &Option<Ref>| at.as_ref().map(Ref::duplicate);
        Roots {
            users: self.users.duplicate(),
            log: self.log.duplicate(),
            falling: copy(&self.falling),
            agenda: copy(&self.agenda),
            policies: copy(&self.policies),
            sets: copy(&self.sets),
        }
    }

    /// The trees that may be missing, in the order of their bits.
    fn others(&self) -> [(PageKind, &Option<Ref>); TREES] {
        [
            (PageKind::Falling, &self.falling),
            (PageKind::Agenda, &self.agenda),
            (PageKind::Policies, &self.policies),
            (PageKind::Sets, &self.sets),
        ]
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (Spot, &Ref)> {
        let others = self.others().into_iter();
        let others =
            others.filter_map(|(kind, at)| Some((Spot { kind, ..Spot::ROOT }, at.as_ref()?)));
        let log = Spot { kind: PageKind::Log, ..Spot::ROOT };
        [(Spot::ROOT, &self.users), (log, &self.log)].into_iter().chain(others)
    }
}

impl HeadPage {
    /// Zeroizes every key in it.
    pub(crate) fn forget_keys(&mut self) {
        let nothing = || Ref::new(self.roots.users.name, &Key::copied_from(&[0; 32]));
        let (users, log) = (nothing(), nothing());
        self.roots = Roots { users, log, falling: None, agenda: None, policies: None, sets: None };
        self.index_key = Key::copied_from(&[0; 32]);
    }

    /// The same head, to be changed for the next commit.
    pub(crate) fn duplicate(&self) -> Self {
        HeadPage {
            geometry: self.geometry,
            realm: self.realm,
            lending: self.lending,
            made: self.made,
            floor: self.floor,
            time: self.time,
            pending: self.pending,
            users: self.users,
            index_key: self.index_key.duplicate(),
            roots: self.roots.duplicate(),
            copies: self.copies.clone(),
        }
    }

    pub(crate) fn encode(&self) -> crate::secret::Secret {
        let mut e = Encoder::new(HEAD_MAX_BYTES);
        e.u32(self.geometry.page_bytes as u32)
            .u8(self.geometry.fan_bits)
            .u32(self.geometry.segment_bytes as u32);
        e.bytes(&self.realm.0).u32(self.lending);
        e.u64(self.made.0)
            .u64(self.floor.0)
            .u64(self.time.0)
            .u64(self.pending.unwrap_or_default().0);
        e.u64(self.users).bytes(self.index_key.bytes());
        self.roots.users.encode(&mut e);
        self.roots.log.encode(&mut e);
        let others = self.roots.others();
        e.u8(others
            .iter()
            .enumerate()
            .filter(|(_, (_, at))| at.is_some())
            .map(|(n, _)| 1 << n)
            .sum());
        for at in others.iter().filter_map(|(_, at)| at.as_ref()) {
            at.encode(&mut e);
        }
        e.u8(self.copies.len() as u8);
        for copy in &self.copies {
            e.u64(copy.id).u8(match copy.mode {
                CopyMode::InStep => 1,
                CopyMode::Behind => 2,
            });
            e.text(&copy.place);
        }
        e.finish()
    }

    pub(crate) fn decode(plaintext: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(plaintext, "head");
        let geometry = Geometry {
            page_bytes: d.u32()? as usize,
            fan_bits: d.u8()?,
            segment_bytes: d.u32()? as usize,
        };
        let geometry = geometry.check().map_err(|_| d.bad())?;
        let realm = RealmId(d.array()?);
        let lending = d.u32()?;
        let made = Timestamp(d.u64()?);
        let floor = Timestamp(d.u64()?);
        let time = Timestamp(d.u64()?);
        let pending = Some(Timestamp(d.u64()?)).filter(|at| at.0 > 0);
        let users = d.u64()?;
        let index_key = d.bytes(32)?.try_into().map(Key::copied_from).map_err(|_| d.bad())?;
        let users_root = Ref::decode(&mut d)?;
        let log = Ref::decode(&mut d)?;
        let there = d.u8()?;
        if there >= 1 << TREES {
            return Err(d.bad());
        }
        let mut tree = |bit| (there & bit != 0).then(|| Ref::decode(&mut d)).transpose();
        let roots = Roots {
            users: users_root,
            log,
            falling: tree(1)?,
            agenda: tree(2)?,
            policies: tree(4)?,
            sets: tree(8)?,
        };
        let n = usize::from(d.u8()?);
        if n > COPIES_MAX {
            return Err(d.bad());
        }
        let mut copies = Vec::with_capacity(n);
        for _ in 0..n {
            let id = d.u64()?;
            let mode = match d.u8()? {
                1 => CopyMode::InStep,
                2 => CopyMode::Behind,
                _ => return Err(d.bad()),
            };
            copies.push(CopyEntry { id, mode, place: d.text(PLACE_MAX_BYTES)?.to_owned() });
        }
        d.end()?;
        Ok(HeadPage {
            geometry,
            realm,
            lending,
            made,
            floor,
            time,
            pending,
            users,
            index_key,
            roots,
            copies,
        })
    }

    /// Seals the head under a root key.
    pub(crate) fn seal(
        plaintext: &[u8],
        prefix: &Prefix,
        key: &Key,
        salt: &[u8; SALT_BYTES],
    ) -> Head {
        let mut bytes = prefix.encode();
        let sealed = chunked::seal(key, salt, &[HEAD_CONTEXT, &bytes].concat(), plaintext);
        bytes.extend_from_slice(&sealed);
        Head { id: prefix.id, bytes }
    }

    /// Opens a stored head.
    pub(crate) fn open(head: &[u8], key: &Key) -> Result<Self> {
        let (prefix, sealed) =
            head.split_at_checked(PREFIX).ok_or_else(|| Decoder::new(&[], "head").bad())?;
        HeadPage::decode(&chunked::open(key, &[HEAD_CONTEXT, prefix].concat(), sealed)?)
    }
}
