//! Planned erases and retention policies: what [`Engine::tend`] will do, and when.

use super::edit::{Edit, change_page};
use super::holds::protected;
use super::part::{Part, is_there};
use super::passing::next_due;
use super::{Engine, Inner};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, Timestamp, UserId, UserTag};
use crate::limits::{PLANS_MAX, POLICIES_MAX};
use crate::policy::{Policy, Rules};
use crate::scope::{Erase, Scope};
use crate::secret::WipeStack;
use crate::tree::agenda::Agenda;
use crate::tree::history::Note;
use crate::tree::plans::Plan;
use crate::tree::user::UserPage;
use crate::tree::{Editor, Pages};

fn too_many(what: &str, most: usize) -> Error {
    Error::new(ErrorKind::Limit, format!("there are {most} {what} already; take one back"))
}

/// Whether an erase of some of what a user has would be refused as held now.
fn is_held_now(pages: &dyn Pages, user: UserTag, page: &UserPage, erase: &Erase) -> Result<bool> {
    match erase.scope() {
        Scope::Record(id) => protected(pages, page, id),
        Scope::User { class, when, .. } => {
            Part::of(page, (user, page.incarnation), (class.as_ref(), erase.kept()), *when)?.is_held(pages, page)
        }
    }
}

/// A user's planned erases, the next first.
pub(super) fn plans_of(pages: &dyn Pages, user: UserTag, page: &UserPage) -> Result<Vec<Plan>> {
    let mut plans = page.plans.all(pages, user, &page.user)?;
    for plan in &mut plans {
        plan.held = is_held_now(pages, user, page, &plan.erase)?;
    }
    Ok(plans)
}

impl Inner {
    /// The policies that hold for a user.
    pub(super) fn rules(
        &self,
        state: &super::State,
        pages: &dyn Pages,
        user: UserTag,
        page: &UserPage,
    ) -> Result<Rules> {
        let store = match &state.head.roots.policies {
            Some(_) => Edit::policies_of(state).all(pages, None)?,
            None => Vec::new(),
        };
        Ok(Rules { own: page.policies.all(pages, Some(user))?, store })
    }

    /// Looks anew when there is something to do for a user.
    fn reckon(&self, edit: &mut Edit<'_>, user: UserTag) -> Result<()> {
        let pages = edit.editor.pages;
        let store = edit.policies.all(pages, None)?;
        let next = change_page(edit, user, |_, page| {
            next_due(pages, user, page, &Rules { own: page.policies.all(pages, Some(user))?, store })
        })?;
        edit.set_due(user, next)
    }
}

impl Engine {
    /// Plans an erase for a time to come. Until then it can be cancelled and its scope can be read; at that time it is done by the
    /// open engine, or by the next one to open, without anyone asking again. It is in the tree, and so in every copy. It is final
    /// when it is done, whatever window it allows. A hold does not keep it from being planned, but from being done: [`Plan::held`] says
    /// whether one covers it now.
    ///
    /// # Errors
    /// `Invalid` for a time that has passed, and for all that [`Engine::erase`] finds invalid; `Erased`, `Absent` where there is no such user or record; `Limit` beyond 64
    /// for one user, and while the clock is not believed ([`Engine::clock_doubts`]); as [`Engine::erase`] and [`Engine::put`], but for `Held`.
    pub fn erase_at(&self, erase: impl Into<Erase>, due: Timestamp) -> Result<Plan> {
        let _wiped = WipeStack;
        let erase: Erase = erase.into();
        erase.check()?;
        let erase = erase.into_plan()?;
        let inner = &self.inner;
        if let Some(doubts) = inner.doubts() {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("nothing is planned by a clock that may be wrong: {doubts}"),
            ));
        }
        let now = inner.options.env.now();
        if due <= now {
            return Err(Error::invalid("a planned erase is for a time to come; leave the time out to erase now"));
        }
        let plan = Plan { id: inner.new_number()?, due, planned: now, erase, held: false };
        let held = inner.commit_edit(|state, pages, edit| {
            let user = match plan.erase.scope() {
                Scope::User { user, .. } => inner.user_page(state, user)?.0,
                Scope::Record(id) => {
                    inner.look_up_whole(state, id)?;
                    id.user
                }
            };
            let held = change_page(edit, user, |editor, page| {
                if let Scope::Record(id) = plan.erase.scope()
                    && !is_there(editor, page, id)?
                {
                    return Err(super::read::record_erased(id));
                }
                if page.plans.all(pages, user, &page.user)?.len() >= PLANS_MAX {
                    return Err(too_many("planned erases for this user", PLANS_MAX));
                }
                page.plans.add(editor, user, &plan)?;
                page.history.add(editor, user, now, &Note::Planned { id: plan.id, due })?;
                is_held_now(pages, user, page, &plan.erase)
            })?;
            edit.due_by(user, due).map(|()| held)
        })?;
        Ok(Plan { held, ..plan })
    }

    /// Cancels a planned erase.
    ///
    /// # Errors
    /// `Absent` where the user has no such plan, also where it was done meanwhile; as [`Engine::put`].
    pub fn cancel(&self, user: &UserId, id: u64) -> Result<()> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.commit_edit(|state, pages, edit| {
            let (tag, _) = inner.user_page(state, user)?;
            change_page(edit, tag, |editor, page| {
                let plans = page.plans.all(pages, tag, user)?;
                let Some(plan) = plans.iter().find(|plan| plan.id == id) else {
                    return Err(Error::new(
                        ErrorKind::Absent,
                        "this user has no such planned erase; `Engine::plans` shows all",
                    ));
                };
                page.plans.remove(editor, tag, plan)?;
                page.history.add(editor, tag, inner.options.env.now(), &Note::Cancelled { id })
            })?;
            inner.reckon(edit, tag)
        })
    }

    /// The planned erases of a user, the next first.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn plans(&self, user: &UserId) -> Result<Vec<Plan>> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let (tag, page) = self.inner.user_page(&state, user)?;
        plans_of(&self.inner.pages(), tag, &page)
    }

    /// Sets a policy of the store, or of one user in its place: another one of the same class and purpose is replaced. What
    /// passed its limits falls at the next [`Engine::tend`]. A policy of the store looks at every user, then.
    ///
    /// # Errors
    /// `Invalid` for a number together with a purpose; `Limit` beyond 64; `Erased`, `Absent` for the user; as
    /// [`Engine::put`].
    pub fn set_policy(&self, user: Option<&UserId>, policy: &Policy) -> Result<()> {
        let _wiped = WipeStack;
        policy.check()?;
        self.change_policies(user, |editor, policies, owner| {
            policies.set(editor, owner, policy)?;
            match policies.all(editor.pages, owner)?.len() {
                n if n > POLICIES_MAX => Err(too_many("policies", POLICIES_MAX)),
                _ => Ok(()),
            }
        })
    }

    /// Takes a policy back.
    ///
    /// # Errors
    /// `Absent` where there is none; as [`Engine::set_policy`].
    pub fn unset_policy(&self, user: Option<&UserId>, class: &Class, purpose: Option<&str>) -> Result<()> {
        let _wiped = WipeStack;
        self.change_policies(user, |editor, policies, owner| match policies.remove(editor, owner, class, purpose)? {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Absent,
                "there is no such policy; `Engine::policies` shows all, of all users or of one",
            )),
        })
    }

    fn change_policies(
        &self,
        user: Option<&UserId>,
        act: impl FnOnce(&mut Editor<'_>, &mut crate::tree::policies::Policies, Option<UserTag>) -> Result<()>,
    ) -> Result<()> {
        let inner = &self.inner;
        inner.commit_edit(|state, _, edit| {
            let Some(user) = user else {
                act(&mut edit.editor, &mut edit.policies, None)?;
                return edit.agenda.add(&mut edit.editor, Agenda::SWEEP, UserTag([0; 12]));
            };
            let (tag, _) = inner.user_page(state, user)?;
            change_page(edit, tag, |editor, page| act(editor, &mut page.policies, Some(tag)))?;
            inner.reckon(edit, tag)
        })
    }

    /// The policies of the store, or those that a user has in their place.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn policies(&self, user: Option<&UserId>) -> Result<Vec<Policy>> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let pages = self.inner.pages();
        match user {
            None => Edit::policies_of(&state).all(&pages, None),
            Some(user) => {
                let (tag, page) = self.inner.user_page(&state, user)?;
                page.policies.all(&pages, Some(tag))
            }
        }
    }
}
