//! How long an opening lasts, whatever becomes of the clock.

use std::time::Duration;

use super::anchor::Floor;
use crate::catalogue::moment::{Reading, later};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{RecordId, Timestamp};
use crate::limits::{OPENING_LASTS, OPENING_MAX};
use crate::sync::{Mutex, locked};

/// The time of an opening. It ends by the clock, or by the one that nobody sets, whichever is there
/// first: a clock that is set back, or was ahead at the beginning, lengthens nothing.
pub(super) struct Term {
    record: RecordId,
    began: Timestamp,
    floor: Floor,
    state: Mutex<Ends>,
}

#[derive(Clone, Copy)]
enum Ends {
    At(Timestamp),
    /// Once seen it stays so, whatever the clock shows later.
    Expired,
    Closed,
}

impl Term {
    /// Begins now, and lasts for as long as [`OPENING_LASTS`] says.
    pub(super) fn begin(record: RecordId, clock: Reading, env: &dyn Env) -> Self {
        let (began, floor) = (clock.latest(), Floor::of(clock, env));
        Term { record, began, floor, state: Mutex::new(Ends::At(later(began, OPENING_LASTS))) }
    }

    /// Has it last for so long, from its beginning.
    pub(super) fn set(&self, lasts: Duration, env: &dyn Env) {
        let mut state = locked(&self.state);
        if let Ends::At(_) = self.look(&mut state, env) {
            *state = Ends::At(later(self.began, lasts.min(OPENING_MAX)));
        }
    }

    pub(super) fn close(&self) {
        let mut state = locked(&self.state);
        if let Ends::At(_) = *state {
            *state = Ends::Closed;
        }
    }

    /// How long it still lasts.
    ///
    /// # Errors
    /// `Refused` if it is over.
    pub(super) fn left(&self, env: &dyn Env) -> Result<Duration> {
        let over = |how: &str| {
            let text = format!(
                "this opening of record {} {how}; open the record again, which is recorded again",
                self.record
            );
            Err(Error::new(ErrorKind::Refused, text))
        };
        match self.look(&mut locked(&self.state), env) {
            Ends::At(until) => {
                Ok(Duration::from_millis(until.0.saturating_sub(self.floor.now(env).0)))
            }
            Ends::Expired => over("has expired"),
            Ends::Closed => over("was closed"),
        }
    }

    fn look(&self, state: &mut Ends, env: &dyn Env) -> Ends {
        if matches!(state, Ends::At(until) if *until <= self.floor.now(env)) {
            *state = Ends::Expired;
        }
        *state
    }
}
