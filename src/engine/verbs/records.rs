//! Records: putting, opening, listing.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::engine::batch::Batch;
use crate::engine::edit::Edit;
use crate::engine::read::{Listing, Query, absent, info, look_up};
use crate::engine::reader::{Needs, Reader, Via};
use crate::engine::{Engine, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{InteractionId, RecordId, Timestamp, UserId};
use crate::limits::LIST_MAX;
use crate::record::{self, Put, RecordInfo};
use crate::secret::WipeStack;
use crate::tree::user::UserPage;
use crate::tree::users::{Found, Slot, SlotState, find, visit};
use crate::tree::{Node, PageKind, Pages};

impl Engine {
    /// Puts one record, durably, and returns its id.
    ///
    /// # Errors
    /// `Erased` where the user, the interaction or this class of it, or a record that it is derived from was erased, also
    /// while the payload streamed in; `Invalid`, `Refused` for a bad request; `Full`, `Io`; `Copy` where a copy in step did not take it.
    pub fn put(&self, put: Put, payload: impl Read) -> Result<RecordId> {
        let mut batch = self.batch();
        batch.add(put, payload)?;
        batch.commit()?.pop().ok_or_else(|| unreachable!("one record was added"))
    }

    /// Begins a batch.
    pub fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.inner))
    }

    /// Begins an interaction now; its id orders behind all that began before.
    ///
    /// # Errors
    /// `Io` where the system's generator fails.
    pub fn new_interaction(&self) -> Result<InteractionId> {
        self.inner.new_interaction(&self.inner.state())
    }

    /// Creates a user without records; a user that was erased is created anew. Does nothing for one that is there.
    ///
    /// # Errors
    /// As [`Engine::put`].
    pub fn create_user(&self, user: &UserId) -> Result<()> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        let mut writer = inner.writer();
        inner.ready(&mut writer)?;
        let mut change = {
            let state = inner.state();
            let tag = inner.user_tag(&state, user);
            let pages = inner.pages();
            let mut edit = Edit::new(&state, &pages);
            let (editor, root) = edit.parts()?;
            match root.slot_mut(editor, tag)? {
                Some(Slot { state: SlotState::Live(_), .. }) => return Ok(()),
                Some(slot) if matches!(slot.state, SlotState::Unborn(_)) => inner.bear(editor, tag, slot, user)?,
                Some(slot) => {
                    slot.incarnation = slot.incarnation.checked_add(1).ok_or_else(|| {
                        Error::new(ErrorKind::Refused, "this user was created 65,535 times; choose another name")
                    })?;
                    let mut page = inner.new_user(user, slot.incarnation)?;
                    // What began when the life before ended, or sooner, is none of this one's; in doubt, as for any erase, from where the clock
                    // is believed to what it shows.
                    let began = inner.new_interaction(&state)?.began();
                    let sure = inner.reading(&state).sure().max(Timestamp(state.head.floor.0.saturating_add(1)));
                    page.created = began.min(sure);
                    let in_doubt = (page.created.0, began.0.saturating_sub(1));
                    page.fences.add_doubted(editor, tag, None, in_doubt, state.stored.id.epoch)?;
                    *slot = Slot::new(slot.incarnation, page);
                }
                None => {
                    let page = inner.new_user(user, 1)?;
                    root.insert(editor, tag, Slot::new(1, page))?;
                }
            }
            inner.change(&state, edit)?
        };
        change.head.users += 1;
        inner.publish(&mut writer, change).map(|_| ())
    }

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
                    "by its policy who reads class {class} is written down; say who, and what for (--as, --purpose)"
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
