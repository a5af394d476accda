//! The gate: every operation on a medium passes through it. It counts them, and makes one of them
//! go wrong.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::{Error, ErrorKind, Result};
use crate::testing::lock::locked;

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It fails and has no effect; a sync that fails throws away what it should have written.
    Fails,
    /// It takes effect and reports an error: the answer was lost.
    FailsApplied,
    /// No space is left; part of it may be written.
    Full,
    /// It takes effect twice.
    Twice,
    /// It reports an error now and takes effect later: a cell's deposit only; elsewhere it is
    /// [`Fault::FailsApplied`].
    Late,
    /// The power fails before it.
    PowerBefore,
    /// The power fails after it.
    PowerAfter,
}

impl Fault {
    /// All faults, in the order in which steps number them.
    pub const ALL: [Fault; 7] = [
        Fault::Fails,
        Fault::FailsApplied,
        Fault::Full,
        Fault::Twice,
        Fault::Late,
        Fault::PowerBefore,
        Fault::PowerAfter,
    ];

    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Fails => "fails",
            Fault::FailsApplied => "fails, applied",
            Fault::Full => "disk full",
            Fault::Twice => "delivered twice",
            Fault::Late => "delivered late",
            Fault::PowerBefore => "power cut before",
            Fault::PowerAfter => "power cut after",
        }
    }
}

/// What an operation does to a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// It reads bytes of a file.
    Read,
    /// It writes bytes that are not durable yet.
    Write,
    /// It makes earlier writes durable.
    Sync,
    /// It opens, lists or removes a name.
    Name,
    /// A verb of a root cell.
    Cell,
    /// A verb of a store that is simulated at its port.
    Store,
}

impl Touch {
    fn name(self) -> &'static str {
        match self {
            Touch::Read => "read",
            Touch::Write => "write",
            Touch::Sync => "sync",
            Touch::Name => "name",
            Touch::Cell => "cell",
            Touch::Store => "store",
        }
    }
}

/// Counts operations, and makes one of them go wrong.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
}

/// Something that another process does between two operations.
type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    /// Called before an operation; the number counts from the plan on.
    hook: Option<(u64, Hook)>,
    /// Whether the hook is running: nothing goes wrong in it, and nothing is counted.
    elsewhere: bool,
    passed: u64,
    planned: Option<(u64, Fault)>,
    /// How many operations had passed when the plan was made.
    since: u64,
    /// How many operations passed under the last plan.
    under_plan: u64,
    blown: Option<(Touch, Fault)>,
    off: bool,
    faults: BTreeMap<(&'static str, &'static str), u64>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("passed", &self.passed)
            .field("planned", &self.planned)
            .finish_non_exhaustive()
    }
}

/// Whether an operation goes well.
pub(super) enum Verdict {
    Go,
    Fault(Fault),
}

impl Gate {
    /// A gate at which nothing goes wrong until a fault is planned.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Plans a fault at the `nth` operation from now on, the first being 1; `None`: nothing goes
    /// wrong.
    pub fn plan(&self, fault: Option<(u64, Fault)>) {
        let mut state = self.state();
        if state.planned.is_some() {
            state.under_plan = state.passed - state.since;
        }
        state.since = state.passed;
        state.planned = fault.map(|(nth, fault)| (state.passed.saturating_add(nth), fault));
        state.blown = None;
    }

    /// Calls `hook` before the `nth` operation from now on, the first being 1; `None` cancels it.
    pub(crate) fn interrupt(&self, hook: Option<(u64, Hook)>) {
        let mut state = self.state();
        state.hook = hook.map(|(nth, hook)| (state.passed.saturating_add(nth), hook));
    }

    /// Operations that passed while the last plan was in force.
    pub fn under_plan(&self) -> u64 {
        self.state().under_plan
    }

    /// The planned fault, if it happened.
    pub fn blown(&self) -> Option<(Touch, Fault)> {
        self.state().blown
    }

    /// Whether the power is off: every operation fails until [`Gate::power_on`].
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Ends a power cut and cancels what is planned.
    pub fn power_on(&self) {
        let mut state = self.state();
        state.off = false;
        state.planned = None;
    }

    /// How often each fault happened, by the operation it hit and its name.
    pub fn faults(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.state().faults.clone()
    }

    pub(super) fn pass(&self, touch: Touch) -> Option<Verdict> {
        let mut state = self.state();
        if state.elsewhere {
            return Some(Verdict::Go);
        }
        if state.off {
            return None;
        }
        state.passed += 1;
        let passed = state.passed;
        if let Some((_, hook)) = state.hook.take_if(|(at, _)| *at == passed) {
            state.elsewhere = true;
            drop(state);
            hook();
            state = self.state();
            state.elsewhere = false;
        }
        let Some((_, fault)) = state.planned.filter(|(at, _)| *at == state.passed) else {
            return Some(Verdict::Go);
        };
        state.blown = Some((touch, fault));
        *state.faults.entry((touch.name(), fault.name())).or_insert(0) += 1;
        match fault {
            Fault::PowerBefore => {
                state.off = true;
                None
            }
            Fault::PowerAfter => {
                state.off = true;
                Some(Verdict::Fault(fault))
            }
            _ => Some(Verdict::Fault(fault)),
        }
    }

    /// Passes a call of a port, `act`, which is called twice where the fault says so.
    pub(super) fn verb<T>(&self, touch: Touch, mut act: impl FnMut() -> Result<T>) -> Result<T> {
        let lost = || Error::new(ErrorKind::Io, "no answer came");
        match self.pass(touch) {
            None => Err(Error::new(ErrorKind::Io, "the power is off")),
            Some(Verdict::Go) => act(),
            Some(Verdict::Fault(fault)) => match fault {
                Fault::Fails | Fault::PowerBefore => Err(lost()),
                Fault::FailsApplied | Fault::Late | Fault::PowerAfter => {
                    act()?;
                    Err(lost())
                }
                Fault::Full => Err(Error::new(ErrorKind::Full, "no space left")),
                Fault::Twice => {
                    act()?;
                    act()
                }
            },
        }
    }
}

/// What a machine without power answers.
pub(super) fn no_power() -> io::Error {
    io::Error::other("the power is off")
}
