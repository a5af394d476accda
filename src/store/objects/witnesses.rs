//! Objects that a writer asks for when it asks whether its place is what it was. Of a place that
//! went back to an earlier state what is newest says nothing: the writer may have put that since.

use std::time::Duration;

/// From one that is noted to the next, at least.
const EVERY: Duration = Duration::from_secs(1);
/// Most of them.
const MOST: usize = 64;

/// Numbers of objects that this handle made, in order: one now and then since the medium was asked
/// last, and the newest of then.
#[derive(Default)]
pub(super) struct Witnesses {
    numbers: Vec<u64>,
    noted: Option<Duration>,
}

impl Witnesses {
    /// The medium acknowledged an object.
    pub(super) fn made(&mut self, number: u64, now: Duration) {
        if self.noted.is_some_and(|noted| now < noted.saturating_add(EVERY)) {
            return;
        }
        self.noted = Some(now);
        if self.numbers.len() == MOST {
            // Of each two one is enough.
            let mut n = 0;
            self.numbers.retain(|_| {
                n += 1;
                n % 2 == 1
            });
        }
        self.numbers.push(number);
    }

    /// Those from the floor on, below which objects are deleted; of none the newest.
    pub(super) fn to_ask(&self, floor: u64, newest: u64) -> Vec<u64> {
        let mut numbers: Vec<u64> =
            self.numbers.iter().copied().filter(|number| *number >= floor).collect();
        if numbers.is_empty() {
            numbers.push(newest);
        }
        numbers
    }

    /// All up to the one that was the newest when the medium was asked were there.
    pub(super) fn asked(&mut self, newest: u64) {
        self.numbers.retain(|number| *number > newest);
        self.numbers.insert(0, newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_asked_for_until_it_was_seen() {
        let mut all = Witnesses::default();
        assert_eq!(all.to_ask(0, 7), [7]);
        for n in 0..40 {
            all.made(n, Duration::from_millis(n * 250));
        }
        assert_eq!(all.to_ask(0, 39), [0, 4, 8, 12, 16, 20, 24, 28, 32, 36]);
        assert_eq!(all.to_ask(30, 39), [32, 36]);
        all.asked(34);
        assert_eq!(all.to_ask(0, 39), [34, 36]);
        assert_eq!(all.to_ask(37, 39), [39]);
        for n in 40..4000 {
            all.made(n, Duration::from_secs(n));
        }
        let asked = all.to_ask(0, 4000);
        assert!(asked.len() <= MOST && asked.first() == Some(&34), "{asked:?}");
    }
}
