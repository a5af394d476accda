//! The one door through which time and randomness come in, so that a seed replays a run.

use std::sync::Arc;

use rand::TryRng as _;

use crate::error::{Error, ErrorKind, Result};
use crate::ids::Timestamp;

/// Time and randomness. The default is the operating system's.
pub trait Env: Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;
    /// Fills `out` with random bytes fit for keys.
    ///
    /// # Errors
    /// `Io` where the generator fails; nothing may be drawn from anywhere else then.
    fn fill(&self, out: &mut [u8]) -> Result<()>;
}

/// The system's clock and the system's generator (`getrandom`): no user-space generator stands between, for
/// such a one repeats after a snapshot or a fork.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Env for System {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        let now = std::time::SystemTime::now();
        let ms = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    fn fill(&self, out: &mut [u8]) -> Result<()> {
        rand::rngs::SysRng.try_fill_bytes(out).map_err(|e| {
            Error::new(ErrorKind::Io, format!("the system's random generator failed ({e}); no key was made"))
        })
    }
}

/// The environment an engine was opened with.
pub type SharedEnv = Arc<dyn Env>;
