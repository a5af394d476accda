//! Retention policies, of the store or of one user.

use std::ops::ControlFlow;

use crate::engine::Engine;
use crate::engine::edit::{Edit, change_page};
use crate::engine::foresee::would_fall;
use crate::engine::plans::too_many;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, UserId, UserTag};
use crate::limits::{POLICIES_MAX, SWEEP};
use crate::policy::{Policy, Rules};
use crate::secret::WipeStack;
use crate::tree::agenda::Agenda;
use crate::tree::user::UserPage;
use crate::tree::users::{Found, visit};
use crate::tree::{Editor, Node, PageKind, Pages};

impl Engine {
    /// Sets a policy of the store, or of one user in its place: another one of the same class and purpose is replaced. What
    /// passed its limits falls at the next [`Engine::tend`]. A policy of the store looks at every user, then.
    ///
    /// # Errors
    /// `Invalid` for a number together with a purpose; `Refused` beyond 64; `Erased`, `Absent` for the user; as
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
                "there is no such policy; `keyfall policy list STORE` shows all (with --user, those of a user)",
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

    /// How many records fall at once if a policy is set ([`Engine::set_policy`]); what was derived from them falls too and is not
    /// counted, and what a hold keeps is. A policy of the store looks at every user's records of its class.
    ///
    /// # Errors
    /// As [`Engine::set_policy`].
    pub fn would_expire(&self, user: Option<&UserId>, policy: &Policy) -> Result<u64> {
        let _wiped = WipeStack;
        policy.check()?;
        let inner = &self.inner;
        inner.check_usable()?;
        let pages = inner.pages();
        let with = |mut policies: Vec<Policy>| {
            policies.retain(|p| (&p.class, &p.purpose) != (&policy.class, &policy.purpose));
            policies.push(policy.clone());
            policies
        };
        if let Some(user) = user {
            let state = inner.state();
            let (tag, page) = inner.user_page(&state, user)?;
            let store = Edit::policies_of(&state).all(&pages, None)?;
            let rules = Rules { own: with(page.policies.all(&pages, Some(tag))?), store };
            return would_fall(&pages, tag, &page, (&rules, &policy.class, inner.reading(&state).due()));
        }
        let (mut fall, mut behind) = (0, None);
        loop {
            // An erase waits for no more than some users.
            let state = inner.state();
            let (now, store) = (inner.reading(&state).due(), with(Edit::policies_of(&state).all(&pages, None)?));
            let mut seen = 0;
            visit(&pages, &state.head.roots.users, state.head.geometry, behind, &mut |user, found| {
                if let Found::Live { page, .. } = found {
                    let mut look = || -> Result<()> {
                        let page = UserPage::decode(&pages.load(PageKind::User, Some(user), &page)?)?;
                        let rules = Rules { own: page.policies.all(&pages, Some(user))?, store: store.clone() };
                        fall += would_fall(&pages, user, &page, (&rules, &policy.class, now))?;
                        Ok(())
                    };
                    if let Err(e) = look()
                        && e.kind() != ErrorKind::Corrupt
                    {
                        return Err(e);
                    }
                }
                (seen, behind) = (seen + 1, Some(user));
                Ok(if seen < SWEEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            if seen < SWEEP {
                return Ok(fall);
            }
        }
    }
}
