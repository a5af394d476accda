//! Records: putting, opening, listing.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::catalogue::edit::Edit;
use crate::catalogue::info::{label_of, listed, whole};
use crate::catalogue::interactions::{self, Interactions};
use crate::catalogue::life::create;
use crate::catalogue::list;
use crate::catalogue::name;
use crate::catalogue::query::{Listing, Query};
use crate::catalogue::resolve::{Needs, resolver};
use crate::catalogue::seal_pages::seal;
use crate::catalogue::view::{View, absent};
use crate::engine::batch::put_one;
use crate::engine::commit::{Commit, publish};
use crate::engine::core::Core;
use crate::engine::keys::RecordKeys;
use crate::engine::reader::Reader;
use crate::engine::readers::By;
use crate::engine::ready::ready;
use crate::engine::run_due::run_due_first;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, UserHandle, UserId};
use crate::record::layout::payload_context;
use crate::record::{Put, RecordInfo};
use crate::secret::WipeStack;
use crate::tree::or_go_on;
use crate::tree::users::Found;

pub(super) fn put(inner: &Arc<Core>, put: Put, payload: impl Read) -> Result<RecordId> {
    put_one(inner, put, payload, None)
}

pub(super) fn create_user(inner: &Core, user: &UserId) -> Result<()> {
    let _wiped = WipeStack;
    let mut writer = inner.writer();
    ready(inner, &mut writer)?;
    let mut commit = {
        let state = inner.state();
        let pages = inner.pages();
        let mut edit = Edit::new(inner.start(&state, &pages));
        if !create(&mut edit, user)? {
            return Ok(());
        }
        Commit::from(seal(edit, inner.next_head(&state))?)
    };
    commit.change.head.users += 1;
    publish(inner, &mut writer, commit).map(|_| ())
}

pub(super) fn handle(inner: &Core, user: &UserId) -> Result<UserHandle> {
    inner.look(|view| {
        let (user, page) = view.user(user)?;
        Ok(UserHandle { user, incarnation: page.incarnation })
    })
}

pub(super) fn user_of(inner: &Core, handle: &UserHandle) -> Result<UserId> {
    inner.look(|view| view.life(handle).map(|page| page.user))
}

/// Opens a record; `named` says whether the reader was recorded in the access log.
pub(super) fn open(inner: &Arc<Core>, id: &RecordId, named: bool) -> Result<Reader> {
    let _wiped = WipeStack;
    inner.check_readable()?;
    inner.look_at(|_, view| open_in(inner, view, id, named, By::Owner))
}

/// Opens a record as one state has it, by what `by` says.
pub(super) fn open_in(
    inner: &Arc<Core>,
    view: &View<'_>,
    id: &RecordId,
    named: bool,
    by: By,
) -> Result<Reader> {
    let (page, entry) = view.users().look_up(id)?;
    let slot = page.class(id.class).ok_or_else(|| absent(id))?;
    let class = slot.class.clone();
    let rules = view.rules(id.user, &page)?;
    if !named && rules.of(&class, &entry.purpose).is_some_and(|p| p.readers_named) {
        return Err(Error::new(
            ErrorKind::Refused,
            format!(
                "the policy requires readers of class {class} to be recorded; say who reads, and what for, with `Engine::get_as`"
            ),
        ));
    }
    let context = payload_context(inner.realm, id.user, id.incarnation, &class, id.interaction);
    let label = label_of(view.pages, id.user, slot, id, &entry)?;
    let mut info = listed(id, &page.user, &class, &entry, label.as_ref())?;
    let (secret, body) = (entry.secret.duplicate(), entry.body.duplicate());
    let (root, needs) = if entry.stands_alone() {
        (entry.secret, Needs::new())
    } else {
        let mut resolver = resolver(view);
        let (root, _) = resolver.resolve(id)?;
        info.digest = entry.digest(root, &context)?;
        (root.duplicate(), resolver.seen())
    };
    let opened = RecordKeys { secret, body, root, context };
    Ok(Reader::new(inner, info, view.head.geometry, opened, needs, by))
}

pub(super) fn info(inner: &Core, id: &RecordId) -> Result<RecordInfo> {
    inner.look(|view| {
        let (page, entry) = view.users().look_up(id)?;
        whole(view, id, &page, &entry, None)
    })
}

pub(super) fn find(inner: &Core, user: &UserId, name: &str) -> Result<RecordInfo> {
    inner.look(|view| name::find(view, user, name))
}

pub(super) fn list(inner: &Core, query: &Query) -> Result<Listing> {
    inner.look(|view| list::list(view, query))
}

pub(super) fn interactions(inner: &Core, query: &Query) -> Result<Interactions> {
    inner.look(|view| interactions::interactions(view, query))
}

pub(super) fn users(
    inner: &Core,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<(UserId, u64)>> {
    let _wiped = WipeStack;
    inner.check_readable()?;
    run_due_first(inner)?;
    inner.look(|view| {
        let (tree, mut users, mut passed) = (view.users(), Vec::new(), 0);
        tree.visit(after.map(|user| view.tag(user)), &mut |tag, found| {
            if users.len() + passed == limit {
                return Ok(ControlFlow::Break(()));
            }
            if let Found::Live { page, .. } = found {
                match or_go_on(view.pages, tree.page(tag, &page))? {
                    Some(page) => {
                        let records = page.records();
                        users.push((page.user, records));
                    }
                    None => passed += 1,
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(users)
    })
}
