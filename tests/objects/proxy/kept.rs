//! The adversary of a network: it has every body that was ever sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyfall::RecordId;
use keyfall::cell::RootKey;
use keyfall::store::Store;
use keyfall::testing::{Exposed, Tape, parts_of_object};

/// Every body that was sent, by the name of its object. One that was sent again is there once.
#[derive(Default)]
pub(crate) struct Kept {
    bodies: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

impl Kept {
    pub(super) fn take(&mut self, name: &str, bytes: &[u8]) {
        let there = self.bodies.entry(name.to_owned()).or_default();
        if !there.contains(bytes) {
            there.insert(bytes.to_vec());
        }
    }

    /// How many bodies, and how many of a name that another one has.
    pub(crate) fn count(&self) -> (usize, usize) {
        let all = self.bodies.values().map(BTreeSet::len).sum();
        (all, all - self.bodies.len())
    }

    /// Every record that somebody with all of these and these root keys can open.
    pub(crate) fn exposed_to(&self, keys: &[RootKey]) -> BTreeMap<RecordId, Exposed> {
        let tape = Tape::new();
        for (name, bodies) in &self.bodies {
            for body in bodies {
                let (blobs, head) = parts_of_object(name, body).unwrap();
                tape.put(&blobs).unwrap();
                if let Some(head) = head {
                    tape.commit(&[], None, &head).unwrap();
                }
            }
        }
        let tape: Arc<Tape> = tape;
        tape.exposed_to(keys).unwrap()
    }
}
