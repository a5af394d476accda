//! What the engine told of its state: what keeps the service from being ready.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use keyfall::observer::{AwaitedBy, Event};

/// For so long a copy in step may be away.
const COPY_AWAY: Duration = Duration::from_secs(30);
/// For so long the destruction of a root key may be awaited of keyholders or of the engine.
const KEY_AWAITED: Duration = Duration::from_secs(30);
/// So late may be what is due.
const LATE: Duration = Duration::from_secs(10 * 60);

/// Is told what the engine did, and says what is the matter now.
#[derive(Default)]
pub(crate) struct Watch {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Copies in step that are away, each since when.
    away: Vec<(u64, Instant)>,
    /// Since when the oldest of what is due has been, if something is.
    due: Option<Instant>,
    /// Since when a root key's destruction is awaited, but of its medium.
    awaited: Option<Instant>,
    keeper_stopped: bool,
    owner: bool,
}

/// What keeps the service from being ready: where, and why.
pub(crate) type Matter = (&'static str, String);

impl Watch {
    /// Takes note of an event.
    pub(crate) fn note(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ago = |past: Duration| Instant::now().checked_sub(past);
        match *event {
            Event::Opened { owner, .. } => state.owner = owner,
            Event::CopyMissed { copy, .. } if state.away.iter().all(|(one, _)| *one != copy) => {
                state.away.push((copy, Instant::now()));
            }
            Event::CopyInStep { copy, .. } => state.away.retain(|(one, _)| *one != copy),
            Event::Due { overdue, .. } => {
                state.due = if overdue.is_zero() { None } else { ago(overdue) };
            }
            Event::RootKeyAwaited { by, since, .. } => {
                state.awaited = if by == AwaitedBy::Medium { None } else { ago(since) };
            }
            Event::RootKeyRetired { .. } => state.awaited = None,
            Event::KeeperStopped { .. } => state.keeper_stopped = true,
            _ => {}
        }
    }

    /// What keeps the service from being ready.
    pub(crate) fn matters(&self) -> Vec<Matter> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
        if let Some(since) = state.awaited.map(|since| since.elapsed()).filter(|s| *s > KEY_AWAITED)
        {
            let why = "the destruction of a root key is awaited";
            matters.push(("cell", format!("{why} for {} s; erases are pending", since.as_secs())));
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
