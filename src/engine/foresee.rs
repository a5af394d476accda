//! What a policy would take at once, before it is set; what an erase would take, before it is done.

use std::ops::ControlFlow;

use super::Engine;
use super::erases::{Outlook, foresee};
use crate::catalogue::passing::would_fall;
use crate::catalogue::view::policies_of;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, UserId};
use crate::limits::SWEEP;
use crate::policy::{Policy, Rules};
use crate::scope::{Erase, Request, Scope};
use crate::secret::WipeStack;
use crate::tree::user::UserPage;
use crate::tree::users::{Found, visit};
use crate::tree::{Node, PageKind, Pages};

/// What an erase would take, as things are ([`Engine::would_erase`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// Records of the scope that would fall, by class; `None` where damaged pages keep them from being counted.
    pub records: Option<Vec<(Class, u64)>>,
    /// Records derived from them, of any user, that would fall with it.
    pub derived: u64,
    /// Whether more derived records would fall, which were not looked for.
    pub following: bool,
    /// Whether the scope was erased before, and nothing is left to do.
    pub already: bool,
    /// Whether the user that it names is here.
    pub here: bool,
}

impl Engine {
    /// What an erase would take if it were done now. Nothing is changed, in the store or in the cell, and a refusal is not put down.
    ///
    /// # Errors
    /// As [`Engine::erase`] where that is refused: `Held`, `Absent`, `Invalid`; `Io`.
    pub fn would_erase(&self, erase: impl Into<Erase>) -> Result<Foreseen> {
        let _wiped = WipeStack;
        let inner = &self.inner;
        inner.check_usable()?;
        // A certificate says how many there were of each class: they are counted for it.
        let erase: Erase = erase.into();
        let erase = erase.certified(Request::default());
        let state = inner.state();
        let Outlook { fell, derived, following } = foresee(inner, &state, &erase)?;
        let here = match erase.scope() {
            Scope::User { user, .. } => {
                let gone = |e: &Error| matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased);
                !inner.user_page(&state, user).is_err_and(|e| gone(&e))
            }
            Scope::Record(_) => true,
        };
        let counted = |counts: Vec<(Class, u64)>| counts.into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
        let records = fell.records.map(|_| counted(fell.counts));
        Ok(Foreseen { records, derived, following, already: fell.already, here })
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
            let store = policies_of(&state.head).all(&pages, None)?;
            let rules = Rules { own: with(page.policies.all(&pages, Some(tag))?), store };
            return would_fall(&pages, tag, &page, &rules, &policy.class, inner.reading(&state).due());
        }
        let (mut fall, mut behind) = (0, None);
        loop {
            // An erase waits for no more than some users.
            let state = inner.state();
            let (now, store) = (inner.reading(&state).due(), with(policies_of(&state.head).all(&pages, None)?));
            let mut seen = 0;
            visit(&pages, &state.head.roots.users, state.head.geometry, behind, &mut |user, found| {
                if let Found::Live { page, .. } = found {
                    let mut look = || -> Result<()> {
                        let page = UserPage::decode(&pages.load(PageKind::User, Some(user), &page)?)?;
                        let rules = Rules { own: page.policies.all(&pages, Some(user))?, store: store.clone() };
                        fall += would_fall(&pages, user, &page, &rules, &policy.class, now)?;
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
