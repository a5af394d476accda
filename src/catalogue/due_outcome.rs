//! The outcome of the work that was due: what was done, for which user it failed, and what a hold
//! refused.

use std::collections::{BTreeMap, BTreeSet};

use super::edit::Edit;
use super::follow::Blocked;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ClassTag, Timestamp, UserId, UserTag};
use crate::scope::Erase;
use crate::tree::Editor;
use crate::tree::history::About;
use crate::tree::user::UserPage;

/// Counts of what one call of [`Engine::run_due`](crate::Engine::run_due) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DueOutcome {
    /// Derived records taken out of lists and counts.
    pub derived: u64,
    /// Planned erases that were carried out.
    pub planned: u64,
    /// Records erased since they passed a limit.
    pub expired: u64,
    /// Unfinished uploads that fell since they expired, or a limit passed.
    pub uploads: u64,
    /// Erases that were due, and refused since a hold covers some of their scope.
    pub refused: u64,
    /// Planned erases that were due and failed; each is tried again an hour later.
    pub failed: u64,
    /// Users for whom what is due was not done, since pages are damaged or the draft of a
    /// certificate could not be kept; it is tried again an hour later.
    pub damaged: u64,
    /// The first 64 failures: for which user, and why.
    pub troubles: Vec<Trouble>,
    /// Whether something is due still that no restart of the loop would do.
    pub(crate) stuck: bool,
    /// Inbox keys destroyed since they were old.
    pub inbox_keys: u64,
    /// Whether pending erases became final.
    pub finalized: bool,
    /// Whether something is due that was not done, since the clock is not believed
    /// ([`Clock::doubts`](crate::engine::Clock::doubts)).
    pub waiting: bool,
}

/// Something that was due and could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// The user concerned; `None` if the page with the name cannot be read.
    pub user: Option<UserId>,
    /// Which planned erase; `None` for all that is due for the user.
    pub plan: Option<u64>,
    /// What the caller of such an erase would have been told.
    pub kind: ErrorKind,
    /// The message of that error, in one line.
    pub why: String,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whose = self
            .user
            .as_ref()
            .map_or("a user whose page cannot be read".to_owned(), |user| format!("user {user}"));
        match self.plan {
            Some(plan) => write!(f, "planned erase {plan:016x} of {whose}: {}", self.why),
            None => write!(f, "what is due for {whose}: {}", self.why),
        }
    }
}

/// The most failures that one call reports.
const TROUBLES_MAX: usize = 64;

impl DueOutcome {
    pub(crate) fn note(&mut self, trouble: Trouble) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(trouble);
        }
    }
}

impl std::ops::AddAssign for DueOutcome {
    fn add_assign(&mut self, more: Self) {
        self.derived += more.derived;
        self.planned += more.planned;
        self.expired += more.expired;
        self.uploads += more.uploads;
        self.refused += more.refused;
        self.failed += more.failed;
        self.damaged += more.damaged;
        more.troubles.into_iter().for_each(|trouble| self.note(trouble));
        self.inbox_keys += more.inbox_keys;
        self.finalized |= more.finalized;
        self.waiting |= more.waiting;
    }
}

/// Why an attempt at a commit is begun again.
pub(crate) enum Setback {
    /// One planned erase cannot be done.
    Plan(u64, Error),
    /// Nothing can be done for the user.
    User(Error),
    /// Links cannot be followed into another user's trees.
    Follow(Blocked),
}

impl From<Error> for Setback {
    fn from(e: Error) -> Self {
        Setback::User(e)
    }
}

/// What fails of one user.
#[derive(Default)]
pub(crate) struct Failing {
    pub(crate) plans: BTreeMap<u64, Error>,
    pub(crate) all: Option<Error>,
}

/// What fails in one commit: nobody else's is held up by it.
#[derive(Default)]
pub(crate) struct Failures {
    pub(crate) users: BTreeMap<UserTag, Failing>,
    pub(crate) passed_over: BTreeSet<UserTag>,
}

impl Failures {
    /// Takes a setback in; gives it back where it was known, so that nothing goes round for ever.
    pub(crate) fn learn(&mut self, user: UserTag, setback: Setback) -> Result<()> {
        let failing = self.users.entry(user).or_default();
        match setback {
            Setback::Plan(id, e) => match failing.plans.insert(id, e) {
                None => Ok(()),
                Some(e) => Err(e),
            },
            Setback::User(e) => match failing.all.replace(e) {
                None => Ok(()),
                Some(e) => Err(e),
            },
            Setback::Follow(Blocked { user, error }) => match self.passed_over.insert(user) {
                true => Ok(()),
                false => Err(error),
            },
        }
    }
}

/// What a hold refused of what is due for one user.
#[derive(Default)]
pub(crate) struct Refusals(Vec<About>);

impl Refusals {
    /// Adds a planned erase that a hold refused.
    pub(crate) fn add(
        &mut self,
        edit: &mut Edit<'_>,
        user: UserTag,
        erase: &Erase,
        outcome: &mut DueOutcome,
    ) -> Result<()> {
        if let Some((_, page)) = edit.page(user)? {
            self.push(About::of(&page.fence_key, erase), outcome);
        }
        Ok(())
    }

    /// Something of a class that passed a limit.
    pub(crate) fn limit(&mut self, class: ClassTag, outcome: &mut DueOutcome) {
        self.push(About::limit(class), outcome);
    }

    fn push(&mut self, about: About, outcome: &mut DueOutcome) {
        outcome.refused += 1;
        if !self.0.contains(&about) {
            self.0.push(about);
        }
    }

    /// Writes it down, unless it stands there since a hold was added.
    pub(crate) fn write_down(
        &self,
        editor: &mut Editor<'_>,
        user: UserTag,
        page: &mut UserPage,
        now: Timestamp,
    ) -> Result<()> {
        match &self.0[..] {
            [] => Ok(()),
            abouts => page.history.refuse(editor, user, now, abouts, false),
        }
    }
}
