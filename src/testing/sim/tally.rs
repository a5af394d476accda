//! Counts of what happened in runs.

use std::collections::BTreeMap;

/// Counts of what happened in one or more runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often each event happened, by name.
    pub events: BTreeMap<&'static str, u64>,
    /// How often each fault happened, by the operation it hit and its name.
    pub faults: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    pub(super) fn count(&mut self, event: &'static str) {
        self.add(event, 1);
    }

    pub(super) fn add(&mut self, event: &'static str, n: u64) {
        *self.events.entry(event).or_insert(0) += n;
    }

    /// Adds the counts of another tally.
    pub fn merge(&mut self, other: &Tally) {
        for (event, n) in &other.events {
            self.add(event, *n);
        }
        for (fault, n) in &other.faults {
            *self.faults.entry(*fault).or_insert(0) += n;
        }
    }
}
