//! Erasing: drop the pointers, rekey the path, have the cell destroy the old root key. Scopes that wait at once share
//! one commit.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::cascade::{Blocked, Links, follow};
use super::certify::{Claim, Common, Docket, Unsigned};
use super::clock::Reading;
use super::commit::Change;
use super::edit::{Edit, page_of};
use super::holds::{held, protected};
use super::pages::PageSource;
use super::part::{Part, erase_record, fence_record, is_there};
use super::read::Selector;
use super::{Inner, State, Writer};
use crate::cell::{Finality, Retirement, RootKey};
use crate::certificate::Destroyed;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, Timestamp, UserTag};
use crate::policy::millis;
use crate::scope::{Erase, Scope, When};
use crate::tree::head::HeadPage;
use crate::tree::history::About;
use crate::tree::lineage::Lineage;
use crate::tree::ordered::{KEY_MAX, KEY_MIN};
use crate::tree::user::Unborn;
use crate::tree::users::{Slot, SlotState, find};
use crate::tree::{Link, PageKind};

/// What an erase did. It is returned when the erase is complete, never before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erasure {
    /// The epoch that began with it, or begins when it is final.
    pub epoch: u64,
    /// Records of the scope that fell; `None` where damaged pages kept them from being counted.
    pub records: Option<u64>,
    /// Records derived from them, of any user, that fell with the erases of this commit and are out of every list.
    pub derived: u64,
    /// Whether more records derived from them fell, which stand in lists until [`Engine::run_due`](crate::Engine::run_due) has taken them out.
    pub following: bool,
    /// Whether the scope had been erased before, and nothing was left to do.
    pub already: bool,
    /// How far it is, as it was seen when it returned: the scope cannot be read through the engine any more, and while this is pending
    /// whoever holds the cell and old blobs can read it. Of a scope that had been erased before, how far the store is.
    pub finality: Finality,
    /// What the cell answered when it was asked to destroy the old root key; `None` where this erase had nothing to ask of it.
    pub retirement: Option<Retirement>,
    /// When it was complete.
    pub completed: Timestamp,
    /// The certificate, to be signed ([`Unsigned::sign`]), where the erase asked for one and something was erased.
    pub certificate: Option<Box<Unsigned>>,
}

/// What one erase of a commit did to the tree.
pub(super) struct Applied {
    pub(super) records: Option<u64>,
    /// The same by class.
    pub(super) counts: Vec<(Class, u64)>,
    pub(super) already: bool,
    /// Whether the user itself is gone now.
    pub(super) user_gone: bool,
    pub(super) selectors: Vec<Selector>,
    /// Links of the records that fell.
    pub(super) links: Vec<Links>,
    /// What its certificate needs, where it asked for one.
    pub(super) docket: Option<Docket>,
}

impl Applied {
    pub(super) fn already() -> Self {
        Applied { already: true, ..Applied::of(Vec::new()) }
    }

    /// Records of some classes fell.
    pub(super) fn of(counts: Vec<(Class, u64)>) -> Self {
        Applied {
            records: Some(counts.iter().map(|(_, n)| n).sum()),
            counts,
            already: false,
            user_gone: false,
            selectors: Vec::new(),
            links: Vec::new(),
            docket: None,
        }
    }
}

/// What the erases of a commit come to.
struct Judged<'p> {
    edit: Edit<'p>,
    applied: Vec<Result<Applied>>,
    /// Users that are gone.
    gone: u64,
    derived: u64,
    /// Whether a refusal was written down.
    refused: bool,
}

/// Why an edit is begun again.
enum Setback {
    /// One of its erases cannot be done.
    Erase(usize, Error),
    /// Links cannot be followed into a user's trees.
    Follow(Blocked),
}

/// Whether an erase was refused before its first change.
fn is_refusal(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Held | ErrorKind::Absent | ErrorKind::Invalid)
}

fn absent(what: &str) -> Error {
    Error::new(
        ErrorKind::Absent,
        format!("{what} is not in this store, which never gives such an id; nothing was erased"),
    )
}

impl Inner {
    pub(super) fn rekey(&self) -> Result<Retirement> {
        self.process.check()?;
        let mut writer = self.writer();
        self.ready_to_erase(&mut writer)?;
        if writer.next.is_some() {
            // Who asks for a fresh root key wants none that somebody may have seen.
            self.settle(&mut writer)?;
        }
        let change = {
            let state = self.state();
            let mut change = Change::of_head(self.next_head(&state));
            self.next_epoch(&state, &writer, &mut change)?;
            change
        };
        Ok(self.publish(&mut writer, change)?.unwrap_or(Retirement::Destroyed))
    }

    /// Has the path to the user's slot in the cache while another caller is at work: the one writer does not wait for it then.
    pub(super) fn look_ahead(&self, erase: &Erase) {
        if !self.queue.is_busy() {
            return;
        }
        let state = self.state();
        let tag = erase.user(|user| self.user_tag(&state, user));
        // What fails here fails again, and is told then.
        let _ = find(&self.pages(), &state.head.roots.users, state.head.geometry, tag);
    }

    pub(super) fn erase_all(&self, writer: &mut Writer, erases: &[&Erase]) -> Vec<Result<Erasure>> {
        if erases.is_empty() {
            return Vec::new();
        }
        match self.erase_together(writer, erases) {
            Ok(outcomes) => outcomes,
            Err(e) => erases.iter().map(|_| Err(e.copy())).collect(),
        }
    }

    fn erase_together(&self, writer: &mut Writer, erases: &[&Erase]) -> Result<Vec<Result<Erasure>>> {
        self.ready_to_erase(writer)?;
        let epoch = writer.root.id.epoch + 1;
        let clock = self.reading(&self.state());
        let now = clock.now;
        let mut asked = None;
        let (applied, derived, change) = {
            let state = self.state();
            let pages = self.pages();
            let Judged { edit, mut applied, gone, derived, refused } =
                self.judge(&state, &pages, erases, (epoch, clock))?;
            #[cfg(feature = "testing")]
            if self.defect(super::Defect::FailTogether)
                && let Some(e) = applied.iter().filter_map(|a| a.as_ref().err()).find(|e| !is_refusal(e))
            {
                return Err(e.copy());
            }
            let did = || erases.iter().zip(&applied).filter(|(_, a)| a.as_ref().is_ok_and(|a| !a.already));
            let windows: Option<Vec<_>> = did().map(|(erase, _)| erase.window).collect();
            // Who asks at once for what is pending, or becomes so by another erase of this commit, does not wait for it.
            let at_once = |(erase, applied): (&&Erase, &Result<Applied>)| {
                erase.window.is_none() && applied.as_ref().is_ok_and(|applied| applied.already)
            };
            let pends = state.head.pending.is_some() || did().next().is_some();
            let hurry = pends && erases.iter().zip(&applied).any(at_once);
            let change = if did().next().is_some() {
                let mut change = self.change(&state, edit)?;
                change.head.users -= gone;
                change.head.floor = change.head.floor.max(clock.sure());
                // No window is longer than it was asked for because the clock is ahead: where that cannot be told, it is final at once.
                let soonest =
                    |windows: Vec<_>| windows.into_iter().map(|w| clock.sure().0.saturating_add(millis(w))).min();
                match windows.filter(|_| !hurry).and_then(soonest).filter(|at| *at > now.0) {
                    Some(at) => change.head.pending = Some(Timestamp(at)).into_iter().chain(change.head.pending).min(),
                    None => self.begin_epoch(writer, &mut change)?,
                }
                let common = Common {
                    cell: self.cell_facts(),
                    asked: now,
                    epoch: writer.root.id.epoch,
                    root: Destroyed::of("root key", writer.root.key.bytes()),
                    pending: change.head.pending,
                    derived,
                    following: change.head.roots.falling.is_some(),
                };
                let mut claims = Vec::new();
                for (n, (erase, applied)) in erases.iter().zip(&mut applied).enumerate() {
                    let Ok(applied) = applied else { continue };
                    if let (Some(request), Some(mut docket)) = (&erase.request, applied.docket.take()) {
                        docket.add_records(&applied.counts);
                        claims.push(self.claim(&state, (n, erase, request), docket, &common)?);
                    }
                }
                let commitments: Vec<_> = claims.iter().map(Claim::commitment).collect();
                let entered = self.enter(&state, writer, &mut change, (now, &common.cell), &commitments)?;
                asked = Some((claims, entered));
                Some(change)
            } else if hurry {
                let mut change = self.change(&state, edit)?;
                self.next_epoch(&state, writer, &mut change)?;
                Some(change)
            } else if refused {
                Some(self.change(&state, edit)?)
            } else {
                None
            };
            (applied, derived, change)
        };
        if let Some((claims, Some(entered))) = &asked {
            let failed = self.draft(claims, entered);
            if !failed.is_empty() {
                return self.erase_without(writer, erases, failed);
            }
        }
        let retirement = match change {
            Some(change) => self.publish(writer, change)?,
            None => None,
        };
        let certificates = match asked {
            Some((claims, Some(entered))) => self.issue(claims, entered, retirement.as_ref()),
            _ => Vec::new(),
        };
        let mut certificates = certificates.into_iter();
        let completed = self.options.env.now();
        let finality = self.finality();
        let epoch = writer.root.id.epoch + u64::from(self.state().head.pending.is_some());
        let following = self.is_falling();
        let outcome = |(erase, applied): (&&Erase, Result<Applied>)| {
            let Applied { records, already, .. } = applied?;
            let certificate = if already || erase.request.is_none() { None } else { certificates.next().map(Box::new) };
            let retirement = if already { None } else { retirement.clone() };
            let finality = finality.clone();
            Ok(Erasure { epoch, records, derived, following, already, finality, retirement, completed, certificate })
        };
        Ok(erases.iter().zip(applied).map(outcome).collect())
    }

    /// What an erase would come to, the derived records that would fall with it, and whether more would than it follows. Nothing is changed.
    pub(super) fn foresee(&self, state: &State, erase: &Erase) -> Result<(Applied, u64, bool)> {
        let pages = self.pages();
        let at = (state.stored.id.epoch + 1, self.reading(state));
        let Judged { edit, mut applied, derived, .. } = self.judge(state, &pages, &[erase], at)?;
        let applied = applied.pop().unwrap_or_else(|| Ok(Applied::already()))?;
        Ok((applied, derived, !edit.left.is_empty()))
    }

    /// Judges each erase of a commit alone. One that fails in the middle leaves nothing: the edit is begun again without it.
    fn judge<'p>(
        &self,
        state: &State,
        pages: &'p PageSource<'_>,
        erases: &[&Erase],
        at: (u64, Reading),
    ) -> Result<Judged<'p>> {
        let mut failed = BTreeMap::new();
        let (mut passed_over, mut tried) = (BTreeSet::new(), false);
        loop {
            let mut edit = Edit::new(state, pages);
            edit.passed_over.clone_from(&passed_over);
            match self.apply_all(state, edit, erases, &failed, at) {
                Ok(judged) => return Ok(judged),
                Err(Setback::Erase(n, e)) => {
                    failed.insert(n, e);
                    // Once each of those behind it is tried alone: however many fail, all are looked at three times.
                    let behind = erases.iter().enumerate().skip(n + 1).filter(|_| !tried);
                    for (n, erase) in behind {
                        let mut alone = Edit::new(state, pages);
                        if let Err(e) = self.apply(state, &mut alone, erase, at)
                            && !is_refusal(&e)
                        {
                            failed.insert(n, e);
                        }
                    }
                    tried = true;
                }
                Err(Setback::Follow(Blocked { user, error })) => {
                    if !passed_over.insert(user) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Applies erases, but for those that are known to fail.
    fn apply_all<'p>(
        &self,
        state: &State,
        mut edit: Edit<'p>,
        erases: &[&Erase],
        failed: &BTreeMap<usize, Error>,
        (epoch, clock): (u64, Reading),
    ) -> std::result::Result<Judged<'p>, Setback> {
        let mut applied = Vec::with_capacity(erases.len());
        let (mut gone, mut derived, mut refused) = (0, 0, false);
        for (n, erase) in erases.iter().enumerate() {
            if let Some(e) = failed.get(&n) {
                applied.push(Err(e.copy()));
                continue;
            }
            match self.apply(state, &mut edit, erase, (epoch, clock)) {
                Ok(mut done) => {
                    gone += u64::from(done.user_gone);
                    edit.note_fallen(&mut done.selectors);
                    let links = std::mem::take(&mut done.links);
                    let fell = follow(&mut edit, links, epoch, self.options.follow).map_err(Setback::Follow)?;
                    derived += fell.derived;
                    applied.push(Ok(done));
                }
                Err(e) if is_refusal(&e) => {
                    if e.kind() == ErrorKind::Held {
                        match self.note_refusal(state, &mut edit, erase, clock.now) {
                            Ok(noted) => refused |= noted,
                            // It is refused all the same.
                            Err(_) => return Err(Setback::Erase(n, e)),
                        }
                    }
                    applied.push(Err(e));
                }
                Err(e) => return Err(Setback::Erase(n, e)),
            }
        }
        Ok(Judged { edit, applied, gone, derived, refused })
    }

    /// Does the others alone: of those that `failed` names nothing is done.
    fn erase_without(
        &self,
        writer: &mut Writer,
        erases: &[&Erase],
        failed: Vec<(usize, Error)>,
    ) -> Result<Vec<Result<Erasure>>> {
        let mut failed: BTreeMap<usize, Error> = failed.into_iter().collect();
        let others: Vec<&Erase> =
            erases.iter().enumerate().filter(|(n, _)| !failed.contains_key(n)).map(|(_, erase)| *erase).collect();
        let mut done = self.erase_together(writer, &others)?.into_iter();
        Ok((0..erases.len()).filter_map(|n| failed.remove(&n).map(Err).or_else(|| done.next())).collect())
    }

    /// Lets the next epoch begin with a change: what was pending becomes final with it.
    pub(super) fn begin_epoch(&self, writer: &Writer, change: &mut Change) -> Result<()> {
        change.head.pending = None;
        // A machine that was restored remembers a key that the cell has since made the current one: it must not seal a second head.
        let there = |next: &&RootKey| self.cell.ready(&writer.root.id, &next.id);
        let next = match writer.next.as_ref() {
            Some(next) if there(&next)? => Some(next.duplicate()),
            _ => None,
        };
        change.root = Some(match next {
            Some(next) => next,
            None => self.next_root(writer, &change.head)?,
        });
        Ok(())
    }

    /// Draws the root key of the epoch behind the writer's.
    pub(super) fn next_root(&self, writer: &Writer, head: &HeadPage) -> Result<RootKey> {
        let epoch = writer.root.id.epoch + 1;
        #[cfg(feature = "testing")]
        if self.defect(super::Defect::KeepRootKey) {
            let id = super::open::draw_root(&*self.options.env, epoch, head)?.id;
            return Ok(RootKey { id, key: writer.root.key.duplicate() });
        }
        super::open::draw_root(&*self.options.env, epoch, head)
    }

    /// Writes into the user's history that an erase was refused, once for each scope.
    fn note_refusal(&self, state: &State, edit: &mut Edit<'_>, erase: &Erase, now: Timestamp) -> Result<bool> {
        let tag = erase.user(|user| self.user_tag(state, user));
        let (editor, root) = edit.parts()?;
        match page_of(editor, root, tag)? {
            Some(page) => {
                let about = About::of(page, erase);
                page.history.refuse(editor, tag, now, (&[about], true))?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Drops a scope's pointers in the tree and leaves its fence. Checks come before the first change.
    pub(super) fn drop_scope(
        &self,
        state: &State,
        edit: &mut Edit<'_>,
        erase: &Erase,
        (epoch, clock): (u64, Reading),
    ) -> Result<Applied> {
        erase.check()?;
        let tag = erase.user(|user| self.user_tag(state, user));
        let (editor, root) = edit.parts()?;
        match root.slot_mut(editor, tag)?.map(|slot| &slot.state) {
            Some(SlotState::Live(_)) => {}
            Some(SlotState::Erased { .. }) => return Ok(Applied::already()),
            Some(SlotState::Unborn(_)) | None => return self.apply_to_nobody(edit, erase, tag, (epoch, clock)),
        }
        let Some(slot) = root.slot_mut(editor, tag)? else { unreachable!("it was just there") };
        let incarnation = slot.incarnation;
        let SlotState::Live(link) = &mut slot.state else { unreachable!("it lives") };
        match erase.scope() {
            Scope::User { class: None, when: When::Ever, .. } if erase.kept().is_empty() => {
                // Damaged pages below must not keep a user from being erased; what was derived cannot be found then, and
                // cannot be read either.
                let mut docket = erase.request.as_ref().map(|_| Docket::unread(erase));
                let page_key = match link {
                    Link::Stored(at) if docket.is_some() => Some(at.key()),
                    _ => None,
                };
                let mut look = || {
                    if let (Some(records), Link::Stored(_), None) = (slot.alone, &*link, &docket) {
                        return Ok((Applied { records: Some(records.into()), ..Applied::of(Vec::new()) }, None));
                    }
                    let page = link.load_mut(editor, PageKind::User, Some(tag))?;
                    if page.holds.tree.root.is_some() || page.holds.marks.root.is_some() {
                        return Err(held("some of this user's records, or what was derived from them,"));
                    }
                    let counts: Vec<_> = page.classes.iter().map(|slot| (slot.class.clone(), slot.records)).collect();
                    if let Some(docket) = &mut docket {
                        *docket = Docket::of(editor, tag, page)?;
                    }
                    let count = page.lineage.tree.count(editor, Lineage::place(tag))?;
                    let links = Links { owner: tag, incarnation, tree: std::mem::take(&mut page.lineage.tree), count };
                    Ok((Applied { links: vec![links], ..Applied::of(counts) }, page.due))
                };
                let (applied, due) = match look() {
                    Ok(read) => read,
                    Err(e) if e.kind() == ErrorKind::Corrupt => {
                        docket = docket.map(|_| Docket::unread(erase));
                        (Applied { records: None, ..Applied::of(Vec::new()) }, None)
                    }
                    Err(e) => return Err(e),
                };
                if let (Some(docket), Some(key)) = (&mut docket, &page_key) {
                    docket.add_key("key of the user's page", key);
                }
                slot.state = SlotState::Erased { epoch };
                if let Some(due) = due {
                    edit.agenda.remove(&mut edit.editor, due, tag)?;
                }
                let whole = Selector { user: tag, class: None, low: KEY_MIN, high: KEY_MAX };
                Ok(Applied { user_gone: true, selectors: vec![whole], docket, ..applied })
            }
            Scope::User { class, when, .. } => {
                let page = link.load_mut(editor, PageKind::User, Some(tag))?;
                let part = Part::of(page, (tag, incarnation), (class.as_ref(), erase.kept()), *when)?;
                if part.is_erased(editor, page)? {
                    return Ok(Applied::already());
                }
                if part.is_held(editor.pages, page)? {
                    return Err(held("some of this, or what was derived from it,"));
                }
                if !erase.kept().is_empty() {
                    self.keep(state, edit, &part, (erase, clock.now))?;
                }
                let (editor, root) = edit.parts()?;
                let Some(page) = page_of(editor, root, tag)? else { unreachable!("the user was there") };
                let mut docket = erase.request.as_ref().map(|_| Docket::of(editor, tag, page)).transpose()?;
                if let (Some(docket), Some((class, key))) = (&mut docket, part.whole_class(page)) {
                    docket.add_key(&format!("key of class {class}"), &key);
                }
                let applied = part.erase(editor, page, (epoch, clock))?;
                Ok(Applied { docket, ..applied })
            }
            Scope::Record(id) => {
                match id.incarnation.cmp(&incarnation) {
                    Ordering::Less => return Ok(Applied::already()),
                    Ordering::Greater => return Err(absent("the life of this user that the record is of")),
                    Ordering::Equal => {}
                }
                // What fell with a source, and still stands in lists, was erased with that.
                let falling = state.head.roots.falling.is_some();
                if falling && self.look_up_whole(state, id).is_err_and(|e| e.kind() == ErrorKind::Erased) {
                    return Ok(Applied::already());
                }
                let page = link.load_mut(editor, PageKind::User, Some(tag))?;
                if is_there(editor, page, id)? && protected(editor.pages, page, id)? {
                    return Err(held("this record, or one derived from it,"));
                }
                let docket = erase.request.as_ref().map(|_| Docket::of(editor, tag, page)).transpose()?;
                let applied = match erase_record(editor, page, id, epoch)? {
                    Some(applied) => applied,
                    None => fence_record(editor, page, id, epoch)?,
                };
                Ok(Applied { docket: docket.filter(|_| !applied.already), ..applied })
            }
        }
    }

    /// Leaves the fence of what nobody has here: what is on its way, or comes later, finds it. It keeps no name.
    fn apply_to_nobody(
        &self,
        edit: &mut Edit<'_>,
        erase: &Erase,
        tag: UserTag,
        (epoch, clock): (u64, Reading),
    ) -> Result<Applied> {
        let (editor, root) = edit.parts()?;
        let Scope::User { user, class, when } = erase.scope() else {
            // Class tags of a user who comes are drawn then: this id is never given.
            return Err(absent("the user of this record"));
        };
        let docket = erase.request.as_ref().map(|_| Docket::nothing(user));
        if class.is_none() && matches!(when, When::Ever) && erase.kept().is_empty() {
            match root.slot_mut(editor, tag)? {
                Some(slot) => *slot = Slot::never_here(epoch),
                None => root.insert(editor, tag, Slot::never_here(epoch))?,
            }
            let whole = Selector { user: tag, class: None, low: KEY_MIN, high: KEY_MAX };
            return Ok(Applied { selectors: vec![whole], docket, ..Applied::of(Vec::new()) });
        }
        let unborn = match root.slot_mut(editor, tag)?.map(|slot| &mut slot.state) {
            Some(SlotState::Unborn(link)) => link.load_mut(editor, PageKind::Unborn, Some(tag))?.take(),
            _ => self.new_unborn(user)?,
        };
        let mut page = unborn.born(user.clone(), clock.now);
        let part = Part::of(&page, (tag, 1), (class.as_ref(), erase.kept()), *when)?;
        let applied = match part.is_erased(editor, &page)? {
            true => Applied::already(),
            false => Applied { docket, ..part.erase(editor, &mut page, (epoch, clock))? },
        };
        if page.fences.tree.root.is_some() {
            let slot = Slot::unborn(Unborn::of(page));
            match root.slot_mut(editor, tag)? {
                Some(there) => *there = slot,
                None => root.insert(editor, tag, slot)?,
            }
        }
        Ok(applied)
    }
}
