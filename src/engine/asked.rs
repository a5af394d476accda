//! What callers ask of the writer together with others, and its answers.

use std::time::Duration;

use super::erasure::Erasure;
use crate::catalogue::staged::Staged;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{BlobName, RecordId};
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

/// The records of a batch, and what is in the store of them already.
#[derive(Default)]
pub(super) struct Staging {
    pub(super) staged: Vec<Staged>,
    /// Bytes of payloads that go into the store with the commit itself.
    pub(super) waiting_bytes: usize,
    /// Names of those that are there.
    pub(super) stored: Vec<BlobName>,
    /// In which life of the engine its first record was added.
    pub(super) life: Option<u64>,
    /// The fewest erases after which sources were looked at; `None` if none was.
    pub(super) erases: Option<u64>,
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
