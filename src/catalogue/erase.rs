//! One erase: its scope's pointers leave the tree, and its fence stays in their place.

use std::cmp::Ordering;

use super::defect::Defect;
use super::docket::Docket;
use super::edit::Edit;
use super::fell::{Fell, Links};
use super::hold::drop_idle_marks;
use super::hold_check::{check_part, check_record, check_user};
use super::keep::keep;
use super::keep_derived::keep_derived;
use super::life::new_unborn;
use super::part::Part;
use super::record::{erase_record, fence_record, is_there};
use super::resolve::look_up_whole;
use super::shard::check_home;
use super::span::Span;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, RecordId, Timestamp, UserId, UserTag};
use crate::scope::{Erase, Scope, When};
use crate::tree::lineage::Lineage;
use crate::tree::unborn::Unborn;
use crate::tree::user::UserPage;
use crate::tree::users::{Slot, SlotState};
use crate::tree::{Editor, Link, PageKind};

fn absent(what: &str) -> Error {
    Error::new(
        ErrorKind::Absent,
        format!("{what} is not in this store, which never gives such an id; nothing was erased"),
    )
}

/// Drops a scope's pointers in the tree and leaves its fence. If a mark refuses that, it is
/// looked whether the mark still counts.
pub(crate) fn apply(edit: &mut Edit<'_>, erase: &Erase) -> Result<Fell> {
    match drop_scope(edit, erase) {
        // Nothing was changed yet.
        Err(e) if e.kind() == ErrorKind::Held => {
            let user = erase.user(|user| edit.view.tag(user));
            match drop_idle_marks(edit, user) {
                Ok(true) => drop_scope(edit, erase),
                Err(other) if other.kind() != ErrorKind::Corrupt => Err(other),
                _ => Err(e),
            }
        }
        done => done,
    }
}

/// Drops a scope's pointers and leaves its fence. Checks come before the first change.
fn drop_scope(edit: &mut Edit<'_>, erase: &Erase) -> Result<Fell> {
    erase.check()?;
    let user = erase.user(|user| edit.view.tag(user));
    let epoch = edit.moment.epoch;
    let (editor, root) = edit.parts()?;
    let incarnation = match root.slot_mut(editor, user)? {
        Some(slot @ Slot { state: SlotState::Live(_), .. }) => {
            if is_whole(erase) {
                let whole = of_user(editor, slot, erase, user, epoch)?;
                if let Some(due) = whole.due {
                    edit.agenda.remove(&mut edit.editor, due, user)?;
                }
                return Ok(whole.fell(user));
            }
            slot.incarnation
        }
        Some(Slot { state: SlotState::Erased { .. }, .. }) => return Ok(Fell::already()),
        Some(Slot { state: SlotState::Unborn(_), .. }) | None => {
            return of_nobody(edit, erase, user);
        }
    };
    match erase.scope() {
        Scope::User { class, when, .. } => of_part(edit, erase, user, class.as_ref(), *when),
        Scope::Record(id) => match id.incarnation.cmp(&incarnation) {
            Ordering::Less => Ok(Fell::already()),
            Ordering::Greater => Err(absent("the life of this user that the record is of")),
            Ordering::Equal => of_record(edit, erase, id),
        },
    }
}

/// Whether an erase takes a user whole.
fn is_whole(erase: &Erase) -> bool {
    matches!(erase.scope(), Scope::User { class: None, when: When::Ever, .. })
        && erase.kept().is_empty()
}

/// Erases the live user of a slot whole. Damaged pages below must not keep it from being erased;
/// what was derived cannot be found then, and cannot be read either.
fn of_user(
    editor: &mut Editor<'_>,
    slot: &mut Slot,
    erase: &Erase,
    user: UserTag,
    epoch: u64,
) -> Result<Whole> {
    let (incarnation, alone) = (slot.incarnation, slot.alone);
    let SlotState::Live(link) = &mut slot.state else {
        return Ok(Whole::uncounted(None));
    };
    let certified = erase.request.is_some();
    let page_key = match link {
        Link::Stored(at) if certified => Some(at.key()),
        _ => None,
    };
    let unread = alone.filter(|_| !certified && matches!(link, Link::Stored(_)));
    let mut whole = match unread {
        Some(records) => Whole::uncounted(Some(records.into())),
        None => match look_at(editor, link, user, incarnation, certified) {
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                let docket = certified.then(|| Docket::unread(erase));
                Whole { docket, ..Whole::uncounted(None) }
            }
            looked => looked?,
        },
    };
    if let (Some(docket), Some(key)) = (&mut whole.docket, &page_key) {
        docket.add_key("key of the user's page", key);
    }
    slot.state = SlotState::Erased { epoch };
    Ok(whole)
}

/// What a user's page says before the user is erased whole.
struct Whole {
    records: Option<u64>,
    counts: Vec<(Class, u64)>,
    links: Vec<Links>,
    docket: Option<Docket>,
    due: Option<Timestamp>,
}

impl Whole {
    /// For a page that was not read, or could not be.
    fn uncounted(records: Option<u64>) -> Self {
        Whole { records, counts: Vec::new(), links: Vec::new(), docket: None, due: None }
    }

    fn fell(self, user: UserTag) -> Fell {
        let Whole { records, counts, links, docket, .. } = self;
        let spans = vec![Span::all(user)];
        Fell { records, user_gone: true, spans, links, docket, ..Fell::of(counts) }
    }
}

/// Reads the page of a user that is to be erased whole, and takes its links.
///
/// # Errors
/// `Held`; `Corrupt` if a page is damaged.
fn look_at(
    editor: &mut Editor<'_>,
    link: &mut Link<UserPage>,
    user: UserTag,
    incarnation: u16,
    certified: bool,
) -> Result<Whole> {
    let page = link.load_mut(editor, PageKind::User, Some(user))?;
    check_user(page)?;
    let counts: Vec<_> = page.counts().map(|(class, n)| (class.clone(), n)).collect();
    let docket = certified.then(|| Docket::of(editor, user, page)).transpose()?;
    let count = page.lineage.tree.count(editor, Lineage::place(user))?;
    let links =
        Links { owner: user, incarnation, tree: std::mem::take(&mut page.lineage.tree), count };
    Ok(Whole {
        records: Some(counts.iter().map(|(_, n)| n).sum()),
        counts,
        links: vec![links],
        docket,
        due: page.due,
    })
}

/// Erases a part of a live user.
fn of_part(
    edit: &mut Edit<'_>,
    erase: &Erase,
    user: UserTag,
    class: Option<&Class>,
    when: When,
) -> Result<Fell> {
    let (pages, moment) = (edit.pages(), edit.moment);
    let part = {
        let Some((_, page)) = edit.page(user)? else {
            return Ok(Fell::already());
        };
        let part = Part::of(page, user, class, erase.kept(), when)?;
        if part.is_erased(pages, page)? {
            return Ok(Fell::already());
        }
        check_part(pages, page, &part)?;
        let whole = !edit.means.planted.is(Defect::KeepUploads);
        if whole { part } else { part.without_uploads() }
    };
    if !erase.kept().is_empty() {
        keep(edit, &part, erase)?;
    }
    let derived_kept = match erase.derived_kept() {
        Some(reason) => keep_derived(edit, part.span(), reason)?,
        None => Vec::new(),
    };
    edit.user(user, |editor, page| {
        let mut docket =
            erase.request.as_ref().map(|_| Docket::of(editor, user, page)).transpose()?;
        if let Some(docket) = &mut docket {
            docket.derived_kept = derived_kept;
        }
        if let (Some(docket), Some((class, key))) = (&mut docket, part.whole_class(page)) {
            docket.add_key(&format!("key of class {class}"), &key);
        }
        let fell = part.erase(editor, page, &moment)?;
        Ok(Fell { docket, ..fell })
    })
}

/// Erases one record of a live user, in this life.
fn of_record(edit: &mut Edit<'_>, erase: &Erase, id: &RecordId) -> Result<Fell> {
    let (view, pages, epoch) = (edit.view, edit.pages(), edit.moment.epoch);
    // What fell with a source, and is still in lists, was erased with that.
    let fell_before = |e: Error| e.kind() == ErrorKind::Erased;
    if view.is_falling() && look_up_whole(&view, id).is_err_and(fell_before) {
        return Ok(Fell::already());
    }
    let there = edit.user(id.user, |_, page| match is_there(pages, page, id)? {
        true => check_record(pages, page, id).map(|()| true),
        false => Ok(false),
    })?;
    let derived_kept = match erase.derived_kept().filter(|_| there) {
        Some(reason) => keep_derived(edit, &Span::one(id), reason)?,
        None => Vec::new(),
    };
    edit.user(id.user, |editor, page| {
        let mut docket =
            erase.request.as_ref().map(|_| Docket::of(editor, id.user, page)).transpose()?;
        if let Some(docket) = &mut docket {
            docket.derived_kept = derived_kept;
        }
        let fell = match erase_record(editor, page, id, epoch)? {
            Some(fell) => fell,
            None => fence_record(editor, page, id, epoch)?,
        };
        Ok(Fell { docket: docket.filter(|_| !fell.already), ..fell })
    })
}

/// Leaves the fence of what nobody has here: what is on its way, or comes later, finds it. It keeps
/// no name.
fn of_nobody(edit: &mut Edit<'_>, erase: &Erase, tag: UserTag) -> Result<Fell> {
    let Scope::User { user, class, when } = erase.scope() else {
        // Class tags of a user who comes are drawn then: this id is never given.
        return Err(absent("the user of this record"));
    };
    check_home(&edit.view, edit.means.shard, tag)?;
    let docket = erase.request.as_ref().map(|_| Docket::nothing(user));
    if is_whole(erase) {
        let gone = Slot::never_here(edit.moment.epoch);
        set_slot(edit, tag, gone)?;
        return Ok(Fell { spans: vec![Span::all(tag)], docket, ..Fell::nothing() });
    }
    let mut page = take_unborn(edit, tag, user)?.born(user.clone(), edit.moment.clock.now);
    let part = Part::of(&page, tag, class.as_ref(), erase.kept(), *when)?;
    let moment = edit.moment;
    let fell = match part.is_erased(edit.pages(), &page)? {
        true => Fell::already(),
        false => Fell { docket, ..part.erase(&mut edit.editor, &mut page, &moment)? },
    };
    if page.fences.tree.root.is_some() {
        set_slot(edit, tag, Slot::unborn(Unborn::of(page)))?;
    }
    Ok(fell)
}

/// The page of a user to come, of whose name parts were erased before, or a fresh one.
fn take_unborn(edit: &mut Edit<'_>, tag: UserTag, user: &UserId) -> Result<Unborn> {
    let env = edit.means.env;
    let (editor, root) = edit.parts()?;
    match root.slot_mut(editor, tag)?.map(|slot| &mut slot.state) {
        Some(SlotState::Unborn(link)) => {
            Ok(link.load_mut(editor, PageKind::Unborn, Some(tag))?.take())
        }
        _ => new_unborn(env, user),
    }
}

fn set_slot(edit: &mut Edit<'_>, tag: UserTag, slot: Slot) -> Result<()> {
    let (editor, root) = edit.parts()?;
    match root.slot_mut(editor, tag)? {
        Some(there) => *there = slot,
        None => root.insert(editor, tag, slot)?,
    }
    Ok(())
}
