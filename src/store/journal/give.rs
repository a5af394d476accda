//! Giving back: blobs of which nothing may be left, and blobs that count as given back at once and
//! lose their bytes with their file.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::{Location, Position};
use super::index::Update;
use super::store::{JournalStore, Tail, check_whole};
use crate::error::{ErrorKind, Result};
use crate::ids::BlobName;
use crate::store::Removed;

/// Blobs, and where they are.
pub(super) type Places = Vec<(BlobName, Location)>;

/// Names listed at once.
const LIST: usize = 4096;

/// Has nothing left of the blobs with these names, wherever they lie.
pub(super) fn remove(store: &JournalStore, names: &[BlobName]) -> Result<Removed> {
    let mut tail = ready(store)?;
    let unclean = store.tally().unclean();
    let removed = forget(store, names)?;
    give_back(store, &mut tail, &unclean, removed)
}

/// Has nothing left of blobs at these places; where else one with such a name lies it stays.
pub(super) fn remove_at(store: &JournalStore, blobs: &Places) -> Result<Removed> {
    let mut tail = ready(store)?;
    let unclean = store.tally().unclean();
    let indexed = indexed_at(store, blobs)?;
    let removed = kill(store, blobs);
    store.tell(Update { remove: indexed, ..Update::default() })?;
    give_back(store, &mut tail, &unclean, removed)
}

/// Counts blobs at these places as given back; the index learns with its next step which of each
/// file's, and lets go of those of them that it has.
pub(super) fn count_at(store: &JournalStore, blobs: &Places) -> Result<u64> {
    check_whole(&store.tail(), &store.dir)?;
    for (name, at) in blobs.iter().filter(|(name, at)| !store.says(name, *at)) {
        store.recent_mut().bury((*name, Some(*at)));
    }
    let killed = kill(store, blobs).len() as u64;
    store.checkpoint_patiently()?;
    Ok(killed)
}

/// Counts blobs with these names as given back, wherever a reader would find them.
pub(super) fn count_dead(store: &JournalStore, names: &[BlobName]) -> Result<()> {
    let mut places = Places::new();
    for name in names {
        if let Some((at, _)) = store.placed(name, false)? {
            places.push((*name, at));
        } else if let Some(at) = store.elsewhere(name)? {
            if store.is_there(name, at)? {
                places.push((*name, at));
            }
            store.recent_mut().bury((*name, None));
        }
    }
    check_whole(&store.tail(), &store.dir)?;
    kill(store, &places);
    store.checkpoint_patiently()
}

/// The names that the index has at these very places, or in a file that is gone.
fn indexed_at(store: &JournalStore, blobs: &Places) -> Result<Vec<BlobName>> {
    let mut names = Vec::new();
    for (name, at) in blobs {
        if store.is_indexed(name, *at)? {
            names.push(*name);
        }
    }
    Ok(names)
}

fn kill(store: &JournalStore, blobs: &Places) -> Vec<Location> {
    let mut tally = store.tally_mut();
    let mut killed = Vec::new();
    for (_, at) in blobs {
        if !tally.is_dead(*at) {
            tally.kill(*at);
            killed.push(*at);
        }
    }
    killed
}

/// The tail, once the index is at the end of the journal.
fn ready(store: &JournalStore) -> Result<impl std::ops::DerefMut<Target = Tail> + '_> {
    let mut tail = store.tail();
    check_whole(&tail, &store.dir)?;
    // An index that fails here may come back older, and names bytes that are gone: nothing reaches
    // them.
    store.checkpoint(&mut tail)?;
    Ok(tail)
}

/// Has the index forget names, and says where their bytes are.
fn forget(store: &JournalStore, names: &[BlobName]) -> Result<Vec<Location>> {
    let (mut update, mut removed) = (Update::default(), Vec::new());
    for name in names {
        let indexed = store.index.get(name)?;
        update.remove.extend(indexed.map(|_| *name));
        // An index may point beside: bytes are overwritten only where the blob's own name stands.
        let indexed = match indexed {
            Some(at) if store.is_there(name, at)? => Some(at),
            _ => None,
        };
        let placed = store.journal.look(name, store.naming.hint(name), false)?.map(|(at, _)| at);
        let mut tally = store.tally_mut();
        for at in indexed.into_iter().chain(placed) {
            if !tally.is_dead(at) {
                tally.kill(at);
                removed.push(at);
            }
        }
    }
    store.tell(update)?;
    Ok(removed)
}

/// Blobs of one file that lose their bytes.
#[derive(Default)]
struct Dead {
    at: Vec<Location>,
    /// Bytes of those that had them until now.
    bytes: u64,
}

/// Blobs of a file that were given back. Those without a label have lost their bytes, or most of
/// them, before.
fn dead_in(store: &JournalStore, file: u32) -> Result<Dead> {
    let (mut dead, mut from) = (Dead::default(), Some(Position { file, offset: 0 }));
    while let Some(at) = from.filter(|at| at.file == file) {
        let (blobs, next) = store.journal.list(at, LIST)?;
        for (name, at) in blobs {
            if at.file == file && store.tally().is_dead(at) {
                dead.bytes += if store.is_there(&name, at)? { u64::from(at.len) } else { 0 };
                dead.at.push(at);
            }
        }
        from = next;
    }
    Ok(dead)
}

/// Gives back the space of blobs that count as given back: files without live blobs as they are, of
/// the others these bytes, and those of the `unclean` ones that an earlier call did not get to.
fn give_back(
    store: &JournalStore,
    tail: &mut Tail,
    unclean: &[u32],
    removed: Vec<Location>,
) -> Result<Removed> {
    // Only what the index durably forgot loses its bytes.
    store.index.sync()?;
    let mut of: BTreeMap<u32, Vec<Location>> = BTreeMap::new();
    for at in removed {
        of.entry(at.file).or_default().push(at);
    }
    unclean.iter().for_each(|file| _ = of.entry(*file).or_default());
    let empty = removable(store, tail);
    let mut done = Removed::default();
    for (file, at) in of {
        let dead = if unclean.contains(&file) {
            // What a crash kept from being overwritten, what was only counted, and blobs that were
            // put twice.
            dead_in(store, file)?
        } else {
            Dead { bytes: at.iter().map(|at| u64::from(at.len)).sum(), at }
        };
        let left = if empty.contains(&file) { 0 } else { wipe(store, tail, file, dead.at)? };
        done.left += left;
        done.gone += dead.bytes.saturating_sub(left);
    }
    remove_files(store, &empty)?;
    tail.gone.extend(empty);
    let gone = std::mem::take(&mut tail.gone);
    store.tell(Update { gone, ..Update::default() })?;
    Ok(done)
}

/// Files without live blobs that are not needed: neither the last one nor the head's.
pub(super) fn removable(store: &JournalStore, tail: &Tail) -> BTreeSet<u32> {
    let (last, head) = (store.journal.end().file, tail.head.map(|(_, at)| at.file));
    let files = store.tally().empty().into_iter();
    files.filter(|file| *file != last && Some(*file) != head).collect()
}

/// Removes files without live blobs.
pub(super) fn remove_files(store: &JournalStore, files: &BTreeSet<u32>) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    for file in files {
        store.journal.remove_file(*file)?;
    }
    // A file that a crash brings back must still be known to hold nothing.
    store.journal.sync_names()?;
    let mut tally = store.tally_mut();
    files.iter().for_each(|file| tally.forget(*file));
    Ok(())
}

/// Overwrites what was given back of a file, and says how many bytes it could not.
fn wipe(store: &JournalStore, tail: &mut Tail, file: u32, mut blobs: Vec<Location>) -> Result<u64> {
    let mut left = Vec::new();
    if blobs.iter().any(|at| !store.journal.is_vouched(*at)) {
        match store.append(tail, &[], None) {
            Ok(_) => _ = store.sync(tail)?,
            // Without room for the frame that vouches for them they stay until there is.
            Err(e) if e.kind() == ErrorKind::Full => {
                (blobs, left) = blobs.into_iter().partition(|at| store.journal.is_vouched(*at));
            }
            Err(e) => return Err(e),
        }
    }
    store.journal.wipe(blobs)?;
    if left.is_empty() {
        store.tally_mut().cleaned(file);
    }
    Ok(left.iter().map(|at| u64::from(at.len)).sum())
}
