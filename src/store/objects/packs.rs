//! Which chunks of commits are objects of their own. A name does not say it, and a wrong guess is a
//! request: so they are listed where that matters.

use std::collections::{BTreeMap, BTreeSet};

use super::bucket::Bucket;
use super::named::{Object, PACKS, numbered};
use super::naming::Place;
use super::state::State;
use crate::error::Result;
use crate::sync::{Mutex, locked};

/// Packs that one request lists.
const LISTED: usize = 1000;
/// A first chunk that goes so far is likely to be full, and then a pack. Commits of many callers
/// are shorter.
const LONG: u32 = 1 << 20;

/// What is known of packs.
#[derive(Default)]
pub(super) struct Packs {
    there: BTreeSet<(u64, u8)>,
    /// Numbers all of whose packs are known: from each of these up to its value.
    listed: BTreeMap<u64, u64>,
    /// Whether a blob was looked for in a commit, and was in a pack.
    seen: bool,
}

impl Packs {
    fn is_there(&self, at: &Place) -> bool {
        self.there.contains(&(at.number, at.chunk))
    }

    fn is_listed(&self, number: u64) -> bool {
        self.listed.range(..=number).next_back().is_some_and(|(_, until)| *until >= number)
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

/// Whether the chunk of a place is likely to be a pack: lists them, if that is worth a request.
pub(super) fn is_pack(bucket: &Bucket, state: &Mutex<State>, at: &Place) -> Result<bool> {
    let last = {
        let state = locked(state);
        let packs = &state.packs;
        if packs.is_there(at) || packs.is_listed(at.number) {
            return Ok(packs.is_there(at));
        }
        if let Some(header) = state.windows.header(Object::Numbered(at.number)) {
            return Ok(header.chunk != at.chunk);
        }
        if !packs.seen && at.chunk == 1 && at.offset < LONG {
            return Ok(false);
        }
        state.last
    };
    let some = bucket.list_some(PACKS, &numbered(PACKS, at.number), LISTED)?;
    let found: Vec<(u64, u8)> = some
        .iter()
        .filter_map(|listed| match Object::parse(&listed.name) {
            Some(Object::Pack { number, chunk }) => Some((number, chunk)),
            _ => None,
        })
        .collect();
    // Of the last one that it shows more may follow.
    let until = match found.last() {
        Some((number, _)) if some.len() == LISTED => (number - 1).min(last),
        _ => last,
    };
    let mut state = locked(state);
    let packs = &mut state.packs;
    packs.there.extend(found);
    packs.listed.insert(at.number, until.max(at.number));
    Ok(packs.is_there(at))
}
