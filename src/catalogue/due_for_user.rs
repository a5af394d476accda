//! Serving one user: the planned erases that are due, what passed a limit, inbox keys that are old.

use std::ops::ControlFlow;

use super::defect::Defect;
use super::docket::Docket;
use super::due_outcome::{DueOutcome, Failing, Refusals, Setback, Trouble};
use super::edit::Edit;
use super::erase::apply;
use super::fell::Fell;
use super::follow::follow;
use super::hold::drop_idle_marks;
use super::hold_check::{part_is_held, record_is_held};
use super::inbox;
use super::keep_derived::keep_derived;
use super::number::{counts, outnumbered, outnumbered_alone};
use super::part::Part;
use super::record::erase_record;
use super::retention::{next_due, passed};
use super::span::Span;
use super::uploads;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, ClassTag, InteractionId, RecordId, Timestamp, UserId, UserTag};
use crate::limits::RETRY;
use crate::policy::{Policy, Rules, millis};
use crate::record::Entry;
use crate::scope::{Erase, Scope, When};
use crate::tree::keys::split_record_key;
use crate::tree::ordered::{KEY_MAX, KEY_MIN, Range};
use crate::tree::plans::Plan;
use crate::tree::user::{UserPage, class_place};
use crate::tree::{Editor, Pages};

/// The due work done in one edit.
pub(crate) struct Doing {
    /// Work due by this time is done.
    pub(crate) now: Timestamp,
    /// Policies of the whole store, read once for all users.
    policies: Vec<Policy>,
    pub(crate) users_gone: u64,
    pub(crate) erased: bool,
    pub(crate) outcome: DueOutcome,
    /// The erases of which a certificate is wanted.
    pub(crate) certified: Vec<Certified>,
}

/// An erase that was carried out, and of which a certificate is wanted.
pub(crate) struct Certified {
    pub(crate) user: UserTag,
    /// Which planned erase; `None` for what passed a limit.
    pub(crate) plan: Option<u64>,
    pub(crate) erase: Erase,
    /// What it took: counts and docket.
    pub(crate) fell: Fell,
}

type Served<T> = std::result::Result<T, Setback>;

impl Doing {
    pub(crate) fn new(now: Timestamp, policies: Vec<Policy>) -> Self {
        Doing {
            now,
            policies,
            users_gone: 0,
            erased: false,
            outcome: DueOutcome::default(),
            certified: Vec::new(),
        }
    }

    /// When what cannot be done now is tried again.
    pub(crate) fn later(&self) -> Timestamp {
        Timestamp(self.now.0.saturating_add(millis(RETRY)))
    }

    pub(crate) fn rules(&self, pages: &dyn Pages, user: UserTag, page: &UserPage) -> Result<Rules> {
        Ok(Rules { own: page.policies.all(pages, Some(user))?, store: self.policies.clone() })
    }

    /// Notes that a certificate is wanted of an erase, if it did something.
    fn certify(&mut self, user: UserTag, plan: Option<u64>, erase: &Erase, fell: &mut Fell) {
        if let Some(docket) = fell.docket.take() {
            let fell = Fell { docket: Some(docket), ..Fell::of(fell.counts.clone()) };
            self.certified.push(Certified { user, plan, erase: erase.clone(), fell });
        }
    }

    /// Adds one erase's result to the totals, follows its links, and gives the number of its
    /// records.
    fn took(&mut self, edit: &mut Edit<'_>, mut fell: Fell) -> Served<u64> {
        self.erased |= !fell.already;
        self.users_gone += u64::from(fell.user_gone);
        edit.note_fallen(&mut fell.spans);
        let (links, most) = (std::mem::take(&mut fell.links), edit.means.follow);
        self.outcome.derived += follow(edit, links, most).map_err(Setback::Follow)?.derived;
        Ok(fell.records.unwrap_or(0))
    }
}

/// Does what is due for one user, but for what is known to fail, and records when it is due again.
pub(crate) fn serve(
    edit: &mut Edit<'_>,
    user: UserTag,
    failing: Option<&Failing>,
    doing: &mut Doing,
) -> Served<()> {
    let pages = edit.pages();
    let mut refused = Refusals::default();
    if !do_plans(edit, user, failing, doing, &mut refused)? {
        return Ok(());
    }
    expire(edit, user, doing, &mut refused)?;
    end_uploads(edit, user, doing, &mut refused)?;
    let Some((editor, page)) = edit.page(user)? else {
        return Ok(());
    };
    let old = |made| inbox::end(made) <= doing.now;
    for key in page.inbox.keys(pages, user)?.iter().filter(|key| old(key.made)) {
        page.inbox.remove(editor, user, key.number)?;
        doing.erased = true;
        doing.outcome.inbox_keys += 1;
    }
    refused.write_down(editor, user, page, doing.now)?;
    let next = next_due(pages, user, page, &doing.rules(pages, user, page)?)?;
    // What is due still was refused, or failed.
    Ok(edit.set_due(user, next.map(|next| if next <= doing.now { doing.later() } else { next }))?)
}

/// Does a user's planned erases that are due; says whether the user lives then.
fn do_plans(
    edit: &mut Edit<'_>,
    user: UserTag,
    failing: Option<&Failing>,
    doing: &mut Doing,
    refused: &mut Refusals,
) -> Served<bool> {
    let pages = edit.pages();
    let (name, plans) = match edit.page(user)? {
        None => return Ok(false),
        Some((_, page)) => {
            page.due = None;
            let plans = page.plans.all(pages, user, &page.user)?.into_iter();
            (page.user.clone(), plans.filter(|plan| plan.due <= doing.now).collect::<Vec<Plan>>())
        }
    };
    for plan in &plans {
        if let Some(e) = failing.and_then(|failing| failing.plans.get(&plan.id)) {
            note_failure(edit, user, &name, plan, e, doing)?;
            continue;
        }
        let dropped = edit.means.planted.is(Defect::PlanDropped)
            && !plan.erase.kept().is_empty()
            && edit.view.is_falling();
        match apply(edit, &plan.erase) {
            _ if dropped => {}
            Ok(mut fell) => {
                let erase = plan.erase.clone().asked_at(plan.planned);
                doing.certify(user, Some(plan.id), &erase, &mut fell);
                doing.took(edit, fell)?;
                doing.outcome.planned += 1;
            }
            Err(e) if e.kind() == ErrorKind::Held => {
                refused.add(edit, user, &plan.erase, &mut doing.outcome)?;
                continue;
            }
            // It is done later, or cancelled: a plan goes only when it is done.
            Err(e) => return Err(Setback::Plan(plan.id, e)),
        }
        match edit.page(user)? {
            Some((editor, page)) => page.plans.remove(editor, user, plan)?,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Records that a planned erase failed: in a word, for the error itself may name what falls later.
fn note_failure(
    edit: &mut Edit<'_>,
    user: UserTag,
    name: &UserId,
    plan: &Plan,
    e: &Error,
    doing: &mut Doing,
) -> Result<()> {
    doing.outcome.failed += 1;
    let (user_name, id) = (Some(name.clone()), Some(plan.id));
    doing.outcome.note(Trouble { user: user_name, plan: id, kind: e.kind(), why: e.to_string() });
    match edit.page(user)? {
        Some((editor, page)) => {
            let word = format!("{:?}", e.kind()).to_lowercase();
            page.history.fail(editor, user, doing.now, plan.id, word)
        }
        None => Ok(()),
    }
}

/// Erases what passed a limit.
fn expire(
    edit: &mut Edit<'_>,
    user: UserTag,
    doing: &mut Doing,
    refused: &mut Refusals,
) -> Served<()> {
    let pages = edit.pages();
    let Some((_, page)) = edit.page(user)? else {
        return Ok(());
    };
    let rules = doing.rules(pages, user, page)?;
    if rules.is_empty() {
        return Ok(());
    }
    if page.holds.marks.root.is_some() {
        drop_idle_marks(edit, user)?;
    }
    let Some((_, page)) = edit.page(user)? else {
        return Ok(());
    };
    let classes: Vec<(ClassTag, Class)> =
        page.classes.iter().map(|slot| (slot.tag, slot.class.clone())).collect();
    for (tag, class) in classes {
        let Some((_, page)) = edit.page(user)? else {
            return Ok(());
        };
        // An erase of another class may have taken it.
        let Some(slot) = page.class(tag) else {
            continue;
        };
        let mut limit = Limit { user, class: &class, doing: &mut *doing, refused: &mut *refused };
        let until = passed(pages, user, slot, &rules, limit.doing.now)?;
        if rules.by_purpose(&class) {
            limit.expire_by_purpose(edit, &rules)?;
            continue;
        }
        let alone = outnumbered_alone(pages, user, slot, &rules)?;
        let in_span = |until: Option<Timestamp>, id: &InteractionId| {
            until.is_none_or(|until| id.began() < until)
        };
        let goes = |id: &InteractionId| until.is_some_and(|until| in_span(until, id));
        let alone = alone.into_iter().filter(|id| !goes(id)).map(When::Interaction);
        let span = until.map(|until| When::Between { from: None, until });
        limit.expire_parts(edit, alone.chain(span).collect(), rules.of_class(&class))?;
    }
    Ok(())
}

/// Erases the uploads that expired, or whose record would have passed a limit.
fn end_uploads(
    edit: &mut Edit<'_>,
    user: UserTag,
    doing: &mut Doing,
    refused: &mut Refusals,
) -> Served<()> {
    let (pages, epoch) = (edit.pages(), edit.moment.epoch);
    let Some((_, page)) = edit.page(user)? else {
        return Ok(());
    };
    let rules = doing.rules(pages, user, page)?;
    for record in uploads::over(pages, user, page, &rules, doing.now)?.1 {
        let Some((editor, page)) = edit.page(user)? else {
            return Ok(());
        };
        if record_is_held(pages, page, &record)? {
            let class = page.class(record.class).map_or(record.class, |slot| page.fenced_as(slot));
            refused.limit(class, &mut doing.outcome);
        } else if let Some(fell) = erase_record(editor, page, &record, epoch)? {
            doing.took(edit, fell)?;
            doing.outcome.uploads += 1;
        }
    }
    Ok(())
}

/// A class of a user of which something may have passed a limit.
struct Limit<'d> {
    user: UserTag,
    class: &'d Class,
    doing: &'d mut Doing,
    refused: &'d mut Refusals,
}

impl Limit<'_> {
    /// Erases its interactions that began before a time; if a hold covers some, the others one
    /// by one.
    fn expire_parts(
        &mut self,
        edit: &mut Edit<'_>,
        mut whens: Vec<When>,
        policy: Option<&Policy>,
    ) -> Served<()> {
        let (pages, moment) = (edit.pages(), edit.moment);
        while let Some(when) = whens.pop() {
            let Some((_, page)) = edit.page(self.user)? else {
                return Ok(());
            };
            let part = Part::of(page, self.user, Some(self.class), &[], when)?;
            let tag = page.class_tag(self.class);
            if !part_is_held(pages, page, &part)? {
                let class = self.class.clone();
                let scope = |user| match when {
                    When::Between { from: None, until: None } => Scope::class(user, class),
                    when => Scope::User { user, class: Some(class), when },
                };
                self.take(edit, part.span(), policy, scope, |editor, page| {
                    part.erase(editor, page, &moment).map(Some)
                })?;
            } else if let When::Interaction(_) = when {
                self.refused.limit(tag, &mut self.doing.outcome);
            } else {
                whens.extend(part.interactions(pages, page)?.into_iter().map(When::Interaction));
            }
        }
        Ok(())
    }

    /// Erases single records, if the limit depends on what each was put for.
    fn expire_by_purpose(&mut self, edit: &mut Edit<'_>, rules: &Rules) -> Served<()> {
        let (pages, epoch) = (edit.pages(), edit.moment.epoch);
        let Some((_, page)) = edit.page(self.user)? else {
            return Ok(());
        };
        for (id, policy) in self.passed_by_purpose(pages, page, rules)? {
            let Some((_, page)) = edit.page(self.user)? else {
                return Ok(());
            };
            if record_is_held(pages, page, &id)? {
                self.refused.limit(id.class, &mut self.doing.outcome);
                continue;
            }
            // If it is not there, it fell with another one.
            self.take(
                edit,
                &Span::one(&id),
                policy,
                |_| Scope::Record(id),
                |editor, page| erase_record(editor, page, &id, epoch),
            )?;
        }
        Ok(())
    }

    /// Takes out what passed a limit, by `act`, as its policy says: what was derived may stay, and
    /// a certificate be wanted.
    fn take(
        &mut self,
        edit: &mut Edit<'_>,
        span: &Span,
        policy: Option<&Policy>,
        scope: impl FnOnce(UserId) -> Scope,
        act: impl FnOnce(&mut Editor<'_>, &mut UserPage) -> Result<Option<Fell>>,
    ) -> Served<()> {
        let derived_kept = match policy.and_then(|p| p.keep_derived.as_deref()) {
            Some(reason) => keep_derived(edit, span, reason)?,
            None => Vec::new(),
        };
        let user = self.user;
        let (erase, fell) = edit.user(user, |editor, page| {
            let erase = policy.and_then(|policy| policy.erase(scope(page.user.clone())));
            let docket = erase.as_ref().map(|_| Docket::of(editor, user, page)).transpose()?;
            let docket = docket.map(|docket| Docket { derived_kept, ..docket });
            Ok((erase, act(editor, page)?.map(|fell| Fell { docket, ..fell })))
        })?;
        if let Some(mut fell) = fell {
            if let Some(erase) = &erase {
                self.doing.certify(user, None, erase, &mut fell);
            }
            self.doing.outcome.expired += self.doing.took(edit, fell)?;
        }
        Ok(())
    }

    /// Records that passed a limit, each with its policy.
    fn passed_by_purpose<'r>(
        &self,
        pages: &dyn Pages,
        page: &UserPage,
        rules: &'r Rules,
    ) -> Result<Vec<(RecordId, Option<&'r Policy>)>> {
        let (user, now) = (self.user, self.doing.now);
        let (class, incarnation) = (page.class_tag(self.class), page.incarnation);
        let mut ids = Vec::new();
        if let Some(slot) = page.class(class) {
            let before = outnumbered(pages, user, slot, rules)?;
            let all = Range { low: &KEY_MIN, high: &KEY_MAX, descending: false };
            slot.tree.scan(pages, class_place(user), all, &mut |key, value| {
                let (interaction, ordinal) = split_record_key(key)?;
                let policy = rules.of(self.class, &Entry::decode(value)?.purpose);
                let expired =
                    policy.and_then(|p| p.expiry(interaction.began())).is_some_and(|at| at <= now);
                let is_over = before.is_some_and(|last| interaction <= last);
                if expired || counts(policy) && is_over {
                    ids.push((RecordId { interaction, user, incarnation, class, ordinal }, policy));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(ids)
    }
}
