//! Which process this is. A child that was forked has its parent's files, locks and handles, and must do nothing with them: not write, not
//! let go of a lock, not even wipe memory for secrets, which it does not have.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// The process that last asked, and how many forks lie between it and the first.
static LAST: AtomicU32 = AtomicU32::new(0);
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A process, by what tells it from its parent and its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    id: u32,
    #[cfg(feature = "testing")]
    pretended: bool,
}

impl Process {
    /// This one.
    pub(crate) fn this() -> Self {
        let id = std::process::id();
        let last = LAST.swap(id, Ordering::Relaxed);
        if last != id && last != 0 {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        Process {
            id,
            #[cfg(feature = "testing")]
            pretended: PRETENDED.get(),
        }
    }

    pub(crate) fn is_this(self) -> bool {
        self == Self::this()
    }

    /// # Errors
    /// `Refused` in another process.
    pub(crate) fn check(self) -> Result<()> {
        if self.is_this() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!(
                "this was opened by process {}, and here is a fork of it; open the store in the process that uses it, behind the fork",
                self.id
            ),
        ))
    }
}

/// How many forks lie between the first process that asked and this one, as far as it was noticed.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

#[cfg(feature = "testing")]
thread_local! {
    static PRETENDED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs something as a forked child would: to this thread, what was opened before was opened by another process.
#[cfg(feature = "testing")]
pub(crate) fn as_a_forked_child<T>(act: impl FnOnce() -> T) -> T {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            PRETENDED.set(false);
        }
    }
    PRETENDED.set(true);
    let _back = Back;
    act()
}
