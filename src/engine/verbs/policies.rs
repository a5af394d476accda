//! Retention policies, of the store or of one user.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::catalogue::plan::{reckon, too_many};
use crate::catalogue::retention::would_fall;
use crate::catalogue::view::View;
use crate::engine::commit_edit::commit_edit;
use crate::engine::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, Timestamp, UserId, UserTag};
use crate::limits::{POLICIES_MAX, SWEEP};
use crate::policy::{Policy, Rules};
use crate::tree::agenda::Agenda;
use crate::tree::users::Found;
use crate::tree::{Editor, or_go_on, policies};

/// The retention policies of the store, or of one user
/// ([`Engine::policies`](crate::Engine::policies)).
#[derive(Clone, Copy, Debug)]
pub struct Policies<'e> {
    pub(super) inner: &'e Arc<Core>,
    pub(super) user: Option<&'e UserId>,
}

impl Policies<'_> {
    /// Sets a policy; it replaces one of the same class and purpose. What passed its limits is
    /// erased at the next [`Engine::run_due`](crate::Engine::run_due). For a policy of the store,
    /// that reads every user.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use keyfall::{Class, Engine, Options, Policy, UserId};
    /// # use keyfall::{cell::MemoryCell, store::MemoryStore};
    /// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
    /// # let engine = Engine::init(store, cell, Options::default())?;
    /// let days = |n: u64| Duration::from_secs(n * 24 * 60 * 60);
    /// engine.policies(None).set(&Policy::new(Class::audio()).max_age(days(30)))?;
    /// // One user's own, instead of the store's.
    /// let child = UserId::new("child")?;
    /// engine.create_user(&child)?;
    /// engine.policies(Some(&child)).set(&Policy::new(Class::audio()).max_age(days(1)))?;
    /// # Ok::<(), keyfall::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a number together with a purpose; `Limit` beyond 64; `Erased`, `Absent` for
    /// the user; as [`Engine::put`](crate::Engine::put).
    pub fn set(&self, policy: &Policy) -> Result<()> {
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
        self.change_policies(|editor, policies, owner| {
            match policies.remove(editor, owner, class, purpose)? {
                true => Ok(()),
                false => Err(Error::new(
                    ErrorKind::Absent,
                    "there is no such policy; `Policies::list` shows all, of all users or of one",
                )),
            }
        })
    }

    fn change_policies(
        &self,
        act: impl FnOnce(&mut Editor<'_>, &mut policies::Policies, Option<UserTag>) -> Result<()>,
    ) -> Result<()> {
        commit_edit(self.inner, |edit| {
            let Some(user) = self.user else {
                act(&mut edit.editor, &mut edit.policies, None)?;
                return edit.agenda.add(&mut edit.editor, Agenda::SWEEP, UserTag([0; 12]));
            };
            let (tag, _) = edit.view.user(user)?;
            edit.user(tag, |editor, page| act(editor, &mut page.policies, Some(tag)))?;
            reckon(edit, tag)
        })
    }

    /// All policies of the store, or those that the user has instead.
    ///
    /// # Errors
    /// `Erased`, `Absent` for the user; `Corrupt`, `Io`.
    pub fn list(&self) -> Result<Vec<Policy>> {
        self.inner.look(|view| match self.user {
            None => view.policies(),
            Some(user) => {
                let (tag, page) = view.user(user)?;
                page.policies.all(view.pages, Some(tag))
            }
        })
    }

    /// How many records fall at once if a policy is set. What was derived from them falls too and
    /// is not counted; what a hold keeps is counted. For a policy of the store, this looks at every
    /// user's records of its class.
    ///
    /// # Errors
    /// As [`Policies::set`](crate::engine::Policies::set).
    pub fn would_expire(&self, policy: &Policy) -> Result<u64> {
        policy.check()?;
        if let Some(user) = self.user {
            return self.inner.look(|view| {
                let (user, page) = view.user(user)?;
                let own = with(page.policies.all(view.pages, Some(user))?, policy);
                let rules = Rules { own, store: view.policies()? };
                would_fall(view.pages, user, &page, &rules, &policy.class, self.now(view))
            });
        }
        let (mut fall, mut after) = (0, None);
        loop {
            // An erase waits for no more than some users.
            let looked = self.inner.look(|view| self.expire_some(view, policy, after))?;
            fall += looked.fall;
            match looked.next {
                Some(next) => after = Some(next),
                None => return Ok(fall),
            }
        }
    }

    /// What a policy of the store would take from some users, those after a tag.
    fn expire_some(
        &self,
        view: &View<'_>,
        policy: &Policy,
        after: Option<UserTag>,
    ) -> Result<Looked> {
        let (now, store) = (self.now(view), with(view.policies()?, policy));
        let users = view.users();
        let (mut looked, mut seen) = (Looked { fall: 0, next: None }, 0);
        users.visit(after, &mut |user, found| {
            if let Found::Live { page, .. } = found {
                let look = || {
                    let page = users.page(user, &page)?;
                    let own = page.policies.all(view.pages, Some(user))?;
                    let rules = Rules { own, store: store.clone() };
                    would_fall(view.pages, user, &page, &rules, &policy.class, now)
                };
                match or_go_on(view.pages, look()) {
                    Ok(fall) => looked.fall += fall.unwrap_or_default(),
                    Err(e) if e.kind() == ErrorKind::Corrupt => {}
                    Err(e) => return Err(e),
                }
            }
            seen += 1;
            if seen < SWEEP {
                return Ok(ControlFlow::Continue(()));
            }
            looked.next = Some(user);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(looked)
    }

    fn now(&self, view: &View<'_>) -> Timestamp {
        self.inner.reading_at(view.head).due()
    }
}

/// What would fall of some users, and after whom to go on.
struct Looked {
    fall: u64,
    next: Option<UserTag>,
}

/// Policies, with one in the place of that of the same class and purpose.
fn with(mut policies: Vec<Policy>, policy: &Policy) -> Vec<Policy> {
    policies.retain(|p| (&p.class, &p.purpose) != (&policy.class, &policy.purpose));
    policies.push(policy.clone());
    policies
}
