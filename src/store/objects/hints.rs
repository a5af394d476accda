//! Hints at the newest object. A writer leaves one now and then, so that an opening lists what
//! stands above it, however long the writer before was at work. Nothing else depends on them.

use super::bucket::Bucket;
use super::named::{newest_name, newest_of};
use super::state::State;
use crate::sync::{Mutex, locked};
use keyfall_objects::Listed;

/// From one hint to the next, in numbers.
const HINT_EVERY: u64 = 256;

/// The hints among these objects.
pub(super) fn hints_of(listed: &[Listed]) -> Vec<u64> {
    listed.iter().filter_map(|listed| newest_of(&listed.name)).collect()
}

/// Leaves a hint that an object of this number is there, in the place of the ones before. Each
/// request is tried once: what fails is for the next one.
fn hint(bucket: &Bucket, state: &Mutex<State>, number: u64) {
    let Ok(drawn) = bucket.drawn() else { return };
    if bucket.create_once(&newest_name(number), &drawn).is_ok() {
        let before = std::mem::replace(&mut locked(state).hints, vec![number]);
        for before in before.into_iter().filter(|before| *before != number) {
            bucket.delete_once(&newest_name(before));
        }
    }
}

/// The same, if so many numbers stand above those that an opening would begin at.
pub(super) fn hint_if_due(bucket: &Bucket, state: &Mutex<State>, number: u64) {
    let shown = {
        let state = locked(state);
        state.hints.iter().copied().fold(state.floor, u64::max)
    };
    if number >= shown.saturating_add(HINT_EVERY) {
        hint(bucket, state, number);
    }
}
