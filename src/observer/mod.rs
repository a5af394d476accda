//! What an engine tells of its work while it does it: numbers, durations, kinds of errors, and
//! kinds of what was done.
//!
//! An [`Event`] holds no text, no name, no place and no id of a user, an interaction or a record:
//! none of its types can. So it may go into any log and any time series, which no erase reaches.
//!
//! ```
//! # use std::sync::Arc;
//! # use std::sync::atomic::{AtomicU64, Ordering};
//! # use keyfall::{Builder, Class, Put, UserId, cell::MemoryCell, store::MemoryStore};
//! use keyfall::observer::Event;
//!
//! # let (store, cell) = (Arc::new(MemoryStore::new()), Arc::new(MemoryCell::new()));
//! let failures = Arc::new(AtomicU64::new(0));
//! let count = Arc::clone(&failures);
//! let observer = move |event: &Event| match event {
//!     Event::KeeperFailed { error, .. } => {
//!         eprintln!("what is due was not done: {error:?}");
//!         count.fetch_add(1, Ordering::Relaxed);
//!     }
//!     Event::Poisoned { .. } => eprintln!("close the engine and open it again"),
//!     _ => {}
//! };
//! let engine = Builder::over(store, cell).observer(Arc::new(observer)).create()?;
//! engine.put(Put::new(UserId::new("ada")?, Class::audio()), &b"RIFF...."[..])?;
//! assert_eq!(failures.load(Ordering::Relaxed), 0);
//! # Ok::<(), keyfall::Error>(())
//! ```
//!
//! Two observers are ready made: `Tracing`, with the feature `tracing`, and `Metrics`, with the
//! feature `metrics`. An engine has one observer; one that hands events on to several is a closure.

#[cfg(feature = "metrics")]
mod measured;
#[cfg(feature = "tracing")]
mod traced;

use std::time::Duration;

#[cfg(feature = "metrics")]
pub use measured::Metrics;
#[cfg(feature = "tracing")]
pub use traced::Tracing;

use crate::error::ErrorKind;
use crate::promise::{Awaited, Level};
use crate::scope::{Scope, When};
use crate::store::HeadId;

/// Is told what an engine did ([`Options::observer`](crate::Options::observer)).
///
/// * **After the fact.** An event says what has happened; nothing can be refused here.
/// * **One at a time, in the order in which things happened**, from any thread: from that of a
///   call, of another call that came at the same time, or from a thread of the engine's. As a rule
///   a call returns after its own events were told.
/// * **Without a lock of the engine's.** An observer may call the engine. What that call makes
///   happen is told after the present event, so a put for each commit has no end. It must not wait
///   for a future of the asynchronous engine: the thread that would answer may be the one that
///   waits.
/// * **Be quick**: a call waits while events are told. Where an observer does not keep up, at most
///   1,024 events wait; of those after them [`Event::Lost`] tells the number.
/// * **A panic ends it**: it is caught, the engine goes on, and the observer is called no more.
///
/// ```
/// use keyfall::observer::{Event, Observer};
///
/// struct Alarm;
///
/// impl Observer for Alarm {
///     fn event(&self, event: &Event) {
///         if let Event::Due { overdue, error: Some(error), .. } = event {
///             eprintln!("{error:?}; something is due since {} s", overdue.as_secs());
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync {
    /// Takes note of what happened.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

/// Something that happened in an engine. Durations are by a clock that nobody sets
/// ([`Env::monotonic`](crate::env::Env::monotonic)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A store was opened, or made. What its recovery comes to is told after this.
    #[non_exhaustive]
    Opened {
        /// The state that was found.
        head: HeadId,
        /// Whether this engine owns the store; else it only looks.
        owner: bool,
        /// Users that the store has.
        users: u64,
        /// Copies that it lists.
        copies: u64,
        /// How far a root key is gone that the cell destroys.
        level: Level,
    },
    /// The last handle of the engine is gone; its store and its cell close now.
    #[non_exhaustive]
    Closed {
        /// The state that it ended with.
        head: HeadId,
        /// Why the root key that stood ready could not be destroyed; the next opening does it.
        error: Option<ErrorKind>,
    },
    /// A commit is durable, in the store and in every copy in step.
    #[non_exhaustive]
    Commit {
        /// What was committed.
        kind: CommitKind,
        /// The state that it made.
        head: HeadId,
        /// Requests that shared it: puts or batches, or erases that did something; else 1.
        requests: u64,
        /// Records that were put; an upload is one once it is finished.
        records: u64,
        /// Bytes of their payloads, as they were given.
        bytes: u64,
        /// Bytes of the blobs that went into the store with the commit: pages and short payloads,
        /// sealed.
        written: u64,
        /// Users that the store has now.
        users: u64,
        /// How long it took, from the sealed change to its being complete; of an erase that
        /// includes the root key's destruction.
        took: Duration,
        /// How long the request that waited longest of those served together had waited for the
        /// writer; `None` for what does not queue.
        waited: Option<Duration>,
    },
    /// A commit failed.
    #[non_exhaustive]
    CommitFailed {
        /// What was to be committed.
        kind: CommitKind,
        /// What the caller was told.
        error: ErrorKind,
        /// Whether it may have happened, or happens yet
        /// ([`Error::may_have_happened`](crate::Error::may_have_happened)).
        perhaps: bool,
        /// How long it took to fail.
        took: Duration,
    },
    /// An erase that a caller asked for has ended.
    #[non_exhaustive]
    Erase {
        /// What it named.
        scope: ScopeKind,
        /// Records of the scope that fell; `None` where it failed, or where damaged pages kept
        /// them from being counted.
        records: Option<u64>,
        /// How far it is.
        outcome: Outcome,
        /// How long its caller waited, in the queue and for the erase.
        took: Duration,
        /// Of that, how long it was until the writer began with it.
        waited: Duration,
    },
    /// Every root key before that of this epoch is destroyed, as far as the cell's promise goes.
    #[non_exhaustive]
    RootKeyRetired {
        /// The epoch of the root key that stays.
        epoch: u64,
        /// How long it had been known that one was to be destroyed; after a restart, since that.
        after: Duration,
    },
    /// An old root key is not known to be destroyed: erases are pending. Told where an erase could
    /// not be finished, and whenever the cell was asked and this was its answer.
    #[non_exhaustive]
    RootKeyAwaited {
        /// The epoch of the root key that stays.
        epoch: u64,
        /// What is missing.
        by: AwaitedBy,
        /// Since when it has been awaited; after a restart, since that.
        since: Duration,
    },
    /// What was due was done, or some of it. Nothing is told where nothing was due.
    #[non_exhaustive]
    Due {
        /// How long the oldest of it had been due.
        late: Duration,
        /// How long the oldest of what is left has been due; zero where nothing is. What failed
        /// for one user is put off by an hour and not counted here: `failed` and `damaged` tell.
        overdue: Duration,
        /// Planned erases that were carried out.
        planned: u64,
        /// Records erased since they passed a limit.
        expired: u64,
        /// Derived records taken out of lists and counts.
        derived: u64,
        /// Inbox keys destroyed since they were old.
        inbox_keys: u64,
        /// Whether pending erases became final.
        finalized: bool,
        /// Erases that were due, and refused since a hold covers some of their scope.
        refused: u64,
        /// Planned erases that were due and failed.
        failed: u64,
        /// Users whose damaged pages kept what is due from being done.
        damaged: u64,
        /// Whether something is due that was not done, since the clock is doubted.
        waiting: bool,
        /// Why it ended before all was done.
        error: Option<ErrorKind>,
        /// How long it took.
        took: Duration,
    },
    /// Something that was due for one user could not be done: one for each of
    /// [`DueOutcome::troubles`](crate::engine::DueOutcome::troubles), of which there are 64 a call
    /// at most.
    #[non_exhaustive]
    Trouble {
        /// Why.
        error: ErrorKind,
        /// Whether it is one planned erase; else all that is due for the user.
        planned: bool,
    },
    /// The keeper's thread could not do what is due, or could not look. In an engine that only
    /// looks: the cell could not be asked, told once until it answers.
    #[non_exhaustive]
    KeeperFailed {
        /// Why.
        error: ErrorKind,
        /// When it tries again.
        again: Duration,
    },
    /// The keeper's thread has ended, and the engine has not: it does nothing by itself any more.
    /// Close it and open it again. The keeper of a poisoned engine waits and does not end.
    #[non_exhaustive]
    KeeperStopped {
        /// Whether the thread panicked.
        panicked: bool,
    },
    /// Space was given back by the cleaner or by [`Engine::clean`](crate::Engine::clean), or could
    /// not be. Nothing is told where nothing was to be given back.
    #[non_exhaustive]
    Clean {
        /// Whether live blobs were marked, since enough had died.
        swept: bool,
        /// Blobs that were found to be dead.
        blobs: u64,
        /// Bytes given back to the medium.
        freed: u64,
        /// Bytes of live blobs that were written once more for that.
        moved: u64,
        /// Whether something keeps some space from being given back
        /// ([`Cleaning::stuck`](crate::engine::Cleaning::stuck)).
        stuck: bool,
        /// Why it ended before all was done.
        error: Option<ErrorKind>,
        /// How long it took.
        took: Duration,
    },
    /// The cleaner's thread could not give space back.
    #[non_exhaustive]
    CleanerFailed {
        /// Why.
        error: ErrorKind,
        /// When it tries again.
        again: Duration,
    },
    /// The cleaner's thread has ended, or could not be started, and the engine goes on: no space is
    /// given back automatically until it is opened again.
    #[non_exhaustive]
    CleanerStopped {
        /// Whether the thread panicked; else the system gave no thread.
        panicked: bool,
    },
    /// A copy in step did not take a commit, or could not be reached: puts and erases fail until
    /// it is back or removed. Told once until it is in step again.
    #[non_exhaustive]
    CopyMissed {
        /// Its number in [`Copies::list`](crate::engine::Copies::list), from 0.
        copy: u64,
        /// What the copy's store said.
        error: ErrorKind,
        /// Whether that keeps a root key from being destroyed.
        erase: bool,
    },
    /// A copy that missed a commit holds all of them again.
    #[non_exhaustive]
    CopyInStep {
        /// Its number in [`Copies::list`](crate::engine::Copies::list), from 0.
        copy: u64,
    },
    /// A write failed with an unknown outcome: every further call fails until the engine is closed
    /// and opened again.
    #[non_exhaustive]
    Poisoned {
        /// What the store said; `Poisoned` after a panic.
        error: ErrorKind,
    },
    /// Open readers were closed.
    #[non_exhaustive]
    ReadersClosed {
        /// How many.
        readers: u64,
        /// Why.
        why: ClosedBy,
    },
    /// A discard has ended.
    #[non_exhaustive]
    Discard {
        /// Blobs that nothing reached.
        blobs: u64,
        /// Bytes of them that were overwritten or given back.
        bytes_gone: u64,
        /// Bytes of them that may still be there.
        bytes_left: u64,
        /// Copies passed over.
        copies_skipped: u64,
        /// Why it ended before all was done; what it gave back until then is not counted.
        error: Option<ErrorKind>,
        /// How long it took.
        took: Duration,
    },
    /// The clock is not believed any more: what is due by it waits.
    #[non_exhaustive]
    ClockDoubted {
        /// How far it is from the time that is known.
        off: Duration,
        /// Whether it is ahead of that; else it is back.
        ahead: bool,
    },
    /// The clock is believed again.
    #[non_exhaustive]
    ClockBelieved {},
    /// The observer did not keep up.
    #[non_exhaustive]
    Lost {
        /// Events that it was not told.
        events: u64,
    },
}

/// What a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitKind {
    /// Records were put, or what may become one: an upload, a part of one.
    Put,
    /// Erases that callers asked for.
    Erase,
    /// Something that was due, or derived records that an erase left.
    Due,
    /// An epoch began and nothing was erased: pending erases became final, or a rekey.
    Epoch,
    /// Any other change: a user, a policy, a hold, a plan, a reader's entry, a copy, the clock.
    Change,
}

impl CommitKind {
    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            CommitKind::Put => "put",
            CommitKind::Erase => "erase",
            CommitKind::Due => "due",
            CommitKind::Epoch => "epoch",
            CommitKind::Change => "change",
        }
    }
}

/// What an erase names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScopeKind {
    /// A whole user.
    User,
    /// A class of a user, of all time.
    Class,
    /// One interaction, or a class of it.
    Interaction,
    /// The interactions of a span of time, or a class of them.
    Span,
    /// One record.
    Record,
}

impl ScopeKind {
    /// Of what kind a scope is.
    pub fn of(scope: &Scope) -> Self {
        match scope {
            Scope::Record(_) => ScopeKind::Record,
            Scope::User { when: When::Between { .. }, .. } => ScopeKind::Span,
            Scope::User { when: When::Interaction(_), .. } => ScopeKind::Interaction,
            Scope::User { class: Some(_), when: When::Ever, .. } => ScopeKind::Class,
            Scope::User { class: None, when: When::Ever, .. } => ScopeKind::User,
        }
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            ScopeKind::User => "user",
            ScopeKind::Class => "class",
            ScopeKind::Interaction => "interaction",
            ScopeKind::Span => "span",
            ScopeKind::Record => "record",
        }
    }
}

/// How far an erase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Every root key that reached it is destroyed.
    Final,
    /// The scope cannot be read through the engine; a root key that reached it may still be there.
    Pending,
    /// The scope had been erased before.
    Already,
    /// It failed.
    #[non_exhaustive]
    Failed {
        /// What the caller was told.
        error: ErrorKind,
        /// Whether it may have happened, or happens yet.
        perhaps: bool,
    },
}

impl Outcome {
    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Final => "final",
            Outcome::Pending => "pending",
            Outcome::Already => "already",
            Outcome::Failed { .. } => "failed",
        }
    }

    /// Why it failed.
    pub fn error(self) -> Option<ErrorKind> {
        match self {
            Outcome::Failed { error, .. } => Some(error),
            Outcome::Final | Outcome::Pending | Outcome::Already => None,
        }
    }
}

/// What a root key's destruction waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AwaitedBy {
    /// The engine, which could not finish an erase and tries again.
    Engine,
    /// The medium, which destroys it at a time of its own.
    Medium,
    /// Keyholders that have not signed yet.
    #[non_exhaustive]
    Keyholders {
        /// How many have signed that their share is gone.
        stated: u64,
        /// How many must have signed it.
        needed: u64,
    },
}

impl AwaitedBy {
    /// `None` for a window, in which the root key is not to be destroyed yet, and where the cell
    /// was not asked.
    pub(crate) fn of(awaited: &Awaited) -> Option<Self> {
        match awaited {
            Awaited::Engine(_) => Some(AwaitedBy::Engine),
            Awaited::Medium(_) => Some(AwaitedBy::Medium),
            Awaited::Keyholders { stated, needed } => {
                let (stated, needed) = (*stated as u64, *needed as u64);
                Some(AwaitedBy::Keyholders { stated, needed })
            }
            Awaited::Window(_) | Awaited::Unasked => None,
        }
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            AwaitedBy::Engine => "engine",
            AwaitedBy::Medium => "medium",
            AwaitedBy::Keyholders { .. } => "keyholders",
        }
    }
}

/// Why readers were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosedBy {
    /// What they read was erased.
    Erase,
    /// The grant, or the training set, by which they were opened has ended.
    Grant,
    /// The opening that they were readers of was closed.
    Opening,
    /// The owner of the store destroyed the root key under which it was looked at.
    Owner,
}

impl ClosedBy {
    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            ClosedBy::Erase => "erase",
            ClosedBy::Grant => "grant",
            ClosedBy::Opening => "opening",
            ClosedBy::Owner => "owner",
        }
    }
}

/// Name of a kind of error, in logs and metrics.
#[cfg(any(feature = "tracing", feature = "metrics"))]
fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::Erased => "erased",
        ErrorKind::Absent => "absent",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Mismatch => "mismatch",
        ErrorKind::Limit => "limit",
        ErrorKind::Medium => "medium",
        ErrorKind::Refused => "refused",
        ErrorKind::Fenced => "fenced",
        ErrorKind::Held => "held",
        ErrorKind::Locked => "locked",
        ErrorKind::Exists => "exists",
        ErrorKind::Changed => "changed",
        ErrorKind::Copy => "copy",
        ErrorKind::Poisoned => "poisoned",
        ErrorKind::Full => "full",
        ErrorKind::Io => "io",
    }
}
