//! The openings that are not over: one line in the report for a record that is read in many parts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use keyfall::{AsyncOpening, RecordInfo};
use sha2::{Digest, Sha256};

use crate::problem::{Answer, Problem};

/// The openings that are not over. In memory alone: a service that starts again has none.
#[derive(Default)]
pub(crate) struct Openings(Mutex<HashMap<[u8; 32], Held>>);

/// An opening, of which record and for whom.
pub(crate) struct Held {
    pub(crate) opening: AsyncOpening,
    pub(crate) info: RecordInfo,
    pub(crate) principal: String,
}

impl Openings {
    fn all(&self) -> MutexGuard<'_, HashMap<[u8; 32], Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many a principal has; lets go of those that are over.
    pub(crate) fn of(&self, principal: &str) -> usize {
        let mut all = self.all();
        all.retain(|_, held| held.opening.left().is_ok());
        all.values().filter(|held| held.principal == principal).count()
    }

    /// Keeps one under a token.
    pub(crate) fn keep(&self, token: &str, held: Held) {
        self.all().insert(hashed(token), held);
    }

    /// Takes one out.
    ///
    /// # Errors
    /// 404 if it is over.
    pub(crate) fn take(&self, token: &str) -> Answer<Held> {
        self.all().remove(&hashed(token)).ok_or_else(over)
    }

    /// The one of a token.
    ///
    /// # Errors
    /// 404 if it is over.
    pub(crate) fn find(&self, token: &str) -> Answer<(AsyncOpening, RecordInfo)> {
        let all = self.all();
        let held = all.get(&hashed(token)).ok_or_else(over)?;
        Ok((held.opening.clone(), held.info.clone()))
    }
}

/// Tokens are kept as their hashes: comparing them tells nothing.
fn hashed(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// That an opening is over.
pub(crate) fn over() -> Problem {
    let detail = "this opening is over, or never was; open the record again";
    Problem::new(StatusCode::NOT_FOUND, "absent", detail)
}
