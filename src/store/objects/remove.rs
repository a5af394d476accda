//! Removing blobs. An object of which nothing lives is deleted, if it lies below the floor; of
//! another one the names of its dead are remembered. Never needed for security.

use std::collections::{BTreeSet, HashSet};

use super::bucket::Bucket;
use super::claim::{claim_again, highest, raise_floor};
use super::named::{Object, dead_name};
use super::naming::Naming;
use super::state::{Root, State};
use super::tables::{dead_lists, encode_dead, learn_all};
use crate::error::Result;
use crate::ids::BlobName;
use crate::store::{Removed, fenced};
use crate::sync::{Mutex, locked};

/// What is to go.
struct Doomed {
    /// Objects without a live blob.
    objects: Vec<Object>,
    /// Blobs that go in objects that stay.
    names: Vec<BlobName>,
    bytes: Removed,
}

/// Removes these blobs, and the objects that hold no other.
pub(super) fn remove(
    bucket: &Bucket,
    naming: &Naming,
    state: &Mutex<State>,
    names: &[BlobName],
    versioned: bool,
) -> Result<Removed> {
    confirm(bucket, state)?;
    learn_all(bucket, state)?;
    let last = {
        let mut state = locked(state);
        // No claim that comes now repeats what is removed.
        let is_root = |root: &Root| names.contains(&root.blob.0);
        state.root.take_if(|root| is_root(root));
        state.last
    };
    let Doomed { objects, names, mut bytes } = doomed(state, names, last);
    if !names.is_empty() {
        let drawn = bucket.drawn()?;
        let name = dead_name(upto(naming, last, &names), &drawn);
        bucket.create(&name, &encode_dead(&drawn, &names))?;
        locked(state).dead.extend(&names);
    }
    let numbers = objects.iter().filter_map(|object| match object {
        Object::Numbered(number) => Some(*number),
        _ => None,
    });
    if let Some(highest) = numbers.max() {
        raise_floor_above(bucket, state, highest)?;
    }
    let floor = locked(state).floor;
    for object in objects {
        let stays = matches!(object, Object::Numbered(number) if number >= floor);
        let mut state_now = locked(state);
        let listing = state_now.catalogue.as_mut().and_then(|all| all.objects.remove(&object));
        drop(state_now);
        let held: u64 = listing.map_or(0, |l| l.blobs.iter().map(|(_, len)| u64::from(*len)).sum());
        if stays || !bucket.delete(&object.name())? {
            bytes.left += held;
            locked(state).hidden += held;
            continue;
        }
        let mut state_now = locked(state);
        state_now.windows.forget(object);
        state_now.live.iter_mut().for_each(|live| _ = live.remove(object));
        drop(state_now);
        if versioned {
            bytes.left += held;
            locked(state).hidden += held;
        } else {
            bytes.gone += held;
        }
    }
    forget_gone(bucket, naming, state)?;
    Ok(bytes)
}

/// Writes the names of removed blobs once more, without those that no object holds any more, if
/// these are the more part of them, or a list is damaged.
pub(super) fn forget_gone(bucket: &Bucket, naming: &Naming, state: &Mutex<State>) -> Result<()> {
    let (left, last) = {
        let state = locked(state);
        let left: HashSet<BlobName> = if let Some(all) = &state.catalogue {
            let held = all.objects.values().flat_map(|listing| &listing.blobs);
            held.map(|(name, _)| *name).filter(|name| state.dead.contains(name)).collect()
        } else if let Some(live) = &state.live {
            let elsewhere = state.elsewhere.as_ref();
            let is_held = |name: &&BlobName| live.find(naming, elsewhere, name).mark.is_some();
            state.dead.iter().filter(is_held).copied().collect()
        } else {
            return Ok(());
        };
        if left.len() * 2 >= state.dead.len() && state.damaged.is_empty() {
            return Ok(());
        }
        (left, state.last)
    };
    let before = dead_lists(bucket)?;
    if !left.is_empty() {
        let (drawn, names) = (bucket.drawn()?, left.iter().copied().collect::<Vec<_>>());
        let name = dead_name(upto(naming, last, &names), &drawn);
        bucket.create(&name, &encode_dead(&drawn, &names))?;
    }
    before.iter().try_for_each(|listed| bucket.delete(&listed.name).map(drop))?;
    let mut state = locked(state);
    state.dead = left;
    state.damaged.clear();
    Ok(())
}

/// The last commit in which one of these blobs may lie, of those whose names say it.
fn upto(naming: &Naming, last: u64, names: &[BlobName]) -> u64 {
    let numbers = names.iter().filter_map(|name| Some(naming.hint(name)?.at.number));
    numbers.filter(|number| *number <= last).max().unwrap_or(0)
}

/// Refuses if anything was published above what this handle knows: then it is not the owner.
fn confirm(bucket: &Bucket, state: &Mutex<State>) -> Result<()> {
    let last = locked(state).last;
    match highest(bucket, last)? {
        None => Ok(()),
        Some(_) => Err(fenced(&bucket.place())),
    }
}

/// The floor must stand on a claim, which is never deleted: a new one, if this number is above all.
fn raise_floor_above(bucket: &Bucket, state: &Mutex<State>, highest: u64) -> Result<()> {
    if newest_claim(state).is_none_or(|claim| claim < highest) {
        claim_again(bucket, state)?;
    }
    newest_claim(state).map_or(Ok(()), |claim| raise_floor(bucket, state, claim))
}

fn newest_claim(state: &Mutex<State>) -> Option<u64> {
    let state = locked(state);
    let all = state.catalogue.iter().flat_map(|all| &all.objects);
    all.filter_map(|(object, listing)| match object {
        Object::Numbered(number) if listing.is_claim => Some(*number),
        _ => None,
    })
    .max()
}

/// Strikes these names from the catalogue, and says what goes with them.
fn doomed(state: &Mutex<State>, names: &[BlobName], last: u64) -> Doomed {
    let mut state = locked(state);
    let dead = std::mem::take(&mut state.dead);
    let mut out = Doomed { objects: Vec::new(), names: Vec::new(), bytes: Removed::default() };
    if let Some(all) = &mut state.catalogue {
        let doomed: BTreeSet<BlobName> =
            names.iter().filter(|name| all.blobs.contains_key(name)).copied().collect();
        doomed.iter().for_each(|name| all.strike(name));
        let mut remembered = BTreeSet::new();
        for (object, listing) in &all.objects {
            let hit = listing.blobs.iter().filter(|(name, _)| doomed.contains(name));
            let (mut n, mut held) = (0, 0);
            for (name, len) in hit {
                (n, held) = (n + 1, held + u64::from(*len));
                remembered.insert(*name);
            }
            let lives = |name: &BlobName| !dead.contains(name) && !doomed.contains(name);
            let whole = listing.blobs.iter().any(|(name, _)| lives(name));
            let is_kept = match object {
                Object::Numbered(number) => listing.is_claim || *number >= last,
                _ => false,
            };
            if n > 0 && !whole && !is_kept {
                out.objects.push(*object);
            } else {
                out.bytes.left += held;
            }
        }
        out.names.extend(remembered);
    }
    state.dead = dead;
    out
}
