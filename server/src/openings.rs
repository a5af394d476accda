//! The openings that are not over: one line in the report for a record that is read in many parts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use keyfall::{AsyncOpening, RecordId};
use sha2::{Digest, Sha256};

use crate::problem::{Answer, Problem};

/// The hash of a token.
pub(crate) type Hashed = [u8; 32];

/// The openings that are not over. In memory alone: a service that starts again has none.
#[derive(Default)]
pub(crate) struct Openings(Mutex<All>);

#[derive(Default)]
struct All {
    held: HashMap<Hashed, Held>,
    /// Of each credential, those that are about to be made.
    reserved: HashMap<String, usize>,
}

/// An opening, and with which credential it was made. Of the record it knows the id alone.
pub(crate) struct Held {
    pub(crate) opening: AsyncOpening,
    pub(crate) credential: String,
}

/// Room for an opening that is about to be made.
pub(crate) struct Reserved<'a> {
    openings: &'a Openings,
    credential: String,
}

impl Openings {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more of a credential, if it has fewer than so many; lets go of those that are
    /// over.
    pub(crate) fn reserve(&self, credential: &str, most: usize) -> Option<Reserved<'_>> {
        let mut all = self.all();
        all.held.retain(|_, held| held.opening.left().is_ok());
        let of = |held: &&Held| held.credential == credential;
        let held = all.held.values().filter(of).count();
        if held + all.reserved.get(credential).copied().unwrap_or_default() >= most {
            return None;
        }
        *all.reserved.entry(credential.to_owned()).or_default() += 1;
        Some(Reserved { openings: self, credential: credential.to_owned() })
    }

    /// Takes out those of a credential.
    pub(crate) fn take_of(&self, credential: &str) -> Vec<AsyncOpening> {
        let mut all = self.all();
        let taken = all.held.extract_if(|_, held| held.credential == credential);
        taken.map(|(_, held)| held.opening).collect()
    }

    /// Takes one out.
    ///
    /// # Errors
    /// 404 if it is over.
    pub(crate) fn take(&self, token: &str) -> Answer<Held> {
        self.all().held.remove(&hashed(token)).ok_or_else(over)
    }

    /// Those of a credential, each with its record.
    pub(crate) fn held_by(&self, credential: &str) -> Vec<(Hashed, RecordId)> {
        let all = self.all();
        let of = all.held.iter().filter(|(_, held)| held.credential == credential);
        of.map(|(token, held)| (*token, *held.opening.id())).collect()
    }

    /// Takes one out, if it is there.
    pub(crate) fn take_hashed(&self, token: &Hashed) -> Option<AsyncOpening> {
        self.all().held.remove(token).map(|held| held.opening)
    }

    /// The one of a token, and with which credential it was made.
    ///
    /// # Errors
    /// 404 if it is over.
    pub(crate) fn find(&self, token: &str) -> Answer<(AsyncOpening, String)> {
        let all = self.all();
        let held = all.held.get(&hashed(token)).ok_or_else(over)?;
        held.opening.left().map_err(|_| over())?;
        Ok((held.opening.clone(), held.credential.clone()))
    }
}

impl Reserved<'_> {
    /// Keeps what was made under a token.
    pub(crate) fn keep(self, token: &str, opening: AsyncOpening) {
        let held = Held { opening, credential: self.credential.clone() };
        self.openings.all().held.insert(hashed(token), held);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut all = self.openings.all();
        if let Some(reserved) = all.reserved.get_mut(&self.credential) {
            *reserved -= 1;
            if *reserved == 0 {
                all.reserved.remove(&self.credential);
            }
        }
    }
}

/// Tokens are kept as their hashes: comparing them tells nothing.
fn hashed(token: &str) -> Hashed {
    Sha256::digest(token.as_bytes()).into()
}

/// That an opening is over.
pub(crate) fn over() -> Problem {
    let detail = "this opening is over, or never was; open the record again";
    Problem::new(StatusCode::NOT_FOUND, "absent", detail)
}
