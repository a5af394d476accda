//! Which process this is. A child that was forked has its parent's files, locks and handles, and
//! must do nothing with them: not write, not let go of a lock, not even wipe memory for secrets,
//! which it does not have.

use std::os::unix::process::parent_id;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Bits of a process's number, which is below 2^22 on Linux.
const BITS: u32 = 22;
/// The process that last asked: its number, its parent's above that, and above both when it was
/// started, as far as that fits; at once, so that two threads agree. And how many forks lie between
/// it and the first.
static LAST: AtomicU64 = AtomicU64::new(0);
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A process, by what tells it from its parent and its children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    id: u32,
    /// When it was started: a child of a child may come to the number of the first. 0 if that
    /// cannot be known.
    started: u64,
}

/// When this process was started, in ticks since the machine was, never 0; as much of it as fits.
fn started() -> Option<u64> {
    let stat = std::fs::read("/proc/self/stat").ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // What comes before the last parenthesis may be anything: it is the program's name.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Some((ticks & (u64::MAX >> (2 * BITS))).max(1))
}

fn differ(a: u64, b: u64) -> bool {
    a != b && a != 0 && b != 0
}

impl Process {
    /// This one. It is looked up when its number or its parent's has changed: a child's parent is
    /// another one.
    pub(crate) fn this() -> Self {
        let id = std::process::id();
        let numbers = (u64::from(parent_id()) << BITS) | u64::from(id);
        let (last, mask) = (LAST.load(Ordering::Relaxed), u64::MAX >> (64 - 2 * BITS));
        let mut start = last >> (2 * BITS);
        if (last & mask) != numbers {
            let same = (last & (mask >> BITS)) == u64::from(id);
            start = started().unwrap_or(if same { start } else { 0 });
            let last = LAST.swap((start << (2 * BITS)) | numbers, Ordering::Relaxed);
            let other =
                (last & (mask >> BITS)) != u64::from(id) || differ(last >> (2 * BITS), start);
            if last != 0 && other {
                GENERATION.fetch_add(1, Ordering::Relaxed);
            }
        }
        #[cfg(feature = "testing")]
        if PRETENDED.get() {
            start += 1;
        }
        Process { id, started: start }
    }

    pub(crate) fn is_this(self) -> bool {
        let this = Self::this();
        self.id == this.id && !differ(self.started, this.started)
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
                "this was opened by process {}, and this is a fork of it; open the store in the \
                 process that uses it, after the fork",
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

/// Runs `act` as in a forked child that was given the process id of the process that opened what it
/// inherited: only the time at which it was started differs.
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
