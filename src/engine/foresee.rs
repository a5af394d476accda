//! What a policy would take at once, before it is set; what an erase would take, before it is done.

use std::ops::ControlFlow;

use super::Engine;
use super::edit::Edit;
use super::passing::{counts, each_record, outnumbered, passed};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, Timestamp, UserId, UserTag};
use crate::limits::SWEEP;
use crate::policy::{Policy, Rules};
use crate::scope::{Erase, Request, Scope};
use crate::secret::WipeStack;
use crate::tree::user::UserPage;
use crate::tree::users::{Found, visit};
use crate::tree::{Node, PageKind, Pages};

/// How many records of a user's fall at once by these rules, of a class.
fn would_fall(
    pages: &dyn Pages,
    user: UserTag,
    page: &UserPage,
    (rules, class, now): (&Rules, &Class, Timestamp),
) -> Result<u64> {
    let Some(slot) = page.classes.iter().find(|slot| slot.class == *class) else {
        return Ok(0);
    };
    let before = match passed(pages, user, slot, rules, now)? {
        Some(None) => return Ok(slot.records),
        Some(Some(before)) => before.0,
        None => 0,
    };
    let (single, mut fall) = (rules.by_purpose(class), 0);
    let outnumbered = outnumbered(pages, user, slot, rules)?;
    each_record(pages, user, slot, &mut |id, entry| {
        let by_purpose = || {
            let policy = rules.of(class, &entry.purpose);
            policy.and_then(|p| p.expiry(id.began())).is_some_and(|at| at <= now)
                || counts(policy) && id.began().0 < outnumbered
        };
        let falls = id.began().0 < before || (single && by_purpose());
        fall += u64::from(falls);
        Ok(if falls || single { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(fall)
}

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
        let (applied, derived, following) = inner.foresee(&state, &erase)?;
        let here = match erase.scope() {
            Scope::User { user, .. } => {
                let gone = |e: &Error| matches!(e.kind(), ErrorKind::Absent | ErrorKind::Erased);
                !inner.user_page(&state, user).is_err_and(|e| gone(&e))
            }
            Scope::Record(_) => true,
        };
        let counted = |counts: Vec<(Class, u64)>| counts.into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
        let records = applied.records.map(|_| counted(applied.counts));
        Ok(Foreseen { records, derived, following, already: applied.already, here })
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
