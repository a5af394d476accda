//! Retention policies, of the store or of one user.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::engine::Inner;
use crate::engine::edit::{Edit, change_page};
use crate::engine::foresee::would_fall;
use crate::engine::plans::too_many;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, UserId, UserTag};
use crate::limits::{POLICIES_MAX, SWEEP};
use crate::policy::{Policy, Rules};
use crate::secret::WipeStack;
use crate::tree::agenda::Agenda;
use crate::tree::policies;
use crate::tree::user::UserPage;
use crate::tree::users::{Found, visit};
use crate::tree::{Editor, Node, PageKind, Pages};

/// The retention policies of the store, or of one user
/// ([`Engine::policies`](crate::Engine::policies)).
#[derive(Clone, Copy, Debug)]
pub struct Policies<'e> {
    pub(super) inner: &'e Arc<Inner>,
    pub(super) user: Option<&'e UserId>,
}

impl Policies<'_> {
    /// Sets a policy, in the place of one of the same class and purpose. What passed its limits
    /// falls at the next [`Engine::run_due`](crate::Engine::run_due). For a policy of the store,
    /// that looks at every user.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use keyfall::{Class, Engine, Options, Policy, UserId};
    /// # use keyfall::{cell::MemoryCell, store::MemoryStore};
    /// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    /// # let engine = Engine::init(store, cell, Options::default())?;
    /// let days = |n: u64| Duration::from_secs(n * 24 * 60 * 60);
    /// engine.policies(None).set(&Policy::new(Class::audio()).max_age(days(30)))?;
    /// // One user's own, in the place of the store's.
    /// let child = UserId::new("child")?;
    /// engine.create_user(&child)?;
    /// engine.policies(Some(&child)).set(&Policy::new(Class::audio()).max_age(days(1)))?;
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a number together with a purpose; `Refused` beyond 64; `Erased`, `Absent` for
    /// the user; as [`Engine::put`](crate::Engine::put).
    pub fn set(&self, policy: &Policy) -> Result<()> {
        let _wiped = WipeStack;
        policy.check()?;
        self.change_policies(|editor, policies, owner| {
            policies.set(editor, owner, policy)?;
            match policies.all(editor.pages, owner)?.len() {
                n if n > POLICIES_MAX => Err(too_many("policies", POLICIES_MAX)),
                _ => Ok(()),
            }
        })
    }

    /// Removes the policy of a class and purpose.
    ///
    /// # Errors
    /// `Absent` for a policy that is not set; as [`Policies::set`](crate::engine::Policies::set).
    pub fn unset(&self, class: &Class, purpose: Option<&str>) -> Result<()> {
        let _wiped = WipeStack;
        self.change_policies(|editor, policies, owner| {
            match policies.remove(editor, owner, class, purpose)? {
                true => Ok(()),
                false => Err(Error::new(
                    ErrorKind::Absent,
                    "there is no such policy; `keyfall policy list STORE` shows all (with --user, \
                 those of a user)",
                )),
            }
        })
    }

    fn change_policies(
        &self,
        act: impl FnOnce(&mut Editor<'_>, &mut policies::Policies, Option<UserTag>) -> Result<()>,
    ) -> Result<()> {
        let inner = self.inner;
        inner.commit_edit(|state, _, edit| {
            let Some(user) = self.user else {
                act(&mut edit.editor, &mut edit.policies, None)?;
                return edit.agenda.add(&mut edit.editor, Agenda::SWEEP, UserTag([0; 12]));
            };
            let (tag, _) = inner.user_page(state, user)?;
            change_page(edit, tag, |editor, page| act(editor, &mut page.policies, Some(tag)))?;
            inner.reckon(edit, tag)
        })
    }

    /// All policies of the store, or those that the user has in their place.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<Policy>> {
        let _wiped = WipeStack;
        self.inner.check_usable()?;
        let state = self.inner.state();
        let pages = self.inner.pages();
        match self.user {
            None => Edit::policies_of(&state).all(&pages, None),
            Some(user) => {
                let (tag, page) = self.inner.user_page(&state, user)?;
                page.policies.all(&pages, Some(tag))
            }
        }
    }

    /// How many records fall at once if a policy is set. What was derived from them falls too and
    /// is not counted; what a hold keeps is counted. For a policy of the store, this looks at every
    /// user's records of its class.
    ///
    /// # Errors
    /// As [`Policies::set`](crate::engine::Policies::set).
    pub fn would_expire(&self, policy: &Policy) -> Result<u64> {
        let _wiped = WipeStack;
        policy.check()?;
        let inner = self.inner;
        inner.check_usable()?;
        let pages = inner.pages();
        let with = |mut policies: Vec<Policy>| {
            policies.retain(|p| (&p.class, &p.purpose) != (&policy.class, &policy.purpose));
            policies.push(policy.clone());
            policies
        };
        if let Some(user) = self.user {
            let state = inner.state();
            let (tag, page) = inner.user_page(&state, user)?;
            let store = Edit::policies_of(&state).all(&pages, None)?;
            let rules = Rules { own: with(page.policies.all(&pages, Some(tag))?), store };
            return would_fall(
                &pages,
                tag,
                &page,
                (&rules, &policy.class, inner.reading(&state).due()),
            );
        }
        let (mut fall, mut behind) = (0, None);
        loop {
            // An erase waits for no more than some users.
            let state = inner.state();
            let (now, store) =
                (inner.reading(&state).due(), with(Edit::policies_of(&state).all(&pages, None)?));
            let mut seen = 0;
            visit(
                &pages,
                &state.head.roots.users,
                state.head.geometry,
                behind,
                &mut |user, found| {
                    if let Found::Live { page, .. } = found {
                        let mut look = || -> Result<()> {
                            let page = UserPage::decode(&pages.load(
                                PageKind::User,
                                Some(user),
                                &page,
                            )?)?;
                            let rules = Rules {
                                own: page.policies.all(&pages, Some(user))?,
                                store: store.clone(),
                            };
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
                    Ok(if seen < SWEEP {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    })
                },
            )?;
            if seen < SWEEP {
                return Ok(fall);
            }
        }
    }
}
