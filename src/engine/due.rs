//! What is due: planned erases, what passed a limit, root keys that were left pending, links still to be followed.
//!
//! The agenda in the head says for which user there is something to do, and when at the earliest. One commit serves all for
//! whom the time has come; what it erases is erased as by anybody, with lineage, holds and fences.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::cascade::follow;
use super::commit::Change;
use super::edit::{Edit, page_of};
use super::erase::Applied;
use super::holds::protected;
use super::part::{Part, erase_record};
use super::read::Selector;
use super::{Engine, Inner, State, Writer, inbox};
use crate::error::{ErrorKind, Result};
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UserTag};
use crate::limits::{DUE_MAX, RETRY, SWEEP};
use crate::policy::{Policy, Rules, millis};
use crate::record::Entry;
use crate::scope::When;
use crate::secret::WipeStack;
use crate::tree::agenda::Agenda;
use crate::tree::history::Fact;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::plans::Plan;
use crate::tree::user::{ClassSlot, UserPage, class_place, split_record_key};
use crate::tree::users::{Found, visit};
use crate::tree::{Node, PageKind, Pages};

/// What [`Engine::tend`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Derived records taken out of lists and counts.
    pub derived: u64,
    /// Planned erases done.
    pub planned: u64,
    /// Records erased since they passed a limit.
    pub expired: u64,
    /// Erases that were due, and refused since a hold covers some of their scope.
    pub refused: u64,
    /// Users whose damaged pages kept what is due from being done; it is tried again an hour later.
    pub damaged: u64,
    /// Inbox keys destroyed since they were old.
    pub inbox_keys: u64,
    /// Whether pending erases became final.
    pub finalized: bool,
}

impl std::ops::AddAssign for Tended {
    fn add_assign(&mut self, more: Self) {
        self.derived += more.derived;
        self.planned += more.planned;
        self.expired += more.expired;
        self.refused += more.refused;
        self.damaged += more.damaged;
        self.inbox_keys += more.inbox_keys;
        self.finalized |= more.finalized;
    }
}

/// One commit of what is due.
struct Doing {
    epoch: u64,
    now: Timestamp,
    /// The store's policies.
    policies: Vec<Policy>,
    users_gone: u64,
    erased: bool,
    selectors: Vec<Selector>,
    tended: Tended,
}

/// What became of one attempt at a commit.
enum Attempt {
    Nothing,
    /// A page of this user's does not open.
    Damaged(UserTag),
    Ready(Box<Change>, Tended),
}

impl Doing {
    /// When what cannot be done now is tried again.
    fn later(&self) -> Timestamp {
        Timestamp(self.now.0.saturating_add(millis(RETRY)))
    }

    fn rules(&self, pages: &dyn Pages, user: UserTag, page: &UserPage) -> Result<Rules> {
        Ok(Rules { own: page.policies.all(pages, Some(user))?, store: self.policies.clone() })
    }
}

/// When there is something to do for a user, at the earliest.
pub(super) fn next_due(pages: &dyn Pages, user: UserTag, page: &UserPage, rules: &Rules) -> Result<Option<Timestamp>> {
    let oldest_key = page.inbox.keys(pages, user)?.first().map(|key| inbox::end(key.made));
    let mut next =
        page.plans.all(pages, user, &page.user)?.first().map(|plan| plan.due).into_iter().chain(oldest_key).min();
    for slot in page.classes.iter().filter(|_| !rules.is_empty()) {
        let mut at_most = |due: Option<Timestamp>| next = next.into_iter().chain(due).min();
        if let Some(most) = rules.of_class(&slot.class).and_then(|p| p.max_records)
            && slot.records > most
        {
            at_most(Some(Timestamp(1)));
        }
        let every = rules.by_purpose(&slot.class);
        each_record(pages, user, slot, &mut |id, entry| {
            let purpose = if every { &entry.purpose } else { "" };
            at_most(rules.of(&slot.class, purpose).and_then(|p| p.expiry(id.began())));
            Ok(if every { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
    }
    Ok(next)
}

/// Shows a class's records, oldest first.
fn each_record(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    see: &mut dyn FnMut(InteractionId, &Entry) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
    slot.tree
        .scan(pages, class_place(user), all, &mut |key, value| see(split_record_key(key)?.0, &Entry::decode(value)?))
}

/// Which of a class's interactions passed a limit that holds for all of its records: those that began before a time, or all.
fn passed(
    pages: &dyn Pages,
    user: UserTag,
    slot: &ClassSlot,
    rules: &Rules,
    now: Timestamp,
) -> Result<Option<Option<Timestamp>>> {
    let Some(policy) = rules.of_class(&slot.class) else {
        return Ok(None);
    };
    let by_purpose = rules.by_purpose(&slot.class);
    if policy.until.is_some_and(|until| until <= now) && !by_purpose {
        return Ok(Some(None));
    }
    let by_age = policy.max_age.filter(|_| !by_purpose).and_then(|age| (now.0 + 1).checked_sub(millis(age)));
    let mut before = by_age.unwrap_or(0);
    let mut over = slot.records.saturating_sub(policy.max_records.unwrap_or(u64::MAX));
    let mut any = false;
    each_record(pages, user, slot, &mut |id, _| {
        let began = id.began().0;
        if over > 0 {
            over -= 1;
            before = before.max(began + 1);
        }
        any |= began < before;
        Ok(if over > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(any.then_some(Some(Timestamp(before))))
}

impl Inner {
    /// When there is something to do, at the earliest.
    pub(super) fn next_due(&self) -> Result<Option<Timestamp>> {
        let state = self.state();
        if state.head.roots.falling.is_some() {
            return Ok(Some(Timestamp(0)));
        }
        Ok(Edit::agenda_of(&state).next(&self.pages())?.into_iter().chain(state.head.pending).min())
    }

    /// Does some of what is due in one commit; `None` where nothing is.
    fn do_due(&self, writer: &mut Writer, now: &mut Option<Timestamp>) -> Result<Option<Tended>> {
        {
            let state = self.state();
            if state.head.roots.agenda.is_none() && state.head.pending.is_none() {
                return Ok(None);
            }
        }
        self.ready(writer)?;
        let now = *now.get_or_insert_with(|| self.options.env.now());
        // One whose pages are damaged must not keep the others'; nothing of a failed attempt is kept.
        let mut damaged = BTreeSet::new();
        loop {
            match self.attempt(writer, now, &damaged)? {
                Attempt::Nothing => return Ok(None),
                Attempt::Damaged(user) => {
                    damaged.insert(user);
                }
                Attempt::Ready(change, tended) => {
                    self.publish(writer, *change)?;
                    return Ok(Some(tended));
                }
            }
        }
    }

    fn attempt(&self, writer: &Writer, now: Timestamp, damaged: &BTreeSet<UserTag>) -> Result<Attempt> {
        let state = self.state();
        let pages = self.pages();
        let mut edit = Edit::new(&state, &pages);
        let due = edit.agenda.due(&pages, now, DUE_MAX)?;
        let pending = state.head.pending.is_some_and(|at| at <= now);
        if due.is_empty() && !pending {
            return Ok(Attempt::Nothing);
        }
        let mut doing = Doing {
            epoch: writer.root.id.epoch + 1,
            now,
            policies: edit.policies.all(&pages, None)?,
            users_gone: 0,
            erased: false,
            selectors: Vec::new(),
            tended: Tended { damaged: damaged.len() as u64, ..Tended::default() },
        };
        // What a change of policies makes due joins what is due: all of it is erased together.
        let sweeps = due.iter().filter(|(at, _)| *at == Agenda::SWEEP).count();
        let due = if sweeps > 0 { &due[..sweeps] } else { &due[..] };
        for (at, user) in due.iter().copied() {
            edit.agenda.remove(&mut edit.editor, at, user)?;
            if at == Agenda::SWEEP {
                self.sweep(&state, &mut edit, user, &doing)?;
            } else if damaged.contains(&user) {
                edit.agenda.add(&mut edit.editor, doing.later(), user)?;
            } else {
                match self.serve(&state, &mut edit, user, &mut doing) {
                    Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(Attempt::Damaged(user)),
                    served => served?,
                }
            }
        }
        let mut change = self.change(&state, edit)?;
        change.head.users -= doing.users_gone;
        change.erased = doing.selectors;
        if doing.erased || pending {
            change.head.floor = change.head.floor.max(now);
            doing.tended.finalized = change.head.pending.is_some();
            self.next_epoch(&state, writer, &mut change)?;
        }
        Ok(Attempt::Ready(Box::new(change), doing.tended))
    }

    /// Takes what an erase took.
    fn took(&self, edit: &mut Edit<'_>, mut applied: Applied, doing: &mut Doing) -> Result<u64> {
        doing.erased |= !applied.already;
        doing.users_gone += u64::from(applied.user_gone);
        doing.selectors.append(&mut applied.selectors);
        let fell = follow(edit, std::mem::take(&mut applied.links), doing.epoch, self.options.follow)?;
        doing.tended.derived += fell.derived;
        doing.selectors.extend(fell.selectors);
        Ok(applied.records.unwrap_or(0))
    }

    /// Does what is due for one user, and puts down when it is due again.
    fn serve(&self, state: &State, edit: &mut Edit<'_>, user: UserTag, doing: &mut Doing) -> Result<()> {
        let pages = edit.editor.pages;
        let (editor, root) = edit.parts()?;
        let plans: Vec<Plan> = match page_of(editor, root, user)? {
            None => return Ok(()),
            Some(page) => {
                page.due = None;
                page.plans.all(pages, user, &page.user)?.into_iter().filter(|plan| plan.due <= doing.now).collect()
            }
        };
        for plan in &plans {
            match self.apply(state, edit, &plan.erase, (doing.epoch, doing.now)) {
                Ok(applied) => {
                    self.took(edit, applied, doing)?;
                    doing.tended.planned += 1;
                }
                Err(e) if e.kind() == ErrorKind::Held => {
                    self.refuse_once(edit, user, plan.erase.words(), doing)?;
                    continue;
                }
                Err(e) if matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased) => {}
                Err(e) => return Err(e),
            }
            let (editor, root) = edit.parts()?;
            match page_of(editor, root, user)? {
                Some(page) => page.plans.remove(editor, user, plan)?,
                None => return Ok(()),
            }
        }
        self.expire(edit, user, doing)?;
        let (editor, root) = edit.parts()?;
        let Some(page) = page_of(editor, root, user)? else {
            return Ok(());
        };
        for key in page.inbox.keys(pages, user)?.iter().filter(|key| inbox::end(key.made) <= doing.now) {
            page.inbox.remove(editor, user, key.number)?;
            doing.erased = true;
            doing.tended.inbox_keys += 1;
        }
        let next = next_due(pages, user, page, &doing.rules(pages, user, page)?)?;
        // What is due still was refused.
        edit.set_due(user, next.map(|next| if next <= doing.now { doing.later() } else { next }))
    }

    /// Erases what passed a limit.
    fn expire(&self, edit: &mut Edit<'_>, user: UserTag, doing: &mut Doing) -> Result<()> {
        let pages = edit.editor.pages;
        let (editor, root) = edit.parts()?;
        let Some(page) = page_of(editor, root, user)? else {
            return Ok(());
        };
        let rules = doing.rules(pages, user, page)?;
        if rules.is_empty() {
            return Ok(());
        }
        let classes: Vec<(ClassTag, Class)> = page.classes.iter().map(|slot| (slot.tag, slot.class.clone())).collect();
        for (tag, class) in classes {
            let (editor, root) = edit.parts()?;
            let Some(page) = page_of(editor, root, user)? else {
                return Ok(());
            };
            // An erase of another class may have taken it.
            let Some(slot) = page.class(tag) else {
                continue;
            };
            if let Some(until) = passed(pages, user, slot, &rules, doing.now)? {
                self.expire_part(edit, user, &class, When::Between { from: None, until }, doing)?;
            }
            if rules.by_purpose(&class) {
                self.expire_by_purpose(edit, user, &class, &rules, doing)?;
            }
        }
        Ok(())
    }

    /// Erases interactions of a class; where a hold covers some, the others one by one.
    fn expire_part(
        &self,
        edit: &mut Edit<'_>,
        user: UserTag,
        class: &Class,
        when: When,
        doing: &mut Doing,
    ) -> Result<()> {
        let mut whens = vec![when];
        while let Some(when) = whens.pop() {
            let (editor, root) = edit.parts()?;
            let Some(page) = page_of(editor, root, user)? else {
                return Ok(());
            };
            let part = Part::of(page, (user, page.incarnation), (Some(class), &[]), when)?;
            if !part.is_held(editor, page)? {
                let applied = part.erase(editor, page, (doing.epoch, doing.now))?;
                doing.tended.expired += self.took(edit, applied, doing)?;
            } else if let When::Interaction(_) = when {
                self.refuse_once(edit, user, format!("class {class}, whose time has come"), doing)?;
            } else {
                whens.extend(part.interactions(editor.pages, page)?.into_iter().map(When::Interaction));
            }
        }
        Ok(())
    }

    /// Erases single records, of a class where the limit depends on what each was put for.
    fn expire_by_purpose(
        &self,
        edit: &mut Edit<'_>,
        user: UserTag,
        class: &Class,
        rules: &Rules,
        doing: &mut Doing,
    ) -> Result<()> {
        let pages = edit.editor.pages;
        let (editor, root) = edit.parts()?;
        let Some(page) = page_of(editor, root, user)? else {
            return Ok(());
        };
        let (tag, incarnation) = (page.class_tag(class), page.incarnation);
        let mut ids = Vec::new();
        if let Some(slot) = page.class(tag) {
            let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
            slot.tree.scan(pages, class_place(user), all, &mut |key, value| {
                let (interaction, ordinal) = split_record_key(key)?;
                let policy = rules.of(class, &Entry::decode(value)?.purpose);
                if policy.and_then(|p| p.expiry(interaction.began())).is_some_and(|at| at <= doing.now) {
                    ids.push(RecordId { interaction, user, incarnation, class: tag, ordinal });
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        for id in ids {
            let (editor, root) = edit.parts()?;
            let Some(page) = page_of(editor, root, user)? else {
                return Ok(());
            };
            if protected(pages, page, &id)? {
                self.refuse_once(edit, user, format!("record {id}, whose time has come"), doing)?;
                continue;
            }
            // Where it is not there, it fell with another one.
            if let Some(applied) = erase_record(editor, page, &id, doing.epoch)? {
                doing.tended.expired += self.took(edit, applied, doing)?;
            }
        }
        Ok(())
    }

    /// Writes down that a hold refused what was due, unless that stands there since the hold was added.
    fn refuse_once(&self, edit: &mut Edit<'_>, user: UserTag, scope: String, doing: &mut Doing) -> Result<()> {
        doing.tended.refused += 1;
        let pages = edit.editor.pages;
        let (editor, root) = edit.parts()?;
        let Some(page) = page_of(editor, root, user)? else {
            return Ok(());
        };
        let told = page.history.facts(pages, user)?.into_iter().rev().map(|(_, fact)| fact);
        let mut since = told.take_while(|fact| !matches!(fact, Fact::Held { .. } | Fact::Lifted { .. }));
        if since.any(|fact| matches!(fact, Fact::Refused { scope: there } if there == scope)) {
            return Ok(());
        }
        page.history.add(editor, user, doing.now, &Fact::Refused { scope })
    }

    /// The store's policies changed: looks when something is due for some users, from a tag on.
    fn sweep(&self, state: &State, edit: &mut Edit<'_>, from: UserTag, doing: &Doing) -> Result<()> {
        let pages = edit.editor.pages;
        let mut dues = Vec::new();
        // `visit` begins behind a tag: the tag itself was looked at, or is the first of all, which belongs to nobody.
        let behind = (from != UserTag([0; 12])).then_some(from);
        visit(pages, &state.head.roots.users, state.head.geometry, behind, &mut |user, found| {
            if let Found::Live { page, .. } = found {
                let look = || {
                    let page = UserPage::decode(&pages.load(PageKind::User, Some(user), &page)?)?;
                    let next = next_due(pages, user, &page, &doing.rules(pages, user, &page)?)?;
                    Ok::<_, crate::error::Error>((next, next != page.due))
                };
                match look() {
                    Ok((next, changed)) => dues.push((user, next, changed)),
                    // It is looked at when it can be: by then somebody restored it.
                    Err(e) if e.kind() == ErrorKind::Corrupt => dues.push((user, None, false)),
                    Err(e) => return Err(e),
                }
            }
            Ok(if dues.len() < SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if dues.len() == SWEEP
            && let Some((last, ..)) = dues.last()
        {
            edit.agenda.add(&mut edit.editor, Agenda::SWEEP, *last)?;
        }
        for (user, next, _) in dues.into_iter().filter(|(.., changed)| *changed) {
            edit.set_due(user, next)?;
        }
        Ok(())
    }

    /// Does what is due, until `stop` says so.
    pub(super) fn tend(&self, progress: super::Progress<'_>, stop: &dyn Fn() -> bool) -> Result<Tended> {
        let mut tended = Tended::default();
        self.chase()?;
        if self.cell.wants_epoch() {
            self.rekey()?;
        }
        // One look at the clock: what falls due meanwhile waits for the next call.
        let mut now = None;
        while !stop() {
            let mut writer = self.writer();
            match self.do_due(&mut writer, &mut now)? {
                Some(more) => tended += more,
                None => break,
            }
            progress(tended.derived + tended.expired);
        }
        while self.is_falling() && !stop() {
            let mut writer = self.writer();
            match self.follow_some(&mut writer)? {
                Some(derived) => tended.derived += derived,
                None => break,
            }
            progress(tended.derived + tended.expired);
        }
        Ok(tended)
    }
}

impl Engine {
    /// Does what is due: erases that were planned for now, what passed a limit, root keys that wait to be destroyed; and takes
    /// derived records that fell with an erase out of lists and counts. An open engine does this by itself, unless
    /// [`super::Keeper::ByHand`] is set; [`Engine::users`] and [`Engine::report`] do it first. `progress` hears of records.
    ///
    /// # Errors
    /// As [`Engine::erase`], but for what a hold refuses: that is written down, and tried again an hour later.
    pub fn tend(&self, progress: super::Progress<'_>) -> Result<Tended> {
        let _wiped = WipeStack;
        self.inner.tend(progress, &|| false)
    }
}
