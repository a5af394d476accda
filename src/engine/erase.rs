//! Erasing: drop the pointers, rekey the path, have the cell destroy the old root key. Scopes that wait at once share
//! one commit.

use std::sync::Arc;

use super::read::Selector;
use super::{Engine, Inner, Writer, locked};
use crate::cell::Retirement;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::secret::WipeStack;
use crate::sync::Mutex;
use crate::tree::fences::Point;
use crate::tree::head::HeadPage;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, OrderedKey, Range};
use crate::tree::user::{UserPage, class_place, record_key, split_record_key};
use crate::tree::users::{Slot, SlotState, UsersNode};
use crate::tree::{Editor, Link, PageKind};

/// Which of a user's interactions a scope takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All of them.
    Ever,
    /// One.
    Interaction(InteractionId),
    /// Those that began at `from` or later, and before `until`. An interaction goes whole, by the time at which it began.
    Between {
        /// Inclusive; `None`: from the beginning.
        from: Option<Timestamp>,
        /// Exclusive; `None`: until now.
        until: Option<Timestamp>,
    },
}

/// What one erase names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A user, or one class of it, or its interactions of some time.
    User {
        /// Whose.
        user: UserId,
        /// Only this class.
        class: Option<Class>,
        /// Only these interactions.
        when: When,
    },
    /// One record.
    Record(RecordId),
}

impl Scope {
    /// Everything of a user.
    pub fn user(user: UserId) -> Self {
        Scope::User { user, class: None, when: When::Ever }
    }

    /// A class of a user.
    pub fn class(user: UserId, class: Class) -> Self {
        Scope::User { user, class: Some(class), when: When::Ever }
    }

    /// One interaction of a user.
    pub fn interaction(user: UserId, id: InteractionId) -> Self {
        Scope::User { user, class: None, when: When::Interaction(id) }
    }
}

/// What an erase did. It is returned when the erase is complete, never before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The epoch that began with it.
    pub epoch: u64,
    /// Records that fell; `None` where damaged pages kept them from being counted.
    pub records: Option<u64>,
    /// Whether the scope had been erased before, and nothing was left to do.
    pub already: bool,
    /// What the cell said of the old root key.
    pub retirement: Retirement,
    /// When it was complete.
    pub completed: Timestamp,
}

/// An erase in the queue.
pub(super) struct Waiting {
    scope: Scope,
    outcome: Mutex<Option<Result<Erasure>>>,
}

struct Applied {
    records: Option<u64>,
    already: bool,
    /// Whether the user itself is gone now.
    user_gone: bool,
    selector: Selector,
}

fn absent(what: &str) -> Error {
    Error::new(ErrorKind::Absent, format!("{what} is not in this store; nothing was erased"))
}

fn copy_of(e: &Error) -> Error {
    Error::new(e.kind(), e.to_string())
}

impl Engine {
    /// Erases a scope and returns when it is complete: the new pages are durable on every copy in step, the old root
    /// key is destroyed as far as the cell promises, no reader delivers a byte of the scope any more.
    ///
    /// # Errors
    /// `Absent` where there is no such user, interaction or record; `Copy` where a copy in step is out of reach: the
    /// old root key stays until it is back or removed; `Io`, `Full`.
    pub fn erase(&self, scope: Scope) -> Result<Erasure> {
        let _wiped = WipeStack;
        let mine = Arc::new(Waiting { scope, outcome: Mutex::new(None) });
        locked(&self.inner.waiting).push(Arc::clone(&mine));
        let mut writer = self.inner.writer();
        if let Some(outcome) = locked(&mine.outcome).take() {
            return outcome;
        }
        let all: Vec<Arc<Waiting>> = std::mem::take(&mut *locked(&self.inner.waiting));
        let scopes: Vec<&Scope> = all.iter().map(|w| &w.scope).collect();
        let outcomes = self.inner.erase_all(&mut writer, &scopes);
        for (waiting, outcome) in all.iter().zip(outcomes) {
            *locked(&waiting.outcome) = Some(outcome);
        }
        locked(&mine.outcome).take().unwrap_or_else(|| unreachable!("it was in the queue"))
    }

    /// Erases many scopes in one commit, each with an outcome of its own.
    pub fn erase_all(&self, scopes: &[Scope]) -> Vec<Result<Erasure>> {
        let _wiped = WipeStack;
        let mut writer = self.inner.writer();
        self.inner.erase_all(&mut writer, &scopes.iter().collect::<Vec<_>>())
    }
}

impl Inner {
    fn erase_all(&self, writer: &mut Writer, scopes: &[&Scope]) -> Vec<Result<Erasure>> {
        match self.erase_together(writer, scopes) {
            Ok(outcomes) => outcomes,
            Err(e) => scopes.iter().map(|_| Err(copy_of(&e))).collect(),
        }
    }

    fn erase_together(&self, writer: &mut Writer, scopes: &[&Scope]) -> Result<Vec<Result<Erasure>>> {
        self.ready(writer)?;
        let epoch = writer.root.id.epoch + 1;
        let now = self.options.env.now();
        let (mut applied, change) = {
            let state = self.state();
            let pages = self.pages();
            let mut editor = Editor { pages: &pages, geometry: state.head.geometry, replaced: Vec::new() };
            let mut users = Link::Stored(state.head.root.duplicate());
            let root = users.load_mut(&mut editor, PageKind::Users, None)?;
            let mut applied = Vec::with_capacity(scopes.len());
            let mut gone = 0;
            for scope in scopes {
                let tag = match scope {
                    Scope::User { user, .. } => self.user_tag(&state, user),
                    Scope::Record(id) => id.user,
                };
                match apply(&mut editor, root, tag, scope, (epoch, now)) {
                    Ok(done) => {
                        gone += u64::from(done.user_gone);
                        applied.push(Ok(done));
                    }
                    Err(e) if matches!(e.kind(), ErrorKind::Absent | ErrorKind::Invalid) => applied.push(Err(e)),
                    Err(e) => return Err(e),
                }
            }
            let changed = applied.iter().flatten().any(|a| !a.already);
            let change = if changed {
                let mut change = self.change(&state, editor.replaced, users)?;
                change.head.users -= gone;
                change.head.floor = change.head.floor.max(now);
                change.root = Some(self.next_root(writer, epoch, &change.head)?);
                change.erased = applied.iter().flatten().filter(|a| !a.already).map(|a| a.selector).collect();
                Some(change)
            } else {
                None
            };
            (applied, change)
        };
        let retirement = match change {
            Some(change) => self.publish(writer, change)?.unwrap_or(Retirement::Destroyed),
            None => Retirement::Destroyed,
        };
        let completed = self.options.env.now();
        let epoch = writer.root.id.epoch;
        Ok(applied
            .drain(..)
            .map(|a| a.map(|a| Erasure { epoch, records: a.records, already: a.already, retirement, completed }))
            .collect())
    }

    fn next_root(&self, writer: &Writer, epoch: u64, head: &HeadPage) -> Result<crate::cell::RootKey> {
        #[cfg(feature = "testing")]
        if self.defect(super::Defect::KeepRootKey) {
            let id = super::open::draw_root(&*self.options.env, epoch, head)?.id;
            return Ok(crate::cell::RootKey { id, key: writer.root.key.duplicate() });
        }
        let _ = writer;
        super::open::draw_root(&*self.options.env, epoch, head)
    }
}

/// Drops a scope's pointers in the tree and leaves its fence. Checks come before the first change.
fn apply(
    editor: &mut Editor<'_>,
    root: &mut UsersNode,
    tag: UserTag,
    scope: &Scope,
    (epoch, now): (u64, Timestamp),
) -> Result<Applied> {
    let whole = Selector { user: tag, class: None, low: KEY_MIN, high: KEY_MAX };
    let already = |selector| Applied { records: Some(0), already: true, user_gone: false, selector };
    let Some(slot) = root.slot_mut(editor, tag)? else {
        return Err(absent("this user"));
    };
    let Slot { incarnation, state } = slot;
    let SlotState::Live(link) = state else {
        return Ok(already(whole));
    };
    match scope {
        Scope::User { class: None, when: When::Ever, .. } => {
            // Damaged pages below must not keep a user from being erased.
            let records = match link.load_mut(editor, PageKind::User, Some(tag)) {
                Ok(page) => Some(page.records()),
                Err(e) if e.kind() == ErrorKind::Corrupt => None,
                Err(e) => return Err(e),
            };
            *state = SlotState::Erased { epoch };
            Ok(Applied { records, already: false, user_gone: true, selector: whole })
        }
        Scope::User { class, when, .. } => {
            let page = link.load_mut(editor, PageKind::User, Some(tag))?;
            let class = class.as_ref().map(|c| page.class_tag(c));
            erase_part(editor, tag, page, (class, *when), (epoch, now))
        }
        Scope::Record(id) => {
            let key = record_key(id.interaction, id.ordinal);
            let selector = Selector { user: tag, class: Some(id.class), low: key, high: key };
            if id.incarnation < *incarnation {
                return Ok(already(selector));
            }
            let page = link.load_mut(editor, PageKind::User, Some(tag))?;
            let there = match page.class(id.class) {
                Some(slot) if id.incarnation == *incarnation => slot.tree.get(editor.pages, class_place(tag), &key)?,
                _ => None,
            };
            if there.is_none() {
                let what = (id.class, id.interaction, Some(id.ordinal));
                return if page.fences.cover(editor.pages, tag, &page.fence_key, what)? {
                    Ok(already(selector))
                } else {
                    Err(absent("this record"))
                };
            }
            let removed = remove(editor, tag, page, Some(id.class), &key, &key)?;
            let point = Point::Record(id.class, id.interaction, id.ordinal);
            page.fences.add_point(editor, tag, &page.fence_key, point, epoch)?;
            Ok(Applied { records: Some(removed), already: false, user_gone: false, selector })
        }
    }
}

fn first_of(began: Timestamp) -> OrderedKey {
    let mut key = KEY_MIN;
    key[..6].copy_from_slice(&began.0.to_be_bytes()[2..]);
    key
}

fn erase_part(
    editor: &mut Editor<'_>,
    tag: UserTag,
    page: &mut UserPage,
    (class, when): (Option<ClassTag>, When),
    (epoch, now): (u64, Timestamp),
) -> Result<Applied> {
    let (low, high) = match when {
        When::Ever => (KEY_MIN, KEY_MAX),
        When::Interaction(id) => (record_key(id, 0), record_key(id, u32::MAX)),
        When::Between { from, until } => {
            let low = first_of(from.unwrap_or_default());
            let high = match until {
                None => KEY_MAX,
                Some(Timestamp(0)) => {
                    return Err(Error::invalid("nothing can have begun before the year 1970"));
                }
                Some(until) => {
                    let mut key = first_of(Timestamp(until.0 - 1));
                    key[6..].fill(0xFF);
                    key
                }
            };
            if low > high || from.is_some_and(|f| f.0 >= 1 << 48) || until.is_some_and(|u| u.0 >= 1 << 48) {
                return Err(Error::invalid("the time range is empty: its end is not after its beginning"));
            }
            (low, high)
        }
    };
    let selector = Selector { user: tag, class, low, high };
    if let When::Interaction(id) = when {
        let holds = any_in(editor, tag, page, class, &low, &high)?;
        if !holds {
            let fenced = match class {
                Some(class) => page.fences.cover(editor.pages, tag, &page.fence_key, (class, id, None))?,
                None => page.fences.cover_interaction(editor.pages, tag, &page.fence_key, id)?,
            };
            let already = Applied { records: Some(0), already: true, user_gone: false, selector };
            return if fenced { Ok(already) } else { Err(absent("this interaction")) };
        }
    }
    // A range fence ends now; what lies ahead of this machine's clock gets a fence of its own.
    let ahead = match when {
        When::Interaction(_) => Vec::new(),
        _ => interactions_after(editor, tag, page, class, (&low, &high), now)?,
    };
    let records = remove(editor, tag, page, class, &low, &high)?;
    match (when, class) {
        (When::Interaction(id), Some(class)) => {
            page.fences.add_point(editor, tag, &page.fence_key, Point::ClassInteraction(class, id), epoch)?;
        }
        (When::Interaction(id), None) => {
            page.fences.add_point(editor, tag, &page.fence_key, Point::Interaction(id), epoch)?;
        }
        _ => {
            let first = u64::from_be_bytes([0, 0, low[0], low[1], low[2], low[3], low[4], low[5]]);
            let last = u64::from_be_bytes([0, 0, high[0], high[1], high[2], high[3], high[4], high[5]]).min(now.0);
            if first <= last {
                page.fences.add_range(editor, tag, class, (first, last), epoch)?;
            }
            for (class, id) in ahead {
                page.fences.add_point(editor, tag, &page.fence_key, Point::ClassInteraction(class, id), epoch)?;
            }
        }
    }
    Ok(Applied { records: Some(records), already: false, user_gone: false, selector })
}

fn tags(page: &UserPage, class: Option<ClassTag>) -> Vec<ClassTag> {
    page.classes.iter().map(|c| c.tag).filter(|tag| class.is_none_or(|c| c == *tag)).collect()
}

fn any_in(
    editor: &Editor<'_>,
    tag: UserTag,
    page: &UserPage,
    class: Option<ClassTag>,
    low: &OrderedKey,
    high: &OrderedKey,
) -> Result<bool> {
    let mut any = false;
    for class in tags(page, class) {
        if let Some(slot) = page.class(class) {
            slot.tree.scan(editor.pages, class_place(tag), Range { low, high, descending: false }, &mut |_, _| {
                any = true;
                Ok(std::ops::ControlFlow::Break(()))
            })?;
        }
    }
    Ok(any)
}

fn interactions_after(
    editor: &Editor<'_>,
    tag: UserTag,
    page: &UserPage,
    class: Option<ClassTag>,
    (low, high): (&OrderedKey, &OrderedKey),
    now: Timestamp,
) -> Result<Vec<(ClassTag, InteractionId)>> {
    let low = (*low).max(first_of(Timestamp(now.0 + 1)));
    let mut ahead = Vec::new();
    if low > *high {
        return Ok(ahead);
    }
    for class in tags(page, class) {
        if let Some(slot) = page.class(class) {
            slot.tree.scan(
                editor.pages,
                class_place(tag),
                Range { low: &low, high, descending: false },
                &mut |key, _| {
                    let id = split_record_key(key)?.0;
                    if ahead.last() != Some(&(class, id)) {
                        ahead.push((class, id));
                    }
                    Ok(std::ops::ControlFlow::Continue(()))
                },
            )?;
        }
    }
    Ok(ahead)
}

/// Drops the records in `low..=high`, of one class or of all; a class that is left empty goes with its name.
fn remove(
    editor: &mut Editor<'_>,
    tag: UserTag,
    page: &mut UserPage,
    class: Option<ClassTag>,
    low: &OrderedKey,
    high: &OrderedKey,
) -> Result<u64> {
    let mut removed = 0;
    for slot in page.classes.iter_mut().filter(|slot| class.is_none_or(|c| c == slot.tag)) {
        if *low == KEY_MIN && *high == KEY_MAX {
            // The whole class: one pointer, whatever is below it.
            slot.tree = Default::default();
            removed += std::mem::take(&mut slot.records);
        } else {
            let n = slot.tree.remove_range(editor, class_place(tag), low, high)?;
            slot.records -= n;
            removed += n;
        }
    }
    page.classes.retain(|slot| slot.tree.root.is_some());
    Ok(removed)
}
