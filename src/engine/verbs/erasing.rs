//! Erasing: now, at a time to come, or only seeing what it would take.

use crate::cell::Retirement;
use crate::engine::edit::change_page;
use crate::engine::erase::Erasure;
use crate::engine::part::is_there;
use crate::engine::plans::{is_held_now, too_many};
use crate::engine::read::record_erased;
use crate::engine::tended::Tended;
use crate::engine::{Answer, Asked, Engine, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Class, Timestamp};
use crate::limits::PLANS_MAX;
use crate::scope::{Erase, Request, Scope};
use crate::secret::WipeStack;
use crate::tree::history::Note;
use crate::tree::plans::Plan;

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
    /// Erases a scope and returns when it is complete: the new pages are durable on every copy in step, the old root
    /// key is destroyed as far as the cell promises, no reader delivers a byte of the scope any more.
    ///
    /// # Errors
    /// `Absent` for a record of a user who is not here, or of a life to come: its id is never given, so nothing can arrive under it. Anything
    /// else that is not here is erased all the same, with no records: what is on its way is refused. `Held` where a hold covers some of it, or a
    /// held record was derived from some of it; `Invalid` for an empty range, or for keeping without a reason; `Copy` where a copy in step is out of reach: the old root key stays until it is back or removed; `Io`,
    /// `Full`.
    pub fn erase(&self, erase: impl Into<Erase>) -> Result<Erasure> {
        let _wiped = WipeStack;
        self.inner.process.check()?;
        let erase = erase.into();
        self.inner.look_ahead(&erase);
        match self.inner.submit(Asked::Erase(erase)) {
            Answer::Erased(erased) => erased,
            Answer::Put(_) => unreachable!("an erase was asked for"),
        }
    }

    /// Begins an epoch without erasing anything: a fresh root key, and every older one destroyed. What was pending becomes final, and a
    /// keyholder that had no share gets one.
    ///
    /// # Errors
    /// As [`Engine::erase`].
    pub fn rekey(&self) -> Result<Retirement> {
        let _wiped = WipeStack;
        self.inner.rekey()
    }

    /// Does many erases in one commit, each with an outcome of its own.
    pub fn erase_all<E: Clone + Into<Erase>>(&self, erases: &[E]) -> Vec<Result<Erasure>> {
        let _wiped = WipeStack;
        if let Err(e) = self.inner.process.check() {
            return erases.iter().map(|_| Err(e.copy())).collect();
        }
        let erases: Vec<Erase> = erases.iter().cloned().map(Into::into).collect();
        let mut writer = self.inner.writer();
        self.inner.erase_all(&mut writer, &erases.iter().collect::<Vec<_>>())
    }

    /// Plans an erase for a time to come. Until then it can be cancelled and its scope can be read; at that time it is done by the
    /// open engine, or by the next one to open, without anyone asking again. It is in the tree, and so in every copy. It is final
    /// when it is done, whatever window it allows. A hold does not keep it from being planned, but from being done: [`Plan::held`] says
    /// whether one covers it now.
    ///
    /// # Errors
    /// `Invalid` for a time that has passed, and for all that [`Engine::erase`] finds invalid; `Erased`, `Absent` where there is no such user or record; `Refused` beyond 64
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
                    return Err(record_erased(id));
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

    /// Does what is due: erases that were planned for now, what passed a limit, root keys that wait to be destroyed; and takes
    /// derived records that fell with an erase out of lists and counts. An open engine does this by itself, unless
    /// [`super::Keeper::ByHand`] is set; what is due by a clock that is not believed waits ([`Engine::clock_doubts`]). [`Engine::users`] and [`Engine::report`] do it first. `progress` hears of records.
    ///
    /// # Errors
    /// As [`Engine::erase`], where nothing can be committed; `Fenced` where this engine only looks. What a hold refuses, and what fails of one user, is written down in the user's
    /// history, told in [`Tended`], and tried again an hour later; everybody else's is done.
    pub fn tend(&self, progress: Progress<'_>) -> Result<Tended> {
        let _wiped = WipeStack;
        self.inner.process.check()?;
        self.inner.tend(progress, &|| false)
    }
}
