//! What changed lately, for callers that watch: records put and what fell, commit by commit, in
//! memory alone. Nothing is kept before the first caller watches, and what falls out of the ring,
//! or is of an opening before, is not told: a caller lists again then.
//!
//! A put that is erased again leaves the ring with it. What fell is told as something that takes an
//! id or not: to a caller who has none it says nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::catalogue::span::Span;
use crate::ids::{RecordId, UserTag};
use crate::store::HeadId;

/// Most changes that are kept.
const KEPT: usize = 16_384;
/// So many changes make a page, or those of one commit.
const PAGE: usize = 1_000;

/// What fell with one erase, or passed a limit: it tells of an id whether that is among it, and
/// nothing to a caller who has no id.
#[derive(Clone, PartialEq, Eq)]
pub struct Fallen {
    span: Span,
}

impl Fallen {
    /// Whether this record fell. Of a user who was erased and created again, records that are told
    /// of later live.
    pub fn takes(&self, id: &RecordId) -> bool {
        self.span.takes(id)
    }
}

impl std::fmt::Debug for Fallen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fallen")
    }
}

/// One change, as a caller is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changed {
    /// A record was put.
    Put(RecordId),
    /// Records fell.
    Fell(Fallen),
}

/// What changed since a head ([`Engine::watch`](crate::Engine::watch)).
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use keyfall::{cell::MemoryCell, store::MemoryStore};
/// # use keyfall::{Class, Engine, Options, Put, Scope, UserId};
/// use keyfall::engine::{Changed, Watched};
///
/// # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
/// # let engine = Engine::init(store, cell, Options::default())?;
/// let mut index = Vec::new();
/// let mut at = engine.head(); // and list
/// # engine.watch(at, Duration::ZERO)?;
/// # let ada = UserId::new("ada")?;
/// # engine.put(Put::new(ada.clone(), Class::audio()), &b"RIFF...."[..])?;
/// # let last = engine.put(Put::new(ada, Class::action()), &b"alarm"[..])?;
/// # engine.erase(Scope::record(last))?;
/// match engine.watch(at, Duration::from_secs(30))? {
///     Watched::ListAgain(head) => at = head, // and list
///     Watched::Changes { changes, head } => {
///         for change in changes {
///             match change {
///                 Changed::Put(id) => index.push(id),
///                 Changed::Fell(fallen) => index.retain(|id| !fallen.takes(id)),
///                 _ => {}
///             }
///         }
///         at = head;
///     }
/// }
/// # assert_eq!((index.len(), at), (1, engine.head()));
/// # Ok::<(), keyfall::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// These changes, in the order of their commits; none if nothing did in the time given.
    Changes {
        /// What changed.
        changes: Vec<Changed>,
        /// The head that they lead to: the next call goes on from here.
        head: HeadId,
    },
    /// What changed since then is not known any more, or was before this opening. List what there
    /// is, and go on from this head: a record that was put meanwhile is listed, and told of again.
    ListAgain(HeadId),
}

/// One commit that put or erased.
struct Told {
    head: HeadId,
    put: Vec<RecordId>,
    fell: Vec<Span>,
}

impl Told {
    fn len(&self) -> usize {
        self.put.len() + self.fell.len()
    }
}

/// Called at a change, as long as its caller waits.
type Wake = Weak<dyn Fn() + Send + Sync>;

/// The ring.
#[derive(Default)]
struct Ring {
    /// The head after which all is told; `None` until somebody watches.
    floor: Option<HeadId>,
    head: Option<HeadId>,
    commits: VecDeque<Told>,
    /// Changes in them.
    count: usize,
    /// Called at the next change.
    waiting: Vec<Wake>,
}

/// What changed lately.
#[derive(Default)]
pub(super) struct Changes {
    ring: Mutex<Ring>,
    changed: Condvar,
}

impl Changes {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.ring().floor.is_some()
    }

    /// Begins with this head, which the one writer says, unless somebody watches already.
    pub(super) fn begin(&self, head: HeadId) {
        let mut ring = self.ring();
        if ring.floor.is_none() {
            (ring.floor, ring.head) = (Some(head), Some(head));
        }
    }

    /// Begins again with this head, if that is another: what led to it is not known.
    pub(super) fn reset(&self, head: HeadId) {
        let mut ring = self.ring();
        if ring.floor.is_some() && ring.head != Some(head) {
            let waiting = std::mem::take(&mut ring.waiting);
            *ring = Ring { floor: Some(head), head: Some(head), ..Ring::default() };
            self.wake(ring, waiting);
        }
    }

    /// Notes a commit, after readers see it.
    pub(super) fn note(&self, head: HeadId, put: Vec<RecordId>, erased: &[Span]) {
        let mut ring = self.ring();
        if ring.floor.is_none() {
            return;
        }
        ring.head = Some(head);
        if put.is_empty() && erased.is_empty() {
            return;
        }
        ring.forget(erased);
        let told = Told { head, put, fell: erased.to_vec() };
        ring.count += told.len();
        ring.commits.push_back(told);
        while ring.count > KEPT
            && let Some(oldest) = ring.commits.pop_front()
        {
            ring.count -= oldest.len();
            ring.floor = Some(oldest.head);
        }
        let waiting = std::mem::take(&mut ring.waiting);
        self.wake(ring, waiting);
    }

    fn wake(&self, ring: MutexGuard<'_, Ring>, waiting: Vec<Wake>) {
        drop(ring);
        self.changed.notify_all();
        waiting.iter().filter_map(Weak::upgrade).for_each(|wake| wake());
    }

    /// What changed since a head; waits for a change if there is none, for so long at most.
    pub(super) fn since(&self, since: HeadId, patience: Duration) -> Watched {
        let ring = self.ring();
        let quiet = |ring: &mut Ring| ring.since(since).is_quiet();
        let waited = self.changed.wait_timeout_while(ring, patience, quiet);
        let (ring, _) = waited.unwrap_or_else(PoisonError::into_inner);
        ring.since(since)
    }

    /// What changed since a head. If nothing did, `wake` is called once something does.
    #[cfg(feature = "tokio")]
    pub(super) fn since_or_wake(&self, since: HeadId, wake: Wake) -> Watched {
        let mut ring = self.ring();
        let watched = ring.since(since);
        if watched.is_quiet() {
            // Callers that went away are not kept.
            ring.waiting.retain(|wake| wake.strong_count() > 0);
            ring.waiting.push(wake);
        }
        watched
    }
}

impl Watched {
    /// Whether there is nothing to tell.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self, Watched::Changes { changes, .. } if changes.is_empty())
    }
}

impl Ring {
    /// Takes puts out that these spans take.
    fn forget(&mut self, erased: &[Span]) {
        let mut of_users: HashMap<UserTag, Vec<&Span>> = HashMap::new();
        for span in erased {
            of_users.entry(span.user).or_default().push(span);
        }
        if of_users.is_empty() {
            return;
        }
        for told in &mut self.commits {
            let before = told.put.len();
            told.put.retain(|id| {
                of_users.get(&id.user).is_none_or(|spans| !spans.iter().any(|s| s.takes(id)))
            });
            self.count -= before - told.put.len();
        }
    }

    fn since(&self, since: HeadId) -> Watched {
        let (Some(floor), Some(now)) = (self.floor, self.head) else {
            return Watched::ListAgain(since);
        };
        if since < floor || since > now {
            return Watched::ListAgain(now);
        }
        let (mut changes, mut head) = (Vec::new(), now);
        let begin = self.commits.partition_point(|told| told.head <= since);
        let mut commits = self.commits.range(begin..).peekable();
        while let Some(told) = commits.next() {
            changes.extend(told.fell.iter().map(|span| Changed::Fell(Fallen { span: *span })));
            changes.extend(told.put.iter().copied().map(Changed::Put));
            if changes.len() >= PAGE && commits.peek().is_some() {
                head = told.head;
                break;
            }
        }
        Watched::Changes { changes, head }
    }
}
