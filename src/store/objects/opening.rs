//! What a handle on a log finds out when it is opened.

use keyfall_objects::Listed;

use super::bucket::Bucket;
use super::claim::find_newest;
use super::marker;
use super::named::{COMMITS, FLOORS, MARKER, Object, PACKS, STRAYS, beats_of, is_dead_name};
use super::naming::Naming;
use super::state::State;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Mutex, locked};

/// The names of a log, by its marker. From here on the bucket has those of this log.
pub(super) fn naming(bucket: &Bucket) -> Result<Naming> {
    let marker = bucket.get(MARKER)?.ok_or_else(|| absent(bucket))?;
    let marked = marker::read(&bucket.place(), &marker)?;
    bucket.begin_after(marked.first);
    Ok(Naming::new(&marked.naming_key))
}

/// Learns what a handle knows of its log from the beginning.
pub(super) fn learn(
    bucket: &Bucket,
    state: &Mutex<State>,
    floors: &[Listed],
    will_claim: bool,
) -> Result<()> {
    let is_list = |listed: &&Listed| is_dead_name(&listed.name);
    {
        let mut state = locked(state);
        state.lists = floors.iter().filter(is_list).cloned().collect();
        state.signs.beats = floors.iter().filter_map(|listed| beats_of(&listed.name)).collect();
    }
    find_newest(bucket, state, floors, will_claim)
}

/// Refuses a place that does not keep what is promised, and looks for the newest meanwhile. Says
/// whether the place keeps versions.
pub(super) fn probe_and_learn(bucket: &Bucket, state: &Mutex<State>) -> Result<bool> {
    let beside = |floors: &[Listed]| learn(bucket, state, floors, true);
    let (versioned, learned) = bucket.probe_beside(FLOORS, beside)?;
    learned.map(|()| versioned)
}

/// Refuses a place without a marker where commits are: a marker made for it would have another
/// naming key, and no blob would be found.
pub(super) fn check_unused(bucket: &Bucket) -> Result<()> {
    // Another one may have made a log meanwhile.
    let mut is_used = false;
    for folder in [COMMITS, PACKS, STRAYS] {
        is_used |=
            bucket.list_some(folder, "", 1)?.iter().any(|it| Object::parse(&it.name).is_some());
    }
    if !is_used || bucket.is_there(MARKER)? {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "{}: the marker of the store, the object `{MARKER}`, is missing, and objects of it are there; \
         put it back as it was; to restore the store here from a copy, delete them first, in the \
         folders a, b, c, d, f, p, s and x; for a new store name an empty place",
        bucket.place()
    )))
}

fn absent(bucket: &Bucket) -> Error {
    let text = format!("no store at {}; name another place", bucket.place());
    Error::new(ErrorKind::Absent, text)
}
