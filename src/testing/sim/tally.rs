//! What runs met, counted.

use std::collections::BTreeMap;

/// What happened in runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Named events and how often each was met.
    pub events: BTreeMap<&'static str, u64>,
    /// Faults by what they hit and which they were.
    pub faults: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    pub(super) fn count(&mut self, event: &'static str) {
        self.add(event, 1);
    }

    pub(super) fn add(&mut self, event: &'static str, n: u64) {
        *self.events.entry(event).or_insert(0) += n;
    }

    /// Takes another tally in.
    pub fn merge(&mut self, other: &Tally) {
        for (event, n) in &other.events {
            self.add(event, *n);
        }
        for (fault, n) in &other.faults {
            *self.faults.entry(*fault).or_insert(0) += n;
        }
    }
}
