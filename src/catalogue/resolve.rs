//! Content roots: what a record's key is made of, and whether all that it depends on still lives.
//!
//! A record's content root needs the lineage secret of each of its sources, and each of these the
//! same of its own. If one source is gone, so is the root: no bookkeeping has to come first.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::view::{Users, View};
use crate::crypto::{self, Key, chunked};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, RecordId};
use crate::record;
use crate::secret::Secret;
use crate::tree::Geometry;
use crate::tree::user::UserPage;

/// A derived record and every one that it depends on, each with its sources.
pub(crate) type Needs = HashMap<RecordId, Vec<RecordId>>;

/// A resolver for one state of a store.
pub(crate) fn resolver<'a>(view: &View<'a>) -> Resolver<'a> {
    Resolver::new(view.head.realm, view.users())
}

/// Looks a record up, and sees that everything it depends on is there.
///
/// # Errors
/// `Erased` if it or one that it depends on was erased; `Absent`, `Corrupt`, `Io`.
pub(crate) fn look_up_whole(view: &View<'_>, id: &RecordId) -> Result<(UserPage, record::Entry)> {
    let (page, entry) = view.users().look_up(id)?;
    if entry.sources > 0 {
        resolver(view).resolve(id)?;
    }
    Ok((page, entry))
}

/// What a live record's content root is made of.
struct Live {
    secret: Key,
    depth: u16,
    sources: Vec<RecordId>,
    wrapped: Option<Secret>,
}

/// The error for a derived record one of whose sources is gone.
pub(crate) fn fell(id: &RecordId) -> Error {
    Error::new(
        ErrorKind::Erased,
        format!(
            "record {id} was derived from a record that was erased, and fell with it; it does not come back"
        ),
    )
}

/// Content roots that are known, with the depth of their records. A root never changes.
pub(crate) type ContentRoots = HashMap<RecordId, (Key, u16)>;

/// Finds content roots in one state of the tree, each record once.
pub(crate) struct Resolver<'a> {
    realm: RealmId,
    users: Users<'a>,
    roots: ContentRoots,
    /// From what the records of these roots were derived.
    links: Needs,
    /// What an adversary knows from other states, of records that are not in this one.
    #[cfg(feature = "testing")]
    elsewhere: ContentRoots,
}

pub(crate) fn wrap_context(realm: RealmId, id: &RecordId) -> Vec<u8> {
    [crypto::DETACHED_CONTEXT, &realm.0, &id.to_bytes()].concat()
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(realm: RealmId, users: Users<'a>) -> Self {
        Resolver {
            realm,
            users,
            roots: ContentRoots::new(),
            links: Needs::new(),
            #[cfg(feature = "testing")]
            elsewhere: ContentRoots::new(),
        }
    }

    pub(crate) fn realm(&self) -> RealmId {
        self.realm
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.users.geometry
    }

    /// Takes roots that were found in other states.
    #[cfg(feature = "testing")]
    pub(crate) fn knowing(self, elsewhere: ContentRoots) -> Self {
        Resolver { elsewhere, ..self }
    }

    /// What is known of a record from another state.
    #[cfg(feature = "testing")]
    pub(crate) fn elsewhere(&self, id: &RecordId) -> Option<(Key, u16)> {
        self.elsewhere.get(id).map(|(root, depth)| (root.duplicate(), *depth))
    }

    /// An engine knows one state.
    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, reason = "only an adversary knows of others")]
    pub(crate) fn elsewhere(&self, _: &RecordId) -> Option<(Key, u16)> {
        None
    }

    /// What is known from other states, and what was found here.
    #[cfg(feature = "testing")]
    pub(crate) fn into_known(mut self) -> ContentRoots {
        self.elsewhere.extend(self.roots);
        self.elsewhere
    }

    fn found(&self, id: &RecordId) -> Result<Live> {
        let (page, entry) = self.users.look_up(id)?;
        self.read(id, &page, entry)
    }

    fn read(&self, id: &RecordId, page: &UserPage, entry: record::Entry) -> Result<Live> {
        let sources = if entry.sources == 0 {
            Vec::new()
        } else {
            page.lineage.sources(self.users.pages, id)?
        };
        if sources.len() != usize::from(entry.sources) {
            return Err(Error::corrupt(format!(
                "the links of record {id} are incomplete; restore the store from a copy"
            )));
        }
        let wrapped =
            if entry.detached { page.lineage.wrapped(self.users.pages, id)? } else { None };
        Ok(Live { secret: entry.secret, depth: entry.depth, sources, wrapped })
    }

    fn root(&self, id: &RecordId, found: &Live) -> Result<Key> {
        let secrets =
            |s: &RecordId| self.roots.get(s).map(|(root, _)| crypto::lineage_secret(root));
        let without =
            crypto::content_root(&found.secret, found.sources.iter().filter_map(secrets).collect());
        let Some(wrapped) = &found.wrapped else {
            return Ok(without);
        };
        let root =
            chunked::open(&crypto::detached_key(&without), &wrap_context(self.realm, id), wrapped)?;
        let root =
            root.first_chunk().ok_or_else(|| Error::corrupt("a wrapped key has another length"))?;
        Ok(Key::copied_from(root))
    }

    /// The content root of a record, and its depth.
    ///
    /// # Errors
    /// `Erased` if the record or one that it depends on is gone; `Absent`, `Corrupt`, `Io`.
    pub(crate) fn resolve(&mut self, id: &RecordId) -> Result<(&Key, u16)> {
        if !self.roots.contains_key(id) {
            let found = self.found(id)?;
            self.resolve_found(id, found)?;
        }
        let (root, depth) = &self.roots[id];
        Ok((root, *depth))
    }

    fn resolve_found(&mut self, id: &RecordId, found: Live) -> Result<()> {
        // Depth first, on a stack of our own: a chain may be long.
        let mut open: HashMap<RecordId, Live> = HashMap::from([(*id, found)]);
        let mut path = vec![*id];
        while let Some(&at) = path.last() {
            if self.roots.contains_key(&at) {
                path.pop();
                continue;
            }
            if let Entry::Vacant(place) = open.entry(at) {
                match self.found(&at) {
                    Ok(found) => {
                        place.insert(found);
                    }
                    Err(e) => match (self.elsewhere(&at), e.kind()) {
                        (Some(known), _) => {
                            self.roots.insert(at, known);
                            continue;
                        }
                        (None, ErrorKind::Erased | ErrorKind::Absent) => return Err(fell(id)),
                        (None, _) => return Err(e),
                    },
                }
            }
            let missing: Vec<RecordId> =
                open[&at].sources.iter().filter(|s| !self.roots.contains_key(s)).copied().collect();
            if missing.is_empty() {
                let root = self.root(&at, &open[&at])?;
                self.roots.insert(at, (root, open[&at].depth));
                self.links.extend(open.remove(&at).map(|found| (at, found.sources)));
                path.pop();
            } else if missing.iter().any(|s| open.contains_key(s)) {
                return Err(Error::corrupt(format!(
                    "record {at} is among its own sources; restore the store from a copy"
                )));
            } else {
                path.extend(missing);
            }
        }
        Ok(())
    }

    /// What a record depends on, near and far.
    ///
    /// # Errors
    /// `Erased` if one of them is gone; `Absent`, `Corrupt`, `Io`.
    pub(crate) fn ancestors(&self, id: &RecordId) -> Result<BTreeSet<RecordId>> {
        let mut all = BTreeSet::new();
        let mut next = self.found(id)?.sources;
        while let Some(at) = next.pop() {
            if all.insert(at) {
                next.extend(self.found(&at)?.sources);
            }
        }
        Ok(all)
    }

    /// The same, as far as they can be found: nothing is known of what is beyond one that is gone
    /// or damaged.
    pub(crate) fn ancestors_left(&self, id: &RecordId) -> Result<BTreeSet<RecordId>> {
        let (mut all, mut next) = (BTreeSet::new(), vec![*id]);
        while let Some(at) = next.pop() {
            match self.found(&at) {
                Ok(found) => {
                    next.extend(found.sources.into_iter().filter(|source| all.insert(*source)))
                }
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::Erased | ErrorKind::Absent | ErrorKind::Corrupt
                    ) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }

    /// Every record that was looked at, with its sources.
    pub(crate) fn seen(self) -> Needs {
        self.links
    }
}
