//! Lineage: what a record was derived from, and what that means for its key.
//!
//! A record's content root needs the lineage secret of each of its sources, and each of these the same of its own. Where one
//! source is gone, so is the root: no bookkeeping has to come first.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::edit::{Cuts, Edit, user_of};
use super::read::{Selector, look_up};
use super::reader::Needs;
use super::{Inner, State, holds};
use crate::crypto::{self, Fresh, Key, chunked, hedge};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RealmId, RecordId, UserTag};
use crate::record;
use crate::secret::Secret;
use crate::tree::user::{UserPage, class_place, record_key};
use crate::tree::users::UsersNode;
use crate::tree::{Editor, Geometry, Pages, Ref};

/// What a live record's content root is made of.
struct Live {
    secret: Key,
    depth: u16,
    sources: Vec<RecordId>,
    wrapped: Option<Secret>,
}

/// The error for a derived record one of whose sources is gone.
pub(super) fn fell(id: &RecordId) -> Error {
    Error::new(
        ErrorKind::Erased,
        format!("record {id} was derived from a record that was erased, and fell with it; it does not come back"),
    )
}

/// Content roots that are known, with the depth of their records. A root never changes.
pub(crate) type ContentRoots = HashMap<RecordId, (Key, u16)>;

/// Finds content roots in one state of the tree, each record once.
pub(crate) struct Resolver<'a> {
    realm: RealmId,
    pages: &'a dyn Pages,
    users: &'a Ref,
    geometry: Geometry,
    roots: ContentRoots,
    /// From what the records of these roots were derived.
    links: Needs,
    /// What an adversary knows from other states, of records that are not in this one.
    #[cfg(feature = "testing")]
    elsewhere: ContentRoots,
}

fn wrap_context(realm: RealmId, id: &RecordId) -> Vec<u8> {
    [crypto::DETACHED_CONTEXT, &realm.0, &id.to_bytes()].concat()
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(realm: RealmId, pages: &'a dyn Pages, users: &'a Ref, geometry: Geometry) -> Self {
        Resolver {
            realm,
            pages,
            users,
            geometry,
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
        self.geometry
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

    /// Those, and what was found here.
    #[cfg(feature = "testing")]
    pub(crate) fn into_known(mut self) -> ContentRoots {
        self.elsewhere.extend(self.roots);
        self.elsewhere
    }

    fn found(&self, id: &RecordId) -> Result<Live> {
        let (page, entry) = look_up(self.pages, self.users, self.geometry, id)?;
        self.read(id, &page, entry)
    }

    fn read(&self, id: &RecordId, page: &UserPage, entry: record::Entry) -> Result<Live> {
        let sources = if entry.sources == 0 { Vec::new() } else { page.lineage.sources(self.pages, id)? };
        if sources.len() != usize::from(entry.sources) {
            return Err(Error::corrupt(format!(
                "the links of record {id} are not whole; restore the store from a copy"
            )));
        }
        let wrapped = if entry.detached { page.lineage.wrapped(self.pages, id)? } else { None };
        Ok(Live { secret: entry.secret, depth: entry.depth, sources, wrapped })
    }

    fn root(&self, id: &RecordId, found: &Live) -> Result<Key> {
        let secrets = |s: &RecordId| self.roots.get(s).map(|(root, _)| crypto::lineage_secret(root));
        let without = crypto::content_root(&found.secret, found.sources.iter().filter_map(secrets).collect());
        let Some(wrapped) = &found.wrapped else {
            return Ok(without);
        };
        let root = chunked::open(&crypto::detached_key(&without), &wrap_context(self.realm, id), wrapped)?;
        let root = root.first_chunk().ok_or_else(|| Error::corrupt("a wrapped key has another length"))?;
        Ok(Key::copied_from(root))
    }

    /// The content root of a record, and its depth.
    ///
    /// # Errors
    /// `Erased` where the record or one that it depends on is gone; `Absent`, `Corrupt`, `Io`.
    pub(crate) fn resolve(&mut self, id: &RecordId) -> Result<(&Key, u16)> {
        if !self.roots.contains_key(id) {
            let found = self.found(id)?;
            self.resolve_found(id, found)?;
        }
        match self.roots.get(id) {
            Some((root, depth)) => Ok((root, *depth)),
            None => unreachable!("it was just resolved"),
        }
    }

    /// The content root of a record that was looked up already.
    pub(super) fn resolve_read(&mut self, id: &RecordId, page: &UserPage, entry: record::Entry) -> Result<&Key> {
        let found = self.read(id, page, entry)?;
        self.resolve_found(id, found)?;
        self.resolve(id).map(|(root, _)| root)
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
    /// `Erased` where one of them is gone; `Absent`, `Corrupt`, `Io`.
    pub(super) fn ancestors(&self, id: &RecordId) -> Result<BTreeSet<RecordId>> {
        let mut all = BTreeSet::new();
        let mut next = self.found(id)?.sources;
        while let Some(at) = next.pop() {
            if all.insert(at) {
                next.extend(self.found(&at)?.sources);
            }
        }
        Ok(all)
    }

    /// The same, as far as they can be found: nothing is known of what is beyond one that is gone or damaged.
    pub(super) fn ancestors_left(&self, id: &RecordId) -> Result<BTreeSet<RecordId>> {
        let (mut all, mut next) = (BTreeSet::new(), vec![*id]);
        while let Some(at) = next.pop() {
            match self.found(&at) {
                Ok(found) => next.extend(found.sources.into_iter().filter(|source| all.insert(*source))),
                Err(e) if matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent | ErrorKind::Corrupt) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }

    /// Every record that was looked at, with its sources.
    pub(super) fn seen(self) -> Needs {
        self.links
    }
}

/// A reason: 1 to 255 bytes.
impl Inner {
    pub(super) fn resolver<'a>(&self, pages: &'a dyn Pages, state: &'a State) -> Resolver<'a> {
        Resolver::new(self.realm, pages, &state.head.roots.users, state.head.geometry)
    }

    /// Cuts a record's links to some of its sources; its content stays as it is, and its key depends on the rest.
    pub(super) fn cut(
        &self,
        edit: &mut Edit<'_>,
        resolver: &mut Resolver<'_>,
        (id, sources): (&RecordId, &[RecordId]),
    ) -> Result<()> {
        let content_root = resolver.resolve(id)?.0.duplicate();
        edit.cuts.entry(*id).or_default().extend_from_slice(sources);
        let (editor, root) = edit.parts()?;
        let Some(page) = user_of(editor, root, id)? else {
            return Err(fell(id));
        };
        let place = class_place(id.user);
        let key = record_key(id.interaction, id.ordinal);
        let Some(slot) = page.classes.iter_mut().find(|c| c.tag == id.class) else {
            return Err(fell(id));
        };
        let Some(value) = slot.tree.get(editor.pages, place, &key)? else {
            return Err(fell(id));
        };
        let mut entry = record::Entry::decode(&value)?;
        for source in sources {
            if page.lineage.cut_source(editor, id, source)? {
                entry.sources -= 1;
            }
        }
        let rest = page.lineage.sources(editor.pages, id)?;
        let mut left = Vec::with_capacity(rest.len());
        for source in &rest {
            left.push(crypto::lineage_secret(resolver.resolve(source)?.0));
        }
        // Who is held and depends on it, itself among them.
        let mut held = page.holds.holders(editor.pages, id)?;
        if holds::covered(editor.pages, page, id)? {
            held.push(*id);
        }
        if left.is_empty() {
            entry.depth = 0;
        }
        entry.detached = true;
        let wrapping = crypto::detached_key(&crypto::content_root(&entry.secret, left));
        let salt = Fresh::new(&*self.options.env, hedge(&[content_root.bytes(), wrapping.bytes()])).salt()?;
        let wrapped = chunked::seal(&wrapping, &salt, &wrap_context(self.realm, id), content_root.bytes());
        page.lineage.set_wrapped(editor, id, &wrapped)?;
        let Some(slot) = page.classes.iter_mut().find(|c| c.tag == id.class) else { unreachable!("it was there") };
        slot.tree.insert(editor, place, key, entry.encode())?;
        for source in sources {
            if let Some(page) = user_of(editor, root, source)? {
                page.lineage.cut_derived(editor, source, id)?;
            }
        }
        if held.is_empty() {
            return Ok(());
        }
        let before = resolver.ancestors(id)?;
        for held in &held {
            let free = &before - &ancestors_now(editor, root, held)?;
            holds::mark(editor, root, held, (&free, false))?;
        }
        Ok(())
    }
}

/// What a record depends on in the tree as it is being changed.
fn ancestors_now(editor: &mut Editor<'_>, root: &mut UsersNode, id: &RecordId) -> Result<BTreeSet<RecordId>> {
    let (mut all, mut next) = (BTreeSet::new(), vec![*id]);
    while let Some(at) = next.pop() {
        if let Some(page) = user_of(editor, root, &at)? {
            let pages = editor.pages;
            next.extend(page.lineage.sources(pages, &at)?.into_iter().filter(|source| all.insert(*source)));
        }
    }
    Ok(all)
}

/// Which of the direct sources of each kept record fall, in the state before an erase and but for what the commit did before it:
/// those in the scope that are not kept, and those that depend on one of these.
pub(super) struct Fate<'a> {
    state: &'a State,
    pages: &'a dyn Pages,
    /// Whether the erase takes a record itself.
    taken: &'a dyn Fn(&RecordId) -> bool,
    /// Whether the erase keeps a record in spite of its scope.
    kept: &'a dyn Fn(&RecordId) -> bool,
    /// What other erases of the same commit took before.
    fell: &'a HashMap<UserTag, Vec<Selector>>,
    /// From what they cut what they kept: that one does not fall with it any more.
    cuts: &'a Cuts,
    sources: HashMap<RecordId, Option<Vec<RecordId>>>,
    falls: HashMap<RecordId, bool>,
    lost: HashMap<RecordId, bool>,
}

/// Picks records.
type Which<'a> = dyn Fn(&RecordId) -> bool + 'a;

impl<'a> Fate<'a> {
    pub(super) fn new(
        state: &'a State,
        pages: &'a dyn Pages,
        (taken, kept): (&'a Which<'a>, &'a Which<'a>),
        (fell, cuts): (&'a HashMap<UserTag, Vec<Selector>>, &'a Cuts),
    ) -> Self {
        let (sources, falls, lost) = Default::default();
        Fate { state, pages, taken, kept, fell, cuts, sources, falls, lost }
    }

    /// `None` for a record that is gone.
    fn sources(&mut self, id: &RecordId) -> Result<Option<&[RecordId]>> {
        if !self.sources.contains_key(id) {
            let gone = self.fell.get(&id.user).is_some_and(|all| all.iter().any(|fell| fell.takes(id)));
            let found = match gone {
                true => None,
                false => match look_up(self.pages, &self.state.head.roots.users, self.state.head.geometry, id) {
                    Ok((page, entry)) => {
                        let mut sources =
                            if entry.sources == 0 { Vec::new() } else { page.lineage.sources(self.pages, id)? };
                        if let Some(cut) = self.cuts.get(id) {
                            sources.retain(|source| !cut.contains(source));
                        }
                        Some(sources)
                    }
                    Err(e) if matches!(e.kind(), ErrorKind::Erased | ErrorKind::Absent) => None,
                    Err(e) => return Err(e),
                },
            };
            self.sources.insert(*id, found);
        }
        Ok(self.sources.get(id).and_then(|sources| sources.as_deref()))
    }

    /// The sources of a kept record that fall; `None` where it fell with one of them before.
    pub(super) fn falling_sources(&mut self, id: &RecordId) -> Result<Option<Vec<RecordId>>> {
        let mut known = std::mem::take(&mut self.lost);
        let lost = self.any_above(id, &mut known, &|_, _| None);
        self.lost = known;
        if lost? {
            return Ok(None);
        }
        let mut falling = Vec::new();
        let mut known = std::mem::take(&mut self.falls);
        for source in self.sources(id)?.unwrap_or_default().to_vec() {
            let decided = |fate: &Self, at: &RecordId| {
                let taken = (fate.taken)(at);
                (taken || (fate.kept)(at)).then_some(taken)
            };
            if self.any_above(&source, &mut known, &decided)? {
                falling.push(source);
            }
        }
        self.falls = known;
        Ok(Some(falling))
    }

    /// Whether it is so of a record or of any that it depends on: it is where `decided` says so, and of what is gone.
    fn any_above(
        &mut self,
        id: &RecordId,
        known: &mut HashMap<RecordId, bool>,
        decided: &dyn Fn(&Self, &RecordId) -> Option<bool>,
    ) -> Result<bool> {
        let mut path = vec![*id];
        let mut looked: BTreeSet<RecordId> = BTreeSet::new();
        while let Some(&at) = path.last() {
            if known.contains_key(&at) {
                path.pop();
                continue;
            }
            let is = match decided(self, &at) {
                Some(is) => Some(is),
                None => match self.sources(&at)? {
                    None => Some(true),
                    Some(sources) => {
                        let unknown: Vec<RecordId> =
                            sources.iter().filter(|s| !known.contains_key(s)).copied().collect();
                        if unknown.is_empty() || !looked.insert(at) {
                            Some(sources.iter().any(|s| known.get(s).copied().unwrap_or(false)))
                        } else {
                            path.extend(unknown);
                            None
                        }
                    }
                },
            };
            if let Some(is) = is {
                known.insert(at, is);
                path.pop();
            }
        }
        Ok(known.get(id).copied().unwrap_or(false))
    }
}
