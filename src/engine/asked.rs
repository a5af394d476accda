//! What callers ask of the writer together with others, and its answers.

use std::time::Duration;

use super::core::Staging;
use super::erasure::Erasure;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::RecordId;
use crate::scope::Erase;

/// A request, and when it was made
/// ([`Observing::begin`](super::observing::Observing::begin)).
pub(super) struct Queued {
    pub(super) asked: Asked,
    pub(super) since: Option<Duration>,
}

/// The requests that the writer serves together with others.
pub(super) enum Asked {
    Put(Staging),
    Erase(Erase),
}

/// The writer's answer to a request.
pub(super) enum Answer {
    Put(Result<Vec<RecordId>>),
    Erased(Result<Erasure>),
}

/// An answer, and until when its caller keeps it to itself: keys may be lent that long
/// ([`Loan::keep_back`](super::loan::Loan::keep_back)).
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) until: Option<Duration>,
}

impl Answer {
    /// The answer to [`Asked::Put`].
    pub(super) fn put(self) -> Result<Vec<RecordId>> {
        match self {
            Answer::Put(put) => put,
            Answer::Erased(_) => Err(mixed_up()),
        }
    }

    /// The answer to [`Asked::Erase`].
    pub(super) fn erased(self) -> Result<Erasure> {
        match self {
            Answer::Erased(erased) => erased,
            Answer::Put(_) => Err(mixed_up()),
        }
    }
}

/// A request got what is no answer to it.
pub(super) fn mixed_up() -> Error {
    let text = "the writer mixed up its answers; open the engine again";
    Error::new(ErrorKind::Poisoned, text).perhaps()
}
