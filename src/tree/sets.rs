//! Training sets: which users have records in a set, for a grantee. A record's membership is stored
//! with its links and is erased with it.
//!
//! ```text
//! key = SHA-256(name), the first 20 bytes ‖ zeros 20
//!   -> 1 ‖ grantee's Ed25519 key 32 ‖ made 8 ‖ time of the last request 8 ‖ runs 8 ‖ members 8
//!      ‖ pace 12 ‖ name ‖ purpose
//! key = SHA-256(name), the first 20 bytes ‖ 1 ‖ user tag 12 ‖ zeros 7      -> nothing
//! ```

use std::ops::ControlFlow;

use super::grants::Pace;
use super::keys::{OrderedKey, SetTag};
use super::link::{Editor, Pages};
use super::ordered::{Ordered, Place, Range};
use super::page::PageKind;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::ids::{Timestamp, UserTag};
use crate::limits::{NAME_MAX_BYTES, PURPOSE_MAX_BYTES};
use crate::secret::Secret;

const VERSION: u8 = 1;
const USER: u8 = 1;
/// Bytes of a key.
pub(crate) const SET_BYTES: usize = 40;

/// A named set of records, opened together under grants of their users.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrainingSet {
    /// Name of the set.
    pub name: String,
    /// The grantee's key (Ed25519): only users who have a grant to it are in the set.
    pub to: [u8; 32],
    /// What its records are opened for.
    pub purpose: String,
    /// When it was made.
    pub made: Timestamp,
    /// When its last request was made.
    pub last: Timestamp,
    /// How often it was opened.
    pub runs: u64,
    /// How many records it had when it was opened last, and those added since.
    pub members: u64,
    /// How often its grantee asked lately.
    pub pace: Pace,
}

/// Every training set of the store.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    pub(crate) tree: Ordered<SET_BYTES>,
}

fn key(set: &SetTag, user: Option<UserTag>) -> OrderedKey<SET_BYTES> {
    let mut key = [0; SET_BYTES];
    key[..20].copy_from_slice(set);
    if let Some(user) = user {
        key[20] = USER;
        key[21..33].copy_from_slice(&user.0);
    }
    key
}

impl TrainingSet {
    pub(crate) fn encode(&self) -> Secret {
        let set = self;
        let mut e = Encoder::new(96 + NAME_MAX_BYTES + PURPOSE_MAX_BYTES);
        e.u8(VERSION).bytes(&set.to).u64(set.made.0).u64(set.last.0).u64(set.runs).u64(set.members);
        set.pace.encode(&mut e);
        e.text(&set.name).text(&set.purpose);
        e.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut d = Decoder::new(bytes, "training set");
        if d.u8()? != VERSION {
            return Err(d.bad());
        }
        let (to, made, last) = (d.array()?, Timestamp(d.u64()?), Timestamp(d.u64()?));
        let (runs, members) = (d.u64()?, d.u64()?);
        let pace = Pace::decode(&mut d)?;
        let (name, purpose) =
            (d.text(NAME_MAX_BYTES)?.to_owned(), d.text(PURPOSE_MAX_BYTES)?.to_owned());
        d.end()?;
        Ok(TrainingSet { name, to, purpose, made, last, runs, members, pace })
    }
}

impl Sets {
    pub(crate) const PLACE: Place = Place { kind: PageKind::Sets, owner: None };

    pub(crate) fn set(
        &mut self,
        editor: &mut Editor<'_>,
        tag: &SetTag,
        set: &TrainingSet,
    ) -> Result<()> {
        self.tree.insert(editor, Self::PLACE, key(tag, None), set.encode())
    }

    pub(crate) fn get(&self, pages: &dyn Pages, tag: &SetTag) -> Result<Option<TrainingSet>> {
        self.tree
            .get(pages, Self::PLACE, &key(tag, None))?
            .map(|value| TrainingSet::decode(&value))
            .transpose()
    }

    pub(crate) fn add_user(
        &mut self,
        editor: &mut Editor<'_>,
        tag: &SetTag,
        user: UserTag,
    ) -> Result<()> {
        self.tree.insert(editor, Self::PLACE, key(tag, Some(user)), Secret::copied_from(&[]))
    }

    pub(crate) fn remove_user(
        &mut self,
        editor: &mut Editor<'_>,
        tag: &SetTag,
        user: UserTag,
    ) -> Result<()> {
        let key = key(tag, Some(user));
        self.tree.remove(editor, Self::PLACE, &key).map(drop)
    }

    /// Drops a set, with its users.
    pub(crate) fn remove(&mut self, editor: &mut Editor<'_>, tag: &SetTag) -> Result<()> {
        let low = key(tag, None);
        let mut high = low;
        high[20..].fill(0xFF);
        self.tree.remove_range(editor, Self::PLACE, &low, &high).map(|_| ())
    }

    /// The users of one set.
    pub(crate) fn users(&self, pages: &dyn Pages, tag: &SetTag) -> Result<Vec<UserTag>> {
        let mut users = Vec::new();
        let (low, high) = (key(tag, Some(UserTag([0; 12]))), key(tag, Some(UserTag([0xFF; 12]))));
        let range = Range { low: &low, high: &high, descending: false };
        self.tree.scan(pages, Self::PLACE, range, &mut |key, _| {
            users.push(UserTag(Decoder::new(&key[21..], "training set").array()?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(users)
    }

    /// All sets, with their tags.
    pub(crate) fn all(&self, pages: &dyn Pages) -> Result<Vec<(SetTag, TrainingSet)>> {
        let mut sets = Vec::new();
        self.tree.all(pages, Self::PLACE, &mut |key, value| {
            if key[20] != USER {
                sets.push((
                    Decoder::new(key, "training set").array()?,
                    TrainingSet::decode(value)?,
                ));
            }
            Ok(())
        })?;
        Ok(sets)
    }
}
