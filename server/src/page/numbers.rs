//! The numbers by which a session's browser names things. It keeps addresses and what forms sent in
//! its history and its tabs, also of a page that it must not store: no id is to be in them.

use std::collections::HashMap;
use std::hash::Hash;

/// Things, each with a number. They begin somewhere at random: the number that another session gave
/// is none here, so that what a page of before asks for is never another thing.
pub(super) struct Numbers<T> {
    first: u64,
    things: Vec<T>,
    places: HashMap<T, usize>,
}

impl<T: Copy + Eq + Hash> Numbers<T> {
    pub(super) fn new(random: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = random;
        let first = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Numbers { first, things: Vec::new(), places: HashMap::new() }
    }

    /// The number of a thing.
    pub(super) fn of(&mut self, thing: T) -> u64 {
        let place = *self.places.entry(thing).or_insert_with(|| {
            self.things.push(thing);
            self.things.len() - 1
        });
        self.first + place as u64
    }

    /// The thing that has a number.
    pub(super) fn find(&self, number: &str) -> Option<T> {
        let place = number.parse::<u64>().ok()?.checked_sub(self.first)?;
        self.things.get(usize::try_from(place).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_that_of_one_thing() {
        let mut numbers = Numbers::new([1; 6]);
        let (a, b) = (numbers.of('a'), numbers.of('b'));
        assert_eq!((numbers.of('a'), numbers.of('b')), (a, b));
        assert_eq!(numbers.find(&b.to_string()), Some('b'));
        let nothing = [(b + 1).to_string(), "0".to_owned(), "x".to_owned(), (a - 1).to_string()];
        assert!(nothing.iter().all(|number| numbers.find(number).is_none()));
        assert!(Numbers::<char>::new([2; 6]).find(&a.to_string()).is_none());
    }
}
