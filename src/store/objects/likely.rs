//! Where a chunk of a commit is likely to be: in a pack or in the commit. What a reader finds there
//! decides.

use super::bucket::Bucket;
use super::named::{Object, PACKS, numbered};
use super::naming::Place;
use super::state::State;
use crate::error::Result;
use crate::sync::{Mutex, locked};

/// Packs that one request lists.
const LISTED: usize = 1000;

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
        if !packs.may_be(at) {
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
    state.packs.listed(at.number, until, found);
    Ok(state.packs.is_there(at))
}
