//! Which chunks of commits are objects of their own. A name does not say it, and a wrong guess is a
//! request: so they are listed where that matters.

use std::collections::{BTreeMap, BTreeSet};

use super::naming::Place;

/// A first chunk that goes so far is likely to be full, and then a pack. Commits of many callers
/// are shorter.
const LONG: u32 = 1 << 20;

/// What is known of packs.
#[derive(Default)]
pub(super) struct Packs {
    there: BTreeSet<(u64, u8)>,
    /// Numbers all of whose packs are known: from each of these up to its value.
    listed: BTreeMap<u64, u64>,
    /// Whether there are some: a list showed one, or a blob was looked for in a commit, and was in
    /// a pack.
    seen: bool,
    /// Whether a blob was asked for.
    asked: bool,
}

impl Packs {
    /// Whether the chunk of a place is known to be a pack.
    pub(super) fn is_there(&self, at: &Place) -> bool {
        self.there.contains(&(at.number, at.chunk))
    }

    /// Whether all packs of a number are known.
    pub(super) fn is_listed(&self, number: u64) -> bool {
        self.listed.range(..=number).next_back().is_some_and(|(_, until)| *until >= number)
    }

    /// Whether the chunk of a place may be a pack, so far as that is worth a request.
    pub(super) fn may_be(&self, at: &Place) -> bool {
        self.seen || at.chunk > 1 || at.offset >= LONG
    }

    /// Whether nothing is known, so that a caller that will read many blobs lists some first.
    pub(super) fn is_unknown(&self) -> bool {
        !self.seen && self.listed.is_empty()
    }

    /// Whether no blob was asked for before this one.
    pub(super) fn is_first(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// Takes note that the root's page is at hand, and is not asked for.
    pub(super) fn have_root(&mut self) {
        self.asked = true;
    }

    /// The first number after those before this one that are known.
    pub(super) fn unknown_before(&self, number: u64) -> u64 {
        self.listed.range(..=number).next_back().map_or(1, |(_, until)| until + 1)
    }

    /// Takes what was listed: all packs of these numbers.
    pub(super) fn listed(&mut self, from: u64, until: u64, found: Vec<(u64, u8)>) {
        self.seen |= !found.is_empty();
        self.there.extend(found);
        self.listed.insert(from, until.max(from));
    }

    /// Takes one that this handle made, or found.
    pub(super) fn found(&mut self, number: u64, chunk: u8) {
        self.there.insert((number, chunk));
    }

    /// Takes a number that this handle published: it has made the packs of it.
    pub(super) fn published(&mut self, number: u64) {
        if number == 1 {
            self.listed.insert(1, 1);
        } else if let Some((_, until)) = self.listed.range_mut(..=number).next_back()
            && *until + 1 == number
        {
            *until = number;
        }
    }

    /// Takes note that a blob was in a pack where a commit was looked at first.
    pub(super) fn missed(&mut self, at: &Place) {
        self.found(at.number, at.chunk);
        self.seen = true;
    }
}
