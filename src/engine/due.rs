//! What is due: planned erases, what passed a limit, root keys that were left pending, links still to be followed.
//!
//! The agenda in the head says for which user there is something to do, and when at the earliest. One commit serves all for
//! whom the time has come; what it erases is erased as by anybody, with lineage, holds and fences.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use super::cascade::{Stuck, follow};
use super::clock::Reading;
use super::commit::Change;
use super::edit::{Edit, page_of};
use super::erase::Applied;
use super::holds::{drop_idle_marks, protected};
use super::pages::PageSource;
use super::part::{Part, erase_record};
use super::passing::{counts, next_due, outnumbered, passed};
use super::tended::{Failing, Failures, Refusals, Setback, Tended, Trouble};
use super::{Inner, State, Writer, inbox};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, ClassTag, RecordId, Timestamp, UserTag};
use crate::limits::{DUE_MAX, RETRY, SWEEP};
use crate::policy::{Policy, Rules, millis};
use crate::record::Entry;
use crate::scope::When;
use crate::tree::agenda::Agenda;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::plans::Plan;
use crate::tree::user::{UserPage, class_place, split_record_key};
use crate::tree::users::{Found, visit};
use crate::tree::{Node, PageKind, Pages};

/// One commit of what is due.
struct Doing {
    epoch: u64,
    now: Timestamp,
    clock: Reading,
    /// The store's policies.
    policies: Vec<Policy>,
    users_gone: u64,
    erased: bool,
    tended: Tended,
}

/// One call of [`Engine::run_due`](crate::Engine::run_due).
#[derive(Default)]
struct Tending {
    /// One look at the clock: what falls due meanwhile waits for the next call.
    clock: Option<Reading>,
    /// Whether a page of the user tree keeps a sweep from going on.
    sweep_stuck: bool,
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

impl Inner {
    /// When there is something to do, at the earliest.
    pub(super) fn next_due(&self) -> Result<Option<Timestamp>> {
        let state = self.state();
        if state.head.roots.falling.is_some() {
            return Ok(Some(Timestamp(0)));
        }
        Ok(Edit::agenda_of(&state).next(&self.pages())?.into_iter().chain(state.head.pending).min())
    }

    /// How long it is until there is something to do, by the clocks that count for it.
    pub(super) fn left(&self) -> Result<Option<Duration>> {
        let state = self.state();
        let clock = self.reading(&state);
        if state.head.roots.falling.is_some() || self.is_stale(&state, clock) {
            return Ok(Some(Duration::ZERO));
        }
        let pending = state.head.pending.map(|at| at.0.saturating_sub(clock.latest().0));
        let next = Edit::agenda_of(&state).next(&self.pages())?.map(|at| at.0.saturating_sub(clock.due().0));
        Ok(pending.into_iter().chain(next).min().map(Duration::from_millis))
    }

    /// Whether something is due by a clock that is not believed.
    fn is_waiting(&self) -> Result<bool> {
        let state = self.state();
        let clock = self.reading(&state);
        Ok(clock.doubted && !Edit::agenda_of(&state).due(&self.pages(), clock.now, 1)?.is_empty())
    }

    /// Lets what is pending become final at its time: an epoch of its own, which waits for nothing else that is due.
    fn finalize(&self, writer: &mut Writer, tending: &mut Tending) -> Result<bool> {
        if self.state().head.pending.is_none() {
            return Ok(false);
        }
        self.ready_to_erase(writer)?;
        let clock = *tending.clock.get_or_insert_with(|| self.reading(&self.state()));
        let change = {
            let state = self.state();
            if state.head.pending.is_none_or(|at| at > clock.latest()) {
                return Ok(false);
            }
            let mut change = Change::of_head(self.next_head(&state));
            self.next_epoch(&state, writer, &mut change)?;
            change
        };
        let retired = self.publish(writer, change)?;
        Ok(retired.is_some_and(|retired| retired.is_final()))
    }

    /// Does some of what is due in one commit; `None` where nothing is.
    fn do_due(&self, writer: &mut Writer, tending: &mut Tending) -> Result<Option<Tended>> {
        if self.state().head.roots.agenda.is_none() {
            return Ok(None);
        }
        self.ready_to_erase(writer)?;
        let clock = *tending.clock.get_or_insert_with(|| self.reading(&self.state()));
        let (change, mut tended) = {
            let state = self.state();
            let pages = self.pages();
            let agenda = Edit::agenda_of(&state);
            let due = agenda.due(&pages, clock.due(), DUE_MAX)?;
            // What a change of policies makes due joins what is due: all of it is erased together.
            let (mut sweeps, mut due): (Vec<_>, Vec<_>) = due.into_iter().partition(|(at, _)| *at == Agenda::SWEEP);
            if tending.sweep_stuck {
                sweeps.clear();
            }
            if !sweeps.is_empty() {
                due = sweeps;
            }
            // Where nothing is due the time in the head may have to be written again.
            if due.is_empty() && !self.is_stale(&state, clock) {
                return Ok(None);
            }
            self.attempts(&state, &pages, writer, (&due, clock), tending)?
        };
        let retired = self.publish(writer, change)?;
        tended.finalized &= retired.is_some_and(|retired| retired.is_final());
        Ok(Some(tended))
    }

    /// Attempts a commit until nothing in it fails; nothing of a failed attempt is kept.
    fn attempts(
        &self,
        state: &State,
        pages: &PageSource<'_>,
        writer: &Writer,
        (due, clock): (&[(Timestamp, UserTag)], Reading),
        tending: &mut Tending,
    ) -> Result<(Change, Tended)> {
        let doing = || {
            let policies = Edit::policies_of(state).all(pages, None)?;
            let (epoch, now, tended) = (writer.root.id.epoch + 1, clock.due(), Tended::default());
            Ok::<_, Error>(Doing { epoch, now, clock, policies, users_gone: 0, erased: false, tended })
        };
        let (mut failures, mut tried) = (Failures::default(), false);
        loop {
            let mut edit = Edit::new(state, pages);
            edit.passed_over.clone_from(&failures.passed_over);
            let mut doing_all = doing()?;
            match self.attempt(state, &mut edit, (due, &failures), &mut doing_all, tending)? {
                None => {
                    let Doing { users_gone, erased, mut tended, .. } = doing_all;
                    let mut change = self.change(state, edit)?;
                    change.head.users -= users_gone;
                    if erased {
                        change.head.floor = change.head.floor.max(clock.sure());
                        tended.finalized = change.head.pending.is_some();
                        self.next_epoch(state, writer, &mut change)?;
                    }
                    return Ok((change, tended));
                }
                Some((user, setback)) => {
                    failures.learn(user, setback)?;
                    if std::mem::replace(&mut tried, true) {
                        continue;
                    }
                    // Once each user is served alone, and nothing kept: however many fail, all are looked at three times.
                    for (_, user) in due.iter().filter(|(at, _)| *at != Agenda::SWEEP) {
                        loop {
                            if failures.users.get(user).is_some_and(|failing| failing.all.is_some()) {
                                break;
                            }
                            let mut alone = Edit::new(state, pages);
                            alone.passed_over.clone_from(&failures.passed_over);
                            match self.serve(state, &mut alone, (*user, failures.users.get(user)), &mut doing()?) {
                                Ok(()) => break,
                                Err(setback) => failures.learn(*user, setback)?,
                            }
                        }
                    }
                }
            }
        }
    }

    /// Does what is due in one edit; tells whose failed, if something did.
    fn attempt(
        &self,
        state: &State,
        edit: &mut Edit<'_>,
        (due, failures): (&[(Timestamp, UserTag)], &Failures),
        doing: &mut Doing,
        tending: &mut Tending,
    ) -> Result<Option<(UserTag, Setback)>> {
        let mut served = BTreeSet::new();
        for (at, user) in due.iter().copied() {
            edit.agenda.remove(&mut edit.editor, at, user)?;
            if at == Agenda::SWEEP {
                tending.sweep_stuck |= !self.sweep(state, edit, user, doing)?;
                continue;
            }
            // One may have an entry that came too early beside its own.
            if !served.insert(user) {
                continue;
            }
            let failing = failures.users.get(&user);
            if let Some(Failing { all: Some(e), .. }) = failing {
                edit.agenda.add(&mut edit.editor, doing.later(), user)?;
                doing.tended.damaged += 1;
                let name = self.page_at(state, user).ok().flatten().map(|page| page.user);
                doing.tended.note(Trouble { user: name, plan: None, kind: e.kind(), why: e.to_string() });
            } else if let Err(setback) = self.serve(state, edit, (user, failing), doing) {
                return Ok(Some((user, setback)));
            }
        }
        Ok(None)
    }

    /// Takes what an erase took.
    fn took(&self, edit: &mut Edit<'_>, mut applied: Applied, doing: &mut Doing) -> std::result::Result<u64, Setback> {
        doing.erased |= !applied.already;
        doing.users_gone += u64::from(applied.user_gone);
        edit.note_fallen(&mut applied.selectors);
        let links = std::mem::take(&mut applied.links);
        let fell = follow(edit, links, doing.epoch, self.options.follow).map_err(Setback::Follow)?;
        doing.tended.derived += fell.derived;
        Ok(applied.records.unwrap_or(0))
    }

    /// Does what is due for one user, but for what is known to fail, and puts down when it is due again.
    fn serve(
        &self,
        state: &State,
        edit: &mut Edit<'_>,
        (user, failing): (UserTag, Option<&Failing>),
        doing: &mut Doing,
    ) -> std::result::Result<(), Setback> {
        let pages = edit.editor.pages;
        let (editor, root) = edit.parts()?;
        let (name, plans) = match page_of(editor, root, user)? {
            None => return Ok(()),
            Some(page) => {
                page.due = None;
                let plans = page.plans.all(pages, user, &page.user)?.into_iter();
                (page.user.clone(), plans.filter(|plan| plan.due <= doing.now).collect::<Vec<Plan>>())
            }
        };
        let mut refused = Refusals::default();
        for plan in &plans {
            if let Some(e) = failing.and_then(|failing| failing.plans.get(&plan.id)) {
                doing.tended.failed += 1;
                doing.tended.note(Trouble {
                    user: Some(name.clone()),
                    plan: Some(plan.id),
                    kind: e.kind(),
                    why: e.to_string(),
                });
                self.note_failure(edit, user, (plan.id, e), doing)?;
                continue;
            }
            match self.apply(state, edit, &plan.erase, (doing.epoch, doing.clock)) {
                #[cfg(feature = "testing")]
                _ if self.defect(super::Defect::PlanDropped) && !plan.erase.kept().is_empty() && self.is_falling() => {}
                Ok(applied) => {
                    self.took(edit, applied, doing)?;
                    doing.tended.planned += 1;
                }
                Err(e) if e.kind() == ErrorKind::Held => {
                    refused.add(edit, user, (&plan.erase, &mut doing.tended))?;
                    continue;
                }
                // It is done later, or cancelled: a plan leaves only when it is done.
                Err(e) => return Err(Setback::Plan(plan.id, e)),
            }
            let (editor, root) = edit.parts()?;
            match page_of(editor, root, user)? {
                Some(page) => page.plans.remove(editor, user, plan)?,
                None => return Ok(()),
            }
        }
        self.expire(edit, user, (doing, &mut refused))?;
        let (editor, root) = edit.parts()?;
        let Some(page) = page_of(editor, root, user)? else {
            return Ok(());
        };
        for key in page.inbox.keys(pages, user)?.iter().filter(|key| inbox::end(key.made) <= doing.now) {
            page.inbox.remove(editor, user, key.number)?;
            doing.erased = true;
            doing.tended.inbox_keys += 1;
        }
        refused.write_down(editor, user, page, doing.now)?;
        let next = next_due(pages, user, page, &doing.rules(pages, user, page)?)?;
        // What is due still was refused, or failed.
        Ok(edit.set_due(user, next.map(|next| if next <= doing.now { doing.later() } else { next }))?)
    }

    /// Erases what passed a limit.
    fn expire(
        &self,
        edit: &mut Edit<'_>,
        user: UserTag,
        (doing, refused): (&mut Doing, &mut Refusals),
    ) -> std::result::Result<(), Setback> {
        let pages = edit.editor.pages;
        let (editor, root) = edit.parts()?;
        let Some(page) = page_of(editor, root, user)? else {
            return Ok(());
        };
        let rules = doing.rules(pages, user, page)?;
        if rules.is_empty() {
            return Ok(());
        }
        if page.holds.marks.root.is_some() {
            drop_idle_marks(edit, user)?;
        }
        let (editor, root) = edit.parts()?;
        let Some(page) = page_of(editor, root, user)? else {
            return Ok(());
        };
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
                self.expire_part(edit, user, &class, until, (doing, refused))?;
            }
            if rules.by_purpose(&class) {
                self.expire_by_purpose(edit, user, &class, &rules, (doing, refused))?;
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
        until: Option<Timestamp>,
        (doing, refused): (&mut Doing, &mut Refusals),
    ) -> std::result::Result<(), Setback> {
        let mut whens = vec![When::Between { from: None, until }];
        while let Some(when) = whens.pop() {
            let (editor, root) = edit.parts()?;
            let Some(page) = page_of(editor, root, user)? else {
                return Ok(());
            };
            let part = Part::of(page, (user, page.incarnation), (Some(class), &[]), when)?;
            if !part.is_held(editor.pages, page)? {
                let applied = part.erase(editor, page, (doing.epoch, doing.clock))?;
                doing.tended.expired += self.took(edit, applied, doing)?;
            } else if let When::Interaction(_) = when {
                refused.limit(page.class_tag(class), &mut doing.tended);
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
        (doing, refused): (&mut Doing, &mut Refusals),
    ) -> std::result::Result<(), Setback> {
        let pages = edit.editor.pages;
        let (editor, root) = edit.parts()?;
        let Some(page) = page_of(editor, root, user)? else {
            return Ok(());
        };
        let (tag, incarnation) = (page.class_tag(class), page.incarnation);
        let mut ids = Vec::new();
        if let Some(slot) = page.class(tag) {
            let before = outnumbered(pages, user, slot, rules)?;
            let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
            slot.tree.scan(pages, class_place(user), all, &mut |key, value| {
                let (interaction, ordinal) = split_record_key(key)?;
                let policy = rules.of(class, &Entry::decode(value)?.purpose);
                let expired = policy.and_then(|p| p.expiry(interaction.began())).is_some_and(|at| at <= doing.now);
                if expired || counts(policy) && interaction.began().0 < before {
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
                refused.limit(tag, &mut doing.tended);
                continue;
            }
            // Where it is not there, it fell with another one.
            if let Some(applied) = erase_record(editor, page, &id, doing.epoch)? {
                doing.tended.expired += self.took(edit, applied, doing)?;
            }
        }
        Ok(())
    }

    /// Writes down that a planned erase failed.
    fn note_failure(&self, edit: &mut Edit<'_>, user: UserTag, (plan, e): (u64, &Error), doing: &Doing) -> Result<()> {
        let (editor, root) = edit.parts()?;
        match page_of(editor, root, user)? {
            // In a word: the error itself may name what falls later.
            Some(page) => page.history.fail(editor, user, doing.now, (plan, format!("{:?}", e.kind()).to_lowercase())),
            None => Ok(()),
        }
    }

    /// The store's policies changed: looks when something is due for some users, from a tag on. Says whether it could.
    fn sweep(&self, state: &State, edit: &mut Edit<'_>, from: UserTag, doing: &mut Doing) -> Result<bool> {
        let pages = edit.editor.pages;
        let mut dues = Vec::new();
        // `visit` begins behind a tag: the tag itself was looked at, or is the first of all, which belongs to nobody.
        let behind = (from != UserTag([0; 12])).then_some(from);
        let swept = visit(pages, &state.head.roots.users, state.head.geometry, behind, &mut |user, found| {
            if let Found::Live { page, .. } = found {
                let look = || {
                    let page = UserPage::decode(&pages.load(PageKind::User, Some(user), &page)?)?;
                    let next = next_due(pages, user, &page, &doing.rules(pages, user, &page)?)?;
                    Ok::<_, Error>((next, next != page.due))
                };
                dues.push((user, look()));
            }
            Ok(if dues.len() < SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        let last = dues.last().map_or(from, |(user, _)| *user);
        if dues.len() >= SWEEP || swept.is_err() {
            edit.agenda.add(&mut edit.editor, Agenda::SWEEP, last)?;
        }
        for (user, looked) in dues {
            match looked {
                Ok((next, true)) => edit.set_due(user, next)?,
                Ok((_, false)) => {}
                // Its pages are looked at again until somebody restored them: what the policies make due is found then.
                Err(_) => {
                    edit.agenda.add(&mut edit.editor, doing.later(), user)?;
                    doing.tended.damaged += 1;
                }
            }
        }
        doing.tended.damaged += u64::from(swept.is_err());
        Ok(swept.is_ok())
    }

    /// Follows what erases left, but for what cannot be followed now.
    fn follow_all(
        &self,
        tended: &mut Tended,
        progress: super::Progress<'_>,
        (stuck, stop): (&mut Stuck, &dyn Fn() -> bool),
    ) -> Result<()> {
        while self.is_falling() && !stop() {
            let mut writer = self.writer();
            match self.follow_some(&mut writer, stuck)? {
                Some(derived) => tended.derived += derived,
                None => break,
            }
            progress(tended.derived + tended.expired);
        }
        Ok(())
    }

    /// Does what is due, until `stop` says so.
    pub(super) fn tend(&self, progress: super::Progress<'_>, stop: &dyn Fn() -> bool) -> Result<Tended> {
        let (mut tended, mut tending) = (Tended::default(), Tending::default());
        self.check_owner()?;
        self.chase()?;
        if self.cell.wants_epoch() {
            self.rekey()?;
        }
        tended.finalized = self.finalize(&mut self.writer(), &mut tending)?;
        let mut stuck = Stuck::default();
        #[cfg(feature = "testing")]
        let last = self.defect(super::Defect::PlanDropped);
        #[cfg(not(feature = "testing"))]
        let last = false;
        // First what fell: who keeps a record from a planned erase has to know whether it is still there.
        if !last {
            self.follow_all(&mut tended, progress, (&mut stuck, stop))?;
        }
        while !stop() {
            let mut writer = self.writer();
            match self.do_due(&mut writer, &mut tending)? {
                Some(more) => tended += more,
                None => break,
            }
            progress(tended.derived + tended.expired);
        }
        self.follow_all(&mut tended, progress, (&mut stuck, stop))?;
        tended.damaged += stuck.users();
        tended.stuck = tending.sweep_stuck || !stuck.is_empty();
        tended.waiting = self.is_waiting()?;
        Ok(tended)
    }
}
