//! The one door through which time and randomness come in, so that a seed replays a run.

use std::sync::Arc;
use std::time::Duration;

use rand::TryRng as _;

use crate::error::{Error, ErrorKind, Result};
use crate::ids::Timestamp;

/// Time and randomness. The default is the operating system's.
pub trait Env: Send + Sync {
    /// Wall-clock time, which may be set back or forward.
    fn now(&self) -> Timestamp;
    /// Time since some moment that stays the same while the process runs: nobody sets this clock,
    /// and it goes on while the machine sleeps, if the system has such a one.
    fn monotonic(&self) -> Duration {
        since_boot()
    }
    /// Has the thread wait.
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
    /// Fills `out` with random bytes fit for keys.
    ///
    /// # Errors
    /// `Io` if the generator fails; nothing may be drawn from anywhere else then.
    fn fill(&self, out: &mut [u8]) -> Result<()>;
}

#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(std::time::Instant::now).elapsed()
}

/// The system's clock and the system's generator (`getrandom`): no user-space generator stands
/// between, for such a one repeats after a snapshot or a fork.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Env for System {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        let now = std::time::SystemTime::now();
        now.into()
    }

    fn fill(&self, out: &mut [u8]) -> Result<()> {
        rand::rngs::SysRng.try_fill_bytes(out).map_err(|e| {
            Error::new(
                ErrorKind::Io,
                format!("the system's random generator failed ({e}); no key was made"),
            )
        })
    }
}

/// The environment an engine was opened with.
pub type SharedEnv = Arc<dyn Env>;
