//! Records: putting, opening, listing.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::engine::batch::Batch;
use crate::engine::edit::Edit;
use crate::engine::read::{self, Listing, Query, absent, look_up};
use crate::engine::reader::{Needs, Reader, Via};
use crate::engine::{Inner, State};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp, UserId};
use crate::limits::LIST_MAX;
use crate::record::{self, Put, RecordInfo};
use crate::secret::WipeStack;
use crate::tree::user::UserPage;
use crate::tree::users::{Found, Slot, SlotState, find, visit};
use crate::tree::{Node, PageKind, Pages};

pub(super) fn put(inner: &Arc<Inner>, put: Put, payload: impl Read) -> Result<RecordId> {
    let mut batch = Batch::new(Arc::clone(inner));
    batch.add(put, payload)?;
    batch.commit()?.pop().ok_or_else(|| unreachable!("one record was added"))
}

pub(super) fn create_user(inner: &Arc<Inner>, user: &UserId) -> Result<()> {
    let _wiped = WipeStack;
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
            Some(slot) if matches!(slot.state, SlotState::Unborn(_)) => {
                inner.bear(editor, tag, slot, user)?
            }
            Some(slot) => {
                slot.incarnation = slot.incarnation.checked_add(1).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Refused,
                        "this user was created 65,535 times; choose another name",
                    )
                })?;
                let mut page = inner.new_user(user, slot.incarnation)?;
                // What began when the life before ended, or sooner, is none of this one's; in
                // doubt, as for any erase, from where the clock is believed to what it shows.
                let began = inner.new_interaction(&state)?.began();
                let sure = inner
                    .reading(&state)
                    .sure()
                    .max(Timestamp(state.head.floor.0.saturating_add(1)));
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

/// Opens a record; `named` says whether the reader was recorded in the access log.
pub(super) fn open(inner: &Arc<Inner>, id: &RecordId, named: bool) -> Result<Reader> {
    let _wiped = WipeStack;
    inner.check_usable()?;
    open_in(inner, &inner.state(), id, named, None)
}

/// Opens a record as it stands in one state; `via` says by which grants.
pub(super) fn open_in(
    inner: &Arc<Inner>,
    state: &State,
    id: &RecordId,
    named: bool,
    via: Option<Via>,
) -> Result<Reader> {
    let pages = inner.pages();
    let (page, entry) = look_up(&pages, &state.head.roots.users, state.head.geometry, id)?;
    let class = page.class(id.class).map(|c| c.class.clone()).ok_or_else(|| absent(id))?;
    let rules = inner.rules(state, &pages, id.user, &page)?;
    if !named && rules.of(&class, &entry.purpose).is_some_and(|p| p.readers_named) {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "by its policy who reads class {class} is written down; say who, and what for \
                 (--as, --purpose)"
            ),
        ));
    }
    let context =
        record::payload_context(inner.realm, id.user, id.incarnation, &class, id.interaction);
    let info = read::info(id, &page.user, &class, &entry);
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

pub(super) fn info(inner: &Arc<Inner>, id: &RecordId) -> Result<RecordInfo> {
    let _wiped = WipeStack;
    inner.check_usable()?;
    let state = inner.state();
    let (page, entry) = inner.look_up_whole(&state, id)?;
    let class = page.class(id.class).ok_or_else(|| absent(id))?;
    Ok(read::info(id, &page.user, &class.class, &entry))
}

pub(super) fn list(inner: &Arc<Inner>, query: &Query) -> Result<Listing> {
    let _wiped = WipeStack;
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
            let page =
                UserPage::decode(&inner.pages().load(PageKind::User, Some(after.user), &page)?)?;
            inner.list_user(
                &mut fallen,
                after.user,
                &page,
                query,
                limit + 1,
                &mut listing.records,
            )?;
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
                inner.list_user(
                    &mut fallen,
                    tag,
                    &page,
                    &query,
                    limit + 1,
                    &mut listing.records,
                )?;
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

pub(super) fn users(
    inner: &Arc<Inner>,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<(UserId, u64)>> {
    let _wiped = WipeStack;
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
