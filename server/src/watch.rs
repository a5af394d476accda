//! What the engine told of its state: what keeps the service from being ready.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyfall::ErrorKind;
use keyfall::observer::{AwaitedBy, Event, ScopeKind};
use tokio::sync::Notify;

/// For so long a copy in step may be away.
const COPY_AWAY: Duration = Duration::from_secs(30);
/// For so long the destruction of a root key may be awaited of keyholders or of the engine.
const KEY_AWAITED: Duration = Duration::from_secs(30);
/// So late may be what is due.
const LATE: Duration = Duration::from_secs(10 * 60);

/// The log does not tell the same failure again for so long.
const TOLD: Duration = Duration::from_secs(10 * 60);

/// So long may a look take at what the engine needs.
const LOOKS: Duration = Duration::from_secs(30);

/// Is told what the engine did and what looks saw, and says what is the matter now.
#[derive(Default)]
pub(crate) struct Watch {
    state: Mutex<State>,
    /// Rung when a user may have been erased.
    pub(crate) fell: Notify,
}

/// How many keyholders there are, of all that there should be, and how many an erase needs.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    pub(crate) there: usize,
    pub(crate) all: usize,
    pub(crate) needed: usize,
}

#[derive(Default)]
struct State {
    /// Copies in step that are away, each since when.
    away: Vec<(u64, Instant)>,
    /// Since when the oldest of what is due has been, if something is.
    due: Option<Instant>,
    /// Since when a root key's destruction is awaited, and of whom.
    awaited: Option<(Instant, AwaitedBy)>,
    /// Which keyholders were there at the last look, if the cell has any.
    keyholders: Option<Reach>,
    came_back: bool,
    /// Since when the look has lasted that is not over.
    looking: Option<Instant>,
    keeper_stopped: bool,
    /// When the log told last what failed of that which the engine does by itself, and of what kind.
    keeper_failed: Option<(Instant, ErrorKind)>,
    owner: bool,
}

/// What keeps the service from being ready: where, and why.
pub(crate) type Matter = (&'static str, String);

impl Watch {
    /// Takes note of an event.
    pub(crate) fn note(&self, event: &Event) {
        let mut state = self.locked();
        let ago = |past: Duration| Instant::now().checked_sub(past);
        match *event {
            Event::Opened { owner, .. } => state.owner = owner,
            Event::CopyMissed { copy, error, .. } => {
                state.misses(copy, Instant::now(), &format!("{error:?}"));
            }
            Event::CopyInStep { copy, .. } => state.keep_away(|one| one != copy),
            Event::Due { overdue, planned, .. } => {
                state.due = if overdue.is_zero() { None } else { ago(overdue) };
                if planned > 0 {
                    self.fell.notify_one();
                }
            }
            Event::RootKeyAwaited { by, since, .. } => {
                state.awaited = ago(since).map(|since| (since, by));
            }
            Event::RootKeyRetired { .. } => state.awaited = None,
            Event::KeeperStopped { .. } => state.keeper_stopped = true,
            Event::KeeperFailed { error, again, .. } => state.keeper_fails(error, again),
            Event::Poisoned { error, .. } => tracing::error!(
                kind = ?error,
                "the engine is closed: a write failed with an unknown outcome, or, if `Corrupt`, the \
                 store lost what it had; a restart finds out, and at a URL the service tries to go on"
            ),
            Event::Erase { scope: ScopeKind::User, .. } => self.fell.notify_one(),
            _ => {}
        }
    }

    /// A look begins, or is over.
    pub(crate) fn looks(&self, begins: bool) {
        self.locked().looking = begins.then(Instant::now);
    }

    /// Takes note of which copies in step were found away; the others are back, or removed.
    pub(crate) fn copies_away(&self, away: &[u64]) {
        let mut state = self.locked();
        state.keep_away(|copy| away.contains(&copy));
        // It was away when the look began that did not reach it.
        let since = state.looking.unwrap_or_else(Instant::now);
        for copy in away {
            state.misses(*copy, since, "it is behind, or cannot be looked at");
        }
    }

    /// Whether a copy in step is known to be away.
    pub(crate) fn is_away(&self, copy: u64) -> bool {
        self.locked().away.iter().any(|(one, _)| *one == copy)
    }

    /// Takes note of which keyholders are there.
    pub(crate) fn keyholders(&self, reach: Option<Reach>) {
        let mut state = self.locked();
        let there = |reach: Option<Reach>| reach.map_or(0, |reach| reach.there);
        state.came_back |= there(reach) > there(state.keyholders);
        state.keyholders = reach;
    }

    /// Whether it is worth asking the keyholders: some came back since this was last called, or all
    /// are there, so that none is waited for.
    pub(crate) fn may_answer(&self) -> bool {
        let mut state = self.locked();
        let all = state.keyholders.is_some_and(|reach| reach.there == reach.all);
        std::mem::take(&mut state.came_back) || all
    }

    /// Whether no lack of keyholders is known that keeps an erase from being made.
    pub(crate) fn has_quorum(&self) -> bool {
        self.locked().keyholders.is_none_or(|reach| reach.there >= reach.needed)
    }

    /// Since when a root key's destruction is awaited, and of whom.
    pub(crate) fn awaited(&self) -> Option<(Duration, AwaitedBy)> {
        self.locked().awaited.map(|(since, by)| (since.elapsed(), by))
    }

    /// Whether this engine owns its store.
    pub(crate) fn owns(&self) -> bool {
        self.locked().owner
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What keeps the service from being ready.
    pub(crate) fn matters(&self) -> Vec<Matter> {
        let state = self.locked();
        let mut matters = Vec::new();
        if !state.owner {
            matters.push(("store", "this engine only looks: it does not own the store".to_owned()));
        }
        let away = state.away.iter().filter(|(_, since)| since.elapsed() > COPY_AWAY);
        for (copy, since) in away {
            let for_s = since.elapsed().as_secs();
            let remedy = "bring it back or remove it";
            matters.push(("copies", format!("copy {copy} is away for {for_s} s; {remedy}")));
        }
        matters.extend(state.cell());
        if let Some(since) = state.looking.map(|s| s.elapsed()).filter(|since| *since > LOOKS) {
            let why = "a look at the copies in step does not end";
            matters.push(("copies", format!("{why}; it began {} s ago", since.as_secs())));
        }
        if let Some(late) = state.due.map(|since| since.elapsed()).filter(|late| *late > LATE) {
            matters.push(("due", format!("what is due is {} s late", late.as_secs())));
        }
        if state.keeper_stopped {
            let why = "nothing that is due is done any more; the service must be started again";
            matters.push(("due", why.to_owned()));
        }
        matters
    }
}

impl State {
    /// Takes note of a copy in step that is away; the log tells of it once.
    fn misses(&mut self, copy: u64, since: Instant, why: &str) {
        if self.away.iter().all(|(one, _)| *one != copy) {
            tracing::warn!(
                copy,
                why,
                "a copy in step is away: writes are refused until it is back"
            );
            self.away.push((copy, since));
        }
    }

    /// Takes note that what the engine does by itself failed; the log tells each kind once in a
    /// while.
    fn keeper_fails(&mut self, error: ErrorKind, again: Duration) {
        let is_told = |(at, kind): (Instant, ErrorKind)| kind == error && at.elapsed() < TOLD;
        if !self.keeper_failed.is_some_and(is_told) {
            let again_s = again.as_secs_f64();
            tracing::warn!(kind = ?error, again_s, "what the engine does by itself failed");
            self.keeper_failed = Some((Instant::now(), error));
        }
    }

    /// Takes note that only these copies are still away.
    fn keep_away(&mut self, is_away: impl Fn(u64) -> bool) {
        for (copy, since) in self.away.extract_if(.., |(copy, _)| !is_away(*copy)) {
            let for_s = since.elapsed().as_secs();
            tracing::info!(copy, for_s, "a copy that was away is in step again, or was removed");
        }
    }

    /// What is the matter with the cell.
    fn cell(&self) -> Vec<Matter> {
        let mut matters = Vec::new();
        // What only a keyholder could do that was lost and replaced no other service can do better.
        let all_answer = self.keyholders.is_some_and(|reach| reach.there == reach.all);
        let is_hopeless = |by: &AwaitedBy| match by {
            AwaitedBy::Medium => true,
            AwaitedBy::Keyholders { .. } => all_answer,
            _ => false,
        };
        let awaited = self.awaited.filter(|(_, by)| !is_hopeless(by)).map(|(since, _)| since);
        if let Some(since) = awaited.map(|since| since.elapsed()).filter(|s| *s > KEY_AWAITED) {
            let why = "the destruction of a root key is awaited";
            matters.push((
                "cell",
                format!("{why} for {} s; what was erased since is pending", since.as_secs()),
            ));
        }
        if let Some(Reach { there, all, needed }) = self.keyholders.filter(|r| r.there < r.needed) {
            let remedy = "nothing can be erased until more are back";
            matters.push((
                "cell",
                format!(
                    "{there} of {all} keyholders answer, and an erase needs {needed}; {remedy}"
                ),
            ));
        }
        matters
    }
}
