//! Reading: look-ups and listings.

use std::io::Write;
use std::ops::ControlFlow;

use super::lineage::Resolver;
use super::reader::{Needs, Reader, Via};
use super::{Engine, Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::LIST_MAX;
use crate::record::{self, Entry, RecordInfo};
use crate::secret::WipeStack;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, OrderedKey, Range};
use crate::tree::user::{ClassSlot, UserPage, class_place, record_key, split_record_key};
use crate::tree::users::{Found, find, visit};
use crate::tree::{Geometry, Node, PageKind, Pages, Ref};

/// A span of records that an erase takes from one user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selector {
    pub(super) user: UserTag,
    pub(super) class: Option<ClassTag>,
    pub(super) low: OrderedKey,
    pub(super) high: OrderedKey,
}

impl Selector {
    pub(super) fn takes(&self, id: &RecordId) -> bool {
        let key = record_key(id.interaction, id.ordinal);
        self.user == id.user && self.class.is_none_or(|c| c == id.class) && (self.low..=self.high).contains(&key)
    }
}

pub(super) fn record_erased(id: &RecordId) -> Error {
    Error::new(ErrorKind::Erased, format!("record {id} was erased; it does not come back"))
}

fn absent(id: &RecordId) -> Error {
    Error::new(ErrorKind::Absent, format!("no record {id} in this store; `Engine::list` shows what there is"))
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Of one user; otherwise of all, user after user in no order that means anything.
    pub user: Option<UserId>,
    /// Of one class.
    pub class: Option<Class>,
    /// Of one interaction.
    pub interaction: Option<InteractionId>,
    /// Of interactions that began then or later: [`Put::created`](crate::Put::created) does not count.
    pub from: Option<Timestamp>,
    /// Of interactions that began before.
    pub until: Option<Timestamp>,
    /// Newest interaction first; the default is oldest first.
    pub newest_first: bool,
    /// At most so many; 0 is the most there can be, 10,000.
    pub limit: usize,
    /// Behind this record, which the page before gave as `next`.
    pub after: Option<RecordId>,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The records.
    pub records: Vec<RecordInfo>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<RecordId>,
}

impl Engine {
    /// Opens a record.
    ///
    /// # Errors
    /// `Erased`, `Absent` and `Corrupt` are three different answers; `Refused` where a policy wants readers named
    /// ([`Engine::get_as`]); `Poisoned`, `Io`.
    pub fn get(&self, id: &RecordId) -> Result<Reader> {
        self.open_record(id, false)
    }

    /// Opens a record for who is written down, or for nobody.
    pub(super) fn open_record(&self, id: &RecordId, named: bool) -> Result<Reader> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        self.open_in(&self.inner.state(), id, named, None)
    }

    /// Opens a record as it stands in one state; `via` says by which grants.
    pub(super) fn open_in(&self, state: &State, id: &RecordId, named: bool, via: Option<Via>) -> Result<Reader> {
        let inner = &self.inner;
        let pages = inner.pages();
        let (page, entry) = look_up(&pages, &state.head.roots.users, state.head.geometry, id)?;
        let class = page.class(id.class).map(|c| c.class.clone()).ok_or_else(|| absent(id))?;
        let rules = inner.rules(state, &pages, id.user, &page)?;
        if !named && rules.of(&class, &entry.purpose).is_some_and(|p| p.readers_named) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "by its policy who reads class {class} is written down; say who, and what for, with `Engine::get_as`"
                ),
            ));
        }
        let context = record::payload_context(inner.realm, id.user, id.incarnation, &class, id.interaction);
        let info = info(id, &page.user, &class, &entry);
        let (secret, first) = (entry.secret.duplicate(), entry.first);
        let (root, needs) = if entry.stands_alone() {
            (entry.secret, Needs::new())
        } else {
            let mut resolver = inner.resolver(&pages, state);
            let root = resolver.resolve_read(id, &page, entry)?.duplicate();
            (root, resolver.seen())
        };
        Ok(Reader::new(inner, needs, (secret, first, root, context), (info, state.head.geometry), via))
    }

    /// Writes a record to `out` and returns its length.
    ///
    /// # Errors
    /// As [`Engine::get`]. Where it fails in the middle, `out` holds a part of the record.
    pub fn get_to(&self, id: &RecordId, out: &mut impl Write) -> Result<u64> {
        self.get(id)?.write_to(out)
    }

    /// A record's metadata.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn info(&self, id: &RecordId) -> Result<RecordInfo> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let (page, entry) = self.inner.look_up_whole(&state, id)?;
        let class = page.class(id.class).ok_or_else(|| absent(id))?;
        Ok(info(id, &page.user, &class.class, &entry))
    }

    /// Lists records, a page at a time.
    ///
    /// # Errors
    /// `Erased` or `Absent` for a user that was erased or never was here; `Corrupt`, `Io`.
    pub fn list(&self, query: &Query) -> Result<Listing> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        let limit = if query.limit == 0 { LIST_MAX } else { query.limit.min(LIST_MAX) };
        let state = inner.state();
        let mut listing = Listing::default();
        let source = inner.pages();
        // While an erase is still being followed, what it made unreadable stands in the tree.
        let mut fallen = state.head.roots.falling.is_some().then(|| inner.resolver(&source, &state));
        if let Some(user) = &query.user {
            let (tag, page) = inner.user_page(&state, user)?;
            inner.list_user(&mut fallen, tag, &page, query, limit + 1, &mut listing.records)?;
        } else {
            if let Some(after) = &query.after
                && let Found::Live { page, .. } =
                    find(&inner.pages(), &state.head.roots.users, state.head.geometry, after.user)?
            {
                let page = UserPage::decode(&inner.pages().load(PageKind::User, Some(after.user), &page)?)?;
                inner.list_user(&mut fallen, after.user, &page, query, limit + 1, &mut listing.records)?;
            }
            let behind = query.after.map(|a| a.user);
            let pages = inner.pages();
            visit(&pages, &state.head.roots.users, state.head.geometry, behind, &mut |tag, found| {
                if listing.records.len() > limit {
                    return Ok(ControlFlow::Break(()));
                }
                if let Found::Live { page, .. } = found {
                    let page = UserPage::decode(&pages.load(PageKind::User, Some(tag), &page)?)?;
                    let query = Query { after: None, ..query.clone() };
                    inner.list_user(&mut fallen, tag, &page, &query, limit + 1, &mut listing.records)?;
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        if listing.records.len() > limit {
            listing.records.truncate(limit);
            listing.next = listing.records.last().map(|r| r.id);
        }
        Ok(listing)
    }

    /// Users that are not erased, with the number of their records: at most `limit`, behind the user `after`. Where an erase
    /// is still being followed, this finishes it first ([`Engine::tend`]).
    ///
    /// # Errors
    /// `Corrupt`, `Io`; as [`Engine::tend`].
    pub fn users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<(UserId, u64)>> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        inner.tend_first()?;
        let state = inner.state();
        let behind = after.map(|user| inner.user_tag(&state, user));
        let pages = inner.pages();
        let mut users = Vec::new();
        visit(&pages, &state.head.roots.users, state.head.geometry, behind, &mut |tag, found| {
            if users.len() == limit {
                return Ok(ControlFlow::Break(()));
            }
            if let Found::Live { page, .. } = found {
                let page = UserPage::decode(&pages.load(PageKind::User, Some(tag), &page)?)?;
                let records = page.records();
                users.push((page.user, records));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(users)
    }
}

fn info(id: &RecordId, user: &UserId, class: &Class, entry: &Entry) -> RecordInfo {
    RecordInfo {
        id: *id,
        user: user.clone(),
        interaction: id.interaction,
        class: class.clone(),
        media_type: entry.media_type.clone(),
        purpose: (*entry.purpose).clone(),
        created: entry.created,
        length: entry.length,
        sources: entry.sources,
        detached: entry.detached,
    }
}

impl Inner {
    /// The page of a user that lives.
    ///
    /// # Errors
    /// `Erased` or `Absent` for one that was erased or never was here; `Corrupt`, `Io`.
    pub(super) fn user_page(&self, state: &State, user: &UserId) -> Result<(UserTag, UserPage)> {
        let tag = self.user_tag(state, user);
        let pages = self.pages();
        match find(&pages, &state.head.roots.users, state.head.geometry, tag)? {
            Found::Live { page, .. } => Ok((tag, UserPage::decode(&pages.load(PageKind::User, Some(tag), &page)?)?)),
            Found::Erased { epoch, .. } => {
                Err(Error::new(ErrorKind::Erased, format!("this user was erased, in epoch {epoch}")))
            }
            Found::Absent | Found::Unborn { .. } => Err(Error::new(ErrorKind::Absent, "no such user in this store")),
        }
    }

    /// The page of a user that lives, by tag.
    pub(super) fn page_at(&self, state: &State, user: UserTag) -> Result<Option<UserPage>> {
        let pages = self.pages();
        match find(&pages, &state.head.roots.users, state.head.geometry, user)? {
            Found::Live { page, .. } => Ok(Some(UserPage::decode(&pages.load(PageKind::User, Some(user), &page)?)?)),
            _ => Ok(None),
        }
    }

    /// Looks a record up, and sees that everything it depends on is there.
    pub(super) fn look_up_whole(&self, state: &State, id: &RecordId) -> Result<(UserPage, Entry)> {
        let pages = self.pages();
        let (page, entry) = look_up(&pages, &state.head.roots.users, state.head.geometry, id)?;
        if entry.sources > 0 {
            self.resolver(&pages, state).resolve(id)?;
        }
        Ok((page, entry))
    }

    /// Appends records of one user in order of interaction, class, ordinal, until `out` holds `limit`.
    fn list_user(
        &self,
        fallen: &mut Option<Resolver<'_>>,
        tag: UserTag,
        page: &UserPage,
        query: &Query,
        limit: usize,
        out: &mut Vec<RecordInfo>,
    ) -> Result<()> {
        let wanted = query.class.as_ref().map(|c| page.class_tag(c));
        let (mut low, mut high) = (KEY_MIN, KEY_MAX);
        if let Some(id) = query.interaction {
            (low, high) = (record_key(id, 0), record_key(id, u32::MAX));
        }
        if let Some(from) = query.from {
            let mut bound = KEY_MIN;
            bound[..6].copy_from_slice(&ms(from));
            low = low.max(bound);
        }
        if let Some(until) = query.until {
            let Some(last) = until.0.checked_sub(1) else {
                return Ok(());
            };
            let mut bound = KEY_MAX;
            bound[..6].copy_from_slice(&ms(Timestamp(last)));
            high = high.min(bound);
        }
        let mut found: Vec<(InteractionId, ClassTag, u32, RecordInfo)> = Vec::new();
        for slot in page.classes.iter().filter(|c| wanted.is_none_or(|w| w == c.tag)) {
            let Some((low, high)) = behind(query, slot, tag, low, high) else {
                continue;
            };
            let (mut n, room) = (0, limit.saturating_sub(out.len()));
            let range = Range { low: &low, high: &high, descending: query.newest_first };
            slot.tree.scan(&self.pages(), class_place(tag), range, &mut |key, value| {
                let (interaction, ordinal) = split_record_key(key)?;
                let id = RecordId { interaction, user: tag, incarnation: page.incarnation, class: slot.tag, ordinal };
                let entry = Entry::decode(value)?;
                if let Some(resolver) = fallen.as_mut().filter(|_| entry.sources > 0) {
                    match resolver.resolve(&id) {
                        Err(e) if e.kind() == ErrorKind::Erased => return Ok(ControlFlow::Continue(())),
                        resolved => resolved.map(|_| ())?,
                    }
                }
                found.push((interaction, slot.tag, ordinal, info(&id, &page.user, &slot.class, &entry)));
                n += 1;
                Ok(if n >= room { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
        }
        found.sort_by(|a, b| {
            let order = (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2));
            if query.newest_first { order.reverse() } else { order }
        });
        let room = limit.saturating_sub(out.len());
        out.extend(found.into_iter().take(room).map(|(.., info)| info));
        Ok(())
    }
}

/// Finds a record's entry below the root page `users`.
///
/// # Errors
/// `Erased`, `Absent`, `Corrupt`.
pub(super) fn look_up(pages: &dyn Pages, users: &Ref, geometry: Geometry, id: &RecordId) -> Result<(UserPage, Entry)> {
    let (incarnation, at) = match find(pages, users, geometry, id.user)? {
        Found::Live { incarnation, page, .. } => (incarnation, page),
        Found::Erased { incarnation, .. } if id.incarnation <= incarnation => {
            return Err(record_erased(id));
        }
        _ => return Err(absent(id)),
    };
    match id.incarnation.cmp(&incarnation) {
        std::cmp::Ordering::Less => return Err(record_erased(id)),
        std::cmp::Ordering::Greater => return Err(absent(id)),
        std::cmp::Ordering::Equal => {}
    }
    let page = UserPage::decode(&pages.load(PageKind::User, Some(id.user), &at)?)?;
    let key = record_key(id.interaction, id.ordinal);
    let place = class_place(id.user);
    let value = match page.class(id.class) {
        Some(slot) => slot.tree.get(pages, place, &key)?,
        None => None,
    };
    match value {
        Some(value) => Ok((page, Entry::decode(&value)?)),
        None => {
            let what = (id.class, id.interaction, Some(id.ordinal));
            let fenced = page.fences.cover(pages, id.user, &page.fence_key, what)?;
            Err(if fenced { record_erased(id) } else { absent(id) })
        }
    }
}

fn ms(time: Timestamp) -> Vec<u8> {
    time.0.min((1 << 48) - 1).to_be_bytes()[2..].to_vec()
}

/// Narrows a class's range to what lies behind the cursor.
fn behind(
    query: &Query,
    slot: &ClassSlot,
    user: UserTag,
    low: OrderedKey,
    high: OrderedKey,
) -> Option<(OrderedKey, OrderedKey)> {
    let Some(after) = query.after.filter(|a| a.user == user) else {
        return Some((low, high));
    };
    let at = record_key(after.interaction, after.ordinal);
    let (mut low, mut high) = (low, high);
    if query.newest_first {
        // Descending: classes before the cursor's come later within the interaction.
        let bound = match slot.tag.cmp(&after.class) {
            std::cmp::Ordering::Less => record_key(after.interaction, u32::MAX),
            std::cmp::Ordering::Equal => step(at, false)?,
            std::cmp::Ordering::Greater => step(record_key(after.interaction, 0), false)?,
        };
        high = high.min(bound);
    } else {
        let bound = match slot.tag.cmp(&after.class) {
            std::cmp::Ordering::Less => step(record_key(after.interaction, u32::MAX), true)?,
            std::cmp::Ordering::Equal => step(at, true)?,
            std::cmp::Ordering::Greater => record_key(after.interaction, 0),
        };
        low = low.max(bound);
    }
    (low <= high).then_some((low, high))
}

/// The key next to `key`.
fn step(key: OrderedKey, up: bool) -> Option<OrderedKey> {
    let mut wide = [0; 32];
    wide[12..].copy_from_slice(&key);
    let (high, low) =
        (u128::from_be_bytes(wide[..16].try_into().ok()?), u128::from_be_bytes(wide[16..].try_into().ok()?));
    let (low, carry) = if up { low.overflowing_add(1) } else { low.overflowing_sub(1) };
    let high = match (carry, up) {
        (false, _) => high,
        (true, true) => high + 1,
        (true, false) => high.checked_sub(1)?,
    };
    if high >> 32 != 0 {
        return None;
    }
    let mut out = [0; 20];
    out[..4].copy_from_slice(&(high as u32).to_be_bytes());
    out[4..].copy_from_slice(&low.to_be_bytes());
    Some(out)
}
