//! Where a chunk of a commit is likely to be: in a pack or in the commit. What a reader finds there
//! decides.

use super::bucket::Bucket;
use super::named::{Object, PACKS, numbered};
use super::naming::Place;
use super::state::{CHUNK, State};
use crate::error::Result;
use crate::sync::{Mutex, locked};

/// Packs that one request lists.
const LISTED: usize = 1000;

/// Whether the chunk of a place is likely to be a pack: lists them, if that is worth a request.
pub(super) fn is_pack(bucket: &Bucket, state: &Mutex<State>, at: &Place) -> Result<bool> {
    let (last, unknown) = {
        let mut state = locked(state);
        let packs = &state.packs;
        if packs.is_there(at) || packs.is_listed(at.number) {
            return Ok(packs.is_there(at));
        }
        if let Some(header) = state.windows.header(Object::Numbered(at.number)) {
            return Ok(header.chunk != at.chunk);
        }
        // What an opening asks for first is the root's page, the last one of its commit.
        if state.packs.is_first() {
            return Ok(false);
        }
        // Where nothing is known, a list is not one of the reads that a guess could cost.
        let first = state.packs.is_unknown() && state.usage.bytes >= CHUNK as u64;
        if !first && !state.packs.may_be(at) {
            return Ok(false);
        }
        (state.last, state.packs.unknown_before(at.number))
    };
    // One list often shows all that is not known. Where many packs come before, one more does.
    list(bucket, state, unknown, last)?;
    if unknown < at.number && !locked(state).packs.is_listed(at.number) {
        list(bucket, state, at.number, last)?;
    }
    Ok(locked(state).packs.is_there(at))
}

/// Lists packs from the first commit on if none is known yet, for a caller that will read many
/// blobs.
pub(super) fn look_for_packs(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    let last = {
        let state = locked(state);
        if !state.packs.is_unknown() {
            return Ok(());
        }
        state.last
    };
    list(bucket, state, 1, last)
}

/// Lists packs from this number on, up to the newest commit.
fn list(bucket: &Bucket, state: &Mutex<State>, from: u64, last: u64) -> Result<()> {
    let some = bucket.list_some(PACKS, &numbered(PACKS, from), LISTED)?;
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
    locked(state).packs.listed(from, until, found);
    Ok(())
}
